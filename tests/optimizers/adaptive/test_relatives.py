"""Relatives of Adam: equal to Optax and PyTorch where they are right, to the papers' equations where they are not."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import STEPS, compiled_step, gradients, run, start

import optimizers
from optimizers import (
    acprop,
    adabelief,
    adam,
    adamnc,
    adamomentum,
    adan,
    adopt,
    amsgrad,
    diffgrad,
    multi_adam,
    per_task,
    scale_by_adam,
    scale_by_adamomentum,
    scale_by_multi_adam,
)

RATE = optax.cosine_decay_schedule(1e-2, STEPS)
MASK = {"matrix": True, "vector": False, "scalar": False, "empty": True}
BF16 = jnp.bfloat16
PAPER = {"bias_correction_mu": False, "bias_correction_nu": False}

SAME_AS_OPTAX = {
    "amsgrad": (amsgrad(1e-2, 0.8, 0.95, 1e-3, 1e-4), optax.amsgrad(1e-2, 0.8, 0.95, 1e-3, 1e-4)),
    "amsgrad_paper": (amsgrad(RATE, **PAPER), optax.amsgrad(RATE, **PAPER)),
    "adabelief": (adabelief(1e-2, 0.8, 0.95, 1e-3, 1e-4), optax.adabelief(1e-2, 0.8, 0.95, 1e-3, 1e-4)),
    "adabelief_nesterov": (adabelief(RATE, nesterov=True), optax.adabelief(RATE, nesterov=True)),
    "adopt": (adopt(1e-2), optax.contrib.adopt(1e-2)),
    "adopt_nesterov": (adopt(RATE, 0.8, 0.95, nesterov=True), optax.contrib.adopt(RATE, 0.8, 0.95, nesterov=True)),
    "adopt_unclipped": (adopt(1e-2, use_clipping=False), optax.contrib.adopt(1e-2, use_clipping=False)),
    "acprop": (acprop(1e-3), optax.contrib.acprop(1e-3)),
    "acprop_decay": (
        acprop(RATE, 0.8, 0.95, 1e-3, 1e-4, weight_decay=0.1, mask=MASK),
        optax.contrib.acprop(RATE, 0.8, 0.95, 1e-3, 1e-4, weight_decay=0.1, mask=MASK),
    ),
    "acprop_b1_small": (acprop(1e-3, b1=1e-3), optax.contrib.acprop(1e-3, b1=1e-3)),
}


@pytest.mark.parametrize("name", SAME_AS_OPTAX)
def test_trajectory_equals_optax(name):
    ours, peer = SAME_AS_OPTAX[name]
    with jax.enable_x64(True):
        (path, state), (expected, peer_state) = (run(tx, start(), gradients()) for tx in (ours, peer))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), path, expected)
        assert jax.tree.structure(state) == jax.tree.structure(peer_state)  # checkpoints are interchangeable
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), state, peer_state)


@pytest.fixture(scope="module")
def golden():
    return np.load(pathlib.Path(__file__).parents[2] / "golden" / "elementwise.npz")


FROM_TORCH = {
    "adabelief": adabelief(1e-2, eps=1e-8, eps_root=1e-8),
    "adan": adan(1e-2, eps_root=0.0),
    "adan_decay": adan(1e-2, eps_root=0.0, weight_decay=0.1),
    "diffgrad": diffgrad(1e-2, eps=0.0),  # pytorch-optimizer adds ε before the bias correction, the paper behind it
}


@pytest.mark.parametrize("name", FROM_TORCH)
def test_trajectory_equals_pytorch(golden, name):  # tests/golden/elementwise.py wrote it
    with jax.enable_x64(True):
        path, _ = run(FROM_TORCH[name], golden["start"], golden["gradients"])
        np.testing.assert_allclose(path, golden[name], rtol=1e-12, atol=1e-13)


def test_optax_weighs_adans_differences_by_one_minus_b2():
    """0.08 instead of 0.92: equal to the authors' code for the first step alone, and at b2 = 1/2 for all."""
    with jax.enable_x64(True):
        for b2, same in ((0.92, False), (0.5, True)):
            (path, _), (other, _) = (
                run(tx, start(), gradients()) for tx in (adan(1e-2, b2=b2), optax.adan(1e-2, b2=b2))
            )
            np.testing.assert_allclose(path["vector"][0], other["vector"][0], rtol=1e-12)
            assert np.allclose(path["vector"], other["vector"], rtol=1e-11, atol=1e-12) == same


def numpy_path(step, x, grads):
    path = []
    for t, g in enumerate(grads, start=1):
        x = step(t, x, g)
        path.append(x)
    return np.stack(path)


def test_pytorchs_amsgrad_is_a_third_form(golden):
    """The maximum of uncorrected moments, divided by the correction of the step; ours is Optax's, or the paper's."""
    m, v, top = 0.0, 0.0, 0.0

    def step(t, x, g):
        nonlocal m, v, top
        g = g + 0.1 * x
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        top = np.maximum(top, v)
        return x - 1e-2 * (m / (1 - 0.9**t)) / (np.sqrt(top / (1 - 0.999**t)) + 1e-8)

    path = numpy_path(step, golden["start"], golden["gradients"])
    np.testing.assert_allclose(path, golden["amsgrad"], rtol=1e-12)
    with jax.enable_x64(True):
        for keywords in ({}, PAPER):
            ours, _ = run(amsgrad(1e-2, **keywords), golden["start"], golden["gradients"])
            assert np.max(np.abs(ours - golden["amsgrad"])) > 1e-3


def test_amsgrads_maximum_never_falls_and_constant_gradients_make_it_adam():
    with jax.enable_x64(True):
        tx = optimizers.scale_by_amsgrad()
        state, tops = tx.init(start()), []
        for t in range(20):
            _, state = tx.update(jax.tree.map(lambda g, t=t: jnp.asarray(g[t]), gradients()), state)
            tops.append(state.nu_max["vector"])
        assert (np.diff(tops, axis=0) >= 0).all()
        assert (np.diff(tops, axis=0) > 0).any()
        constant = np.tile([3.0, -1e-3], (50, 1))
        (path, _), (expected, _) = (run(make(1e-2), np.zeros(2), constant, pull=0.0) for make in (amsgrad, adam))
        np.testing.assert_allclose(path, expected, rtol=1e-12)


def reddi(tx, steps, factor=3.0):
    """The last iterate in [-1, 1] on f_t(x) = C x where t mod 3 = 1, -x elsewhere: the optimum is -1."""

    def step(carry, t):
        x, state = carry
        updates, state = tx.update(jnp.where(t % 3 == 1, factor, -1.0), state, x)
        return (jnp.clip(x + updates, -1.0, 1.0), state), None

    x = jnp.zeros(())
    return float(jax.jit(lambda: jax.lax.scan(step, (x, tx.init(x)), jnp.arange(1, steps + 1))[0][0])())


def test_the_counterexample_of_reddi_kale_and_kumar():
    """Adam goes to the worst point of the interval; AMSGrad and AdamNC to the best. Theorem 1's b2 = 1 / (1 + C²)."""
    rate = lambda count: 0.1 / jnp.sqrt(count + 1)
    decays = {"b1": 0.0, "b2": 1 / (1 + 3.0**2)}
    assert reddi(adam(rate, **decays), 30_000) > 0.99
    assert reddi(amsgrad(rate, **decays), 30_000) < -0.99
    assert reddi(amsgrad(rate, **decays, **PAPER), 30_000) < -0.99
    assert reddi(adamnc(rate, b1=0.0), 30_000) < -0.99


def test_adamnc_divides_by_the_root_of_the_mean_of_all_squares():
    grads, x = gradients()["vector"], start()["vector"]
    squares, m = 0.0, 0.0

    def step(t, x, g):
        nonlocal squares, m
        decay = 0.9 * 0.99 ** (t - 1)
        squares, m = squares + g * g, decay * m + (1 - decay) * g
        return x - 0.1 / np.sqrt(t) * m / (np.sqrt(squares / t) + 1e-8)

    with jax.enable_x64(True):
        count = lambda count: jnp.asarray(count, float)
        tx = adamnc(lambda n: 0.1 / jnp.sqrt(count(n) + 1), b1=lambda n: 0.9 * 0.99 ** count(n))
        np.testing.assert_allclose(run(tx, x, grads, pull=0.0)[0], numpy_path(step, x, grads), rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamomentum_follows_the_papers_equations(decay):
    grads, x = gradients()["vector"], start()["vector"]
    m, v = 0.0, 0.0

    def step(t, x, g):
        nonlocal m, v
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * m * m + 1e-6
        return x * (1 - 1e-2 * decay) - 1e-2 * (m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.999**t))

    with jax.enable_x64(True):
        path, _ = run(adamomentum(1e-2, eps=1e-6, weight_decay=decay), x, grads, pull=0.0)
    np.testing.assert_allclose(path, numpy_path(step, x, grads), rtol=1e-12)


def first_update(tx, gradient):
    gradient = jnp.asarray(gradient, jnp.float32)
    return tx.update(gradient, tx.init(gradient), gradient)[0]


def test_adamomentums_first_step_is_ten_times_adams_and_without_memory_it_is_adam():
    gradient = np.array([3.0, -1e-3, 70.0], np.float32)
    np.testing.assert_allclose(first_update(scale_by_adamomentum(eps=0.0), gradient), 10 * np.sign(gradient), rtol=1e-6)
    with jax.enable_x64(True):
        txs = scale_by_adamomentum(b1=0.0, eps=0.0), scale_by_adam(b1=0.0, eps=0.0)
        (path, _), (expected, _) = (run(tx, start(), gradients()) for tx in txs)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), path, expected)


def test_adamomentum_of_constant_gradients_tends_to_the_sign():
    with jax.enable_x64(True):
        path, _ = run(scale_by_adamomentum(eps=0.0), np.zeros(2), np.tile([5.0, -1e-3], (9000, 1)), pull=0.0)
        np.testing.assert_allclose(path[-1] - path[-2], [1.0, -1.0], rtol=1e-2)


def test_diffgrad_is_adam_times_a_friction():
    """Half of Adam's step where the gradient stands still, sigmoid(|g|) of it at first, between 1/2 and 1 ever."""
    with jax.enable_x64(True):
        constant = np.tile([3.0, -1e-3, 70.0], (20, 1))
        (slow, _), (fast, _) = (run(make(1e-2), np.zeros(3), constant, pull=0.0) for make in (diffgrad, adam))
        np.testing.assert_allclose(np.diff(slow, axis=0), 0.5 * np.diff(fast, axis=0), rtol=1e-10)
        np.testing.assert_allclose(slow[0], fast[0] / (1 + np.exp(-np.abs(constant[0]))), rtol=1e-12)
        scale = lambda make: run(make(1.0), np.zeros(5), gradients()["vector"], pull=0.0)[0]
        ratio = np.diff(scale(diffgrad), axis=0) / np.diff(scale(adam), axis=0)
        assert ((ratio > 0.5 - 1e-9) & (ratio <= 1 + 1e-9)).all()
        assert ratio.max() > 0.99


def stacked(*scales):
    """Gradients [steps, G, ...] of groups, each with noise of its own, at these scales."""
    grads = gradients(steps=30)
    return jax.tree.map(lambda g: np.stack([s * np.roll(g, k, axis=0) for k, s in enumerate(scales)], axis=1), grads)


def moved(tx, grads):
    """The updates of all steps, from stacked gradients."""

    def step(state, g):
        updates, state = tx.update(g, state)
        return state, updates

    return jax.lax.scan(step, tx.init(start()), jax.tree.map(jnp.asarray, grads))[1]


def test_multi_adam_is_a_sum_of_adams():
    with jax.enable_x64(True):
        grads, weights = stacked(1.0, 1e3, 1e-4), (0.2, 0.3, 0.5)
        parts = [moved(optax.scale_by_adam(0.99, 0.99), jax.tree.map(lambda g, k=k: g[:, k], grads)) for k in range(3)]
        expected = jax.tree.map(lambda *u: sum(w * x for w, x in zip(weights, u, strict=True)), *parts)
        ours = moved(scale_by_multi_adam(3, group_weights=weights), grads)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), ours, expected)
        one = moved(scale_by_multi_adam(1), jax.tree.map(lambda g: g[:, :1], grads))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), one, parts[0])


def test_multi_adam_does_not_see_the_scale_of_a_group():
    with jax.enable_x64(True):
        tx = scale_by_multi_adam(2, eps=0.0)
        once, scaled = (moved(tx, stacked(1.0, scale)) for scale in (1.0, 2.0**40))
        jax.tree.map(np.testing.assert_array_equal, once, scaled)


def test_multi_adams_moments_take_the_dtypes_they_are_given():
    tx = multi_adam(1e-2, 2, mu_dtype=BF16, nu_dtype=BF16)
    state = tx.init(jnp.ones(3))
    _, after = jax.jit(tx.update)(jnp.ones((2, 3)), state)
    assert [x.dtype for x in jax.tree.leaves(after)[1:]] == [BF16, BF16]
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def test_multi_adam_in_the_train_step():
    """Two losses of very different scales, the gradient of each from `per_task`: their mean is reached."""
    loss_fn = lambda w, batch, key: (jnp.stack([1e-3 * jnp.sum(w**2), 1e3 * jnp.sum((w - 1) ** 2)]), {})
    tx = multi_adam(optax.linear_schedule(0.05, 0.0, 300), 2, b1=0.9)
    step = optimizers.make_train_step(loss_fn, tx, gradient=per_task())
    state = optimizers.TrainState.create(params=jnp.array([-1.0, 3.0]), tx=tx)
    for _ in range(300):
        state, _ = step(state, None)
    assert ((state.params > 0.02) & (state.params < 0.98)).all()


LEAVES = {"a": jnp.ones((64, 128)), "b": jnp.ones((96, 64)), "c": jnp.ones((4096,)), "d": jnp.ones(())}
ONE_PASS = {
    "amsgrad": amsgrad(RATE),
    "amsgrad_half": amsgrad(1e-3, mu_dtype=BF16, nu_dtype=BF16),
    "adamnc": adamnc(1e-3),
    "adabelief": adabelief(1e-3),
    "adabelief_nesterov": adabelief(1e-3, nesterov=True),
    "adabelief_half": adabelief(1e-3, mu_dtype=BF16, nu_dtype=BF16),
    "adamomentum": adamomentum(1e-3),
    "adamomentum_half": adamomentum(1e-3, mu_dtype=BF16, nu_dtype=BF16),
    "adopt": adopt(1e-3),
    "adopt_half": adopt(1e-3, mu_dtype=BF16, nu_dtype=BF16),
    "acprop": acprop(1e-3),
    "acprop_scheduled": acprop(RATE, weight_decay=0.1),
    "adan": adan(1e-3, weight_decay=0.1),
    "adan_half": adan(1e-3, mu_dtype=BF16, nu_dtype=BF16),
    "diffgrad": diffgrad(1e-3),
    "diffgrad_scheduled": diffgrad(RATE),
    "clip_adan": optax.chain(optimizers.clip_by_global_norm(1.0), adan(1e-3)),
}
# Scalars, and the block of XLA's vectorised sum of squares: see test_adaptive.
SCALARS, NORM = 1024, 4096 + 1024


@pytest.mark.parametrize("dtype", [jnp.float32, BF16])
@pytest.mark.parametrize("name", ONE_PASS)
def test_the_update_needs_no_temporary_and_aliases_every_buffer(name, dtype):
    params = jax.tree.map(lambda x: x.astype(dtype), LEAVES)
    executable, donated = compiled_step(ONE_PASS[name], params)
    memory = executable.memory_analysis()
    assert memory.temp_size_in_bytes <= (NORM if name.startswith("clip") else SCALARS)
    assert memory.alias_size_in_bytes == sum(x.nbytes for x in donated)


@pytest.mark.parametrize("make", [amsgrad, adamnc, adabelief, adamomentum, adopt, acprop, adan, diffgrad])
def test_low_precision_gradients(make):
    """float16 zeros move nothing, and gradients whose squares underflow move as those in float32 do."""
    tx = make(1e-2)
    np.testing.assert_array_equal(first_update_in(tx, jnp.zeros(3, jnp.float16)), 0.0)
    gradient = jnp.array([1e-4, -3e-5, 6e-5], jnp.float16)
    expected = first_update_in(tx, gradient.astype(jnp.float32))
    # ACProp's first step is the learning rate times the gradient: below float16's normal numbers, whose step is 2**-24.
    np.testing.assert_allclose(first_update_in(tx, gradient).astype(jnp.float32), expected, rtol=2**-10, atol=2**-24)


def first_update_in(tx, gradient):
    return tx.update(gradient, tx.init(gradient), jnp.zeros_like(gradient))[0]


def test_traced_b1_of_zero_gives_no_plausible_number():
    make = lambda b1: acprop(1.0, b1=b1)
    gradient = jnp.array([1.0, -2.0])

    @jax.jit
    def second(b1):
        _, state = make(b1).update(gradient, make(0.9).init(gradient), gradient)
        _, state = make(b1).update(2 * gradient, state, gradient)
        return make(b1).update(gradient, state, gradient)[0]

    assert np.isnan(second(0.0)).all()
    assert np.isfinite(second(0.9)).all()
