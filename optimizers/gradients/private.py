"""Differentially private gradients, and what they cost in privacy."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_positive_integer, check_range, concrete
from optimizers._keys import key_of_rule
from optimizers._trees import PyTree, global_norm, wide
from optimizers.aggregation._gramian import combine
from optimizers.gradients._microbatches import microbatch, strided
from optimizers.gradients.backprop import LossFn, ValueAndGrad
from optimizers.gradients.examples import batches_of_one, count_at_once, mean_or_last


def private_gradient(
    clip_norm: jax.typing.ArrayLike,
    noise_multiplier: jax.typing.ArrayLike,
    *,
    chunk: int | None = None,
    expected_batch_size: jax.typing.ArrayLike | None = None,
) -> Callable[..., ValueAndGrad]:
    r"""DP-SGD: the gradients of the examples, each clipped, and Gaussian noise on their sum.

    $$
    g = \frac1B \left( \sum_{i=1}^{B} g_i \min\left(1, \frac{C}{\lVert g_i \rVert_2}\right)
    + \mathcal{N}\left(0, \sigma^2 C^2 I\right) \right)
    $$

    The loss of a batch is differentiated at batches of one example, as by `per_example`, so no example moves the sum by
    more than C. Norms, the sum and the noise are computed in float32 or wider; the noise is drawn once a step, however
    many chunks there are. `privacy_epsilon` says what a run of such steps reveals. A gradient with NaN or inf makes the
    whole result NaN, which shows, and which the train step skips; that a step was skipped is then visible, and outside
    of the guarantee, as are the value and aux, which are those of the data. Noise is pseudo-random and of finite
    precision. Inside `accumulate` (and `make_train_step(microbatches=)`) each microbatch would get noise of its own:
    use `chunk`.

    Args:
        clip_norm: C, the largest global L2 norm of the gradient of one example, positive. May be traced.
        noise_multiplier: σ, the standard deviation of the noise on the sum, in units of C; at least 0. May be traced.
        chunk: examples whose gradients are held at once, chunk after chunk: memory is `chunk`·P for P parameters. Must
            divide the batch; all of it by default.
        expected_batch_size: what the sum is divided by, positive; the size of the batch by default. Where examples join
            the batch at random (Poisson sampling, which the accountant assumes), this is the size expected, and rows
            left over are padding whose loss is 0.

    Returns:
        A gradient rule for a `loss_fn` that returns a scalar. The first argument after `params` is the batch, a pytree
        whose leaves have the examples along their leading axis. The noise is drawn from the first typed PRNG key among
        the arguments; the keys that the loss receives are folded with the number of the example. The value is the mean
        of the losses of the examples: that of the batch, where its loss is a mean. Floating leaves of `aux` are
        averaged as well; other leaves are those of the last example.

    Raises:
        TypeError: if `chunk` is not an integer, or a parameter is complex.
        ValueError: if an argument is out of range, there is no key or no batch, the leaves of the batch have no leading
            axis in common, or `chunk` does not divide it.

    Examples:
        Gradients of -2 and -6, the second of them clipped, and no noise:

        >>> import jax, jax.numpy as jnp
        >>> loss_fn = lambda w, batch, key: jnp.mean((batch - w) ** 2)
        >>> value_and_grad = private_gradient(clip_norm=4.0, noise_multiplier=0.0)(loss_fn)
        >>> value, gradient = value_and_grad(0.0, jnp.array([1.0, 3.0]), jax.random.key(0))
        >>> print(value, gradient)
        5.0 -3.0

    Source:
        M. Abadi, A. Chu, I. Goodfellow, H. B. McMahan, I. Mironov, K. Talwar, L. Zhang, "Deep Learning with
        Differential Privacy", 2016, Algorithm 1.
    """
    function = "private_gradient"
    check_range(function, "clip_norm", clip_norm, 0.0, open_low=True)
    check_range(function, "noise_multiplier", noise_multiplier, 0.0)
    check_range(function, "expected_batch_size", expected_batch_size, 0.0, open_low=True)
    chunk = None if chunk is None else check_positive_integer(function, "chunk", chunk)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def private(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, PyTree]:
            del step
            if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(params)):
                raise TypeError(f"{function}: expected real parameters, got complex ones")
            key = key_of_rule(function, (args, kwargs))
            count, one = batches_of_one(function, loss_fn, has_aux, params, args, kwargs)
            parts = count // count_at_once(function, chunk, count)
            batch = strided(function, "chunk", args[0], parts)

            def chunk_sum(index: jax.Array) -> tuple[PyTree, PyTree]:
                numbers = index + parts * jnp.arange(count // parts)
                seen, gradients = jax.vmap(one)(microbatch(batch, index), numbers)
                total = combine(_clipping(gradients, clip_norm), jax.tree.map(wide, gradients))
                return total, jax.tree.map(mean_or_last, seen)

            def add(total: PyTree, index: jax.Array) -> tuple[PyTree, PyTree]:
                part, seen = chunk_sum(index)
                return jax.tree.map(jnp.add, total, part), seen

            zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(chunk_sum, jnp.int32(0))[0])
            total, seen = jax.lax.scan(add, zeros, jnp.arange(parts))
            value, aux = jax.tree.map(mean_or_last, seen)
            noisy = _add_noise(key, jnp.multiply(noise_multiplier, clip_norm), total)
            divisor = count if expected_batch_size is None else expected_batch_size
            gradient = jax.tree.map(lambda g, p: (g / divisor).astype(jnp.result_type(p)), noisy, params)
            return ((value, aux) if has_aux else value), gradient

        return private

    return rule


def _clipping(gradients: PyTree, clip_norm: Any) -> jax.Array:
    """The factors `[B]` that bring the stacked gradients to norms of at most `clip_norm`; NaN where one is infinite."""
    norms = jax.vmap(global_norm)(gradients)
    factors = jnp.minimum(1.0, clip_norm / jnp.maximum(norms, jnp.finfo(norms.dtype).tiny))
    return jnp.where(jnp.isfinite(norms), factors, jnp.nan)


def _add_noise(key: jax.Array, scale: jax.Array, tree: PyTree) -> PyTree:
    """Independent normal noise of standard deviation `scale` on every element."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))
    noisy = [x + (scale * jax.random.normal(k, x.shape, x.dtype)).astype(x.dtype) for k, x in zip(keys, leaves)]
    return jax.tree.unflatten(structure, noisy)


def privacy_epsilon(noise_multiplier: float, sample_rate: float, steps: int, *, delta: float) -> float:
    r"""The privacy that a run of `private_gradient` spends: the ε of its (ε, δ) differential privacy.

    $$
    \Pr[M(D) \in S] \le e^{\varepsilon} \Pr[M(D') \in S] + \delta
    $$

    for all sets S of outcomes and all data sets D, D' of which one has one example more than the other. The run is
    `steps` subsampled Gaussian mechanisms, each on a batch that every example joins with probability `sample_rate`,
    independently. Their composition is that of Google's `dp-accounting`, by privacy loss distributions: an upper bound,
    tight up to the discretisation (1e-4 of the loss), where the moments accountant of the first paper is not. It runs
    on the host, in seconds for a `noise_multiplier` of 0.5 or more, and takes longer below.

    Args:
        noise_multiplier: σ of `private_gradient`, positive.
        sample_rate: the expected batch size divided by the number of examples, in (0, 1].
        steps: number of steps, at least 1.
        delta: δ, in (0, 1); less than one over the number of examples is usual.

    Returns:
        ε, a Python float.

    Raises:
        ImportError: if `dp-accounting` is not installed: `pip install "jax-objectives[privacy]"`.
        TypeError: if an argument is no number (a traced one is none), or `steps` no integer.
        ValueError: if an argument is out of range.

    Examples:
        >>> print(round(privacy_epsilon(4.0, 0.01, 10_000, delta=1e-5), 3))
        0.947

    Source:
        B. Balle, Y.-X. Wang, "Improving the Gaussian Mechanism for Differential Privacy", 2018; A. Koskela, J. Jälkö,
        A. Honkela, "Computing Tight Differential Privacy Guarantees Using FFT", 2020.
    """
    function = "privacy_epsilon"
    check_range(function, "noise_multiplier", noise_multiplier, 0.0, open_low=True)
    check_range(function, "sample_rate", sample_rate, 0.0, 1.0, open_low=True)
    check_range(function, "delta", delta, 0.0, 1.0, open_low=True, open_high=True)
    steps = check_positive_integer(function, "steps", steps)
    settings = {"noise_multiplier": noise_multiplier, "sample_rate": sample_rate, "delta": delta}
    numbers = {name: concrete(value) for name, value in settings.items()}
    if absent := [name for name, number in numbers.items() if number is None]:
        raise TypeError(f"{function}: expected Python numbers, got none, or traced ones, for {', '.join(absent)}")
    try:
        import dp_accounting
        from dp_accounting.pld import PLDAccountant
    except ImportError as error:
        raise ImportError(
            f'{function} needs dp-accounting, an extra of this package: pip install "jax-objectives[privacy]"'
        ) from error
    event = dp_accounting.GaussianDpEvent(numbers["noise_multiplier"])
    sampled = dp_accounting.PoissonSampledDpEvent(numbers["sample_rate"], event)
    return float(PLDAccountant().compose(sampled, steps).get_epsilon(numbers["delta"]))
