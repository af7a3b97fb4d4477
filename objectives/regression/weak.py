"""Regression from incomplete supervision: mean responses of bags of examples, and labels that can only be too low."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from objectives._batch import all_sum
from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    integers,
    mask,
    prng_key,
    real,
    static_integer,
)
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Real, Scalar
from objectives.regression._residuals import pair, per_example
from objectives.regression.errors import squared_error


def bag_level_loss(
    predictions: Float[ArrayLike, " examples"],
    targets: Real[ArrayLike, " bags"],
    bag_ids: Integer[ArrayLike, " examples"],
    *,
    loss: Callable[[Array, Array], Array] = squared_error,
    instance_weight: Scalar = 0.0,
    where: Bool[ArrayLike, " examples"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, " bags"]:
    r"""Loss of each bag of examples of which only the mean response is known: bag level, instance level, or between.

    $$
    (1 - \rho)\, \ell\Big( \tfrac{1}{|B|} \sum_{i \in B} f_i,\ \bar y_B \Big)
    + \rho\, \tfrac{1}{|B|} \sum_{i \in B} \ell(f_i, \bar y_B)
    $$

    ρ = 0 is the bag-level loss, which leaves free how predictions differ inside a bag; ρ = 1 is the instance-level
    loss, which pulls each to the mean. For the squared error the second is the first plus the variance inside the bag,
    so that ρ regularises. `private_bag_means` makes mean responses that give no single one away. Weigh the bags by
    their sizes in `reduce_mean(..., weights=)` where sizes differ.

    Args:
        predictions: Predictions f `[N]`.
        targets: Mean responses ȳ of the bags `[M]`.
        bag_ids: Bag of each example `[N]`, from 0 to M - 1.
        loss: Loss of one prediction ℓ(predictions, targets), applied elementwise: any of this package that returns one
            value per entry.
        instance_weight: Weight ρ of the instance-level loss, in [0, 1].
        where: Boolean mask of examples `[N]`; a masked one is in no bag and may hold anything.
        axis_name: Mapped axis or axes over which the examples are split, under `shard_map`, with all targets on each
            device; a bag may lie on several.

    Returns:
        Losses of the bags `[M]`, float32 (float64 for float64 inputs); 0 for a bag without examples, whose target may
        hold anything, and NaN for all where a bag id is out of range.

    Raises:
        TypeError: If predictions are not floating point, targets not real, ids not integers, `where` not boolean or
            `loss` not callable.
        ValueError: If shapes do not match or `instance_weight` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> f, bags = jnp.array([1.0, 3.0, 4.0]), jnp.array([0, 0, 1])
        >>> print(bag_level_loss(f, jnp.array([2.0, 5.0]), bags, instance_weight=0.5))
        [0.5 1. ]

    Source:
        Javanmard, Chen, Mirrokni, Badanidiyuru, Fu, "Learning from Aggregate Responses: Instance Level versus Bag Level
        Loss Functions", 2024.
    """
    name = "bag_level_loss"
    values, responses = floating(name, "predictions", predictions), real(name, "targets", targets)
    check_rank(name, "predictions", values, 1, "[N]", 1)
    check_rank(name, "targets", responses, 1, "[M]", 1)
    ids = real(name, "bag_ids", bag_ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{name}: bag_ids must be integers, got {describe(ids)}")
    check_same_shape(name, "bag_ids", ids, "predictions", values)
    kept, dtype = mask(name, where, values.shape), compute_dtype(values, responses)
    weight = hyperparameter(name, "instance_weight", instance_weight, dtype, 0, 1)
    values, ids, bags = clean(values, kept).astype(dtype), clean(ids, kept), responses.shape[0]
    known = (ids >= 0) & (ids < bags)
    present = jnp.ones(values.shape, bool) if kept is None else kept

    def total(each: Array) -> Array:
        local = jax.ops.segment_sum(clean(each, present), ids, bags)
        return all_sum(local, axis_name)

    sizes = total(jnp.ones_like(values))
    filled = sizes > 0
    responses = clean(responses.astype(dtype), filled)
    divisor = jnp.maximum(sizes, 1)
    lone = per_example(name, loss, values, responses[jnp.where(known, ids, 0)]) if bags else values
    whole = per_example(name, loss, total(values) / divisor, responses)
    losses = clean((1 - weight) * whole + weight * (total(lone) / divisor), filled)
    strangers = jnp.sum(~known, dtype=jnp.int32)
    strangers = all_sum(strangers, axis_name)
    return losses * jnp.where(strangers > 0, jnp.nan, 1).astype(dtype)


def private_bag_means(
    targets: Real[ArrayLike, " examples"],
    bag_ids: Integer[ArrayLike, " examples"],
    key: Array,
    *,
    bags: int,
    bound: Scalar,
    epsilon: Scalar,
    where: Bool[ArrayLike, " examples"] | None = None,
) -> Float[Array, " bags"]:
    r"""Mean responses of bags of examples, with label differential privacy: targets for `bag_level_loss`.

    $$
    \tilde y_B = \frac{1}{|B|} \sum_{i \in B} \mathrm{clip}(y_i, -C, C) + \frac{2 C}{|B|\, \varepsilon}\, \xi_B, \qquad
    \xi_B \sim \mathrm{Laplace}(0, 1)
    $$

    Another response of one example moves the mean of its bag by 2C/|B| at most, and Laplace's mechanism makes the
    result ε-differentially private in the responses, if it is drawn once. Which examples are in which bag is no secret
    here, nor are the sizes. The larger the bag, the less noise, and the less is known of each example.

    Args:
        targets: Responses y `[N]`.
        bag_ids: Bag of each example `[N]`, from 0 to `bags` - 1.
        key: PRNG key.
        bags: Number of bags M.
        bound: Largest magnitude C that a response may have, positive, in the units of the targets.
        epsilon: Privacy ε, positive; the smaller the more private.
        where: Boolean mask of examples `[N]`; a masked one is in no bag and may hold anything.

    Returns:
        Noisy means `[M]`, float32 (float64 for float64 targets); 0 for a bag without examples, and NaN for all where a
        bag id is out of range or a response is NaN.

    Raises:
        TypeError: If targets are not real, ids not integers, `key` not a PRNG key, `bags` no integer or `where` not
            boolean.
        ValueError: If shapes do not match, `bags` is less than 1 or a hyperparameter is out of range.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> y, bag = jnp.array([1.0, 3.0, 9.0]), jnp.array([0, 0, 1])
        >>> means = private_bag_means(y, bag, jax.random.key(0), bags=2, bound=5.0, epsilon=1e6)
        >>> print(f"{means[0]:.2f} {means[1]:.2f}")
        2.00 5.00

    Source:
        Javanmard, Chen, Mirrokni, Badanidiyuru, Fu, "Learning from Aggregate Responses: Instance Level versus Bag Level
        Loss Functions", 2024; Dwork, McSherry, Nissim, Smith, "Calibrating Noise to Sensitivity in Private Data
        Analysis", 2006.
    """
    name = "private_bag_means"
    values, ids = real(name, "targets", targets), integers(name, "bag_ids", bag_ids)
    check_rank(name, "targets", values, 1, "[N]", 1)
    check_same_shape(name, "bag_ids", ids, "targets", values)
    count, kept, dtype = static_integer(name, "bags", bags), mask(name, where, values.shape), compute_dtype(values)
    limit = hyperparameter(name, "bound", bound, dtype, 0, open_low=True)
    privacy = hyperparameter(name, "epsilon", epsilon, dtype, 0, open_low=True)
    noise = jax.random.laplace(prng_key(name, "key", key), (count,), dtype)
    values, ids = clean(values, kept).astype(dtype), clean(ids, kept)
    present = jnp.ones(values.shape, bool) if kept is None else kept
    sums, sizes = (
        jax.ops.segment_sum(jnp.where(present, each, 0), ids, count)
        for each in (jnp.clip(values, -limit, limit), jnp.ones_like(values))
    )
    means = jnp.where(sizes > 0, (sums + 2 * limit / privacy * noise) / jnp.maximum(sizes, 1), 0)
    faults = jnp.any((ids < 0) | (ids >= count)) | jnp.any(jnp.isnan(values))
    return jnp.where(faults, jnp.nan, means)


def u2_regression_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"],
    *,
    upper_fraction: Scalar,
    slope: Scalar = 1.0,
    upper_loss: Literal["absolute", "squared"] = "absolute",
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""U2 regression: targets below the prediction are taken for unlabelled, as those of a sensor that misses things.

    $$
    \frac{\pi}{|U|} \sum_{i \in U} \left( \ell(\hat y_i, y_i) - \rho\, \hat y_i \right)
    + \frac1N \sum_i \rho\, \hat y_i, \qquad U = \{ i : y_i \ge \hat y_i \}
    $$

    Targets may be too low, without a sign that they are, and never too high: those above the prediction (U) can be
    trusted. Of those below, only their number would matter to a loss that falls with slope ρ there, and π says what it
    would be. Where targets are clean and π is the fraction that lies above, the gradient is exactly that of
    ℓ above and ρ(ŷ - y) below. The value is not that loss, and may be negative: only its gradient means something.

    Args:
        predictions: Predictions ŷ `[...]`.
        targets: Targets y, of the shape of `predictions`.
        upper_fraction: Fraction π of the clean targets that would lie above the predictions, in [0, 1]: about 1/2 for a
            median. A hyperparameter; what is observed is too small.
        slope: Slope ρ of the loss of too high predictions, positive.
        upper_loss: Loss ℓ of too low predictions: `"absolute"`, |ŷ - y|, or `"squared"`, (ŷ - y)².
        where: Boolean mask `[...]`; a masked entry counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; value and gradient are then
            those of the global batch.

    Returns:
        A scalar, float32 (float64 for float64 inputs); without targets above, only the last term.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ, `upper_fraction` or `slope` is out of range or `upper_loss` unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(u2_regression_loss(jnp.array([1.0, 2.0]), jnp.array([4.0, 0.0]), upper_fraction=0.5))
        2.5

    Source:
        Katsuki, Osogami, "Regression with Sensor Data Containing Incomplete Observations", 2023.
    """
    name = "u2_regression_loss"
    entries = pair(name, predictions, targets, where)
    fraction = hyperparameter(name, "upper_fraction", upper_fraction, entries.dtype, 0, 1)
    rho = hyperparameter(name, "slope", slope, entries.dtype, 0, open_low=True)
    if upper_loss not in ("absolute", "squared"):
        raise ValueError(f"{name}: upper_loss must be 'absolute' or 'squared', got {upper_loss!r}")

    def mean(values: Array, over: Array) -> Array:
        sums = jnp.stack([jnp.sum(jnp.where(over, values, 0)), jnp.sum(over, dtype=entries.dtype)])
        total, count = all_sum(sums, axis_name)
        return total / jnp.maximum(count, 1)

    kept = jnp.ones(entries.error.shape, bool) if entries.kept is None else entries.kept
    upper = kept & (entries.error <= 0)
    trusted = entries.error**2 if upper_loss == "squared" else -entries.error
    pull = jnp.where(jnp.isnan(entries.error), jnp.nan, rho * entries.predictions)  # a NaN is on neither side
    return fraction * mean(trusted - pull, upper) + mean(pull, kept)
