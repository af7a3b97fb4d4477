"""Which examples to trust: self-paced weights and their loss, and the selection of small losses (co-teaching).

A self-paced regulariser f chooses the weight of an example with loss l,

    v(l) = argmin_{0 ≤ v ≤ 1}  v l + f(v),

and the loss that this minimum makes of l has v(l) for its derivative. A member is the pair of v and f.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._batch import gather_alike
from objectives._inputs import (
    check_choice,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
    to_array,
)
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Scalar

Regularizer = Literal["hard", "linear", "log", "mixture"]


def self_paced_weights(
    losses: Float[ArrayLike, "*batch"],
    *,
    threshold: Scalar,
    regularizer: Regularizer = "hard",
    lower: Scalar | None = None,
    annotated: Bool[ArrayLike, "*batch"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Self-paced weights: how much an example of this loss counts while the model is as old as it is.

    $$
    v = \arg\min_{0 \le v \le 1} v\, l + f(v; \lambda): \quad
    [l < \lambda] \ (\text{hard}), \quad
    \left(1 - \tfrac{l}{\lambda}\right)_+ \ (\text{linear}), \quad
    \tfrac{\log(l + 1 - \lambda)}{\log(1 - \lambda)} \ (\text{log}), \quad
    \tfrac{1/l - 1/\lambda}{1/\lambda' - 1/\lambda} \ (\text{mixture})
    $$

    the last two 0 from l = λ on, and the mixture 1 up to λ'. Raise the threshold round by round, as with
    `optax.exponential_decay(threshold, 1, 1.2)`, and easy examples enter before hard ones. Use the weights in
    `reduce_mean(losses, weights=...)`.

    Args:
        losses: Losses l of the examples `[...]`, at least 0.
        threshold: Age λ of the model in units of the loss, positive; below 1 for `"log"`.
        regularizer: Which f: `"hard"`, `"linear"`, `"log"` or `"mixture"`.
        lower: Loss λ' up to which the mixture's weight is 1, positive and below the threshold; of `"mixture"` alone.
        annotated: Boolean `[...]`: examples whose labels were asked for and are certain, of weight 1 whatever their
            loss, as in active self-paced learning.
        where: Boolean mask `[...]`; a masked entry has weight 0 and may hold anything.

    Returns:
        Weights `[...]` in [0, 1], float32 (float64 for float64 losses), without gradient.

    Raises:
        TypeError: If the losses are not floating point, or a mask not boolean.
        ValueError: If shapes differ, a hyperparameter is out of range or the word unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(self_paced_weights(jnp.array([0.0, 1.0, 3.0]), threshold=2.0, regularizer="linear"))
        [1.  0.5 0. ]

    Source:
        Kumar, Packer, Koller, "Self-Paced Learning for Latent Variable Models", 2010. Jiang, Meng, Mitamura,
        Hauptmann, "Easy Samples First: Self-paced Reranking for Zero-Example Multimedia Search", 2014. Lin, Wang, Meng,
        Zuo, Zhang, "Active Self-Paced Learning for Cost-Effective and Progressive Face Identification", 2018.
    """
    values, _, kept = _self_paced("self_paced_weights", losses, threshold, regularizer, lower, annotated, where)
    return finish(values, kept)


def self_paced_loss(
    losses: Float[ArrayLike, "*batch"],
    *,
    threshold: Scalar,
    regularizer: Regularizer = "hard",
    lower: Scalar | None = None,
    annotated: Bool[ArrayLike, "*batch"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The loss that self-paced weights make of a loss: what they minimise, at its minimum over them.

    $$
    F(l) = \min_{0 \le v \le 1} v\, l + f(v; \lambda), \qquad F'(l) = v(l)
    $$

    with the v of `self_paced_weights`. The hard one is the capped loss $\min(l, \lambda) - \lambda$; the linear one
    has $f = \lambda (v^2 / 2 - v)$, the logarithmic one $f = \zeta v - \zeta^v / \log \zeta$ with
    $\zeta = 1 - \lambda$, the mixture $f = -\zeta \log(v + \zeta / \lambda)$ with
    $\zeta = \lambda \lambda' / (\lambda - \lambda')$.

    Args:
        losses: Losses l of the examples `[...]`, at least 0.
        threshold: Age λ of the model in units of the loss, positive; below 1 for `"log"`.
        regularizer: Which f: `"hard"`, `"linear"`, `"log"` or `"mixture"`.
        lower: Loss λ' up to which the mixture's weight is 1, positive and below the threshold; of `"mixture"` alone.
        annotated: Boolean `[...]`: examples of weight 1 whatever their loss.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 losses).

    Raises:
        TypeError: If the losses are not floating point, or a mask not boolean.
        ValueError: If shapes differ, a hyperparameter is out of range or the word unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(self_paced_loss(jnp.array([0.0, 1.0, 3.0]), threshold=2.0))
        [-2. -1.  0.]

    Source:
        Meng, Zhao, Jiang, "A Theoretical Understanding of Self-Paced Learning", 2017. Lin, Wang, Meng, Zuo, Zhang,
        "Active Self-Paced Learning for Cost-Effective and Progressive Face Identification", 2018.
    """
    weights, latent, kept = _self_paced("self_paced_loss", losses, threshold, regularizer, lower, annotated, where)
    return finish(latent(weights), kept)


def small_loss_weights(
    losses: Float[ArrayLike, "*batch"],
    *,
    keep: Scalar = 0.8,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""Weight 1 for the share of the batch with the smallest losses, 0 for the others: co-teaching's selection.

    $$
    w_i = [\mathrm{rank}(l_i) < \lfloor \mathrm{keep} \cdot n \rfloor]
    $$

    Networks learn clean labels first, so small losses are likely clean. Two networks teach each other with each
    other's selection: `reduce_mean(losses_a, weights=small_loss_weights(losses_b, keep=keep))`. The share falls from 1
    to one minus the noise rate in the first epochs.

    Args:
        losses: Losses of the examples `[...]`; equal ones are taken in their order, NaN last.
        keep: Share of the examples that is kept, in [0, 1].
        where: Boolean mask `[...]`; a masked entry has weight 0, does not count as an example and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the ranks are then those in
            the global batch.

    Returns:
        Weights `[...]`, 0 or 1, float32 (float64 for float64 losses), without gradient.

    Raises:
        TypeError: If the losses are not floating point or `where` is not boolean.
        ValueError: If shapes differ or `keep` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(small_loss_weights(jnp.array([0.1, 3.0, 0.2, 0.5]), keep=0.5))
        [1. 0. 1. 0.]

    Source:
        Han, Yao, Yu, Niu, Xu, Hu, Tsang, Sugiyama, "Co-teaching: Robust Training of Deep Neural Networks with Extremely
        Noisy Labels", 2018.
    """
    name = "small_loss_weights"
    values = floating(name, "losses", losses)
    kept, dtype = mask(name, where, values.shape), compute_dtype(values)
    keep = hyperparameter(name, "keep", keep, dtype, 0, 1)
    present = jnp.ones(values.shape, bool) if kept is None else kept
    flat = lax.stop_gradient(jnp.where(present, values, jnp.nan)).astype(dtype).reshape(-1)
    chosen = jnp.floor(keep * jnp.sum(gather_alike(present.astype(dtype).reshape(-1), axis_name)))
    ranks = jnp.argsort(jnp.argsort(gather_alike(flat, axis_name)))
    if axis_name is not None:
        ranks = lax.dynamic_slice(ranks, (lax.axis_index(axis_name) * flat.shape[0],), flat.shape)
    return finish((ranks < chosen).astype(dtype).reshape(values.shape), kept)


def _self_paced(
    function: str,
    losses: ArrayLike,
    threshold: Scalar,
    regularizer: str,
    lower: Scalar | None,
    annotated: ArrayLike | None,
    where: ArrayLike | None,
) -> tuple[Array, Callable[[Array], Array], Array | None]:
    """The weights, what maps weights to the latent loss, and the mask: the one equation."""
    check_choice(function, "regularizer", regularizer, get_args(Regularizer))
    if (lower is None) == (regularizer == "mixture"):
        raise ValueError(f"{function}: lower belongs to the mixture, and the mixture needs it, got {lower!r}")
    values = floating(function, "losses", losses)
    kept, dtype = mask(function, where, values.shape), compute_dtype(values)
    values = clean(values, kept).astype(dtype)
    high = 1 if regularizer == "log" else math.inf
    top = hyperparameter(function, "threshold", threshold, dtype, 0, high, open_low=True)
    bottom = _lower(function, lower, top, dtype) if lower is not None else top
    below = values < top
    inside = jnp.where(below, values, 0)

    if regularizer == "hard":
        weights, penalty = jnp.ones_like(values), lambda v: -top * v
    elif regularizer == "linear":
        weights, penalty = 1 - inside / top, lambda v: top * (0.5 * v**2 - v)
    elif regularizer == "log":
        zeta = 1 - top
        weights, penalty = jnp.log(inside + zeta) / jnp.log(zeta), lambda v: zeta * v - zeta**v / jnp.log(zeta)
    else:
        zeta = top * bottom / (top - bottom)
        safe = jnp.maximum(inside, bottom)
        weights, penalty = zeta / safe - zeta / top, lambda v: -zeta * jnp.log(v + zeta / top)
    weights = jnp.where(below, jnp.clip(weights, 0, 1), 0)
    if annotated is not None:
        certain = to_array(function, "annotated", annotated)
        if certain.dtype != jnp.bool_:
            raise TypeError(f"{function}: annotated must be boolean, got {describe(certain)}")
        check_same_shape(function, "annotated", certain, "losses", values)
        weights = jnp.where(certain, 1, weights)

    def latent(v: Array) -> Array:
        v = lax.stop_gradient(v)
        return jnp.where(v > 0, v * jnp.where(v > 0, values, 0), 0) + penalty(v)

    return lax.stop_gradient(weights), latent, kept


def _lower(function: str, lower: Scalar, top: Any, dtype: np.dtype) -> Any:
    """The mixture's second threshold: below the first, where both are known."""
    high = math.nextafter(top, 0) if isinstance(top, float) else math.inf
    return hyperparameter(function, "lower", lower, dtype, 0, high, open_low=True)
