"""Averages of the parameters: closed forms, PyTorch, the authors' schedule-free learning and Optax's; one accessor."""

import pathlib

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import STEPS, compiled_step, gradients, run, start

from optimizers import (
    TrainState,
    adam,
    averaged_params,
    make_train_step,
    parameter_average,
    parameter_ema,
    schedule_free,
    schedule_free_adamw,
    schedule_free_sgd,
)


@pytest.fixture(scope="module")
def golden():  # tests/golden/wrappers.py wrote it
    return np.load(pathlib.Path(__file__).parents[2] / "golden" / "wrappers.npz")


def tree_of(golden, kind):
    return {name: golden[f"{kind}_{name}"] for name in ("matrix", "vector")}


def flat(tree, axes=0):
    leaves = [np.asarray(tree[name]) for name in ("matrix", "vector")]
    return np.concatenate([x.reshape(*x.shape[:axes], -1) for x in leaves], axis=-1)


@pytest.mark.parametrize(("name", "link"), [("swa", parameter_average(10, 5)), ("polyak", parameter_average())])
def test_equal_weights_equal_torch(golden, name, link):
    with jax.enable_x64(True):
        path, state = run(optax.chain(optax.sgd(1e-2), link), tree_of(golden, "start"), tree_of(golden, "gradients"))
        found = averaged_params(state, jax.tree.map(lambda x: x[-1], path))
        np.testing.assert_allclose(flat(found), golden[name], rtol=1e-12, atol=1e-13)


SCHEDULE_FREE = {
    "schedule_free_sgd": schedule_free_sgd(0.1),
    "schedule_free_sgd_warm": schedule_free_sgd(0.1, 20, b1=0.8, weight_decay=0.1),
    "schedule_free_adamw": schedule_free_adamw(1e-2, 20, b2=0.99, weight_decay=0.1),
}


@pytest.mark.parametrize("name", SCHEDULE_FREE)
def test_schedule_free_equals_the_authors(golden, name):
    with jax.enable_x64(True):
        path, state = run(SCHEDULE_FREE[name], tree_of(golden, "start"), tree_of(golden, "gradients"))
        np.testing.assert_allclose(flat(path, 1)[golden["kept_steps"]], golden[name], rtol=1e-10, atol=1e-11)
        found = averaged_params(state, jax.tree.map(lambda x: x[-1], path))
        np.testing.assert_allclose(flat(found), golden[f"{name}_evaluated"], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        (schedule_free_sgd(1e-2, weight_decay=0.1), optax.contrib.schedule_free_sgd(1e-2, weight_decay=0.1)),
        (schedule_free_adamw(1e-2, b1=0.95), optax.contrib.schedule_free_adamw(1e-2, b1=0.95)),
        (
            schedule_free(adam(1e-2, b1=0.0), 1e-2, weight_lr_power=0.0),
            optax.contrib.schedule_free(optax.adam(1e-2, b1=0.0), 1e-2, weight_lr_power=0.0),
        ),
    ],
)
def test_schedule_free_equals_optax(ours, peer):
    """Trajectories, states and parameters to evaluate, at a constant rate; checkpoints are interchangeable."""
    with jax.enable_x64(True):
        (path, state), (expected, peer_state) = (run(tx, start(), gradients()) for tx in (ours, peer))
        # Optax divides by b1 and multiplies by it again at every step; the tolerance is what that costs.
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
        jax.tree.map(close, path, expected)
        jax.tree.map(close, (state.z, state.weight_sum, state.step_count), (peer_state.z, *peer_state[1:3]))
        last = jax.tree.map(lambda x: x[-1], path)
        evaluated = optax.contrib.schedule_free_eval_params(peer_state, last)
        jax.tree.map(close, averaged_params(state, last), evaluated)
        jax.tree.map(close, averaged_params(peer_state, last), evaluated)  # Optax's own state as well


def test_schedule_free_averages_all_iterates():
    """x is the mean of z_1 … z_T at a constant rate, weighed by the square of the largest rate so far in a warm-up."""
    rates = lambda count: 0.1 * jnp.minimum((jnp.asarray(count, float) + 1) / 10, 1.0)
    falling = lambda count: jnp.where(count < 20, rates(count), 0.01)
    warm = np.minimum(np.arange(1, 31) / 10, 1) ** 2
    with jax.enable_x64(True):
        for rate, weights in ((0.1, np.ones(30)), (rates, warm), (falling, warm)):
            tx, x = schedule_free(optax.sgd(rate), rate), jnp.array([1.0, -2.0])
            state, seen = tx.init(x), []
            for t in range(30):
                updates, state = tx.update(x * (1 + 0.1 * t), state, x)
                x = optax.apply_updates(x, updates)
                seen.append(state.z)
            expected = np.average(seen, axis=0, weights=weights)
            np.testing.assert_allclose(averaged_params(state, x), expected, rtol=1e-12)
            np.testing.assert_allclose(x, 0.1 * state.z + 0.9 * expected, rtol=1e-12)


def test_schedule_free_in_half_precision_follows_float32():
    """With bfloat16 parameters z stays float32: what is added up is not rounded away."""
    tx, zeros = schedule_free_sgd(1e-3), jnp.zeros(64, jnp.bfloat16) + 1
    state = jax.lax.scan(
        lambda s, _: (tx.update(jnp.ones(64, jnp.bfloat16), s, zeros)[1], None), tx.init(zeros), length=500
    )[0]
    np.testing.assert_allclose(state.z, 0.5, rtol=500 * 2**-24)  # 500 additions
    assert state.z.dtype == jnp.float32


def iterates(tx, steps=STEPS):
    """Parameters of all steps and the final state, of the problem of the trajectories."""
    with jax.enable_x64(True):
        return run(tx, start(), gradients(steps=steps))


def test_exponential_averages_in_numpy():
    path, state = iterates(optax.chain(optax.sgd(1e-3), parameter_ema(0.95)))
    raw, raw_state = iterates(optax.chain(optax.sgd(1e-3), parameter_ema(0.95, debias=False)))
    with jax.enable_x64(True):
        last = jax.tree.map(lambda x: x[-1], path)
        powers = 0.95 ** np.arange(STEPS)[::-1]
        for name in ("matrix", "vector", "scalar"):
            x = np.asarray(path[name])
            np.testing.assert_array_equal(x, raw[name])  # updates pass through
            total = 0.05 * np.tensordot(powers, x, axes=1)
            np.testing.assert_allclose(averaged_params(state, last)[name], total / (1 - 0.95**STEPS), rtol=1e-11)
            started = total + 0.95**STEPS * start()[name]
            np.testing.assert_allclose(averaged_params(raw_state, last)[name], started, rtol=1e-11)


def test_temporal_averaging_is_that_of_optax():
    """`optax.ema` of the parameters, bias-corrected as Adam's moments are."""
    path, state = iterates(optax.chain(adam(1e-2), parameter_ema(0.9)), steps=20)
    with jax.enable_x64(True):
        peer = optax.ema(0.9)
        peer_state = peer.init(start())
        for t in range(20):
            expected, peer_state = peer.update(jax.tree.map(lambda x, t=t: x[t], path), peer_state)
        found = averaged_params(state, jax.tree.map(lambda x: x[-1], path))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, expected)


def test_the_train_step_keeps_the_same_average():
    tx = optax.chain(adam(1e-2), parameter_ema(0.9, debias=False))
    step = make_train_step(lambda p, b, k: (jnp.sum((p - b) ** 2), {}), tx, ema_decay=0.9)
    state = TrainState.create(params=jnp.array([1.0, 2.0]), tx=tx, ema=True)
    for _ in range(10):
        state, _ = step(state, jnp.zeros(2))
    np.testing.assert_allclose(averaged_params(state, state.params), state.ema_params, rtol=1e-6)


def test_a_scheduled_decay_is_weighed_right():
    """Weights of the iterates are ∏ d times (1 - d), and add up to 1, whatever the schedule."""
    decays = [0.0, 0.5, 0.9, 0.2, 0.99]
    with jax.enable_x64(True):
        tx = optax.chain(optax.sgd(1.0), parameter_ema(lambda count: jnp.asarray(decays)[count]))
        x, state, seen, weights = jnp.zeros(()), tx.init(jnp.zeros(())), [], []
        for d in decays:
            updates, state = tx.update(-jnp.ones(()) * (1 + d), state, x)
            x = optax.apply_updates(x, updates)
            seen.append(float(x))
            weights = [w * d for w in weights] + [1 - d]
        np.testing.assert_allclose(averaged_params(state, x), np.average(seen, weights=weights), rtol=1e-12)


def test_constant_parameters_are_their_own_average():
    """For decays that float32 cannot hold, after ten thousand steps, where d a + (1 - d) x settles 3e-4 away."""
    x = jnp.asarray([1.0, -3.7, 1e-20, 1e20])
    for link in (parameter_ema(0.9999), parameter_ema(jnp.float32(0.9999)), parameter_average()):
        state = jax.jit(
            lambda state, link=link: jax.lax.scan(
                lambda s, _: (link.update(jnp.zeros(4), s, x)[1], None), state, length=10_000
            )[0]
        )(link.init(jnp.zeros(4)))
        np.testing.assert_allclose(averaged_params(state, x), x, rtol=1e-6)


def test_half_precision_averages_do_not_stick():
    """A bfloat16 average with decay 0.999 arrives, on average, where rounding to nearest would stay behind."""
    link, ones = parameter_ema(0.999, debias=False, accumulator_dtype=jnp.bfloat16), jnp.ones(4096, jnp.bfloat16)
    start = link.init(jnp.zeros(4096, jnp.bfloat16))
    state = jax.lax.scan(lambda s, _: (link.update(jnp.zeros_like(ones), s, ones)[1], None), start, length=3000)[0]
    average = np.asarray(state.average, np.float64)
    assert average.mean() == pytest.approx(1 - 0.999**3000, abs=4 * average.std() / 64)


def test_before_its_start_the_average_is_the_parameters():
    tx = optax.chain(optax.sgd(1.0), parameter_average(start=3, period=2))
    x, state, found = jnp.zeros(()), tx.init(jnp.zeros(())), []
    for _ in range(9):
        updates, state = tx.update(-jnp.ones(()), state, x)
        x = optax.apply_updates(x, updates)
        found.append(float(averaged_params(state, x)))
    np.testing.assert_allclose(found, [1, 2, 3, 4, 5, 5, 6, 6, 7])


PARAMS = {"w": jnp.array([4.0, -2.0]), "b": jnp.array(1.0)}
ONLY_W = {"w": True, "b": False}
CHAIN = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1), parameter_ema(0.5))
NESTS = {
    "chain": CHAIN,
    "chain in a chain": optax.chain(optax.identity(), CHAIN),
    "masked": optax.masked(CHAIN, ONLY_W),
    "masked by a function": optax.chain(CHAIN, optax.masked(optax.identity(), lambda params: ONLY_W)),
    "injected": optax.inject_hyperparams(lambda rate: optax.chain(optax.sgd(rate), parameter_ema(0.5)))(0.1),
    "injected decay": optax.chain(optax.sgd(0.1), optax.inject_hyperparams(parameter_ema)(decay=0.5)),
    "multi_transform": optax.multi_transform(
        {"a": CHAIN, "s": schedule_free_sgd(0.1), "n": optax.sgd(0.1)}, {"w": "a", "b": "s"}
    ),
    "apply_if_finite": optax.apply_if_finite(CHAIN, 2),
    "schedule_free": optax.chain(optax.clip_by_global_norm(1.0), schedule_free_sgd(0.1)),
    "schedule_free, injected": optax.inject_hyperparams(schedule_free_sgd)(learning_rate=0.1, b1=0.5),
    "named_chain": optax.named_chain(("descent", optax.sgd(0.1)), ("average", parameter_average())),
}


@pytest.mark.parametrize("name", [*NESTS, "MultiSteps"])
def test_one_accessor_finds_every_average(name):
    """Against averages that the test keeps itself, from the parameters after each step."""
    tx = optax.MultiSteps(CHAIN, 1) if name == "MultiSteps" else NESTS[name]
    params, state, seen = PARAMS, tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for _ in range(3):
        updates, state = update(params, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    found = averaged_params(state, params)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    ema = jax.tree.map(lambda *x: (x[0] + 2 * x[1] + 4 * x[2]) / 7, *seen)
    if name.startswith("schedule_free"):
        b1 = 0.5 if "injected" in name else 0.9
        z = optax.tree.get(state, "z")
        expected = jax.tree.map(lambda y, z: (y - (1 - b1) * z) / b1, params, z)
    elif name == "named_chain":
        expected = jax.tree.map(lambda *x: sum(x) / 3, *seen)
    elif name == "masked":
        expected = {"w": ema["w"], "b": params["b"]}
    elif name == "multi_transform":
        z = state.inner_states["s"].inner_state.z["b"]
        expected = {"w": ema["w"], "b": (params["b"] - 0.1 * z) / 0.9}
    else:
        expected = ema
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_averages_of_several_leaves_are_joined_and_overlaps_refused():
    for state in (optax.sgd(0.1).init(PARAMS), ()):
        with pytest.raises(ValueError, match="^averaged_params: state must hold an average"):
            averaged_params(state, PARAMS)
    two = optax.chain(parameter_ema(), optax.masked(parameter_average(), ONLY_W))
    with pytest.raises(ValueError, match="^averaged_params: state must hold one average of each leaf, got 2"):
        averaged_params(two.init(PARAMS), PARAMS)
    rest = optax.chain(
        optax.masked(parameter_ema(), {"w": False, "b": True}), optax.masked(parameter_average(), ONLY_W)
    )
    jax.tree.map(np.testing.assert_array_equal, averaged_params(rest.init(PARAMS), PARAMS), PARAMS)


def test_subtrees_none_and_dtypes():
    """A mask that names a whole subtree, None leaves, and 16-bit parameters, which come back in their dtype."""
    params = {"head": {"w": jnp.ones(2, jnp.bfloat16), "none": None}, "trunk": {"w": jnp.ones(3, jnp.float16)}}
    tx = optax.chain(optax.sgd(0.5), optax.masked(parameter_average(), {"head": True, "trunk": False}))
    state = tx.init(params)
    updates, state = tx.update(params, state, params)
    found = averaged_params(state, optax.apply_updates(params, updates))
    assert jax.tree.map(lambda x: (x.dtype, float(x[0])), found) == {
        "head": {"w": (jnp.bfloat16, 0.5), "none": None},
        "trunk": {"w": (jnp.float16, 0.5)},
    }


def test_a_skipped_step_is_not_averaged():
    tx = optax.apply_if_finite(optax.chain(optax.sgd(0.1), parameter_ema(0.5)), 3)
    _, state = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    _, after = tx.update(jnp.full(2, jnp.nan), state, jnp.ones(2))
    np.testing.assert_array_equal(averaged_params(after, jnp.ones(2)), averaged_params(state, jnp.ones(2)))


def test_averages_survive_serialization():
    tx = optax.chain(adam(0.1), parameter_ema(0.5))
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    back = flax.serialization.from_bytes(tx.init(PARAMS), flax.serialization.to_bytes(state))
    jax.tree.map(np.testing.assert_array_equal, averaged_params(back, PARAMS), averaged_params(state, PARAMS))


AVERAGED = {
    "parameter_ema": (optax.chain(optax.sgd(0.1), parameter_ema(0.9)), 1),
    "parameter_average": (optax.chain(optax.sgd(0.1), parameter_average()), 1),
    "schedule_free_sgd": (schedule_free_sgd(0.1, weight_decay=0.1), 1),
    "schedule_free_adamw": (schedule_free_adamw(0.1, weight_decay=0.1), 2),
}


@pytest.mark.parametrize("name", AVERAGED)
def test_an_average_costs_one_array_and_no_temporary(name):
    """Compiled update and application, parameters and state donated: no array beside those that are kept."""
    params = {"a": jnp.ones((256, 128)), "b": jnp.ones(4096)}
    tx, arrays = AVERAGED[name]
    assert sum(x.size for x in jax.tree.leaves(tx.init(params)) if x.size > 1) == arrays * (256 * 128 + 4096)
    executable, donated = compiled_step(tx, params)
    memory = executable.memory_analysis()
    assert memory.temp_size_in_bytes <= 512  # scalars
    assert memory.alias_size_in_bytes >= sum(x.nbytes for x in donated if x.size > 1)


def test_schedule_free_is_leaner_than_optax():
    """Temporaries of the update of a tree, gradients donated, in units of the parameters: none; Optax's has two."""
    params = {str(k): jnp.ones((128, 128)) for k in range(4)}

    def temporaries(tx):
        update = lambda grads, state, params: tx.update(grads, state, params)
        program = jax.jit(update, donate_argnums=(0, 1)).lower(params, tx.init(params), params)
        return program.compile().memory_analysis().temp_size_in_bytes / sum(x.nbytes for x in params.values())

    assert temporaries(schedule_free_adamw(1e-3)) < 0.01
    assert temporaries(optax.contrib.schedule_free_adamw(1e-3)) > 0.9
