"""Metrics of several labels an example."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Real
from objectives.multilabel._batch import macro_mean, read_batch


def macro_auc(
    scores: Float[ArrayLike, "batch labels"],
    labels: Real[ArrayLike, "batch labels"] | Bool[ArrayLike, "batch labels"],
    *,
    where: Bool[ArrayLike, "batch labels"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Macro-AUC: the mean over labels of the share of pairs of a positive and a negative in the right order.

    $$
    \operatorname{mean}_k \frac{1}{|S_k^+| |S_k^-|} \sum_{i \in S_k^+} \sum_{j \in S_k^-}
    \left( [f_{ik} > f_{jk}] + \tfrac12 [f_{ik} = f_{jk}] \right)
    $$

    Labels without positives or without negatives are left out. It sorts, in N log N; its gradient is 0.

    Args:
        scores: Scores f `[N, L]`, finite.
        labels: 0 or 1, or boolean, of the shape of `scores`.
        where: Boolean mask `[N, L]`; a masked entry is neither positive nor negative and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the value is then that of the
            global batch.

    Returns:
        A scalar in [0, 1], float32 (float64 for float64 scores); 0 where no label has both, NaN if a label is neither
        0 nor 1.

    Raises:
        TypeError: If the scores are not floating point, the labels not real or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([[1.0], [0.5], [1.0]]), jnp.array([[1], [0], [0]])
        >>> print(f"{macro_auc(scores, labels):.4f}")
        0.7500

    Source:
        Wu, Li, Yin, "Towards Understanding Generalization of Macro-AUC in Multi-label Learning", 2023.
    """
    batch = read_batch("macro_auc", scores, labels, where, axis_name, "scores")
    values = lax.stop_gradient(batch.scores)
    others, absent = gather(values, axis_name), gather(batch.absent, axis_name)

    def of_label(f: Array, used: Array, g: Array, against: Array) -> Array:
        ordered = jnp.sort(jnp.where(against, g, jnp.inf))
        below, upto = (jnp.searchsorted(ordered, f, side=side) for side in ("left", "right"))
        return jnp.sum(jnp.where(used, (below + upto).astype(f.dtype) / 2, 0))

    wins = jax.vmap(of_label, in_axes=1)(values, batch.present, others, absent)
    return macro_mean(all_sum(wins, axis_name), batch.positives * batch.negatives, batch)
