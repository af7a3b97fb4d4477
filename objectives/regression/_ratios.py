"""The one equation of the relative errors: an aggregate of the errors over an aggregate of the targets."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import check_rank, clean
from objectives._typing import Array, ArrayLike, AxisName
from objectives.regression._residuals import pair


class Entries(NamedTuple):
    """Predictions, targets and errors `[..., N]`, 0 where masked, with sums over N on all devices of a mapped axis."""

    predictions: Array
    targets: Array
    kept: Array | None
    axis_name: AxisName

    @property
    def error(self) -> Array:
        """Predictions minus targets."""
        return self.predictions - self.targets

    def total(self, values: Array) -> Array:
        """The sum `[...]` over the entries kept."""
        local = jnp.sum(clean(values, self.kept), axis=-1)
        return all_sum(local, self.axis_name)

    def mean(self, values: Array) -> Array:
        """The mean `[...]` over the entries kept; 0 where there is none."""
        return self.total(values) / jnp.maximum(self.total(jnp.ones_like(values)), 1)

    def largest(self, values: Array) -> Array:
        """The maximum `[...]` over the entries kept; 0 where there is none. Equal maxima share the gradient."""
        present = values if self.kept is None else jnp.where(self.kept, values, -jnp.inf)
        peak = jnp.max(lax.stop_gradient(present), axis=-1, initial=-jnp.inf)
        if self.axis_name is not None:
            peak = lax.pmax(peak, self.axis_name)
        at = (values == peak[..., None]) & jnp.isfinite(peak)[..., None]
        return self.total(jnp.where(at, values, 0)) / jnp.maximum(self.total(at.astype(values.dtype)), 1)

    def centred_targets(self) -> Array:
        """Targets minus their mean, exactly 0 where all are equal; what is masked is not 0."""
        shifted = self.targets - lax.stop_gradient(self.largest(self.targets))[..., None]
        return shifted - self.mean(shifted)[..., None]


def entries(
    function: str, predictions: ArrayLike, targets: ArrayLike, where: ArrayLike | None, axis_name: AxisName = None
) -> Entries:
    """Checked predictions and targets with a last axis to aggregate over."""
    checked = pair(function, predictions, targets, where)
    check_rank(function, "predictions", checked.predictions, 1, "[..., N]")
    return Entries(checked.predictions, checked.targets, checked.kept, axis_name)


def ratio(errors: Array, normaliser: Array) -> Array:
    """Errors over their normaliser; where that is 0, 0 for no errors and 1 for any, without a gradient."""
    empty = normaliser == 0
    return jnp.where(
        empty, lax.stop_gradient(jnp.where(errors > 0, 1, errors)), errors / jnp.where(empty, 1, normaliser)
    )
