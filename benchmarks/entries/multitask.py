"""The whole multi-task step, as users feel it: forward, one pullback a task, aggregation, AdamW; beside torchjd's."""

from collections.abc import Callable
from importlib import import_module
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import objectives
import optimizers
from benchmarks.harness import Entry, Peer, Program, nbytes

BATCH, INPUTS, CLASSES, LEARNING_RATE = 64, 128, 10, 1e-3
EPS = 1e-3  # with 1e-8 the first step, which is compared, would be the sign of roundings where gradients vanish


class Size(NamedTuple):
    """A trunk of two hidden layers and one linear head a task."""

    tasks: int
    hidden: int


SIZES = {
    "2-tasks/13e3": Size(2, 64),
    "8-tasks/13e3": Size(8, 64),
    "32-tasks/13e3": Size(32, 64),
    "2-tasks/12e5": Size(2, 1024),
    "8-tasks/12e5": Size(8, 1024),
    "32-tasks/12e5": Size(32, 1024),
    "8-tasks/98e5": Size(8, 3072),
}
QUICK = Size(2, 4)


def network(name: str) -> Callable[[bool], tuple[Any, Any]]:
    """A builder of parameters and a batch; `name` counts the parameters of the trunk."""

    def arrays(quick: bool) -> tuple[Any, Any]:
        tasks, hidden = QUICK if quick else SIZES[name]
        random = np.random.default_rng(0)
        params = {
            f"trunk{i}": {
                "kernel": jnp.array(random.normal(0, fan_in**-0.5, (fan_in, hidden)), jnp.float32),
                "bias": jnp.zeros(hidden),
            }
            for i, fan_in in enumerate((INPUTS, hidden))
        }
        params["heads"] = {
            "kernel": jnp.array(random.normal(0, hidden**-0.5, (tasks, hidden, CLASSES)), jnp.float32),
            "bias": jnp.zeros((tasks, CLASSES)),
        }
        batch = {
            "x": jnp.array(random.standard_normal((BATCH, INPUTS)), jnp.float32),
            "y": jnp.array(random.integers(0, CLASSES, (tasks, BATCH)), jnp.int32),
        }
        return params, batch

    return arrays


def losses(params: Any, batch: Any, key: jax.Array) -> jax.Array:
    """The mean cross-entropy of each task, `[T]`."""
    del key
    features = batch["x"]
    for layer in (params["trunk0"], params["trunk1"]):
        features = jax.nn.relu(features @ layer["kernel"] + layer["bias"])
    logits = jnp.einsum("bh,thc->tbc", features, params["heads"]["kernel"]) + params["heads"]["bias"][:, None]
    return objectives.softmax_cross_entropy(logits, batch["y"]).mean(axis=1)


def is_trunk(path: str) -> bool:
    """Whether a parameter is shared between the tasks."""
    return "trunk" in path


def step_program(aggregator: Callable[[], optax.GradientTransformation]) -> Callable[..., Program]:
    """The jitted train step, its state carried and donated; only the trunk's gradients are aggregated."""

    def program(params: Any, batch: Any) -> Program:
        tx = optax.chain(optimizers.shared_only(aggregator(), is_trunk), optimizers.adamw(LEARNING_RATE, eps=EPS))
        rule = optimizers.per_task(sequential=True, shared=is_trunk)  # on CPU faster than all at once, and smaller
        step = optimizers.make_train_step(losses, tx, gradient=rule, has_aux=False)
        state = optimizers.TrainState.create(params=params, tx=tx)
        return Program(lambda state, batch: step(state, batch)[0], (batch,), state)

    return program


def torchjd_program(name: str) -> Callable[..., Program]:
    """The same step by `torchjd.autojac.mtl_backward`, `jac_to_grad` and `torch.optim.AdamW`."""

    def program(params: Any, batch: Any) -> Program:
        torch, autojac = import_module("torch"), import_module("torchjd.autojac")
        aggregator = getattr(import_module("torchjd.aggregation"), name)()
        tensor = lambda x: torch.from_numpy(np.array(x)).requires_grad_()  # noqa: E731
        trunk = [tensor(params[layer][part]) for layer in ("trunk0", "trunk1") for part in ("kernel", "bias")]
        heads = [[tensor(leaf[t]) for leaf in jax.tree.leaves(params["heads"])] for t in range(len(batch["y"]))]
        optimizer = torch.optim.AdamW([*trunk, *chain.from_iterable(heads)], LEARNING_RATE, eps=EPS, weight_decay=1e-4)
        x, y = torch.from_numpy(np.array(batch["x"])), torch.from_numpy(np.array(batch["y"])).long()

        def step() -> Any:
            optimizer.zero_grad()
            features = x
            for kernel, bias in (trunk[:2], trunk[2:]):
                features = torch.relu(features @ kernel + bias)
            each = [
                torch.nn.functional.cross_entropy(features @ kernel + bias, labels)
                for (bias, kernel), labels in zip(heads, y)
            ]
            autojac.mtl_backward(each, features=features)
            autojac.jac_to_grad(trunk, aggregator)
            optimizer.step()
            return trunk

        return Program(step, jit=False)

    return program


def ideal_bytes(params: Any, batch: Any) -> int:
    """Jacobian written and read twice, gradient written and read, and AdamW's seven words a parameter."""
    return (3 * len(batch["y"]) + 2 + 7) * nbytes([params["trunk0"], params["trunk1"]])


def trunk_of(output: Any) -> Any:
    """The trunk's parameters after the first step, flat."""
    if isinstance(output, list):
        return np.concatenate([leaf.detach().numpy().ravel() for leaf in output])
    layers = [output.params[layer][part] for layer in ("trunk0", "trunk1") for part in ("kernel", "bias")]
    return np.concatenate([np.asarray(leaf).ravel() for leaf in layers])


def entries(name: str, aggregator: Callable[[], Any], peer: str) -> list[Entry]:
    """One entry for each size; the goal is torchjd's time everywhere."""
    return [
        Entry(
            name=f"step-{name}/{size}",
            arrays=network(size),
            ours=step_program(aggregator),
            peer=Peer(f"torchjd.{peer}", "torchjd", torchjd_program(peer)),
            moved=ideal_bytes,
            goal=1.0,
            result=trunk_of if name == "upgrad" else None,  # torchjd draws PCGrad's order of tasks
        )
        for size in SIZES
    ]


ENTRIES = [
    *entries("upgrad", lambda: optimizers.upgrad(), "UPGrad"),
    *entries("pcgrad", lambda: optimizers.pcgrad(), "PCGrad"),
]
