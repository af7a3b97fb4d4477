"""Schedules against PyTorch, pytorch-optimizer, Optax and the authors' code; ends, limits and corners against NumPy."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import (
    ademamix_b3_schedule,
    cosine_power_schedule,
    half_life_schedule,
    inverse_sqrt_schedule,
    inverse_time_schedule,
    linear_decay_schedule,
    lr_range_test,
    max_w_mix,
    one_cycle_momentum_schedule,
    one_cycle_schedule,
    refine_schedule,
    rex_schedule,
    suggest_max_lr,
    warm_restarts_schedule,
    wsd_schedule,
)

COUNTS = np.arange(40)
# torch's corners lie at whole steps counted from 1: its cycle of part p of n steps is that of 2 (p n - 1) of n - 1.
CYCLE = 2 * (0.4 * 41 - 1) / 40


@pytest.fixture(scope="module")
def golden():  # tests/golden/schedules.py wrote it
    return np.load(pathlib.Path(__file__).parents[2] / "golden" / "schedules.npz")


GOLDEN = {
    "one_cycle": lambda: one_cycle_schedule(40, 0.3, CYCLE, 10.0, 100.0),
    "one_cycle_momentum": lambda: one_cycle_momentum_schedule(40, pct_cycle=CYCLE),
    "restarts": lambda: warm_restarts_schedule(0.3, 3, end_value=0.01),
    "equal_restarts": lambda: warm_restarts_schedule(0.3, 7, 1, 0.01),
    "rex": lambda: rex_schedule(0.3, 30, end_value=0.01),
    **{
        f"wsd {c}": lambda c=c: wsd_schedule(0.3, 5, 12, 20, 0.0, c) for c in ("1-sqrt", "linear", "cosine", "1-square")
    },
    "wsd floor": lambda: wsd_schedule(0.3, 5, 12, 20, 0.03, "cosine"),
    **{f"cosine_power {p}": lambda p=p: cosine_power_schedule(0.3, 30, end_value=0.01, power=p) for p in (1, 2, 10)},
}


@pytest.mark.parametrize("name", GOLDEN)
def test_equals_the_peer(golden, name):
    with jax.enable_x64(True):
        expected = golden[name]
        np.testing.assert_allclose(GOLDEN[name]()(np.arange(len(expected))), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mode", ["sgd", "adam"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_refinement_equals_the_authors_code(golden, mode, smoothing):
    with jax.enable_x64(True):
        schedule = refine_schedule(golden["norms"], 1.0, smoothing=smoothing, mode=mode)
        np.testing.assert_allclose(schedule(np.arange(60)), golden[f"refined {mode} {smoothing}"], rtol=1e-12)


SAME_AS_OPTAX = {
    "linear": (linear_decay_schedule(0.3, 30, 6), optax.warmup_constant_schedule(0.0, 0.3, 6), slice(0, 7)),
    "linear decay": (linear_decay_schedule(0.3, 30), optax.linear_schedule(0.3, 0.0, 30), slice(None)),
    "linear end": (linear_decay_schedule(0.3, 30, 0, 0.1), optax.linear_schedule(0.3, 0.1, 30), slice(None)),
    "one cycle": (
        one_cycle_schedule(40, 0.3, 0.8),
        optax.linear_onecycle_schedule(40, 0.3, 0.4, 0.8, 10, 1e3),
        slice(None),
    ),
    "cosine": (
        cosine_power_schedule(0.3, 30, 5, power=1.0),
        optax.warmup_cosine_decay_schedule(0.0, 0.3, 5, 30),
        slice(None),
    ),
    "wsd cosine": (
        wsd_schedule(0.3, 5, 0, 25, 0.01, "cosine"),
        optax.warmup_cosine_decay_schedule(0.0, 0.3, 5, 30, 0.01),
        slice(None),
    ),
    "restarts": (
        warm_restarts_schedule(1.0, 5, 2, 0.1),
        optax.sgdr_schedule(
            [
                {"init_value": 1.0, "peak_value": 1.0, "warmup_steps": 0, "decay_steps": n, "end_value": 0.1}
                for n in (5, 10, 20)
            ]
        ),
        slice(0, 35),
    ),
}


@pytest.mark.parametrize("name", SAME_AS_OPTAX)
def test_equals_optax(name):
    ours, peer, where = SAME_AS_OPTAX[name]
    expected = np.array(jax.vmap(peer)(COUNTS))
    np.testing.assert_allclose(ours(COUNTS)[where], expected[where], rtol=2e-6, atol=1e-7)


def test_powers_near_one_lose_no_digits():
    close, cosine = (cosine_power_schedule(1.0, 40, power=p)(COUNTS) for p in (1.0 + 1e-6, 1.0))
    np.testing.assert_allclose(close, cosine, rtol=2e-6, atol=1e-7)
    assert float(cosine_power_schedule(1.0, 10, power=10.0)(5)) == pytest.approx((10**1.5 - 10) / 90, rel=1e-6)
    traced = jax.jit(lambda p: cosine_power_schedule(1.0, 10, power=p)(5))
    assert np.isnan(traced(0.5))  # a traced power cannot be refused
    assert float(traced(1.0)) == pytest.approx(0.5)


@pytest.mark.parametrize("power", [1.0, 2.0, 10.0, 1e4])
def test_profiles_begin_at_the_peak_end_at_the_end_and_never_rise(power):
    for schedule in (
        cosine_power_schedule(0.3, 30, 4, 0.01, power),
        rex_schedule(0.3, 30, 4, 0.01),
        linear_decay_schedule(0.3, 30, 4, 0.01),
    ):
        values = np.asarray(schedule(COUNTS))
        np.testing.assert_allclose(values[:5], 0.3 * np.arange(5) / 4, rtol=1e-6)
        np.testing.assert_allclose(values[30:], 0.01, rtol=1e-6)
        assert np.all(np.diff(values[4:31]) < 0)


def test_rex_is_above_the_linear_decay():
    inside = slice(1, 29)
    assert np.all(rex_schedule(1.0, 30)(COUNTS)[inside] > linear_decay_schedule(1.0, 30)(COUNTS)[inside])


def test_one_cycle_moves_rate_and_momentum_in_opposite_directions():
    rate, momentum = (np.asarray(s(COUNTS)) for s in (one_cycle_schedule(40, 0.3), one_cycle_momentum_schedule(40)))
    cycle = np.arange(39) < 35
    slopes = np.sign(np.diff(rate).round(7)), np.sign(np.diff(momentum).round(7))
    np.testing.assert_array_equal(slopes[0][cycle], -slopes[1][cycle])
    assert rate[0] == pytest.approx(0.03)
    assert float(one_cycle_schedule(40, 0.3)(40)) == pytest.approx(0.3 / 1e4, abs=4e-9)  # float32 at 0.03
    assert float(one_cycle_schedule(40, 0.3)(18)) == pytest.approx(0.3)
    np.testing.assert_allclose(momentum[36:], 0.95, rtol=1e-6)


def test_inverse_sqrt_is_the_transformers():
    """Vaswani et al.: d^-1/2 min(step^-1/2, step W^-3/2), with step = count."""
    steps, width, warmup = np.arange(1, 400), 64, 50
    expected = width**-0.5 * np.minimum(steps**-0.5, steps * warmup**-1.5)
    np.testing.assert_allclose(inverse_sqrt_schedule((width * warmup) ** -0.5, warmup)(steps), expected, rtol=2e-6)
    slow = inverse_sqrt_schedule(1.0, 10, timescale=100)
    assert float(slow(110)) == pytest.approx(0.5**0.5, rel=1e-6)


def test_inverse_time_gives_the_mean_of_all_samples():
    """Rates 1 / k on the parabolas (w - x_k)² / 2 make the iterate their running mean: Robbins and Monro's case."""
    samples = np.random.default_rng(0).normal(size=50)
    w, schedule = 0.0, inverse_time_schedule(1.0, 0.0)
    for count, x in enumerate(samples):
        w -= float(schedule(count)) * (w - x)
    assert w == pytest.approx(samples.mean(), rel=1e-5)


def test_half_lives_move_linearly_up_or_down():
    with jax.enable_x64(True):
        for first, last in ((0.9, 0.9999), (0.99, 0.5)):
            half_life = np.log(0.5) / np.log(half_life_schedule(first, last, 100)(np.arange(120)))
            ends = np.log(0.5) / np.log([first, last])
            np.testing.assert_allclose(half_life, np.interp(np.arange(120), [0, 100], ends), rtol=1e-9)
    counts = np.arange(120)
    shifted = half_life_schedule(0.9, 0.9999, 100)(counts + 1)
    np.testing.assert_array_equal(ademamix_b3_schedule(0.9999, 0.9, 100)(counts), shifted)


def test_restarts_never_end():
    """Beyond any table: cycle i starts at T₀ (2^i - 1), to the last count that an int32 holds."""
    schedule = warm_restarts_schedule(1.0, 3)
    for cycle in (10, 20, 28):
        start = 3 * (2**cycle - 1)
        assert float(schedule(np.int32(start))) == 1.0
        assert float(schedule(np.int32(start - 1))) < 1e-4
        assert float(schedule(np.int32(start + 3 * 2 ** (cycle - 1)))) == pytest.approx(0.5, abs=1e-6)
    assert 0 <= float(schedule(np.int32(2**31 - 1))) <= 1


@pytest.mark.parametrize("curvature", [0.5, 4.0])
def test_the_range_test_finds_two_over_the_curvature(curvature):
    loss_fn = lambda x: 0.5 * curvature * jnp.sum(x**2)
    step_fn = lambda x, rate: (x - rate * jax.grad(loss_fn)(x), loss_fn(x))
    rates, losses = lr_range_test(step_fn, jnp.ones(2), 1e-2, 1e2, 60)
    found = float(suggest_max_lr(rates, losses))
    assert found <= 2 / curvature < found * (1e4 ** (1 / 59)) ** 1.001
    np.testing.assert_allclose(rates, np.geomspace(1e-2, 1e2, 60), rtol=1e-5)
    # Step i has rate i, and its loss is the one before it.
    np.testing.assert_allclose(losses[:2], [curvature, curvature * (1 - 1e-2 * curvature) ** 2], rtol=1e-5)


def test_what_comes_after_divergence_does_not_count():
    rates = np.geomspace(1e-3, 1.0, 6)
    for spoilt in (np.nan, np.inf, 50.0):
        losses = np.array([3.0, 2.0, 1.0, spoilt, 0.1, 0.1])
        assert float(suggest_max_lr(rates, losses)) == pytest.approx(rates[1])
    assert float(suggest_max_lr(rates, [3.0, 2.0, 1.5, 1.2, 1.1, 1.0])) == pytest.approx(rates[4])
    assert np.isnan(suggest_max_lr(rates, np.full(6, np.nan)))
    # A loss below zero: the bound is as far above it as that of its absolute value.
    assert float(suggest_max_lr(rates, [0.0, -1.0, -1.5, 2.0, 4.0, -9.0])) == pytest.approx(rates[1])


def test_the_average_of_the_losses_has_no_bias():
    """One spike among equal losses: averaged over those seen, it is no end of the test, nor is the start a best."""
    losses = np.array([1.0, 1.0, 7.0, 0.9, 0.8, 0.7])
    rates = np.geomspace(1e-3, 1.0, 6)
    assert float(suggest_max_lr(rates, losses)) == pytest.approx(rates[0])
    assert float(suggest_max_lr(rates, losses, smoothing=0.9, divergence=4.0)) == pytest.approx(rates[0])
    weights = 0.9 ** np.arange(5, -1, -1)
    assert weights @ losses / weights.sum() < 4.0


def test_max_w_leaves_the_leading_operation_alone():
    random = np.random.default_rng(0)
    outputs, weights = random.normal(size=(3, 2, 4)), random.dirichlet(np.ones(3))
    with jax.enable_x64(True):
        expected = sum((1 - weights.max() + w) * o for w, o in zip(weights, outputs, strict=True))
        np.testing.assert_allclose(max_w_mix(outputs, weights), expected, rtol=1e-13)
        np.testing.assert_allclose(max_w_mix(outputs, np.full(3, 1 / 3)), outputs.sum(axis=0), rtol=1e-13)
        np.testing.assert_array_equal(max_w_mix(outputs, np.array([0.0, 1.0, 0.0])), outputs[1])
        # The leading operation's coefficient is 1 whatever its weight, and the others fall as it grows.
        slope = jax.grad(lambda w: jnp.sum(max_w_mix(outputs, w)))(jnp.asarray([0.2, 0.5, 0.3]))
        sums = outputs.sum(axis=(1, 2))
        np.testing.assert_allclose(slope, [sums[0], -sums[0] - sums[2], sums[2]], rtol=1e-12)
