r"""Differentiable sorting networks: comparators that swap softly, layer by layer.

One equation: a layer pairs every position i with a partner p, and both keep a share of their own and take the rest,

    x_i <- α x_i + (1 - α) x_p,    α = s(β (x_p - x_i))  at the lower end,  s(β (x_i - x_p))  at the upper end,

where s is a sigmoid; whatever is carried along is mixed alike. Networks are tables of partners, kinds of swap are
sigmoids: to add one, add a line to `SIGMOIDS`, with s(0) = 1/2 and limits 0 and 1.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._inputs import (
    check_choice,
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def _optimal(z: Array) -> Array:
    """Linear up to 1/4, then as 1 - 1 / (16 z): the sigmoid of least error whose network is monotonic."""
    outside = jnp.abs(z) > 0.25
    return jnp.where(outside, (1 + jnp.sign(z)) / 2 - 1 / (16 * jnp.where(outside, z, 1)), z + 0.5)


SIGMOIDS: dict[str, Callable[[Array], Array]] = {
    "cauchy": lambda z: jnp.arctan(z) / jnp.pi + 0.5,
    "reciprocal": lambda z: 0.5 * (z / (2 + jnp.abs(z)) + 1),
    "optimal": _optimal,
    "logistic": jax.nn.sigmoid,
}


def soft_swap(
    a: Float[ArrayLike, "*shape"],
    b: Float[ArrayLike, "*shape"],
    *,
    swap: str = "cauchy",
    steepness: Scalar = 10.0,
    error_free: bool = False,
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"], Float[Array, "*shape"]]:
    r"""The comparator of a sorting network: a soft minimum and a soft maximum of two numbers.

    $$
    \alpha = s(\beta (b - a)), \qquad \mathrm{low} = \alpha a + (1 - \alpha) b, \qquad
    \mathrm{high} = (1 - \alpha) a + \alpha b
    $$

    Kinds of swap: "cauchy" $\arctan(z) / \pi + 1/2$, "reciprocal" $(z / (2 + |z|) + 1) / 2$, "optimal" (linear up to
    1/4, then $1 - 1 / (16 z)$) and "logistic". With all but the last, low never decreases in a, nor high in b.

    Args:
        a: Numbers `[...]`.
        b: Numbers of the same shape.
        swap: Kind of swap: "cauchy", "reciprocal", "optimal" or "logistic".
        steepness: Inverse temperature β, positive.
        error_free: Whether the values are the exact minimum and maximum, with the gradient of the soft ones.

    Returns:
        Low, high and the share α `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the inputs are not floating point.
        ValueError: If shapes differ, `steepness` is out of range or there is no such swap.

    Examples:
        >>> import jax.numpy as jnp
        >>> low, high, share = soft_swap(jnp.array(1.0), jnp.array(0.0), steepness=1.0)
        >>> print(f"{low:.4f} {high:.4f} {share:.4f}")
        0.2500 0.7500 0.2500

    Source:
        Petersen, Borgelt, Kuehne, Deussen, "Monotonic Differentiable Sorting Networks", 2022. Kim, Yoon, Cho,
        "Generalized Neural Sorting Networks with Error-Free Differentiable Swap Functions", 2024.
    """
    name = "soft_swap"
    a, b = floating(name, "a", a), floating(name, "b", b)
    check_same_shape(name, "b", b, "a", a)
    dtype = compute_dtype(a, b)
    sharpness = hyperparameter(name, "steepness", steepness, dtype, 0, open_low=True)
    a, b = a.astype(dtype), b.astype(dtype)
    share = _choice(name, "swap", swap, SIGMOIDS)(sharpness * (b - a))
    if error_free:
        hard = b >= a
        return _mix(a, b, share, hard), _mix(b, a, share, hard), hard + _gradient_of(share)
    return _mix(a, b, share), _mix(b, a, share), share


def sorting_network(
    values: Float[ArrayLike, "*batch items"],
    carried: Float[ArrayLike, "*batch items channels"] | None = None,
    *,
    network: str = "bitonic",
    swap: str = "cauchy",
    steepness: Scalar = 10.0,
    error_free: bool = False,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> tuple[Float[Array, "*batch items"], Float[Array, "*batch items channels"]]:
    r"""Sort softly, ascending, by a network of differentiable comparators, and carry something along.

    $$
    \hat x = P x, \qquad P = P_L \cdots P_1, \quad P_l \text{ of the swaps of a layer, doubly stochastic}
    $$

    Without `carried` the second result is the soft permutation P itself, n² numbers; with it, P times `carried` at
    $n \log^2 n$ for each channel, and no matrix is formed. One scan runs over the layers. The bitonic network has
    $\log_2 n\, (\log_2 n + 1) / 2$ of them, for n rounded up to a power of two; the odd-even network has n. Swaps of a
    soft network add up to a result that depends a little on the order of the input; with `error_free` it does not, but
    for ties.

    Args:
        values: What is sorted `[..., n]`.
        carried: What is permuted alike `[..., n, K]`; the identity by default.
        network: "bitonic" or "odd_even".
        swap: Kind of swap: "cauchy", "reciprocal", "optimal" (these are monotonic) or "logistic".
        steepness: Inverse temperature β of the swaps, positive.
        error_free: Whether every swap is exact in its values and soft in its gradient.
        where: Boolean mask of items `[..., n]`; masked ones are left out: the others come first in the results, which
            are 0 after them, and in the columns of P that belong to masked items.

    Returns:
        Sorted values `[..., n]` and the permuted `carried` `[..., n, K]` (P `[..., n, n]` without), float32 (float64
        for float64 inputs).

    Raises:
        TypeError: If the inputs are not floating point or `where` is not boolean.
        ValueError: If shapes do not match, `steepness` is out of range, or there is no such network or swap.

    Examples:
        >>> import jax.numpy as jnp
        >>> values, permutation = sorting_network(jnp.array([3.0, 1.0, 2.0]), steepness=100.0)
        >>> print(f"{values[0]:.4f} {permutation[0, 1]:.4f}")
        1.0064 0.9952

    Source:
        Petersen, Borgelt, Kuehne, Deussen, "Differentiable Sorting Networks for Scalable Sorting and Ranking
        Supervision", 2021, and "Monotonic Differentiable Sorting Networks", 2022. Kim, Yoon, Cho, "Generalized Neural
        Sorting Networks with Error-Free Differentiable Swap Functions", 2024.
    """
    name = "sorting_network"
    values = floating(name, "values", values)
    check_rank(name, "values", values, 1, "[..., n]")
    kept, items = mask(name, where, values.shape), values.shape[-1]
    arrays = [values]
    if carried is not None:
        arrays.append(floating(name, "carried", carried))
        if arrays[1].shape[:-1] != values.shape:
            expected = [*values.shape, "K"]
            raise ValueError(f"{name}: carried must have shape {expected}, got {describe(arrays[1])}")
    dtype = compute_dtype(*arrays)
    sharpness = hyperparameter(name, "steepness", steepness, dtype, 0, open_low=True)
    sigmoid, table = _choice(name, "swap", swap, SIGMOIDS), _choice(name, "network", network, NETWORKS)
    rows = jnp.broadcast_to(jnp.eye(items, dtype=dtype), (*values.shape, items)) if carried is None else arrays[1]
    return _run(
        clean(values, kept).astype(dtype), clean(rows, kept).astype(dtype), kept, table, sigmoid, sharpness, error_free
    )


def diffsort_loss(
    predictions: Float[ArrayLike, "*batch items"],
    targets: Real[ArrayLike, "*batch items"],
    *,
    network: str = "odd_even",
    swap: str = "cauchy",
    steepness: Scalar = 10.0,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Supervision by order alone: the soft permutation that sorts the predictions should be the one of the targets.

    $$
    -\frac{1}{n^2} \sum_{r, i} \big[ Q_{ri} \log P_{ri} + (1 - Q_{ri}) \log(1 - P_{ri}) \big]
    $$

    with P the permutation of `sorting_network` and Q the one that sorts the targets (ties by position). Logarithms are
    held at -100, as PyTorch holds them.

    Args:
        predictions: Predicted values of the items `[..., n]`.
        targets: Any numbers in the true order `[..., n]`.
        network: "odd_even" or "bitonic".
        swap: Kind of swap: "cauchy", "reciprocal", "optimal" or "logistic".
        steepness: Inverse temperature of the swaps, positive.
        where: Boolean mask of items `[..., n]`; masked ones are left out and may hold anything.

    Returns:
        Losses of the lists `[...]` in nats, float32 (float64 for float64 predictions); 0 for an empty list.

    Raises:
        TypeError: If the predictions are not floating point or `where` is not boolean.
        ValueError: If shapes do not match, `steepness` is out of range, or there is no such network or swap.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{diffsort_loss(jnp.array([0.0, 1.0]), jnp.array([5, 7]), steepness=1.0):.4f}")
        0.2877

    Source:
        Petersen, Borgelt, Kuehne, Deussen, "Differentiable Sorting Networks for Scalable Sorting and Ranking
        Supervision", 2021, and "Monotonic Differentiable Sorting Networks", 2022.
    """
    name = "diffsort_loss"
    scores, kept, order = _lists(name, predictions, targets, where)
    sharpness = hyperparameter(name, "steepness", steepness, scores.dtype, 0, open_low=True)
    sigmoid, table = _choice(name, "swap", swap, SIGMOIDS), _choice(name, "network", network, NETWORKS)
    items = scores.shape[-1]
    if items == 0:
        return jnp.sum(scores, axis=-1)
    rows = clean(jnp.broadcast_to(jnp.eye(items, dtype=scores.dtype), (*scores.shape, items)), kept)
    soft = _run(scores, rows, kept, table, sigmoid, sharpness, False)[1]
    true = order[..., :, None] == jnp.arange(items)
    if kept is None:
        return jnp.sum(-_log(jnp.where(true, soft, 1 - soft)), axis=(-2, -1)) / max(items, 1) ** 2
    count = jnp.sum(kept, axis=-1)
    counted = (jnp.arange(items) < count[..., None])[..., :, None] & kept[..., None, :]
    entropies = jnp.where(counted, -_log(jnp.where(true, soft, 1 - soft)), 0)
    return jnp.sum(entropies, axis=(-2, -1)) / jnp.maximum(count, 1) ** 2


def error_free_sorting_loss(
    predictions: Float[ArrayLike, "*batch items"],
    targets: Real[ArrayLike, "*batch items"],
    carried: Float[ArrayLike, "*batch items channels"],
    *,
    network: str = "odd_even",
    swap: str = "optimal",
    steepness: Scalar = 10.0,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The inputs in the predicted order, exactly permuted, should be the inputs in the true order.

    $$
    \frac{1}{n K} \big\lVert P X - Q X \big\rVert_F^2
    $$

    with P the error-free permutation of `sorting_network`, a true permutation with a soft gradient, and Q the one that
    sorts the targets. The paper adds it, with a weight, to the loss of the soft permutation, `diffsort_loss`. The
    matrices are never formed.

    Args:
        predictions: Predicted values of the items `[..., n]`.
        targets: Any numbers in the true order `[..., n]`.
        carried: The items X themselves `[..., n, K]`, their pixels, say.
        network: "odd_even" or "bitonic".
        swap: Kind of swap: "optimal", "cauchy", "reciprocal" or "logistic".
        steepness: Inverse temperature of the swaps, positive.
        where: Boolean mask of items `[..., n]`; masked ones are left out and may hold anything.

    Returns:
        Losses of the lists `[...]`, float32 (float64 for float64 inputs); 0 for an empty list.

    Raises:
        TypeError: If predictions or carried are not floating point or `where` is not boolean.
        ValueError: If shapes do not match, `steepness` is out of range, or there is no such network or swap.

    Examples:
        >>> import jax.numpy as jnp
        >>> items = jnp.array([[0.0, 1.0], [4.0, 3.0]])
        >>> print(f"{error_free_sorting_loss(jnp.array([2.0, 1.0]), jnp.array([0, 1]), items):.4f}")
        10.0000

    Source:
        Kim, Yoon, Cho, "Generalized Neural Sorting Networks with Error-Free Differentiable Swap Functions", 2024.
    """
    name = "error_free_sorting_loss"
    scores, kept, order = _lists(name, predictions, targets, where)
    rows = floating(name, "carried", carried)
    if rows.shape[:-1] != scores.shape or rows.ndim == 0:
        raise ValueError(f"{name}: carried must have shape {[*scores.shape, 'K']}, got {describe(rows)}")
    dtype = compute_dtype(scores, rows)
    sharpness = hyperparameter(name, "steepness", steepness, dtype, 0, open_low=True)
    sigmoid, table = _choice(name, "swap", swap, SIGMOIDS), _choice(name, "network", network, NETWORKS)
    rows = clean(rows, kept).astype(dtype)
    if scores.shape[-1] == 0:
        return jnp.sum(rows, axis=(-2, -1))
    predicted = _run(scores.astype(dtype), rows, kept, table, sigmoid, sharpness, True)[1]
    wanted = jnp.take_along_axis(rows, order[..., None], axis=-2, mode="promise_in_bounds")
    count = scores.shape[-1] if kept is None else jnp.sum(kept, axis=-1)
    return jnp.sum((predicted - wanted) ** 2, axis=(-2, -1)) / jnp.maximum(count * rows.shape[-1], 1)


def _bitonic(items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Partners, directions (+1 where the lower value stays) and order of the layers, for the next power of two."""
    width = 1 << max(items - 1, 0).bit_length()
    positions, partners, directions = np.arange(width), [], []
    for block in range(1, width.bit_length()):
        for layer in reversed(range(block)):
            partner = positions ^ (1 << layer)
            ascending = (positions >> block) % 2 == 0
            partners.append(partner)
            directions.append(np.where(ascending == (positions < partner), 1, -1))
    shape = (len(partners), width)
    return np.reshape(partners, shape), np.reshape(directions, shape), np.arange(len(partners))


def _odd_even(items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Partners and directions of the two kinds of layers, and their order; the items at the ends may be alone."""
    positions = np.arange(items)
    partners = []
    for start in (0, 1):
        partner = np.where((positions - start) % 2 == 0, positions + 1, positions - 1)
        partners.append(np.where((partner < 0) | (partner >= items), positions, partner))
    return np.stack(partners), np.sign(np.stack(partners) - positions), np.arange(items) % 2


NETWORKS: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]] = {
    "bitonic": _bitonic,
    "odd_even": _odd_even,
}


def _run(
    values: Array,
    rows: Array,
    kept: Array | None,
    table: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]],
    sigmoid: Callable[[Array], Array],
    steepness: Scalar,
    error_free: bool,
) -> tuple[Array, Array]:
    """Values `[..., n]` and rows `[..., n, K]` through the network; padding and masked items, all 0, swap to the end.

    Whether an item is left out is sorted along, by exact swaps; where both of a pair count, the swap is soft.
    """
    items = values.shape[-1]
    partners, directions, order = (jnp.asarray(x) for x in table(items))
    width = partners.shape[-1]
    if order.size == 0:
        return values, rows
    left_out = None if kept is None else ~kept
    if width != items:
        pad = [(0, 0)] * (values.ndim - 1) + [(0, width - items)]
        values, rows = jnp.pad(values, pad), jnp.pad(rows, [*pad, (0, 0)])
        left_out = jnp.zeros((*values.shape[:-1], items), bool) if left_out is None else left_out
        left_out = jnp.pad(left_out, pad, constant_values=True)

    def layer(state: tuple[Array, Array, Array | None], index: Array) -> tuple[tuple[Array, Array, Array | None], None]:
        values, rows, left_out = state
        partner, direction = partners[index], directions[index]
        other, other_rows = values[..., partner], rows[..., partner, :]
        rise = direction.astype(values.dtype) * (other - values)
        share, hard = sigmoid(jnp.asarray(steepness * rise)), rise >= 0
        if left_out is not None:
            fall = direction * (left_out[..., partner].astype(jnp.int32) - left_out)
            share = jnp.where(fall == 0, share, (fall > 0).astype(share.dtype))
            hard = jnp.where(fall == 0, hard, fall > 0)
            left_out = jnp.where(fall < 0, left_out[..., partner], left_out)
        exact = hard if error_free else None
        exact_rows = hard[..., None] if error_free else None
        return (_mix(values, other, share, exact), _mix(rows, other_rows, share[..., None], exact_rows), left_out), None

    (values, rows, _), _ = lax.scan(layer, (values, rows, left_out), order)
    return values[..., :items], rows[..., :items, :]


def _mix(own: Array, other: Array, share: Array, hard: Array | None = None) -> Array:
    """A share of one's own and the rest of the other's; with `hard`, all of the one or the other, in value alone."""
    soft = share * own + (1 - share) * other
    if hard is None:
        return soft
    chosen: Array = jnp.where(hard, lax.stop_gradient(own), lax.stop_gradient(other))
    return chosen + _gradient_of(soft)


def _gradient_of(values: Array) -> Array:
    """Zero, with the gradient of the values."""
    return values - lax.stop_gradient(values)


def _lists(
    function: str, predictions: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array | None, Array]:
    """Cleaned predictions in the compute dtype, the mask, and the order of the targets, masked items last."""
    scores, truth = floating(function, "predictions", predictions), real(function, "targets", targets)
    check_rank(function, "predictions", scores, 1, "[..., n]")
    check_same_shape(function, "targets", truth, "predictions", scores)
    kept = mask(function, where, scores.shape)
    left_out = jnp.zeros(scores.shape, bool) if kept is None else ~kept
    order = jnp.lexsort((clean(truth, kept), left_out), axis=-1)
    return clean(scores, kept).astype(compute_dtype(scores)), kept, order


def _log(values: Array) -> Array:
    """log, at least -100, with gradient 0 there."""
    least = max(float(np.exp(-100.0)), float(jnp.finfo(values.dtype).tiny))
    return jnp.where(values > least, jnp.log(jnp.where(values > least, values, 1)), -100)


def _choice(function: str, name: str, choice: str, choices: Mapping[str, Any]) -> Any:
    check_choice(function, name, choice, choices)
    return choices[choice]
