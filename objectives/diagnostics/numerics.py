"""How training meets the limits of floating point."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import is_class
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer


def softmax_collapse_fraction(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Share of examples whose cross-entropy, and its gradient, is exactly 0 after rounding: softmax collapse.

    $$
    \operatorname{mean}_i \Big[ \sum_{c \ne y_i} e^{z_{ic} - z_{iy_i}} \le \tfrac12 \varepsilon \Big]
    $$

    with ε the spacing of the floating-point numbers above 1: the other classes are lost when they are added to the
    label's. Such an example teaches nothing any more.

    Args:
        logits: Unnormalised log probabilities z `[..., C]`.
        labels: Class ids y `[...]`.
        dtype: Floating dtype in which the loss is computed, whatever that of the logits.
        where: Boolean mask `[...]`; a masked entry does not count and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the share is then that of the
            global batch.

    Returns:
        A scalar in [0, 1], float32 (float64 for float64 logits); 0 where nothing is kept. An example whose class id is
        out of range is not collapsed.

    Raises:
        TypeError: If the logits are not floating point, the labels not integers, `dtype` not floating point or `where`
            not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{softmax_collapse_fraction(jnp.array([[20.0, 0.0], [10.0, 0.0]]), jnp.array([0, 0])):.4f}")
        0.5000

    Source:
        Prieto, Barsbey, Mediano, Birdal, "Grokking at the Edge of Numerical Stability", 2025.
    """
    name = "softmax_collapse_fraction"
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name}: dtype must be floating point, got {dtype!r}")
    logits, targets, kept = read(name, logits, labels, where)
    if targets.valid is None:
        raise ValueError(f"{name}: labels must be class ids {list(logits.shape[:-1])}")
    scores = lax.stop_gradient(logits).astype(jnp.promote_types(logits.dtype, jnp.float32))
    label = jnp.take_along_axis(scores, targets.values[..., None], axis=-1)
    wrong = jnp.where(is_class(targets.values, scores.shape[-1]), -jnp.inf, scores - label)
    lost = jnp.sum(jnp.exp(wrong), axis=-1) <= jnp.finfo(dtype).eps / 2
    used = jnp.ones(lost.shape, bool) if kept is None else kept
    counts = jnp.sum(lost & targets.valid & used), jnp.sum(used)
    collapsed, number = all_sum(counts, axis_name)
    return collapsed.astype(scores.dtype) / jnp.maximum(number, 1).astype(scores.dtype)


def nlm_alignment(params: Any, gradients: Any) -> Any:
    r"""How far each weight's descent direction only scales the weight up: naive loss minimisation.

    $$
    \cos(-g, w) = -\frac{\langle g, w \rangle}{\lVert g \rVert \lVert w \rVert}
    $$

    Near 1 the loss falls because logits grow, not because predictions change, which ends in softmax collapse. A
    gradient that is made orthogonal to its weights has alignment 0.

    Args:
        params: A pytree of floating-point weights w.
        gradients: A pytree of their gradients g, of the same structure and shapes.

    Returns:
        A pytree of the same structure with a scalar in [-1, 1] for every weight, float32 (float64 for float64 weights);
        0 where the weight or its gradient is 0.

    Raises:
        ValueError: If the structures or shapes of `params` and `gradients` differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{nlm_alignment({'w': jnp.array([3.0, 4.0])}, {'w': jnp.array([-1.0, 0.0])})['w']:.4f}")
        0.6000

    Source:
        Prieto, Barsbey, Mediano, Birdal, "Grokking at the Edge of Numerical Stability", 2025.
    """
    expected: Any = jax.tree.structure(params)  # opaque to the type checker
    if expected != jax.tree.structure(gradients):
        raise ValueError("nlm_alignment: gradients must have the structure of params")

    def unit(x: ArrayLike) -> Array:
        x = jnp.asarray(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(-1)
        largest = jnp.max(jnp.abs(x), initial=0)
        x = x / jnp.where(largest > 0, largest, 1)
        return x / jnp.maximum(jnp.sqrt(jnp.sum(x * x)), 1)

    def cosine(w: ArrayLike, g: ArrayLike) -> Array:
        if jnp.shape(w) != jnp.shape(g):
            raise ValueError(f"nlm_alignment: gradients must have shape {jnp.shape(w)}, got {jnp.shape(g)}")
        return -jnp.sum(unit(w) * unit(g))

    return jax.tree.map(cosine, params, gradients)
