"""Label-distributionally robust losses (LDR), with one temperature or one an example, and the bi-tempered loss."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    Labels,
    check_classes,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    is_class,
    mask,
    pick,
)
from objectives._probabilities import log_softmax
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar


def ldr_kl_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    temperature: Scalar = 1.0,
    margin: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Label-distributionally robust loss (LDR-KL): the worst distribution of classes, regularised towards uniform.

    $$
    \max_{p \in \Delta} \sum_k p_k (f_k - f_y + c_k) - \lambda\, \mathrm{KL}(p \,\Vert\, 1/C)
    = \lambda \log \frac{1}{C} \sum_k \exp \frac{f_k - f_y + c_k}{\lambda}, \qquad c_y = 0,\ c_{k \ne y} = m
    $$

    Without margin and at λ = 1 it is cross-entropy less log C; as λ falls to 0 it becomes the multi-class hinge loss of
    Crammer and Singer, which is calibrated to the most likely class; as λ grows, the mean of the margins, which is
    robust to symmetric noise. Classes with a logit of -inf do not count.

    Args:
        logits: Class scores f `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected loss of a label (in
            time of C² for every example).
        temperature: The weight λ of the divergence, positive.
        margin: The margin m, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{ldr_kl_loss(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        -0.5472

    Source:
        Zhu, Ying, Yang, "Label Distributionally Robust Losses for Multi-class Classification: Consistency, Robustness
        and Adaptivity", 2023.
    """
    logits, targets, kept = read("ldr_kl_loss", logits, labels, where)
    dtype = compute_dtype(logits)
    temperature = hyperparameter("ldr_kl_loss", "temperature", temperature, dtype, 0, open_low=True)
    margin = hyperparameter("ldr_kl_loss", "margin", margin, dtype, 0)
    return finish(_ldr(logits, targets, jnp.asarray(temperature, dtype), margin), kept, targets.valid)


def aldr_kl_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    temperatures: Float[ArrayLike, "*batch"],
    *,
    base_temperature: Scalar = 1.0,
    alpha: Scalar = 2.0,
    margin: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Adaptive LDR-KL loss (ALDR): every example with its own temperature, penalised for leaving the common one.

    $$
    \lambda_i \log \frac{1}{C} \sum_k \exp \frac{f_k - f_y + c_k}{\lambda_i}
    - \frac{\alpha \log C}{2 \lambda_0} (\lambda_i - \lambda_0)^2
    $$

    Examples of which the model is sure, noisy ones among them, get a lower temperature. `example_memory` shows it in a
    train step. The authors' code divides the logits by their mean absolute value first; do so where their scale is not
    held otherwise.

    Args:
        logits: Class scores f `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected loss of a label.
        temperatures: λ of these examples `[...]`, from `aldr_temperatures`, taken without their gradient.
        base_temperature: The common temperature λ₀, positive.
        alpha: Weight of the penalty, above 1, which keeps the temperatures positive.
        margin: Margin of the other classes, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); NaN where a class id is out of range or a temperature not
        positive.

    Raises:
        TypeError: If logits or temperatures are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits, labels = jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0])
        >>> print(f"{aldr_kl_loss(logits, labels, jnp.array([0.5]))[0]:.4f}")
        -0.7042

    Source:
        Zhu, Ying, Yang, "Label Distributionally Robust Losses for Multi-class Classification: Consistency, Robustness
        and Adaptivity", 2023.
    """
    name = "aldr_kl_loss"
    own = floating(name, "temperatures", temperatures)
    logits, targets, kept = read(name, logits, labels, where)
    if own.shape != logits.shape[:-1]:
        raise ValueError(f"{name}: temperatures must have shape {list(logits.shape[:-1])}, got {list(own.shape)}")
    dtype = compute_dtype(logits, own)
    base = hyperparameter(name, "base_temperature", base_temperature, dtype, 0, open_low=True)
    alpha = hyperparameter(name, "alpha", alpha, dtype, 1, open_low=True)
    margin = hyperparameter(name, "margin", margin, dtype, 0)
    own = lax.stop_gradient(clean(own, kept)).astype(dtype)
    sound = own > 0
    own = jnp.where(sound, own, 1)
    count = jnp.maximum(jnp.sum(~jnp.isneginf(logits), axis=-1), 1).astype(dtype)
    penalty = alpha * jnp.log(count) / (2 * base) * (own - base) ** 2
    losses = _ldr(logits.astype(dtype), targets, own[..., None], margin) - penalty
    return finish(finish(losses, kept, sound), kept, targets.valid)


def aldr_temperatures(
    logits: Float[ArrayLike, "*batch classes"],
    temperatures: Float[ArrayLike, "*batch"],
    *,
    base_temperature: Scalar = 1.0,
    alpha: Scalar = 2.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The next temperatures of the adaptive LDR-KL loss: the lower, the surer the model is of the example.

    $$
    \lambda_i \leftarrow \lambda_0 - \frac{\lambda_0}{\alpha \log C}\, \mathrm{KL}(p_i \,\Vert\, 1/C), \qquad
    p_i = \mathrm{softmax}(f / \lambda_i)
    $$

    Args:
        logits: Class scores f `[..., C]`.
        temperatures: λ of these examples so far `[...]`, positive; λ₀ at first.
        base_temperature: The common temperature λ₀, positive.
        alpha: How little they vary, above 1: the lowest is λ₀ (1 − 1/α).
        where: Boolean mask `[...]`; a masked entry has temperature 0 and may hold anything.

    Returns:
        New temperatures `[...]`, float32 (float64 for float64 inputs), without gradient; NaN where one was not
        positive.

    Raises:
        TypeError: If logits or temperatures are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(aldr_temperatures(jnp.array([[0.0, 0.0], [99.0, 0.0]]), jnp.array([1.0, 1.0])))
        [1.  0.5]

    Source:
        Zhu, Ying, Yang, "Label Distributionally Robust Losses for Multi-class Classification: Consistency, Robustness
        and Adaptivity", 2023.
    """
    name = "aldr_temperatures"
    scores, own = floating(name, "logits", logits), floating(name, "temperatures", temperatures)
    check_classes(name, "logits", scores)
    if own.shape != scores.shape[:-1]:
        raise ValueError(f"{name}: temperatures must have shape {list(scores.shape[:-1])}, got {list(own.shape)}")
    kept, dtype = mask(name, where, scores.shape[:-1]), compute_dtype(scores, own)
    base = hyperparameter(name, "base_temperature", base_temperature, dtype, 0, open_low=True)
    alpha = hyperparameter(name, "alpha", alpha, dtype, 1, open_low=True)
    own = lax.stop_gradient(clean(own, kept)).astype(dtype)
    sound = own > 0
    scores = lax.stop_gradient(clean(scores, kept)).astype(dtype)
    classes = log_softmax(scores / jnp.where(sound, own, 1)[..., None])
    entropy = classes.total(lambda log_p: -jnp.exp(log_p) * log_p)
    largest = jnp.log(jnp.maximum(jnp.sum(classes.possible, axis=-1), 1).astype(dtype))
    sureness = 1 - entropy / jnp.where(largest > 0, largest, 1)
    return finish(base - base / alpha * jnp.where(largest > 0, sureness, 0), kept, sound)


def tempered_softmax(
    logits: Float[ArrayLike, "*batch classes"], *, temperature: Scalar = 1.2
) -> Float[Array, "*batch classes"]:
    r"""Softmax with a heavy tail: probabilities that fall as a power of the logits.

    $$
    p_c = \exp_t(a_c - \lambda), \quad \sum_c p_c = 1, \qquad \exp_t(x) = \left[ 1 + (1 - t)\, x \right]_+^{1 / (1 - t)}
    $$

    At t = 1 it is the softmax. The normaliser λ is found by Newton's method on $\log_t \sum_c p_c$, which converges
    from below for every t, to rounding; the authors' code takes five steps of a fixed point.

    Args:
        logits: Activations a `[..., C]`; a class with -inf has probability 0.
        temperature: The temperature t of the tail, at least 1.

    Returns:
        Probabilities `[..., C]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there is no class or the temperature is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print([f"{p:.4f}" for p in tempered_softmax(jnp.array([4.0, 0.0, 0.0]), temperature=1.5)])
        ['0.7948', '0.1026', '0.1026']

    Source:
        Amid, Warmuth, Anil, Koren, "Robust Bi-Tempered Logistic Loss Based on Bregman Divergences", 2019.
    """
    scores = floating("tempered_softmax", "logits", logits)
    check_classes("tempered_softmax", "logits", scores)
    dtype = compute_dtype(scores)
    temperature = hyperparameter("tempered_softmax", "temperature", temperature, dtype, 1)
    return jnp.exp(_tempered_log_softmax(scores.astype(dtype), jnp.asarray(temperature, dtype)))


def bi_tempered_logistic_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    t1: Scalar = 0.8,
    t2: Scalar = 1.2,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Bi-tempered logistic loss: bounded for t1 < 1 (far outliers), heavy-tailed for t2 > 1 (labels near the border).

    $$
    \sum_c q_c (\log_{t_1} q_c - \log_{t_1} p_c) - \frac{q_c^{2 - t_1} - p_c^{2 - t_1}}{2 - t_1}, \qquad
    \log_t x = \frac{x^{1 - t} - 1}{1 - t}
    $$

    with the probabilities p of `tempered_softmax` at t2. At t1 = t2 = 1 it is the divergence of the labels from the
    softmax, for hard labels cross-entropy. A Bregman divergence: 0 exactly at p = q. The loss is not linear in q.

    Args:
        logits: Activations `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which need to sum to 1.
        t1: Temperature of the logarithm, in [0, 1]; for t1 < 1 the loss is at most 1 / (1 - t1).
        t2: Temperature of the tail, at least 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a temperature is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = bi_tempered_logistic_loss(jnp.array([[4.0, 0.0, 0.0]]), jnp.array([0]), t1=0.5, t2=1.5)
        >>> print(f"{loss[0]:.4f}")
        0.0665

    Source:
        Amid, Warmuth, Anil, Koren, "Robust Bi-Tempered Logistic Loss Based on Bregman Divergences", 2019.
    """
    name = "bi_tempered_logistic_loss"
    logits, targets, kept = read(name, logits, labels, where)
    dtype = compute_dtype(logits)
    t1 = jnp.asarray(hyperparameter(name, "t1", t1, dtype, 0, 1), dtype)
    t2 = jnp.asarray(hyperparameter(name, "t2", t2, dtype, 1), dtype)
    log_p = _tempered_log_softmax(logits.astype(dtype), t2)
    possible = ~jnp.isneginf(log_p)
    finite = jnp.where(possible, log_p, 0)
    impossible = jnp.where(t1 < 1, -1 / jnp.where(t1 < 1, 1 - t1, 1), -jnp.inf)  # log_t of 0
    log_t1 = jnp.where(possible, _log_t(finite, t1), impossible)
    powers = jnp.sum(jnp.where(possible, jnp.exp((2 - t1) * finite), 0), axis=-1)
    if targets.are_ids:
        losses = -pick(log_t1, targets.values) - (1 - powers) / (2 - t1)
        return finish(losses, kept, targets.valid)
    labelled = targets.values > 0
    q = jnp.where(labelled, targets.values, 1)
    terms = q * (_log_t(jnp.log(q), t1) - jnp.where(labelled, log_t1, 0)) - q ** (2 - t1) / (2 - t1)
    return finish(jnp.sum(jnp.where(labelled, terms, 0), axis=-1) + powers / (2 - t1), kept)


def _ldr(logits: Array, labels: Labels, temperature: Array, margin: Scalar) -> Array:
    """λ log mean_k exp((f_k - f_y + c_k) / λ); λ is a number or `[..., 1]`."""
    scores = logits.astype(compute_dtype(logits, temperature))
    possible = ~jnp.isneginf(scores)
    count = jnp.maximum(jnp.sum(possible, axis=-1), 1).astype(scores.dtype)

    def worst(scores: Array, is_label: Array, temperature: Array, count: Array) -> Array:
        pushed = scores + jnp.where(is_label, 0, margin)
        peak = jnp.max(pushed, axis=-1, keepdims=True)
        peak = lax.stop_gradient(jnp.where(jnp.isneginf(peak), 0, peak))
        on = ~jnp.isneginf(pushed)
        terms = jnp.where(on, jnp.exp((jnp.where(on, pushed, peak) - peak) / temperature), 0)
        total = jnp.sum(terms, axis=-1)
        temperature = jnp.broadcast_to(temperature, peak.shape)[..., 0]
        return peak[..., 0] + temperature * (jnp.log(jnp.where(total > 0, total, 1)) - jnp.log(count))

    classes = scores.shape[-1]
    if labels.are_ids:
        picked = pick(scores, labels.values)
        return worst(scores, is_class(labels.values, classes), temperature, count) - picked
    per_label = worst(
        scores[..., None, :], jnp.eye(classes, dtype=bool), temperature[..., None], count[..., None]
    ) - jnp.where(possible, scores, 0)
    counted = possible | (labels.values != 0)
    values = jnp.where(possible, per_label, jnp.inf)
    return jnp.sum(jnp.where(counted, labels.values * jnp.where(counted, values, 0), 0), axis=-1)


def _log_t(log_x: Array, t: Array) -> Array:
    """log_t of exp(log_x): log_x at t = 1."""
    y = (1 - t) * log_x
    return log_x * _ratio(jnp.expm1, y, 1 + y / 2 + y * y / 6)


def _log_exp_t(x: Array, t: Array) -> Array:
    """The logarithm of exp_t, for x of at most 0 and t of at least 1: x at t = 1."""
    y = (1 - t) * x
    return x * _ratio(jnp.log1p, y, 1 - y / 2 + y * y / 3)


def _ratio(function: Callable[[Array], Array], y: Array, series: Array) -> Array:
    """function(y) / y by its series near 0, where the ratio's derivative would lose all digits."""
    near = jnp.abs(y) < jnp.finfo(y.dtype).eps ** (1 / 3)
    safe = jnp.where(near, 1, y)
    return jnp.where(near, series, function(safe) / safe)


def _tempered_log_softmax(scores: Array, t: Array) -> Array:
    """The logarithm of the tempered softmax, -inf where a logit is.

    Newton's method on log_t Σ exp_t(a - λ), a convex and falling function of λ, climbs to its zero from below. The last
    two steps are differentiated, which makes first and second derivatives right: an error of the start enters only with
    its fourth power.
    """
    possible = ~jnp.isneginf(scores)
    peak = lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    peak = jnp.where(jnp.isneginf(peak), 0, peak)
    shifted = jnp.where(possible, scores, peak) - peak

    def log_p(shifted: Array, t: Array, normalizer: Array) -> Array:
        return _log_exp_t(shifted - normalizer, t)

    def newton(shifted: Array, t: Array, normalizer: Array) -> Array:
        logs = log_p(shifted, t, normalizer)
        total = jnp.sum(jnp.where(possible, jnp.exp(logs), 0), axis=-1, keepdims=True)
        slope = jnp.sum(jnp.where(possible, jnp.exp(t * logs), 0), axis=-1, keepdims=True)
        some = total > 0
        total, slope = jnp.where(some, total, 1), jnp.where(some, slope, 1)
        return normalizer + _log_t(jnp.log(total), t) * total**t / slope

    fixed, tail = lax.stop_gradient(shifted), lax.stop_gradient(t)
    tolerance = 4 * jnp.finfo(scores.dtype).eps

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        step, normalizer, steps = state
        return (steps < 60) & jnp.any(step > tolerance * (1 + normalizer))

    def climb(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        _, normalizer, steps = state
        new = newton(fixed, tail, normalizer)
        return new - normalizer, new, steps + 1

    start = jnp.zeros_like(peak)
    _, normalizer, _ = lax.while_loop(unfinished, climb, (start + jnp.inf, start, jnp.zeros((), jnp.int32)))
    normalizer = newton(shifted, t, newton(shifted, t, lax.stop_gradient(normalizer)))
    return jnp.where(possible, log_p(shifted, t, normalizer), -jnp.inf)
