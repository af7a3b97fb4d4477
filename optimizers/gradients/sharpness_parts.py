"""Sharpness of a part: of some of the parameters and examples, or of one of two losses."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_range, concrete
from optimizers._keys import key_of_rule
from optimizers._trees import PyTree, add_scaled
from optimizers.gradients._losses import losses_of_examples, losses_of_terms
from optimizers.gradients._perturbation import ScalarOrSchedule, ascend, at_step
from optimizers.gradients.backprop import GradientRule, LossFn, ValueAndGrad, backprop


def esam(rho: ScalarOrSchedule = 0.05, beta: ScalarOrSchedule = 0.6, gamma: float = 0.5) -> Callable[..., ValueAndGrad]:
    r"""Efficient SAM (ESAM): some of the parameters are perturbed, and the examples that feel it most are learnt from.

    $$
    \epsilon = \frac{\rho}{\beta} m \odot \frac{g}{\lVert g \rVert_2}, \qquad
    m_j \sim \text{Bernoulli}(\beta), \qquad
    g_\text{ESAM} = \frac{1}{|B^+|} \sum_{i \in B^+} \nabla \ell_i(\theta + \epsilon)
    $$

    with $g$ the gradient of the mean loss, and $B^+$ the share `gamma` of the batch on which
    $\ell_i(\theta + \epsilon) - \ell_i(\theta)$ is largest. Over the masks, the mean of the perturbation is SAM's. The
    mask is drawn for each parameter, as in the paper; the authors' code draws one for a whole array and for the step
    to come, and divides by the norm of what is left of the gradient.

    Parameters, value and aux are treated as by `sam`. Costs one gradient, one forward pass, and one gradient of
    `gamma` times the batch; at `gamma` 1, two gradients. There is no `inner`, as the rule has to see each example;
    `accumulate(n, inner=esam())` perturbs and selects within each microbatch. Of a batch split over devices
    under `jax.jit`, the examples selected are those of the whole batch, and move between devices.

    Args:
        rho: radius of the ball, at least 0; a number, a traced scalar, or a schedule of the `step` given to the rule.
        beta: probability that a parameter is perturbed, in (0, 1]; a number, a traced scalar or a schedule. At 1 all
            are, and no key is needed.
        gamma: share of the batch that the second gradient is taken on, in (0, 1], at least one example; a Python
            number, as it fixes a shape.

    Returns:
        A gradient rule for a `loss_fn` that returns one loss an example, shape `[B]`. Its value is their mean. The
        first argument after `params` is the batch, a pytree whose leaves have the examples along their leading axis;
        the mask is drawn from the first typed PRNG key among the arguments.

    Raises:
        ValueError: if `rho` is negative, `beta` or `gamma` not in (0, 1], `loss_fn` does not return a vector, there is
            no batch of that many examples or no key, or a schedule is given and no `step`.
        TypeError: if `gamma` is not a Python number.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss_fn = lambda w, batch, key: (batch @ w) ** 2
        >>> batch = jnp.array([[3.0, 4.0], [1.0, 0.0]])
        >>> rule = esam(rho=0.1, beta=1.0, gamma=0.5)
        >>> value, gradient = rule(loss_fn)(jnp.array([1.0, 1.0]), batch, jax.random.key(0))
        >>> print(f"{value:.1f} {gradient[0]:.2f} {gradient[1]:.2f}")
        25.0 45.00 60.00

    Source:
        Jiawei Du, Hanshu Yan, Jiashi Feng, Joey Tianyi Zhou, Liangli Zhen, Rick Siow Mong Goh, Vincent Y. F. Tan,
        "Efficient Sharpness-aware Minimization for Improved Training of Neural Networks", 2022.
    """
    check_range("esam", "rho", rho, 0.0)
    check_range("esam", "beta", beta, 0.0, 1.0, open_low=True)
    check_range("esam", "gamma", gamma, 0.0, 1.0, open_low=True)
    if concrete(gamma) is None:
        raise TypeError(f"esam: gamma must be a Python number, got {type(gamma).__name__}")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        losses_and_aux = losses_of_examples("esam", loss_fn, has_aux)

        def mean(*args: Any, **kwargs: Any) -> tuple[jax.Array, Any]:
            losses, aux = losses_and_aux(*args, **kwargs)
            return jnp.mean(losses), (losses, aux)

        value_and_grad = jax.value_and_grad(mean, has_aux=True)

        def efficient(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            if not args:
                raise ValueError("esam: expected a batch as the first argument after params, got none")
            batch, *rest = args
            params = jax.tree.map(jnp.asarray, params)
            radius, probability = at_step("esam", "rho", rho, step), at_step("esam", "beta", beta, step)
            (value, (losses, aux)), gradient = value_and_grad(params, batch, *rest, **kwargs)
            risen = ascend(params, gradient, radius / probability)
            if concrete(probability) != 1.0:
                risen = _some(key_of_rule("esam", (args, kwargs)), probability, risen, params)
            kept = max(1, round(gamma * losses.shape[0]))
            if kept < losses.shape[0]:
                rise = losses_and_aux(risen, batch, *rest, **kwargs)[0] - losses
                batch = _examples(batch, jax.lax.top_k(rise, kept)[1], losses.shape[0])
            return ((value, aux) if has_aux else value), value_and_grad(risen, batch, *rest, **kwargs)[1]

        return efficient

    return rule


def smooth_domain_adversarial(
    rho: ScalarOrSchedule = 0.02, *, inner: GradientRule = backprop
) -> Callable[..., ValueAndGrad]:
    r"""Smooth domain adversarial training (SDAT): SAM's gradient of the task, the plain one of the adversary.

    $$
    g_\text{SDAT} = \nabla R\left(\theta + \rho \frac{\nabla R(\theta)}{\lVert \nabla R(\theta) \rVert_2}\right)
    + \nabla D(\theta)
    $$

    for the loss $R$ of the task on the source domain and the loss $D$ that makes the domains alike. A flat minimum
    of the task steadies the training and transfers better; flatness of the adversarial loss, by the paper's analysis,
    harms it. This is the paper's objective; the authors' code takes the gradient of $D$ at the perturbed parameters
    as well. Parameters and aux are treated as by `sam`. Costs three gradients of `inner`: of the task twice, of the
    adversary once; under `jax.jit` the two at the parameters share their forward pass.

    Args:
        rho: radius of the ball, at least 0; a number, a traced scalar, or a schedule of the `step` given to the rule.
            At 0 this is the gradient of the sum.
        inner: the gradient rule used for all gradients, such as `accumulate(4)`.

    Returns:
        A gradient rule for a `loss_fn` that returns the vector `[task, adversarial]`, the second with its weight and,
        where the discriminator is among the parameters, its reversed gradient. That vector is the value.

    Raises:
        ValueError: if `rho` is negative, `loss_fn` does not return a vector of two, or `rho` is a schedule and no
            `step` is given.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss_fn = lambda w: jnp.stack([jnp.sum(w**2), 0.5 * w[0]])
        >>> losses, gradient = smooth_domain_adversarial(rho=0.1)(loss_fn)(jnp.array([3.0, 4.0]))
        >>> print(losses, gradient)
        [25.   1.5] [6.62 8.16]

    Source:
        Harsh Rangwani, Sumukh K Aithal, Mayank Mishra, Arihant Jain, R. Venkatesh Babu, "A Closer Look at Smoothness
        in Domain Adversarial Training", 2022.
    """
    name = "smooth_domain_adversarial"
    check_range(name, "rho", rho, 0.0)
    check_callable(name, "inner", inner, "rule(loss_fn, has_aux)")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        losses_and_aux = losses_of_terms(name, loss_fn, has_aux, "task, adversarial")

        def task(*args: Any, **kwargs: Any) -> tuple[jax.Array, Any]:
            losses, aux = losses_and_aux(*args, **kwargs)
            return losses[0], (losses, aux)

        task_and_grad = inner(task, True)
        adversary_and_grad = inner(lambda *args, **kwargs: losses_and_aux(*args, **kwargs)[0][1], False)

        def smooth(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            params = jax.tree.map(jnp.asarray, params)
            radius = at_step(name, "rho", rho, step)
            (_, (losses, aux)), gradient = task_and_grad(params, *args, step=step, **kwargs)
            adversarial = adversary_and_grad(params, *args, step=step, **kwargs)[1]
            sharp = task_and_grad(ascend(params, gradient, radius), *args, step=step, **kwargs)[1]
            return ((losses, aux) if has_aux else losses), add_scaled(sharp, 1.0, adversarial)

        return smooth

    return rule


def _some(key: jax.Array, probability: Any, ours: PyTree, theirs: PyTree) -> PyTree:
    """Each number of the trees from `ours` with the probability, else from `theirs`."""
    leaves, structure = jax.tree.flatten(ours)
    masks = [jax.random.bernoulli(jax.random.fold_in(key, i), probability, leaf.shape) for i, leaf in enumerate(leaves)]
    return jax.tree.map(jnp.where, jax.tree.unflatten(structure, masks), ours, theirs)


def _examples(batch: PyTree, indices: jax.Array, size: int) -> PyTree:
    def leaf(x: Any) -> jax.Array:
        x = x if isinstance(x, jax.Array) else jnp.asarray(x)
        if x.ndim == 0 or x.shape[0] != size:
            raise ValueError(
                f"esam: every leaf of the batch must have its {size} examples along the leading axis, "
                f"got a leaf of shape {x.shape}"
            )
        return x[indices]

    return jax.tree.map(leaf, batch)
