"""Norms and hyperparameters as metrics, from any state, without leaving the device."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import TrainState, adamw, clip_by_global_norm, make_train_step, record_norms, recorded

PARAMS = {"encoder": {"w": jnp.array([3.0, 4.0])}, "head": jnp.array(12.0)}
GROUPS = {"encoder": lambda path: path.startswith("encoder/"), "all": lambda path: True, "none": lambda path: False}


def test_norms_in_numpy():
    tx = record_norms(optax.chain(clip_by_global_norm(6.5), optax.sgd(2.0)), GROUPS)
    grads = jax.tree.map(lambda x: x, PARAMS)
    _, state = jax.jit(tx.update)(grads, tx.init(PARAMS), jax.tree.map(lambda x: 2 * x, PARAMS))
    found = {name: float(x) for name, x in recorded(state).items()}
    expected = {"gradient": (13, 5), "params": (26, 10), "update": (13, 5)}  # clipped to half, doubled by the rate
    for of, (whole, encoder) in expected.items():
        assert found[f"norm/{of}"] == pytest.approx(whole, rel=1e-6)
        assert found[f"norm/{of}/all"] == pytest.approx(whole, rel=1e-6)
        assert found[f"norm/{of}/encoder"] == pytest.approx(encoder, rel=1e-6)
        assert found[f"norm/{of}/none"] == 0
    assert len(found) == 12


def test_norms_of_half_precision_do_not_overflow():
    big = jnp.full(100, 3e4, jnp.float16)
    tx = record_norms(optax.identity())
    _, state = tx.update(big, tx.init(big), big)
    assert recorded(state)["norm/gradient"] == pytest.approx(3e5, rel=1e-3)
    assert recorded(state)["norm/gradient"].dtype == jnp.float32


def test_updates_are_those_of_the_inner_transformation():
    tx, plain = record_norms(adamw(1e-2)), adamw(1e-2)
    updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    expected, inner = plain.update(PARAMS, plain.init(PARAMS), PARAMS)
    jax.tree.map(np.testing.assert_array_equal, (updates, state.inner_state), (expected, inner))


INJECTED = optax.inject_hyperparams(adamw)(learning_rate=optax.linear_schedule(1.0, 0.0, 10), weight_decay=0.25)
NESTS = {
    "alone": (INJECTED, ""),
    "chain": (optax.chain(optax.identity(), INJECTED), ""),
    "recorded": (record_norms(optax.chain(INJECTED)), ""),
    "masked": (optax.masked(INJECTED, {"encoder": True, "head": False}), ""),
    "multi_transform": (
        optax.multi_transform({"a": INJECTED, "b": optax.sgd(0.1)}, {"encoder": "a", "head": "b"}),
        "a/",
    ),
    "named_chain": (optax.named_chain(("clip", optax.identity()), ("descent", record_norms(INJECTED))), "descent/"),
    "MultiSteps": (optax.MultiSteps(INJECTED, 1).gradient_transformation(), ""),
    "apply_if_finite": (optax.apply_if_finite(INJECTED, 1), ""),
}


@pytest.mark.parametrize("name", NESTS)
def test_hyperparameters_are_found_anywhere(name):
    tx, prefix = NESTS[name]
    state = tx.init(PARAMS)
    for _ in range(3):
        _, state = tx.update(PARAMS, state, PARAMS)
    found = recorded(state)
    assert found[f"{prefix}learning_rate"] == pytest.approx(0.8, rel=1e-6)  # of the third step
    assert found[f"{prefix}weight_decay"] == 0.25
    assert ("norm/gradient" in {key.removeprefix(prefix) for key in found}) == (name in ("recorded", "named_chain"))


def test_names_that_clash_are_refused():
    two = optax.chain(record_norms(optax.identity()), record_norms(optax.sgd(0.1)))
    with pytest.raises(ValueError, match="^recorded: .* got 'norm/gradient' twice"):
        recorded(two.init(PARAMS))
    apart = optax.named_chain(("first", record_norms(optax.identity())), ("second", record_norms(optax.sgd(0.1))))
    assert len(recorded(apart.init(PARAMS))) == 6
    assert recorded(optax.sgd(0.1).init(PARAMS)) == {}


def loss_fn(params, batch, key):
    return sum(jnp.sum((x - batch) ** 2) for x in jax.tree.leaves(params)), {"mine": batch}


def test_metrics_of_the_train_step():
    tx = record_norms(optax.chain(clip_by_global_norm(1.0), INJECTED), GROUPS)
    step = make_train_step(loss_fn, tx, log=recorded)
    state = TrainState.create(params=PARAMS, tx=tx)
    names = {"loss", "grad_norm", "skipped", "mine", *recorded(state.opt_state)}
    for count in range(3):
        state, metrics = step(state, jnp.float32(1.0))
        assert set(metrics) == names
        assert all(isinstance(x, jax.Array) for x in metrics.values())
        np.testing.assert_allclose(metrics["norm/gradient"], metrics["grad_norm"], rtol=1e-6)
        np.testing.assert_allclose(metrics["learning_rate"], 1 - count / 10, rtol=1e-6)
    assert step._cache_size() == 1
    _, metrics = step(state, jnp.float32(jnp.nan))  # a skipped step leaves what the last one recorded
    np.testing.assert_allclose(metrics["learning_rate"], 0.8, rtol=1e-6)
    assert metrics["skipped"] == 1


def test_metrics_under_a_scan_and_a_sweep():
    def train(rate):
        tx = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
        step = make_train_step(loss_fn, tx, log=recorded, donate=False)
        state = TrainState.create(params=PARAMS, tx=tx)
        return jax.lax.scan(lambda s, _: step(s, jnp.float32(0.0)), state, length=2)[1]["learning_rate"]

    np.testing.assert_allclose(jax.jit(jax.vmap(train))(jnp.array([0.1, 0.2])), [[0.1, 0.1], [0.2, 0.2]], rtol=1e-6)


def test_what_log_may_not_be():
    with pytest.raises(TypeError, match="^make_train_step: log must be a function"):
        make_train_step(loss_fn, optax.sgd(0.1), log=1.0)
    tx = optax.sgd(0.1)
    step = make_train_step(loss_fn, tx, log=lambda state: {"loss": jnp.zeros(())})
    with pytest.raises(ValueError, match="log returned metrics under names already taken: .'loss'"):
        step(TrainState.create(params=PARAMS, tx=tx), jnp.float32(1.0))
