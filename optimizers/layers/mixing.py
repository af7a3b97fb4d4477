"""Weighted sums of the outputs of several candidate operations, as architecture search learns them."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizers._trees import wide
from optimizers.layers._inputs import check_shape, describe, floating


def max_w_mix(outputs: Float[Array, "K ..."], weights: Float[Array, " K"]) -> Float[Array, "..."]:
    r"""Max-W: candidate outputs added up with weights raised until the largest is exactly one.

    $$y = \sum_{i=1}^K \big(1 - \max_j w_j + w_i\big)\, o_i$$

    The leading operation passes unscaled and the others lag behind it by as much as their weights do, so that scale and
    gradient of the chosen operation do not change when the search ends and the others are removed. The gradient flows
    through the maximum, as in the authors' code: at the leading weight it is minus the sum of the others'.

    Args:
        outputs: o, outputs of the K candidate operations, stacked.
        weights: w, their weights, a softmax of learnt logits.

    Returns:
        The mixture, in the dtype of `outputs`.

    Raises:
        TypeError: An argument is not floating point.
        ValueError: There are no operations, or `weights` is no vector with one entry for each.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(max_w_mix(jnp.array([1.0, 10.0]), jnp.array([0.25, 0.75])))
        10.5

    Source:
        A. Hundt, V. Jain, G. Hager, "sharpDARTS: Faster and More Accurate Differentiable Architecture Search", 2019.
    """
    outputs, weights = floating("max_w_mix", "outputs", outputs, 1), floating("max_w_mix", "weights", weights)
    if not outputs.shape[0]:
        raise ValueError(f"max_w_mix: outputs must be those of at least one operation, got {describe(outputs)}")
    check_shape("max_w_mix", "weights", weights, outputs.shape[:1])
    w = wide(weights)
    return jnp.tensordot(1 - jnp.max(w) + w, wide(outputs), axes=1).astype(outputs.dtype)
