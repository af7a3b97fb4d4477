"""The contracts of the train step and its state: each `check_x(case)` returns, or raises and says what is broken."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contracts.common import (
    Fault,
    all_finite,
    check_documented,
    check_lowers_everywhere,
    check_parameters_are_known,
    check_stays_on_device,
    same,
)
from contracts.optimizer_checks import assert_bits_equal, nbytes

PyTree = Any


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainStep:
    """A maker of train steps and of the states they advance, with the keywords that exercise it."""

    name: str
    make_step: Callable[..., Any]
    state_type: Any
    keywords: Mapping[str, Any] = field(default_factory=dict)
    ema: bool = False
    elsewhere: tuple[str, ...] = ()
    tested_elsewhere: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    def step(self, tx: Any = None, **changes: Any) -> Any:
        return self.make_step(loss_fn, optimizer() if tx is None else tx, **{**self.keywords, **changes})

    def state(self, params: PyTree = None, tx: Any = None) -> Any:
        params = parameters() if params is None else params
        return self.state_type.create(params=params, tx=optimizer() if tx is None else tx, key=0, ema=self.ema)


def optimizer(learning_rate: Any = 0.1) -> optax.GradientTransformation:
    return optax.sgd(learning_rate, momentum=0.9)


def parameters(size: int = 3) -> PyTree:
    return {"kernel": jnp.linspace(-1.0, 1.0, size * size).reshape(size, size), "bias": jnp.ones(size)}


def examples(size: int = 3) -> PyTree:
    generator = np.random.default_rng(0)
    return {name: jnp.asarray(generator.normal(size=(4, size)), jnp.float32) for name in ("x", "y")}


def loss_fn(params: PyTree, batch: PyTree, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    error = batch["x"] @ params["kernel"] + params["bias"] - batch["y"]
    return jnp.mean(jnp.square(error)), {"noise": jax.random.normal(key)}


def check_case_is_complete(case: TrainStep) -> None:
    known = {"loss_fn", "tx", *case.keywords, *case.elsewhere, *case.tested_elsewhere}
    check_parameters_are_known(case.make_step, known)


def check_loss_goes_down_with_one_compile(case: TrainStep) -> None:
    step, state = case.step(), case.state()
    losses = []
    for _ in range(5):
        state, metrics = step(state, examples())
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0], f"losses {losses}"
    assert step._cache_size() <= 1, f"compiled {step._cache_size()} times"
    assert int(state.step) == 5


def check_state_keeps_its_dtypes(case: TrainStep) -> None:
    """Structure, shapes and dtypes of the state survive a step, so that it can be a scan carry; also in bfloat16."""
    for dtype in (jnp.bfloat16, jnp.float32):
        state = case.state(jax.tree.map(lambda p, dtype=dtype: p.astype(dtype), parameters()))
        step = case.step()
        try:
            after, metrics = jax.lax.scan(lambda state, _, step=step: step(state, examples()), state, length=2)
        except TypeError as error:
            raise AssertionError(f"{jnp.dtype(dtype)}: the state is no scan carry: {error}") from error
        all_finite((after.params, metrics), f"{jnp.dtype(dtype)}")


def check_state_is_donated(case: TrainStep) -> None:
    """Every buffer of the state is written over."""
    state = case.state(parameters(64))
    memory = case.step().lower(state, examples(64)).compile().memory_analysis()
    arrays = nbytes((state.params, state.opt_state, state.ema_params))
    assert memory.alias_size_in_bytes >= arrays, f"{memory.alias_size_in_bytes} of {arrays} bytes are aliased"


def check_sweep_is_a_vmap(case: TrainStep) -> None:
    """Several learning rates at once equal separate runs."""

    def train(learning_rate: Any) -> PyTree:
        tx = optimizer(learning_rate)
        state = case.state(tx=tx)
        return jax.lax.scan(lambda state, _: case.step(tx, donate=False)(state, examples()), state, length=2)[0].params

    rates = jnp.asarray([0.01, 0.1])
    apart = [jax.jit(train)(rate) for rate in rates]
    same(jax.jit(jax.vmap(train))(rates), jax.tree.map(lambda *p: jnp.stack(p), *apart), "vmap differs from a loop")


def check_callers_arrays_survive(case: TrainStep) -> None:
    """The state holds copies: the parameters given to it can be read after the step has donated the state."""
    params = parameters()
    case.step()(case.state(params), examples())
    assert_bits_equal(params, parameters(), "the caller's parameters")


def check_stays_on_device_and_lowers(case: TrainStep) -> None:
    check_stays_on_device(case.step(), case.state(), examples())
    check_lowers_everywhere(case.step(), case.state(), examples())


def check_faults_are_named(case: TrainStep) -> None:
    for fault in case.faults:
        fault.check(case.make_step, {"loss_fn": loss_fn, "tx": optimizer()})


def check_docstrings(case: TrainStep) -> None:
    check_documented(case.make_step, raises=True, source=False)
    check_documented(case.state_type.create, raises=False, source=False)


CHECKS: dict[Callable[[TrainStep], None], Callable[[TrainStep], bool]] = {
    check_case_is_complete: lambda case: True,
    check_loss_goes_down_with_one_compile: lambda case: True,
    check_state_keeps_its_dtypes: lambda case: True,
    check_state_is_donated: lambda case: True,
    check_sweep_is_a_vmap: lambda case: True,
    check_callers_arrays_survive: lambda case: True,
    check_stays_on_device_and_lowers: lambda case: True,
    check_faults_are_named: lambda case: bool(case.faults),
    check_docstrings: lambda case: True,
}
