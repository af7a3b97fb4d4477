"""Norms and hyperparameters as metrics: arrays in the state, read where the metrics of a step are made."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable
from optimizers._moments import reread
from optimizers._trees import PyTree, global_norm, mask_by_path
from optimizers.wrappers._inner import check_given, check_transformation


class RecordedState(NamedTuple):
    """The state of the inner transformation, and the last norms by name, float32 scalars."""

    inner_state: PyTree
    metrics: dict[str, jax.Array]


def record_norms(
    inner: optax.GradientTransformation, groups: Mapping[str, Callable[[str], bool]] | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Keep the norms of gradient, update and parameters of the last step in the state, on the device.

    $$\lVert g \rVert_2, \quad \lVert u \rVert_2, \quad \lVert \theta \rVert_2$$

    as `norm/gradient`, `norm/update` and `norm/params`, and `norm/gradient/NAME` and so on for every group of
    parameters. `recorded(state)` reads them; `make_train_step(..., log=recorded)` makes them part of the metrics. The
    gradient is what `inner` receives, the update what it returns, the parameters those before the step.

    Args:
        inner: The transformation, most often the whole chain; a recorder around one link tells what that link does.
        groups: Group name to a predicate of a parameter's path, its keys joined by slashes:
            `{"encoder": lambda path: path.startswith("encoder/")}`. Groups may overlap.

    Returns:
        An Optax transformation with the updates of `inner`; `update` needs `params`.

    Raises:
        TypeError: `inner` is not a transformation, or a predicate not a function.
        ValueError: `update` gets no `params`.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> params = {"w": jnp.array([3.0, 4.0]), "b": jnp.array(0.0)}
        >>> tx = record_norms(optax.sgd(0.5), groups={"bias": lambda path: path == "b"})
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> print({name: float(x) for name, x in recorded(state).items() if "bias" not in name})
        {'norm/gradient': 5.0, 'norm/params': 5.0, 'norm/update': 2.5}
    """
    inner = check_transformation("record_norms", "inner", inner)
    groups = dict(groups or {})
    for predicate in groups.values():
        check_callable("record_norms", "groups", predicate, "(path) -> bool")
    names = [
        f"norm/{of}{suffix}" for of in ("gradient", "params", "update") for suffix in ("", *(f"/{g}" for g in groups))
    ]

    def init(params: PyTree) -> RecordedState:
        return RecordedState(inner.init(params), {name: jnp.zeros([], jnp.float32) for name in names})

    def norms(of: str, tree: PyTree) -> dict[str, jax.Array]:
        (tree,) = reread(tree)
        found = {f"norm/{of}": global_norm(tree)}
        for group, predicate in groups.items():
            members = jax.tree.map(lambda x, m: x if m else None, tree, mask_by_path(predicate, tree))
            found[f"norm/{of}/{group}"] = global_norm(members)
        return {name: x.astype(jnp.float32) for name, x in found.items()}

    def update(
        updates: PyTree, state: RecordedState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, RecordedState]:
        params = check_given("record_norms", "params", params)
        steps, inner_state = inner.update(updates, state.inner_state, params, **extra_args)
        metrics = norms("gradient", updates) | norms("params", params) | norms("update", steps)
        return steps, RecordedState(inner_state, metrics)

    return optax.GradientTransformationExtraArgs(init, update)


def _is_source(x: Any) -> bool:
    return isinstance(x, RecordedState) or hasattr(x, "hyperparams")


def recorded(state: PyTree) -> dict[str, jax.Array]:
    """What a transformation's state tells about the last step, as metrics: norms and injected hyperparameters.

    Finds every `record_norms` and every `optax.inject_hyperparams` in the state, wherever they are. Hyperparameters,
    the learning rate of this step among them, go by their own names; what stands in a dict of states, as those of
    `optax.multi_transform` and `optax.named_chain` do, has the keys on the way in front: `encoder/learning_rate`.

    Nothing is fetched from the device. Give it to the train step, whose metrics then hold all of it, or call it on the
    state: `make_train_step(loss_fn, tx, log=recorded)`.

    Args:
        state: The optimizer's state, or anything that contains it.

    Returns:
        Name to array.

    Raises:
        ValueError: Two of them have the same name; `optax.named_chain` tells them apart.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.inject_hyperparams(optax.sgd)(learning_rate=optax.linear_schedule(1.0, 0.0, 4))
        >>> state = tx.init(jnp.zeros(2))
        >>> for _ in range(3):
        ...     _, state = tx.update(jnp.ones(2), state)
        >>> print(recorded(state)["learning_rate"])
        0.5
    """
    found: dict[str, jax.Array] = {}

    def visit(node: PyTree, prefix: str) -> None:
        for path, leaf in jax.tree_util.tree_leaves_with_path(node, is_leaf=_is_source):
            keys = [str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey)]
            if not _is_source(leaf):
                continue
            inside = "/".join([prefix, *keys]) if prefix else "/".join(keys)
            for name, value in (leaf.metrics if isinstance(leaf, RecordedState) else leaf.hyperparams).items():
                full = f"{inside}/{name}" if inside else name
                if full in found:
                    raise ValueError(f"recorded: state must give each metric a name of its own, got {full!r} twice")
                found[full] = value
            visit(leaf.inner_state, inside)

    visit(state, "")
    return found
