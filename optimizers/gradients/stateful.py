"""Gradient rules that remember something from one step to the next."""

from collections.abc import Callable
from typing import Any, NamedTuple


def _as_before(before: Any, after: Any) -> Any:
    del after
    return before


class StatefulRule(NamedTuple):
    """A gradient rule with a state, as Optax writes a transformation: a pair of pure functions.

    Give it to `make_train_step(..., gradient=rule)` and to `TrainState.create(..., gradient=rule)`, which keeps its
    state; or carry the state yourself. A stateful rule takes a stateless one as its `inner`, and is nobody's inner.

    Attributes:
        init: `init(params) -> state`, a pytree of arrays.
        rule: `rule(loss_fn, has_aux=False) -> value_and_grad`, and
            `value_and_grad(params, *args, state, step=None, **kwargs) -> (value, gradient, state)`, with `(value, aux)`
            in place of `value` where `has_aux`.
        skipped: `skipped(before, after) -> state`, what the state becomes where the train step skips the step because
            the loss or the gradient is not finite; by default what it was before.
    """

    init: Callable[[Any], Any]
    rule: Callable[..., Callable[..., tuple[Any, Any, Any]]]
    skipped: Callable[[Any, Any], Any] = _as_before
