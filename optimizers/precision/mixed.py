"""Gradients computed in 16 bits of parameters in 32."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_range
from optimizers._moments import wide_scalar
from optimizers._trees import PyTree, global_norm, mask_by_path, wide
from optimizers.gradients.backprop import GradientRule, LossFn, ValueAndGrad, backprop
from optimizers.gradients.stateful import StatefulRule
from optimizers.precision.loss_scale import LossScale, LossScaling


def mixed_precision(
    compute_dtype: Any = jnp.bfloat16,
    loss_scale: jax.typing.ArrayLike | LossScaling | None = None,
    *,
    inner: GradientRule = backprop,
    cast_batch: bool = True,
    keep: Callable[[str], bool] | None = None,
) -> GradientRule | StatefulRule:
    r"""Compute with copies of the parameters in 16 bits; parameters, gradients and optimizer stay in 32.

    $$g = \frac{1}{S}\, \nabla_\theta \left( S \cdot L(\mathrm{cast}(\theta), \mathrm{cast}(\text{batch})) \right)$$

    The derivative of a cast is a cast, so gradients arrive in the dtype of the parameters. The scale S lifts gradients
    that float16 would round to 0 (below 6e-8) and is divided out in float32, before anything else reads them;
    bfloat16 has the range of float32 and needs none. Multiplying by powers of 2 rounds nothing: in float32 the result
    is the same to the last bit.

    With `dynamic_loss_scale()` the scale is found while training. A step that overflows has gradients that are not
    finite; `make_train_step` skips it (`skip_nonfinite`, its default) and lets the scale shrink all the same.
    Elsewhere, `optax.apply_if_finite` around the optimizer does the skipping.

    Sums over many terms (softmax, normalisation statistics, the loss) lose digits in 16 bits, and it is the loss
    function that computes them: let it convert logits to float32 before the loss.

    Args:
        compute_dtype: A floating dtype; parameters of a wider one are converted to it, others stay as they are.
        loss_scale: The scale S, above 0: a number, a traced scalar, a `LossScaling`, or None for 1.
        inner: The gradient rule of the scaled loss, such as `accumulate(4)` or `sam(0.05)`. It must give S times the
            gradient for S times the loss, as rules with thresholds (`private_gradient`) do not.
        cast_batch: Whether the floating leaves of the batch, the first argument after the parameters, are converted
            too. Without, JAX computes in the wider dtype of the two.
        keep: Of a path, its keys joined by slashes, whether that parameter stays as it is, as the scales of
            normalisation layers may want to; None keeps none.

    Returns:
        A gradient rule; with a `LossScaling`, a `StatefulRule` whose state is a `LossScale`. The value is that of
        `loss_fn`, in its dtype.

    Raises:
        ValueError: `loss_scale` is not positive.
        TypeError: `compute_dtype` is no floating dtype, or `inner` or `keep` is not of its kind.

    Examples:
        A gradient that float16 cannot hold, with and without a scale:

        >>> import jax.numpy as jnp
        >>> loss_fn = lambda w, x: jnp.sum(1e-4 * (w * x)).astype(jnp.float32)
        >>> w, x = jnp.float32(1.0), jnp.float32(1e-4)
        >>> for scale in (None, 1024.0):
        ...     value, gradient = mixed_precision(jnp.float16, scale)(loss_fn)(w, x)
        ...     print(f"{gradient:.2e} {gradient.dtype}")
        0.00e+00 float32
        1.00e-08 float32

    Source:
        P. Micikevicius et al., "Mixed Precision Training", 2018.
    """
    try:
        narrow = jnp.dtype(compute_dtype)
    except TypeError as error:
        raise TypeError(f"mixed_precision: compute_dtype must be a floating dtype, got {compute_dtype!r}") from error
    if not jnp.issubdtype(narrow, jnp.floating):
        raise TypeError(f"mixed_precision: compute_dtype must be a floating dtype, got {narrow.name}")
    check_callable("mixed_precision", "inner", inner, "rule(loss_fn, has_aux)")
    if keep is not None:
        check_callable("mixed_precision", "keep", keep, "(path) -> bool")

    def cast(leaf: Any) -> Any:
        dtype = jnp.result_type(leaf)
        wider = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits > jnp.finfo(narrow).bits
        return jnp.asarray(leaf).astype(narrow) if wider else leaf

    def cast_params(params: PyTree) -> PyTree:
        kept = mask_by_path((lambda path: False) if keep is None else keep, params)
        return jax.tree.map(lambda leaf, stays: leaf if stays else cast(leaf), params, kept)

    def scaled(loss_fn: LossFn, has_aux: bool) -> Callable[..., ValueAndGrad]:
        """From a scale to the rule of the loss multiplied by it, unscaled again."""

        def with_scale(scale: Any) -> ValueAndGrad:
            def narrow_loss(params: PyTree, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
                if cast_batch and args:
                    args = (jax.tree.map(cast, args[0]), *args[1:])
                result = loss_fn(cast_params(params), *args, **kwargs)
                loss, aux = result if has_aux else (result, None)
                loss = jnp.asarray(loss)
                return _times(wide(loss), scale), (jnp.zeros((), loss.dtype), aux)

            value_and_grad = inner(narrow_loss, True)

            def unscaled(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
                (value, (like, aux)), gradient = value_and_grad(*args, **kwargs)
                value = _times(value, 1 / scale).astype(like.dtype)
                gradient = jax.tree.map(lambda g: _times(wide(g), 1 / scale).astype(g.dtype), gradient)
                return ((value, aux) if has_aux else value), gradient

            return unscaled

        return with_scale

    if not isinstance(loss_scale, LossScaling):
        check_range("mixed_precision", "loss_scale", loss_scale, 0.0, open_low=True)
        scale = 1.0 if loss_scale is None else wide_scalar(loss_scale)
        return lambda loss_fn, has_aux=False: scaled(loss_fn, has_aux)(scale)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> Callable[..., tuple[Any, Any, LossScale]]:
        with_scale = scaled(loss_fn, has_aux)

        def value_and_grad(*args: Any, state: LossScale, **kwargs: Any) -> tuple[Any, Any, LossScale]:
            value, gradient = with_scale(state.scale)(*args, **kwargs)
            return value, gradient, loss_scale.adjust(state, jnp.isfinite(global_norm(gradient)))

        return value_and_grad

    return StatefulRule(lambda params: loss_scale.init(), rule, skipped=lambda before, after: after)


def _times(x: jax.Array, scale: Any) -> jax.Array:
    """The product in the dtype of `x`, float32 or wider."""
    return x * (scale if isinstance(scale, float) else jnp.asarray(scale).astype(jnp.finfo(x.dtype).dtype))
