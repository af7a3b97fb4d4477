"""LegendreTron: log loss under a learnt canonical link, the gradient of a strictly convex potential.

A potential is any convex function of the scores `[C - 1]`, of one example, that closes over its parameters: the one
here, or a user's. It is learnt jointly with the classifier:

    def loss_fn(params, batch, key):
        potential = partial(convex_potential, params["link"])
        losses = legendretron_loss(model.apply(params["model"], batch["x"]), batch["y"], potential=potential)
        return losses.mean(), {}
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from objectives._inputs import (
    check_callable,
    check_classes,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    mask,
    prng_key,
    static_integer,
)
from objectives._softmax import expected_penalty
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float


class ConvexPotential(NamedTuple):
    """Parameters of an input-convex network and of the square that makes it strongly convex; an ordinary pytree.

    Attributes:
        inputs: For every layer the weights of the scores, `[D, H]`, and `[D, 1]` for the last.
        hidden: For every layer after the first the weights of the layer before, made positive by a softplus.
        biases: For every layer its biases.
        quadratic: Raw weight of the square, a scalar that goes through a softplus.
        network: Raw weight of the network, a scalar that goes through a softplus.
    """

    inputs: tuple[Array, ...]
    hidden: tuple[Array, ...]
    biases: tuple[Array, ...]
    quadratic: Array
    network: Array


def init_convex_potential(key: Array, dimension: int, *, width: int = 4, depth: int = 4) -> ConvexPotential:
    r"""Parameters of a random convex potential near half the squared norm, whose link is near the identity.

    Args:
        key: PRNG key.
        dimension: Number of scores, one less than the number of classes.
        width: Units of a hidden layer.
        depth: Number of hidden layers.

    Returns:
        A `ConvexPotential` of float32 arrays, to be trained.

    Raises:
        TypeError: If `key` is no PRNG key or a size no integer.
        ValueError: If a size is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> params = init_convex_potential(jax.random.key(0), 2, width=3, depth=1)
        >>> print(jax.tree.map(jnp.shape, params.inputs))
        ((2, 3), (2, 1))

    Source:
        Lam, Walder, Penev, Nock, "LegendreTron: Uprising Proper Multiclass Loss Learning", 2023.
    """
    name = "init_convex_potential"
    dimension, width = static_integer(name, "dimension", dimension), static_integer(name, "width", width)
    sizes = [width] * static_integer(name, "depth", depth) + [1]
    keys = jax.random.split(prng_key(name, "key", key), 2 * len(sizes))
    return ConvexPotential(
        inputs=tuple(jax.random.normal(k, (dimension, size)) / dimension**0.5 for k, size in zip(keys, sizes)),
        hidden=tuple(
            jax.random.normal(k, (before, size)) for k, before, size in zip(keys[len(sizes) :], sizes, sizes[1:])
        ),
        biases=tuple(jnp.zeros(size) for size in sizes),
        quadratic=jnp.log(jnp.expm1(jnp.ones(()))),
        network=jnp.full((), -2.0),
    )


def convex_potential(params: ConvexPotential, scores: Float[ArrayLike, " scores"]) -> Float[Array, ""]:
    r"""A strongly convex function: a positive share of an input-convex network, plus one of half the squared norm.

    $$
    \Phi(z) = \mathrm{sp}(w_1)\, N(z) + \mathrm{sp}(w_0)\, \tfrac12 \lVert z \rVert^2, \quad
    h_{l+1} = \mathrm{sp}\Big( \tfrac1H\, \mathrm{sp}(V_l)\, h_l + U_l z + b_l \Big)
    $$

    with sp the softplus, N the last layer without one, and H the number of units that are averaged.

    Args:
        params: Parameters, from `init_convex_potential`.
        scores: Scores z `[D]` of one example.

    Returns:
        The potential, a scalar.

    Raises:
        TypeError: If the scores are not floating point.
        ValueError: If there are not as many scores as the parameters are for.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> params = init_convex_potential(jax.random.key(0), 2)._replace(network=jnp.array(-100.0))
        >>> print(f"{convex_potential(params, jnp.array([1.0, 2.0])):.4f}")
        2.5000

    Source:
        Amos, Xu, Kolter, "Input Convex Neural Networks", 2017; Lam, Walder, Penev, Nock, "LegendreTron: Uprising Proper
        Multiclass Loss Learning", 2023.
    """
    z = floating("convex_potential", "scores", scores)
    if z.shape != params.inputs[0].shape[:1]:
        raise ValueError(
            f"convex_potential: scores must have shape {list(params.inputs[0].shape[:1])}, got {describe(z)}"
        )
    z = z.astype(compute_dtype(z))
    linear = [z @ u + b for u, b in zip(params.inputs, params.biases)]
    hidden = jax.nn.softplus(linear[0])
    for weights, affine in zip(params.hidden[:-1], linear[1:-1]):
        hidden = jax.nn.softplus(hidden @ jax.nn.softplus(weights) / len(weights) + affine)
    network = hidden @ jax.nn.softplus(params.hidden[-1]) / len(params.hidden[-1]) + linear[-1]
    square = jnp.sum(z * z) / 2
    return jax.nn.softplus(params.network) * network[0] + jax.nn.softplus(params.quadratic) * square


def log_softmax_plus(logits: Float[ArrayLike, "*batch scores"]) -> Float[Array, "*batch classes"]:
    r"""Log-softmax of C - 1 scores with a 0 for the last class: one to one onto the open simplex.

    $$
    \log p_c = z_c - \log\Big( 1 + \sum_k e^{z_k} \Big), \quad z_C = 0
    $$

    Args:
        logits: Scores z `[..., C - 1]`, log odds against the last class.

    Returns:
        Log probabilities `[..., C]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If they are a scalar.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{jnp.exp(log_softmax_plus(jnp.zeros(3)))[3]:.4f}")
        0.2500

    Source:
        Lam, Walder, Penev, Nock, "LegendreTron: Uprising Proper Multiclass Loss Learning", 2023.
    """
    scores = floating("log_softmax_plus", "logits", logits)
    if scores.ndim == 0:
        raise ValueError(f"log_softmax_plus: logits must have shape [..., C - 1], got {describe(scores)}")
    return jax.nn.log_softmax(_append_zero(scores.astype(compute_dtype(scores))), axis=-1)


def canonical_link(
    scores: Float[ArrayLike, "*batch scores"], *, potential: Callable[[Array], Array]
) -> Float[Array, "*batch scores"]:
    r"""The inverse of a learnt canonical link: the gradient of a convex potential, a monotone and invertible map.

    $$
    v^{-1}(z) = \nabla_z \Phi(z)
    $$

    Args:
        scores: Scores z `[..., D]`.
        potential: Φ from the scores `[D]` of one example to a scalar, strictly convex.

    Returns:
        Log odds `[..., D]` for `log_softmax_plus`.

    Raises:
        TypeError: If the scores are not floating point or `potential` is not a function.
        ValueError: If the scores are a scalar.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{canonical_link(jnp.array([[2.0, 1.0]]), potential=lambda z: jnp.sum(z**2))[0, 0]:.4f}")
        4.0000

    Source:
        Lam, Walder, Penev, Nock, "LegendreTron: Uprising Proper Multiclass Loss Learning", 2023.
    """
    return _link("canonical_link", floating("canonical_link", "scores", scores), potential)


def legendretron_loss(
    scores: Float[ArrayLike, "*batch scores"],
    labels: ClassLabels,
    *,
    potential: Callable[[Array], Array],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Log loss under a learnt canonical link: a proper loss of several classes that is learnt with the classifier.

    $$
    -\sum_c q_c \log \operatorname{softmax}^+_c\left( \nabla \Phi(z) \right)
    $$

    With Φ half the squared norm it is multinomial logistic regression with the last class as reference.

    Args:
        scores: Scores z `[..., C - 1]`.
        labels: Class ids `[...]` below C, or probabilities q (one-hot included) `[..., C]`.
        potential: Φ from the scores `[C - 1]` of one example to a scalar, strictly convex, such as
            `partial(convex_potential, params)`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 scores); NaN where a class id is out of range.

    Raises:
        TypeError: If the scores are not floating point, class ids not integers, `potential` not a function or `where`
            not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> half_square = lambda z: jnp.sum(z**2) / 2
        >>> print(f"{legendretron_loss(jnp.zeros((1, 3)), jnp.array([3]), potential=half_square)[0]:.4f}")
        1.3863

    Source:
        Lam, Walder, Penev, Nock, "LegendreTron: Uprising Proper Multiclass Loss Learning", 2023.
    """
    name = "legendretron_loss"
    z = floating(name, "scores", scores)
    check_classes(name, "scores", z, "[..., C - 1]")
    kept = mask(name, where, z.shape[:-1])
    logits = _append_zero(_link(name, clean(z, kept), potential))
    targets = class_labels(name, labels, logits.shape, logits.dtype, kept)
    return finish(expected_penalty(logits, targets, jnp.negative), kept, targets.valid)


def _link(function: str, scores: Array, potential: Callable[[Array], Array]) -> Array:
    """The gradient of the potential at every row, in the compute dtype."""
    check_callable(function, "potential", potential, "of the scores [D] of one example")
    check_classes(function, "scores", scores, "[..., D]")
    rows = scores.astype(compute_dtype(scores)).reshape(-1, scores.shape[-1])
    return jax.vmap(jax.grad(potential))(rows).reshape(scores.shape)


def _append_zero(scores: Array) -> Array:
    return jnp.concatenate([scores, jnp.zeros_like(scores[..., :1], shape=(*scores.shape[:-1], 1))], axis=-1)
