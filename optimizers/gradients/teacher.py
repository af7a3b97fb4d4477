"""A teacher that is the student's own past: the moving average of the parameters, given to the loss."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_range
from optimizers._trees import PyTree, wide
from optimizers.gradients._perturbation import ScalarOrSchedule, at_step
from optimizers.gradients.backprop import GradientRule, LossFn, backprop
from optimizers.gradients.stateful import StatefulRule


def mean_teacher(decay: ScalarOrSchedule = 0.9995, *, inner: GradientRule = backprop) -> StatefulRule:
    r"""Mean teacher: the loss is given the moving average of the parameters, and follows it as it likes.

    $$
    \bar\theta_t = \beta \bar\theta_{t-1} + (1 - \beta) \theta_t, \qquad
    g = \nabla_\theta L(\theta_t; \bar\theta_t)
    $$

    with $\bar\theta$ the first parameters before the first step, and no gradient through the teacher. The average is
    kept in float32, in which a slow one does not stick, and given in the dtypes of the parameters. Costs one gradient
    of `inner`, and what the loss does with the teacher.

    Sharpness-aware training for free (MESA) is one loss for it, the sharpness being how far the outputs have moved:

        def loss_fn(params, batch, key, *, teacher):
            logits, past = model.apply(params, batch["x"]), model.apply(teacher, batch["x"])
            losses = softmax_cross_entropy(logits, batch["y"]) + 0.8 * distillation_loss(logits, past, temperature=5.0)
            return losses.mean(), {}

        step = make_train_step(loss_fn, tx, gradient=mean_teacher(0.9995))

    Args:
        decay: decay of the average, in [0, 1]; a number, a traced scalar, or a schedule of the `step` given to the
            rule (`lambda step: jnp.minimum(1 - 1 / (step + 1), 0.999)` forgets the start soon).
        inner: the gradient rule used, such as `accumulate(4)`.

    Returns:
        A `StatefulRule` for a `loss_fn(params, *args, teacher, **kwargs)`: the keyword `teacher` is a pytree like
        `params`.

    Raises:
        ValueError: if `decay` is not in [0, 1], or is a schedule and no `step` is given.
        TypeError: if `inner` is not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> teaching = mean_teacher(decay=0.75)
        >>> value_and_grad = teaching.rule(lambda w, teacher: (w - teacher) ** 2)
        >>> state = teaching.init(jnp.array(0.0))
        >>> value, gradient, state = value_and_grad(jnp.array(4.0), state=state)
        >>> print(value, gradient, state)
        9.0 6.0 1.0

    Source:
        Antti Tarvainen, Harri Valpola, "Mean teachers are better role models: Weight-averaged consistency targets
        improve semi-supervised deep learning results", 2017. Jiawei Du, Daquan Zhou, Jiashi Feng, Vincent Y. F. Tan,
        Joey Tianyi Zhou, "Sharpness-Aware Training for Free", 2022.
    """
    check_range("mean_teacher", "decay", decay, 0.0, 1.0)
    check_callable("mean_teacher", "inner", inner, "rule(loss_fn, has_aux)")

    def init(params: PyTree) -> PyTree:
        return jax.tree.map(lambda w: wide(jnp.asarray(w)), params)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> Callable[..., tuple[Any, Any, Any]]:
        value_and_grad = inner(loss_fn, has_aux)

        def taught(params: PyTree, *args: Any, state: PyTree, step: Any = None, **kwargs: Any) -> tuple[Any, Any, Any]:
            params = jax.tree.map(jnp.asarray, params)
            rate = 1.0 - at_step("mean_teacher", "decay", decay, step)
            average = jax.tree.map(lambda m, w: (m + rate * (wide(w) - m)).astype(m.dtype), state, params)
            teacher = jax.tree.map(lambda m, w: m.astype(w.dtype), average, params)
            return *value_and_grad(params, *args, step=step, teacher=teacher, **kwargs), average

        return taught

    return StatefulRule(init, rule)
