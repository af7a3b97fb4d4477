"""The frame of losses of one number per entry: equal shapes, masks, the support of the targets.

A member is its density; everything else happens here:

    def laplace_nll_loss(location, log_scale, targets, *, where=None):
        def nll(y, location, log_scale):
            return jnp.abs(scaled(y - location, log_scale)) + log_scale + LOG_2

        return likelihood("laplace_nll_loss", {"location": location, "log_scale": log_scale}, targets, where, REAL, nll)
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp

from objectives._inputs import clean, compute_dtype, describe, expand, finish, floating, mask, real
from objectives._typing import Array, ArrayLike


class Support(NamedTuple):
    """Where targets may lie, and a place inside.

    Attributes:
        contains: From targets to a boolean mask.
        inside: What stands in for a target outside, until its loss becomes NaN.
    """

    contains: Callable[[Array], Array]
    inside: float


REAL = Support(jnp.isfinite, 0.0)
POSITIVE = Support(lambda y: (y > 0) & jnp.isfinite(y), 1.0)
NON_NEGATIVE = Support(lambda y: (y >= 0) & jnp.isfinite(y), 1.0)
UNIT_INTERVAL = Support(lambda y: (y > 0) & (y < 1), 0.5)


def entries(
    function: str,
    parameters: Mapping[str, ArrayLike],
    targets: Mapping[str, ArrayLike],
    where: ArrayLike | None,
    events: Mapping[str, int] | None = None,
) -> tuple[list[Array], Array | None]:
    """Parameters and targets in the compute dtype, 0 where masked, and the mask.

    Args:
        function: Name of the calling function, for errors.
        parameters: Floating arrays by name.
        targets: Real arrays by name.
        where: Mask of the batch shape.
        events: How many trailing axes of an array are no batch; 0 for those not named.
    """
    events = events or {}
    arrays = {name: floating(function, name, value) for name, value in parameters.items()}
    arrays |= {name: real(function, name, value) for name, value in targets.items()}
    first = next(iter(arrays))
    batch = arrays[first].shape[: arrays[first].ndim - events.get(first, 0)]
    for name, array in arrays.items():
        trailing = events.get(name, 0)
        if array.ndim < trailing or array.shape[: array.ndim - trailing] != batch:
            wanted = ", ".join([*map(str, batch), *["_"] * trailing])
            raise ValueError(f"{function}: {name} must have shape [{wanted}], as {first} has, got {describe(array)}")
    kept, dtype = mask(function, where, batch), compute_dtype(*arrays.values())
    return [clean(array, kept).astype(dtype) for array in arrays.values()], kept


def settle(losses: Array, valid: Array, kept: Array | None) -> Array:
    """Losses with NaN where a kept target is not valid, and 0 where masked."""
    return finish(losses, kept, valid if kept is None else valid | ~expand(kept, valid.ndim))


def likelihood(
    function: str,
    parameters: Mapping[str, ArrayLike],
    targets: ArrayLike,
    where: ArrayLike | None,
    support: Support,
    nll: Callable[..., Array],
) -> Array:
    """The one equation of the likelihoods: `nll(y, *parameters)` where the target is in the support, NaN elsewhere."""
    (*thetas, y), kept = entries(function, parameters, {"targets": targets}, where)
    valid = support.contains(y)
    return settle(nll(jnp.where(valid, y, support.inside), *thetas), valid, kept)


def check_trailing(function: str, name: str, array: Array, shape: tuple[int, ...], expected: str) -> None:
    """ValueError unless the last axes of `array` are `shape`."""
    if array.shape[array.ndim - len(shape) :] != shape:
        raise ValueError(f"{function}: {name} must have shape {expected}, with {list(shape)}, got {describe(array)}")
