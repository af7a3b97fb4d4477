"""Margins on the logits of a Lipschitz classifier, for certified robustness: logit annealing and EMMA."""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    is_class,
    pick,
)
from objectives._numerics import root
from objectives._softmax import read as read_logits
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Integer, Scalar
from objectives.margin._equation import Problem, margin_softmax


def logit_annealing_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    offset: Scalar = 2.0,
    temperature: Scalar = 0.75,
    gamma: Scalar = 5.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Logit annealing: cross-entropy with a margin, whose pull dies out once an example has it.

    $$
    -T (1 - p_y)^\gamma \log p_y, \qquad p = \mathrm{softmax}\Big( \frac{z - \xi\, e_y}{T} \Big)
    $$

    A Lipschitz network has little capacity, and cross-entropy spends it on margins that are large already; annealing
    leaves it to the examples whose margin is small. At γ = 0 this is the margin cross-entropy of Prach and Lampert.

    Args:
        logits: Logits z `[..., C]` of a Lipschitz classifier.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        offset: Margin ξ taken off the target's logit, at least 0.
        temperature: Temperature T, positive.
        gamma: Annealing exponent γ, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{logit_annealing_loss(jnp.array([[2.0, 0.0]]), jnp.array([0]), gamma=1.0)[0]:.4f}")
        0.2599

    Source:
        Lai, Huang, Kung, Chen, "Enhancing Certified Robustness via Block Reflector Orthogonal Layers and Logit
        Annealing Loss", 2025. Prach, Lampert, "Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz
        Networks", 2022.
    """
    name = "logit_annealing_loss"
    logits, targets, kept = read_logits(name, logits, labels, where)
    dtype = compute_dtype(logits)
    taken = hyperparameter(name, "offset", offset, dtype, 0)
    heat = hyperparameter(name, "temperature", temperature, dtype, 0, open_low=True)
    exponent = hyperparameter(name, "gamma", gamma, dtype, 0)

    def anneal(cross_entropy: Array) -> Array:
        wrong = -jnp.expm1(-cross_entropy)
        positive = wrong > 0
        return heat * cross_entropy * jnp.where(positive, jnp.where(positive, wrong, 1) ** exponent, 0)

    scores = logits.astype(dtype)
    problem = Problem(scores, jnp.ones(scores.shape[:-1], dtype), targets, kept, 1 / heat)
    return margin_softmax(problem, lambda logit: logit - taken, penalty=anneal)


def emma_logits(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    head: Float[ArrayLike, "classes features"],
    *,
    radius: Scalar,
    lipschitz: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch classes"]:
    r"""EMMA: the worst logits within a radius that is adapted to each example and class.

    $$
    z_k - z_y + \epsilon_k L \lVert h_y - h_k \rVert, \qquad
    \epsilon_k = \epsilon\; \mathrm{clip}\Big( \frac{z_y - z_k}{\epsilon L \lVert h_y - h_k \rVert}, 0.01, 1 \Big)
    $$

    A perturbation of length ε moves the difference of two logits by at most the Lipschitz margin
    $L \lVert h_y - h_k \rVert$ times ε. A class that could be certified has its whole radius, another only as much as
    it could, without a gradient; so it is the largest that trains. Give the result to `logit_annealing_loss` or
    `softmax_cross_entropy`, in place of logits.

    Args:
        logits: Logits z `[..., C]`.
        labels: Class ids `[...]`.
        head: Weights h of the last linear layer `[C, D]`.
        radius: Radius ε of the perturbations, positive.
        lipschitz: Lipschitz constant L of the layers before the last, positive; it may have a gradient.
        where: Boolean mask `[...]`; a masked entry has logits 0 and gradient 0 and may hold anything.

    Returns:
        Logits `[..., C]`, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If logits or head are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = emma_logits(jnp.array([[3.0, 0.0]]), jnp.array([0]), jnp.eye(2), radius=1.0)
        >>> print(f"{logits[0, 1]:.4f}")
        -1.5858

    Source:
        Hu, Leino, Wang, Fredrikson, "A Recipe for Improved Certifiable Robustness", 2024. Lai, Huang, Kung, Chen,
        "Enhancing Certified Robustness via Block Reflector Orthogonal Layers and Logit Annealing Loss", 2025.
    """
    name = "emma_logits"
    logits, targets, kept = read_logits(name, logits, labels, where)
    head = floating(name, "head", head)
    check_rank(name, "head", head, 2, "[C, D]", 2)
    if head.shape[0] != logits.shape[-1]:
        raise ValueError(f"{name}: head must have one row per class, {logits.shape[-1]}, got {describe(head)}")
    if not targets.are_ids:
        raise ValueError(f"{name}: labels must be class ids {list(logits.shape[:-1])}, got probabilities")
    dtype = compute_dtype(logits, head)
    reach = hyperparameter(name, "radius", radius, dtype, 0, open_low=True)
    steepest = hyperparameter(name, "lipschitz", lipschitz, dtype, 0, open_low=True)
    scores, rows = logits.astype(dtype), head.astype(dtype)
    gaps = scores - pick(scores, targets.values)[..., None]
    squares = jnp.sum(rows**2, axis=-1)
    inner = jnp.matmul(rows[targets.values], rows.T, precision=lax.Precision.HIGHEST)
    squared = squares[targets.values][..., None] + squares - 2 * inner
    distance = root(jnp.where(is_class(targets.values, head.shape[0]), 0, squared))
    worst = reach * steepest * distance
    share = lax.stop_gradient(jnp.clip(-gaps / jnp.maximum(worst, 1e-8), 0.01, 1))
    adapted = gaps + share * worst
    return clean(finish(adapted, None, None if targets.valid is None else targets.valid[..., None]), kept)
