"""Weights of single examples: by their influence, by how common they look, by the cost of the kind of error."""

import jax
import jax.numpy as jnp

from objectives._inputs import (
    check_same_shape,
    class_vector,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    integers,
    mask,
    pick,
    real,
    static_integer,
)
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Integer, Real, Scalar
from objectives.classification._shared import read_binary
from objectives.imbalance._shared import present


def influence_balanced_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    features: Float[ArrayLike, "*batch features"],
    *,
    alpha: Scalar = 1000.0,
    epsilon: Scalar = 1e-3,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Influence-balanced loss: cross-entropy, over the influence that the example has on the decision boundary.

    $$
    \frac{\alpha\, w_y}{\lVert p - q \rVert_1 \lVert h \rVert_1 + \epsilon} \Big( -\sum_c q_c \log p_c \Big), \qquad
    p = \mathrm{softmax}(\mathrm{logits})
    $$

    For the second half of training, after one with plain cross-entropy. The factor is differentiated too, as in the
    authors' code; `jax.lax.stop_gradient` of the features leaves their part of it out.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`.
        features: What the last linear layer got, h `[..., D]`.
        alpha: Scale of the loss, positive.
        epsilon: Added to the influence, positive.
        class_weights: Weight w of every class's loss `[C]`, of `inverse_frequency_weights` in the paper; 1 by default.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If logits or features are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = influence_balanced_loss(jnp.zeros((1, 2)), jnp.array([0]), jnp.ones((1, 4)), alpha=1.0)
        >>> print(f"{loss[0]:.4f}")
        0.1732

    Source:
        Park, Lim, Jeon, Choi, "Influence-Balanced Loss for Imbalanced Visual Classification", 2021.
    """
    name = "influence_balanced_loss"
    logits, targets, kept = read(name, logits, labels, where)
    hidden = floating(name, "features", features)
    if hidden.ndim != logits.ndim or hidden.shape[:-1] != logits.shape[:-1]:
        raise ValueError(f"{name}: features must have shape {[*logits.shape[:-1], 'D']}, got {describe(hidden)}")
    dtype = compute_dtype(logits, hidden)
    alpha = hyperparameter(name, "alpha", alpha, dtype, 0, open_low=True)
    guard = hyperparameter(name, "epsilon", epsilon, dtype, 0, open_low=True)
    weights = (
        None if class_weights is None else class_vector(name, "class_weights", class_weights, logits.shape[-1], dtype)
    )
    log_p = jax.nn.log_softmax(logits.astype(dtype))
    if targets.are_ids:
        distance = -2 * jnp.expm1(pick(log_p, targets.values))
    else:
        distance = jnp.sum(jnp.abs(jnp.exp(log_p) - targets.values), axis=-1)
    influence = distance * jnp.sum(jnp.abs(clean(hidden, kept).astype(dtype)), axis=-1)
    losses = expected_penalty(logits.astype(dtype), targets, jnp.negative, weights)
    return finish(alpha / (influence + guard) * losses, kept, targets.valid)


def likelihood_weighted_loss(
    losses: Float[ArrayLike, "*batch"],
    likelihood: Real[ArrayLike, "*batch"],
    *,
    eta: Scalar = 1.0,
    gamma: Scalar = 5.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""DatasetEquity's generalised focal loss: examples that look like few others weigh more.

    $$
    \frac{\eta + (1 - \rho)^\gamma}{\eta + 1}\, \ell
    $$

    The likelihood ρ of an example is data, computed once, before training, from how images look to a pretrained
    network: `cluster_likelihood`. No gradient flows to it.

    Args:
        losses: Losses ℓ `[...]` of any task, one an example.
        likelihood: Likelihood ρ of the examples `[...]`, in [0, 1]; the loss is NaN where it is not.
        eta: How much every example counts whatever its likelihood, at least 0; 0 is a focal weight.
        gamma: Exponent, at least 0; 0 changes nothing.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 losses).

    Raises:
        TypeError: If the losses are not floating point, the likelihood not real or `where` not boolean.
        ValueError: If shapes differ or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> losses = likelihood_weighted_loss(jnp.ones(2), jnp.array([0.0, 0.5]), gamma=2.0)
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        1.0000 0.6250

    Source:
        Shrivastava, Zhang, Nagesh, Parchami, "DatasetEquity: Are All Samples Created Equal? In The Quest For Equity
        Within Datasets", 2023.
    """
    name = "likelihood_weighted_loss"
    values, shares = floating(name, "losses", losses), real(name, "likelihood", likelihood)
    check_same_shape(name, "likelihood", shares, "losses", values)
    kept, dtype = mask(name, where, values.shape), compute_dtype(values)
    eta, gamma = hyperparameter(name, "eta", eta, dtype, 0), hyperparameter(name, "gamma", gamma, dtype, 0)
    rarity = jax.lax.stop_gradient(1 - clean(shares, kept).astype(dtype))
    inside = (rarity >= 0) & (rarity <= 1)
    # a rarity of 0 has weight η / (η + 1), and all of it where the exponent is 0
    power = jnp.where(rarity > 0, jnp.where(rarity > 0, rarity, 1) ** gamma, jnp.where(jnp.asarray(gamma) == 0, 1, 0))
    weights = jnp.where(inside, (eta + power) / (eta + 1), jnp.nan).astype(dtype)
    return finish(weights * clean(values, kept).astype(dtype), kept)


def cluster_likelihood(
    assignments: Integer[ArrayLike, "*batch"],
    clusters: int,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Likelihood of every example: the share of the examples that are in its cluster.

    $$
    \rho_i = \frac{1}{N} \sum_j [a_j = a_i]
    $$

    The clusters come from wherever you have them; in the paper, from the features of a pretrained network:

        likelihood = cluster_likelihood(k_means(features, 10, key).assignments, 10)

    Args:
        assignments: Number of the cluster of every example `[...]`, 0 to `clusters` - 1.
        clusters: Number of clusters.
        where: Boolean mask `[...]` of the examples that count; the others have likelihood 0.

    Returns:
        Likelihoods `[...]`, float32; NaN where the number of the cluster is out of range.

    Raises:
        TypeError: If the assignments or `clusters` are no integers, or `where` not boolean.
        ValueError: If shapes differ or `clusters` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(cluster_likelihood(jnp.array([0, 0, 1, 0]), 2))
        [0.75 0.75 0.25 0.75]

    Source:
        Shrivastava, Zhang, Nagesh, Parchami, "DatasetEquity: Are All Samples Created Equal? In The Quest For Equity
        Within Datasets", 2023.
    """
    name = "cluster_likelihood"
    array, number = integers(name, "assignments", assignments), static_integer(name, "clusters", clusters)
    kept = mask(name, where, array.shape)
    array = clean(array, kept)
    valid = (array >= 0) & (array < number)
    weights = present(kept, array.shape, jnp.dtype(jnp.float32)) * valid
    sizes = jnp.zeros(number, jnp.float32).at[jnp.where(valid, array, 0)].add(weights)
    total = jnp.maximum(jnp.sum(weights), 1)
    return finish(sizes[jnp.where(valid, array, 0)] / total, kept, valid)


def cost_sensitive_binary_loss(
    logits: Float[ArrayLike, "*batch"],
    labels: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    fn_weight: Scalar = 1.0,
    fp_weight: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Binary cross-entropy with a price for either kind of error: of missing a positive, and of a false alarm.

    $$
    -w_\mathrm{fn}\, y \log p - w_\mathrm{fp}\, (1 - y) \log (1 - p), \qquad p = \sigma(\mathrm{logits})
    $$

    Class-dependent compression raises the price of the false negatives after a round of pruning
    (`optimizers.iterative_magnitude_prune`) until the sparse network has no more of them than the dense one. The
    paper's own combination of losses could not be confirmed; this is the form that its abstract describes.

    Args:
        logits: Log odds of the important class `[...]`.
        labels: 0 or 1, boolean, or probability of the important class, of the shape of `logits`.
        fn_weight: Weight of the positives' loss, at least 0.
        fp_weight: Weight of the negatives' loss, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a label is not in [0, 1].

    Raises:
        TypeError: If the logits are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes differ or a weight is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> losses = cost_sensitive_binary_loss(jnp.zeros(2), jnp.array([1, 0]), fn_weight=5.0)
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        3.4657 0.6931

    Source:
        Entezari, Saukh, "Class-dependent Compression of Deep Neural Networks", 2020.
    """
    name = "cost_sensitive_binary_loss"
    scores, positive, kept = read_binary(name, logits, labels, where)
    missed = hyperparameter(name, "fn_weight", fn_weight, scores.dtype, 0)
    alarm = hyperparameter(name, "fp_weight", fp_weight, scores.dtype, 0)
    losses = -missed * positive * jax.nn.log_sigmoid(scores) - alarm * (1 - positive) * jax.nn.log_sigmoid(-scores)
    return finish(losses, kept)
