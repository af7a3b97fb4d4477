r"""Losses of generative adversarial networks, as scalar functions of the discriminator's scores.

One equation: the discriminator minimises, per example, r f(s) + (1 - r) g(s), where s is its score (a logit), r = 1 for
real examples and 0 for generated ones, and the generator minimises h(s) on its own examples:

    game             f(s), real        g(s), generated    h(s), generator
    minimax          -log σ(s)         -log σ(-s)         log σ(-s)
    non-saturating   -log σ(s)         -log σ(-s)         -log σ(s)
    hinge            max(0, 1 - s)     max(0, 1 + s)      -s
    Wasserstein      -s                s                  -s
    least squares    (s - b)² / 2      (s - a)² / 2       (s - c)² / 2

The two penalties on the discriminator's gradient take the discriminator as a function.

A member is its scalar functions; the relativistic game, say, is the minimax one on score differences, and

    def softened_discriminator_loss(scores, real, *, where=None):
        return _judge("softened_discriminator_loss", scores, real, where, lambda s: jnp.square(jax.nn.relu(1 - s)))

has g(s) = f(-s), which is what `_judge` takes where nothing else is said.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_callable,
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    expand,
    finish,
    floating,
    hyperparameter,
    mask,
    prng_key,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def minimax_discriminator_loss(
    scores: Float[ArrayLike, "*batch"],
    real: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The discriminator's loss of the original game, minimax or non-saturating: binary cross-entropy.

    $$
    -r \log \sigma(s) - (1 - r) \log \sigma(-s)
    $$

    Args:
        scores: Logits s that an example is real `[...]`.
        real: Whether each example is real `[...]`: boolean, or a number in [0, 1] (0.9 for real ones is one-sided label
            smoothing).
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 scores); NaN where `real` is outside [0, 1].

    Raises:
        TypeError: If the scores are not floating point, `real` not real or `where` not boolean.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> losses = minimax_discriminator_loss(jnp.array([2.0, 2.0]), jnp.array([True, False]))
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        0.1269 2.1269

    Source:
        Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative Adversarial
        Nets", 2014.
    """
    return _judge("minimax_discriminator_loss", scores, real, where, lambda s: jax.nn.softplus(-s))


def minimax_generator_loss(
    scores: Float[ArrayLike, "*batch"], *, where: Bool[ArrayLike, "*batch"] | None = None
) -> Float[Array, "*batch"]:
    r"""The generator's loss of the minimax game, whose gradient vanishes where the discriminator is sure.

    $$
    \log \sigma(-s) = \log (1 - \sigma(s))
    $$

    Args:
        scores: Logits s of generated examples `[...]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, at most 0, float32 (float64 for float64 scores).

    Raises:
        TypeError: If the scores are not floating point or `where` is not boolean.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{minimax_generator_loss(jnp.array([-2.0]))[0]:.4f}")
        -0.1269

    Source:
        Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative Adversarial
        Nets", 2014.
    """
    return _score("minimax_generator_loss", scores, where, lambda s: -jax.nn.softplus(s))


def non_saturating_generator_loss(
    scores: Float[ArrayLike, "*batch"], *, where: Bool[ArrayLike, "*batch"] | None = None
) -> Float[Array, "*batch"]:
    r"""The generator's loss of the non-saturating game, whose discriminator has `minimax_discriminator_loss`.

    $$
    -\log \sigma(s)
    $$

    Args:
        scores: Logits s of generated examples `[...]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 scores).

    Raises:
        TypeError: If the scores are not floating point or `where` is not boolean.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{non_saturating_generator_loss(jnp.array([-2.0]))[0]:.4f}")
        2.1269

    Source:
        Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative Adversarial
        Nets", 2014.
    """
    return _score("non_saturating_generator_loss", scores, where, lambda s: jax.nn.softplus(-s))


def hinge_discriminator_loss(
    scores: Float[ArrayLike, "*batch"],
    real: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The discriminator's loss of the hinge game; its generator has `wasserstein_generator_loss`.

    $$
    r \max(0, 1 - s) + (1 - r) \max(0, 1 + s)
    $$

    Args:
        scores: Scores s `[...]`.
        real: Whether each example is real `[...]`: boolean, or a number in [0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 scores); NaN where `real` is outside [0, 1].

    Raises:
        TypeError: If the scores are not floating point, `real` not real or `where` not boolean.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> losses = hinge_discriminator_loss(jnp.array([0.5, 0.5]), jnp.array([True, False]))
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        0.5000 1.5000

    Source:
        Lim, Ye, "Geometric GAN", 2017; Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative
        Adversarial Networks", 2018.
    """
    return _judge("hinge_discriminator_loss", scores, real, where, lambda s: jax.nn.relu(1 - s))


def wasserstein_critic_loss(
    scores: Float[ArrayLike, "*batch"],
    real: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The critic's loss of the Wasserstein game; the critic must be held Lipschitz, as by `gradient_penalty`.

    $$
    -r\, s + (1 - r)\, s
    $$

    The mean over real examples plus the mean over generated ones estimates minus the Wasserstein distance.

    Args:
        scores: Scores s `[...]`.
        real: Whether each example is real `[...]`: boolean, or a number in [0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 scores); NaN where `real` is outside [0, 1].

    Raises:
        TypeError: If the scores are not floating point, `real` not real or `where` not boolean.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> losses = wasserstein_critic_loss(jnp.array([0.5, 0.25]), jnp.array([True, False]))
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        -0.5000 0.2500

    Source:
        Arjovsky, Chintala, Bottou, "Wasserstein GAN", 2017.
    """
    return _judge("wasserstein_critic_loss", scores, real, where, jnp.negative)


def wasserstein_generator_loss(
    scores: Float[ArrayLike, "*batch"], *, where: Bool[ArrayLike, "*batch"] | None = None
) -> Float[Array, "*batch"]:
    r"""The generator's loss of the Wasserstein game, and of the hinge game.

    $$
    -s
    $$

    Args:
        scores: Scores s of generated examples `[...]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 scores).

    Raises:
        TypeError: If the scores are not floating point or `where` is not boolean.
        ValueError: If the shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{wasserstein_generator_loss(jnp.array([-2.0]))[0]:.4f}")
        2.0000

    Source:
        Arjovsky, Chintala, Bottou, "Wasserstein GAN", 2017.
    """
    return _score("wasserstein_generator_loss", scores, where, jnp.negative)


def least_squares_discriminator_loss(
    scores: Float[ArrayLike, "*batch"],
    real: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    real_score: Scalar = 1.0,
    generated_score: Scalar = 0.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The discriminator's loss of the least squares game.

    $$
    \tfrac12\, r\, (s - b)^2 + \tfrac12\, (1 - r) (s - a)^2
    $$

    Args:
        scores: Scores s `[...]`.
        real: Whether each example is real `[...]`: boolean, or a number in [0, 1].
        real_score: The score b that real examples should have.
        generated_score: The score a that generated examples should have; -1 minimises Pearson's chi-squared divergence,
            with 0 for the generator.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 scores); NaN where `real` is outside [0, 1].

    Raises:
        TypeError: If the scores are not floating point, `real` not real or `where` not boolean.
        ValueError: If the shapes differ or a hyperparameter is not a number.

    Examples:
        >>> import jax.numpy as jnp
        >>> losses = least_squares_discriminator_loss(jnp.array([0.5, 2.0]), jnp.array([True, False]))
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        0.1250 2.0000

    Source:
        Mao, Li, Xie, Lau, Wang, Smolley, "Least Squares Generative Adversarial Networks", 2017.
    """
    name = "least_squares_discriminator_loss"
    dtype = compute_dtype(floating(name, "scores", scores))
    b = hyperparameter(name, "real_score", real_score, dtype)
    a = hyperparameter(name, "generated_score", generated_score, dtype)
    return _judge(name, scores, real, where, lambda s: 0.5 * (s - b) ** 2, lambda s: 0.5 * (s - a) ** 2)


def least_squares_generator_loss(
    scores: Float[ArrayLike, "*batch"],
    *,
    real_score: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The generator's loss of the least squares game.

    $$
    \tfrac12 (s - c)^2
    $$

    Args:
        scores: Scores s of generated examples `[...]`.
        real_score: The score c that the generator wants for its examples.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 scores).

    Raises:
        TypeError: If the scores are not floating point or `where` is not boolean.
        ValueError: If the shapes differ or `real_score` is not a number.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{least_squares_generator_loss(jnp.array([-2.0]))[0]:.4f}")
        4.5000

    Source:
        Mao, Li, Xie, Lau, Wang, Smolley, "Least Squares Generative Adversarial Networks", 2017.
    """
    name = "least_squares_generator_loss"
    c = hyperparameter(name, "real_score", real_score, compute_dtype(floating(name, "scores", scores)))
    return _score(name, scores, where, lambda s: 0.5 * (s - c) ** 2)


def gradient_penalty(
    critic: Callable[[Array], Array],
    real_examples: Float[ArrayLike, " batch *features"],
    generated_examples: Float[ArrayLike, " batch *features"],
    *,
    key: Array,
    weight: Scalar = 10.0,
    norm: Scalar = 1.0,
    where: Bool[ArrayLike, " batch"] | None = None,
) -> Float[Array, " batch"]:
    r"""Penalty on a critic whose gradient, between a real and a generated example, is not of norm one.

    $$
    \lambda \left( \lVert \nabla D(x) \rVert - g \right)^2, \qquad
    x = \epsilon\, x_{\mathrm{real}} + (1 - \epsilon)\, x_{\mathrm{generated}}, \quad \epsilon \sim U(0, 1)
    $$

    The critic must score every example by itself: batch normalisation in it would mix their gradients.

    Args:
        critic: The critic D, from examples `[B, ...]` to scores `[B]`; its parameters are what it closes over.
        real_examples: Real examples `[B, ...]`.
        generated_examples: Generated examples `[B, ...]`, of the same shape.
        key: PRNG key of the places ε, one for each pair.
        weight: Factor λ, at least 0.
        norm: The norm g that the gradient should have, at least 0.
        where: Boolean mask `[B]`; a masked entry has penalty 0 and gradient 0 and may hold anything.

    Returns:
        Penalties `[B]`, float32 (float64 for float64 examples). A gradient of zero has the full penalty, and no
        direction in which to grow.

    Raises:
        TypeError: If the critic is not a function, the examples not floating point, `key` no key or `where` not
            boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> real, generated = jnp.ones((2, 3)), jnp.zeros((2, 3))
        >>> penalty = gradient_penalty(lambda x: 2.0 * x[:, 0], real, generated, key=jax.random.key(0))
        >>> print(f"{penalty[0]:.4f}")
        10.0000

    Source:
        Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, "Improved Training of Wasserstein GANs", 2017.
    """
    name = "gradient_penalty"
    first, kept, _ = _examples(name, "real_examples", critic, real_examples, where)
    second = floating(name, "generated_examples", generated_examples)
    check_same_shape(name, "generated_examples", second, "real_examples", first)
    dtype = compute_dtype(first, second)
    weight = hyperparameter(name, "weight", weight, dtype, 0)
    norm = hyperparameter(name, "norm", norm, dtype, 0)
    share = expand(jax.random.uniform(prng_key(name, "key", key), first.shape[:1], dtype), first.ndim)
    between = share * first.astype(dtype) + (1 - share) * clean(second, kept).astype(dtype)
    squared = _squared_gradient(name, critic, between)
    steep = squared > 0
    length = jnp.where(steep, jnp.sqrt(jnp.where(steep, squared, 1)), 0)
    return finish(jnp.square(length - norm) * weight, kept)


def r1_penalty(
    critic: Callable[[Array], Array],
    examples: Float[ArrayLike, " batch *features"],
    *,
    weight: Scalar = 10.0,
    where: Bool[ArrayLike, " batch"] | None = None,
) -> Float[Array, " batch"]:
    r"""Penalty on the discriminator's gradient: R1 at real examples, R2 at generated ones.

    $$
    \frac{\gamma}{2} \lVert \nabla D(x) \rVert^2
    $$

    The discriminator must score every example by itself: batch normalisation in it would mix their gradients.

    Args:
        critic: The discriminator D, from examples `[B, ...]` to scores (logits) `[B]`; its parameters are what it
            closes over.
        examples: Examples x `[B, ...]`.
        weight: Factor γ, at least 0.
        where: Boolean mask `[B]`; a masked entry has penalty 0 and gradient 0 and may hold anything.

    Returns:
        Penalties `[B]`, float32 (float64 for float64 examples).

    Raises:
        TypeError: If the critic is not a function, the examples not floating point or `where` not boolean.
        ValueError: If shapes do not match or `weight` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{r1_penalty(lambda x: 2.0 * x[:, 0], jnp.ones((2, 3)))[0]:.4f}")
        20.0000

    Source:
        Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually Converge?", 2018.
    """
    inputs, kept, dtype = _examples("r1_penalty", "examples", critic, examples, where)
    weight = hyperparameter("r1_penalty", "weight", weight, dtype, 0)
    return finish(_squared_gradient("r1_penalty", critic, inputs.astype(dtype)) * (weight / 2), kept)


def _score(function: str, scores: ArrayLike, where: ArrayLike | None, penalty: Callable[[Array], Array]) -> Array:
    """h(s) of the generator."""
    scores = floating(function, "scores", scores)
    kept = mask(function, where, scores.shape)
    return finish(penalty(clean(scores, kept).astype(compute_dtype(scores))), kept)


def _judge(
    function: str,
    scores: ArrayLike,
    labels: ArrayLike,
    where: ArrayLike | None,
    of_real: Callable[[Array], Array],
    of_generated: Callable[[Array], Array] | None = None,
) -> Array:
    """r f(s) + (1 - r) g(s) of the discriminator; g(s) = f(-s) where only f is given."""
    scores, shares = floating(function, "scores", scores), real(function, "real", labels)
    check_same_shape(function, "real", shares, "scores", scores)
    kept, dtype = mask(function, where, scores.shape), compute_dtype(scores)
    scores, shares = clean(scores, kept).astype(dtype), clean(shares, kept).astype(dtype)
    generated = of_real(-scores) if of_generated is None else of_generated(scores)
    return finish(shares * of_real(scores) + (1 - shares) * generated, kept, (shares >= 0) & (shares <= 1))


def _examples(
    function: str, name: str, critic: Callable[[Array], Array], examples: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array | None, jnp.dtype]:
    """Checked and cleaned examples, in their own dtype, the mask and the compute dtype."""
    check_callable(function, "critic", critic, "from examples [B, ...] to scores [B]")
    inputs = floating(function, name, examples)
    check_rank(function, name, inputs, 1, "[B, ...]")
    kept = mask(function, where, inputs.shape[:1])
    return clean(inputs, kept), kept, compute_dtype(inputs)


def _squared_gradient(function: str, critic: Callable[[Array], Array], inputs: Array) -> Array:
    """The squared norm of the critic's gradient at every example."""

    def summed(inputs: Array) -> Array:
        scores = critic(inputs)
        if jnp.shape(scores) != inputs.shape[:1]:
            raise ValueError(
                f"{function}: critic must return scores {list(inputs.shape[:1])}, got {describe(jnp.asarray(scores))}"
            )
        return jnp.sum(lax.convert_element_type(scores, inputs.dtype))

    return jnp.sum(jax.grad(summed)(inputs) ** 2, axis=tuple(range(1, inputs.ndim)))
