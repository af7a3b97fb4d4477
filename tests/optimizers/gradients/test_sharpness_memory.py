"""LookSAM and Friendly SAM over several steps: golden trajectories, closed forms, limits, and what each step costs."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import StatefulRule, TrainState, accumulate, backprop, friendly_sam, looksam, make_train_step, sam

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "sharpness_stateful.npz")
HESSIAN, START, NOISE = GOLDEN["hessian"], GOLDEN["start"], GOLDEN["noise"]


def loss_fn(x, noise):
    return 0.5 * x @ HESSIAN @ x + 0.25 * jnp.sum(x**4) + noise @ x


def path(rule, loss_fn=loss_fn, noise=NOISE, rate=0.05):
    """The parameters after each step of gradient descent, in float64, and the gradients that led there."""
    with jax.enable_x64(True):
        value_and_grad = rule.rule(loss_fn)

        def step(carry, n):
            x, state = carry
            _, gradient, state = value_and_grad(x, n, state=state)
            x = x - rate * gradient
            return (x, state), (x, gradient)

        start = jnp.asarray(START)
        run = jax.jit(lambda noise: jax.lax.scan(step, (start, rule.init(start)), noise)[1])
        return jax.tree.map(np.asarray, run(jnp.asarray(noise)))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("looksam", looksam(0.3, 3, 0.7)),
        ("friendly_sam", friendly_sam(0.3)),
        ("friendly_sam_half", friendly_sam(0.3, 0.5, 0.6)),
    ],
)
def test_equals_pytorch_optimizer(name, rule):
    # Its norm of the gradients is in float32.
    np.testing.assert_allclose(path(rule)[0], GOLDEN[name], rtol=1e-6, atol=1e-7)


def stateless(rule):
    """The path of a rule without a state."""

    def with_state(loss_fn, has_aux=False):
        return lambda *args, state, **kwargs: (*rule(loss_fn, has_aux)(*args, **kwargs), state)

    return path(StatefulRule(lambda params: None, with_state))[0]


@pytest.mark.parametrize("rule", [looksam(0.3, 1, 0.7), friendly_sam(0.3, 0.0)], ids=["looksam", "friendly_sam"])
def test_sam_is_the_limit(rule):
    np.testing.assert_allclose(path(rule)[0], stateless(sam(0.3)), rtol=1e-12)


@pytest.mark.parametrize("rule", [looksam(0.0, 3, 0.7), friendly_sam(0.0)], ids=["looksam", "friendly_sam"])
def test_without_a_radius_it_is_the_gradient(rule):
    np.testing.assert_allclose(path(rule)[0], stateless(backprop), rtol=1e-12)


def test_looksam_between_its_looks_in_numpy():
    gradients = path(looksam(0.3, 2, 0.7), rate=0.0)[1]
    slope = lambda x, t: HESSIAN @ x + x**3 + NOISE[t]
    g = slope(START, 0)
    sharp = slope(START + 0.3 * g / np.linalg.norm(g), 0)
    np.testing.assert_allclose(gradients[0], sharp, rtol=1e-12)
    across = sharp - (sharp @ g) / (g @ g) * g
    now = slope(START, 1)
    expected = now + 0.7 * np.linalg.norm(now) / np.linalg.norm(across) * across
    np.testing.assert_allclose(gradients[1], expected, rtol=1e-12)


def test_looksam_without_weight_alternates_sam_and_the_gradient():
    gradients = path(looksam(0.3, 3, 0.0), rate=0.0)[1]
    with jax.enable_x64(True):
        rules = [sam(0.3) if t % 3 == 0 else backprop for t in range(len(NOISE))]
        expected = [rule(loss_fn)(jnp.asarray(START), n)[1] for rule, n in zip(rules[:6], NOISE)]
    np.testing.assert_allclose(gradients[:6], expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_looksam_does_not_follow_rounding(dtype):
    # The gradients of |w|^2/2 are all parallel: what is left across is rounding, and no direction to go.
    w = jnp.asarray(np.random.default_rng(0).normal(size=1000), dtype)
    rule = looksam(0.3, 2, 0.7)
    value_and_grad = jax.jit(rule.rule(lambda w: 0.5 * jnp.sum(w.astype(jnp.float32) ** 2)))
    _, sharp, state = value_and_grad(w, state=rule.init(w))
    assert np.linalg.norm(np.asarray(sharp - w, np.float32)) > 0.2
    assert not np.any(state.direction)
    np.testing.assert_array_equal(value_and_grad(w, state=state)[1], w)


def test_looksam_without_a_radius_does_not_follow_rounding():
    # Two gradients of one point may round differently, as when a radius warms up from 0.
    calls = iter(range(4))

    def rounding(loss_fn, has_aux=False):
        value_and_grad = jax.value_and_grad(loss_fn, has_aux)
        return lambda p, step: (value_and_grad(p)[0], value_and_grad(p)[1] + 1e-12 * next(calls))

    rule = looksam(0.0, 2, 0.7, inner=rounding)
    with jax.enable_x64(True):
        state = rule.init(jnp.asarray(START))
        for _ in range(2):
            _, gradient, state = rule.rule(lambda x: loss_fn(x, NOISE[0]))(jnp.asarray(START), state=state)
    np.testing.assert_allclose(gradient, HESSIAN @ START + START**3 + NOISE[0], rtol=1e-9)


def counted(rule, steps):
    """How many times the loss runs in so many steps under jit."""
    calls = []

    def loss_fn(w):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum(w**4)

    value_and_grad, w = jax.jit(rule.rule(loss_fn)), jnp.array([1.0, 2.0])
    state = rule.init(w)
    for _ in range(steps):
        state = value_and_grad(w, state=state)[2]
    jax.effects_barrier()
    return len(calls)


@pytest.mark.parametrize("k", [1, 3])
def test_looksam_pays_for_two_gradients_at_every_kth_step_alone(k):
    assert counted(looksam(0.3, k), 6) == 6 + 6 // k


def test_friendly_sam_in_numpy():
    gradients = path(friendly_sam(0.3, 0.5, 0.6), rate=0.0)[1]
    slope = lambda x, t: HESSIAN @ x + x**3 + NOISE[t]
    average = np.zeros(6)
    for t in range(4):
        g = slope(START, t)
        towards = g - 0.5 * average
        np.testing.assert_allclose(gradients[t], slope(START + 0.3 * towards / np.linalg.norm(towards), t), rtol=1e-12)
        average = g if t == 0 else 0.6 * average + 0.4 * g


def test_friendly_sam_perturbs_nothing_where_all_gradients_agree():
    # At a point that stays, one batch for ever: SAM first, and from then on the gradient itself.
    gradients = path(friendly_sam(0.3), noise=np.zeros((4, 6)), rate=0.0)[1]
    np.testing.assert_allclose(gradients[1:], np.tile(HESSIAN @ START + START**3, (3, 1)), rtol=1e-12)
    assert np.linalg.norm(gradients[0] - gradients[1]) > 0.1


@pytest.mark.parametrize("make", [looksam, friendly_sam])
def test_half_precision_is_remembered_in_float32(make):
    rule = make(0.3, inner=accumulate(2))
    w, batch = jnp.full(2, 2.0, jnp.float16), jnp.ones((4, 2), jnp.float16)
    value_and_grad = rule.rule(
        lambda w, b: jnp.sum(jnp.array([250, 375], w.dtype) * w**2 * b.mean()).astype(jnp.float32)
    )
    state = rule.init(w)
    for _ in range(3):
        _, gradient, state = value_and_grad(w, batch, state=state)
        assert gradient.dtype == jnp.float16
        assert np.isfinite(np.asarray(gradient, np.float32)).all()
    assert {leaf.dtype for leaf in jax.tree.leaves(state[1])} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("make", [looksam, friendly_sam])
def test_several_seeds_in_one_vmap_of_the_train_step(make):
    rule, tx = make(0.3, inner=backprop), optax.sgd(0.01)
    step = make_train_step(
        lambda w, batch, key: jnp.sum((w - batch) ** 4), tx, gradient=rule, has_aux=False, donate=False
    )
    batches = jnp.arange(6.0).reshape(3, 2)
    create = lambda w: TrainState.create(params=w, tx=tx, gradient=rule)
    states, apart = jax.vmap(create)(batches / 2), [create(b / 2) for b in batches]
    for _ in range(3):
        states, _ = jax.vmap(step)(states, batches)
        apart = [step(state, batch)[0] for state, batch in zip(apart, batches)]
    np.testing.assert_allclose(states.params, [state.params for state in apart], rtol=1e-5)


def test_radius_and_weight_may_be_schedules():
    rule = looksam(lambda step: 0.1 * step, 2, lambda step: 0.2 * step)
    fixed = looksam(0.1, 2, 0.4)
    w, slope = jnp.array([1.0, 2.0]), lambda w: jnp.sum(w**4)
    state = rule.init(w)
    for t in (1, 2):  # the radius of step 1, the weight of step 2
        _, gradient, state = rule.rule(slope)(w, state=state, step=t)
    after = fixed.init(w)
    for _ in range(2):
        _, expected, after = fixed.rule(slope)(w, state=after)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_faults_are_named():
    with pytest.raises(ValueError, match="looksam: k must be at least 1, got 0"):
        looksam(k=0)
    with pytest.raises(ValueError, match=r"friendly_sam: decay must lie in \[0, 1\], got 1.1"):
        friendly_sam(decay=1.1)
    rule = friendly_sam(sigma=lambda step: 0.1)
    with pytest.raises(ValueError, match="friendly_sam: sigma is a schedule"):
        rule.rule(lambda w: w**2)(jnp.ones(()), state=rule.init(jnp.ones(())))
