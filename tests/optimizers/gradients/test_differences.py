"""Simultaneous and per-output perturbation: exact on quadratics, smoothed gradients, and forward passes alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import TrainState, local_perturbation, make_train_step, spsa
from optimizers.gradients import differences

START = np.array([1.0, -0.5, 0.7, 0.2])
KEYS = jax.random.split(jax.random.key(1), 20_000)


def quartic(w, key=None):
    return jnp.sum(w**4) / 4


def mean_and_error(samples):
    samples = np.asarray(samples, np.float64)
    return np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))


@pytest.mark.parametrize(("distribution", "fourth"), [("rademacher", 1), ("normal", 3)])
def test_it_is_unbiased_for_the_smoothed_loss(distribution, fourth):
    # Along v the slope of the antithetic difference is sum_j v_j (w_j^3 + sigma^2 v_j^2 w_j), and E[v^4] is 1 or 3.
    sigma, w = 0.5, jnp.asarray(START, jnp.float32)
    rule = spsa(sigma, distribution=distribution)(quartic)
    mean, error = mean_and_error(jax.jit(jax.vmap(lambda key: rule(w, key)[1]))(KEYS))
    assert np.all(np.abs(mean - (START**3 + fourth * sigma**2 * START)) < 5 * error)


def test_on_a_quadratic_it_is_the_forward_gradient_at_every_sigma():
    hessian = np.diag([1.0, 2.0, 3.0, 4.0]) + 0.3
    loss_fn = lambda w, key: 0.5 * w @ hessian @ w
    slope = hessian @ START
    with jax.enable_x64(True):
        w, key = jnp.asarray(START), jax.random.key(0)
        for sigma in (1e-3, 1.0, 50.0):
            # The direction, up to a sign that the estimate does not have, is the estimate for the loss w_0.
            direction = spsa(sigma)(lambda w, key: w[0])(w, key)[1]
            value, gradient = spsa(sigma)(loss_fn)(w, key)
            np.testing.assert_allclose(np.abs(direction), 1, rtol=1e-10)
            np.testing.assert_allclose(gradient, (slope @ direction) * direction, rtol=1e-9)
            np.testing.assert_allclose(value, 0.5 * START @ slope, rtol=1e-14)


def test_samples_average_and_lower_the_variance():
    # Of Rademacher directions the second moment is P |g|^2 for one, ((P - 1) / K + 1) |g|^2 for the mean of K.
    g = np.float32([3.0, 1.0, -2.0, 0.5])
    for rule in (spsa(1.0, 3), spsa(1.0, 3, sequential=True)):
        samples = jax.jit(jax.vmap(lambda key, rule=rule: rule(lambda w, key: w @ g)(jnp.zeros(4), key)[1]))(KEYS)
        mean, error = mean_and_error(samples)
        assert np.all(np.abs(mean - g) < 5 * error)
        moment, error = mean_and_error(np.sum(np.square(samples), axis=1))
        assert abs(moment - 2 * (g @ g)) < 5 * error


@pytest.mark.parametrize("sequential", [False, True])
def test_two_forward_passes_a_sample_and_nothing_differentiable(sequential):
    # A callback has neither jvp nor vjp.
    executed = []

    def square(w):
        executed.append(1)
        return np.float32(np.sum(np.square(w)))

    def loss_fn(w, key):
        return jax.pure_callback(square, jax.ShapeDtypeStruct((), jnp.float32), w, vmap_method="sequential"), w

    w = jnp.array([3.0])
    (value, aux), gradient = jax.jit(spsa(1.0, 4, sequential=sequential)(loss_fn, True))(w, jax.random.key(0))
    assert (float(value), float(aux[0]), float(gradient[0])) == (9.0, 3.0, 6.0)
    assert len(executed) == 2 * 4 + 1


def test_a_count_is_a_loss():
    # The mean of a step function's slope: wrong signs of x + w for w in (-1, 1), x on a fine grid.
    x = jnp.linspace(-1, 1, 401)
    errors = lambda w, key: jnp.sum(jnp.sign(x + w) != jnp.sign(x + 0.5))
    value, gradient = spsa(0.1)(errors)(jnp.float32(0.0), jax.random.key(0))
    assert abs(int(value) - 100) <= 1
    np.testing.assert_allclose(gradient, -200, rtol=0.06)  # the grid has 200 points a unit


def test_half_precision_parameters_and_loss():
    w = jnp.asarray([1.0, 2.0], jnp.bfloat16)
    value, gradient = spsa(0.5)(lambda w, key: jnp.sum(w.astype(jnp.float32) ** 2))(w, jax.random.key(0))
    assert gradient.dtype == jnp.bfloat16
    assert value == 5.0
    assert sorted(np.abs(np.asarray(gradient, np.float32)).tolist()) in ([2.0, 2.0], [6.0, 6.0])  # 2 (w v) v


def test_a_loss_that_is_not_finite_is_not_hidden():
    assert np.isnan(spsa(0.1)(lambda w, key: jnp.log(w[0]))(-jnp.ones(2), jax.random.key(0))[1]).all()


def test_a_train_step_descends():
    tx = optax.sgd(0.05)
    step = make_train_step(lambda w, batch, key: jnp.sum((w - batch) ** 2), tx, gradient=spsa(0.1, 2), has_aux=False)
    state, first = step(TrainState.create(params=jnp.zeros(3), tx=tx, key=0), jnp.ones(3))
    for _ in range(100):
        state, last = step(state, jnp.ones(3))
    assert last["loss"] < 0.01 * first["loss"]


# --- per-output perturbation


TARGET = np.array([0.3, 0.1, -0.2, 0.5])


def separable(w, key=None):
    return (w - TARGET) ** 2


EACH_ITS_OWN = {"indices": np.arange(4, dtype=np.int8)[:, None], "booleans": np.eye(4, dtype=bool)}


@pytest.mark.parametrize("kind", EACH_ITS_OWN)
@pytest.mark.parametrize("sequential", [False, True])
def test_it_is_exact_for_separable_quadratics(kind, sequential):
    rule = local_perturbation(EACH_ITS_OWN[kind], 0.7, 2, sequential=sequential)
    with jax.enable_x64(True):
        value, gradient = jax.jit(rule(separable))(jnp.asarray(START), jax.random.key(0))
    np.testing.assert_allclose(value, np.mean((START - TARGET) ** 2), rtol=1e-13)
    np.testing.assert_allclose(gradient, (START - TARGET) / 2, rtol=1e-12)


def coupled(params, key=None):
    """Errors [2, 3] of two parameters [4] and [2, 2]."""
    sums = jnp.stack([jnp.sum(params["a"]), jnp.sum(params["a"] ** 2), jnp.sum(params["b"])])
    return jnp.stack([sums**2, jnp.sin(sums) * params["b"][0, 1]])


COUPLED = {"a": jnp.asarray(START, jnp.float32), "b": jnp.array([[0.3, 0.8], [-0.4, 0.1]])}
EVERYTHING = {
    "indices": {"a": np.tile(np.arange(4), (2, 3, 1)), "b": np.tile(np.arange(2), (2, 3, 1))},
    "leaves": jax.tree.map(lambda p: np.ones((2, 3), bool), COUPLED),
    "entries": jax.tree.map(lambda p: np.ones((2, 3, *p.shape), bool), COUPLED),
    "function": lambda params, key: jax.tree.map(lambda p: jnp.ones((2, 3, p.shape[0]), bool), params),
}


@pytest.mark.parametrize("kind", EVERYTHING)
def test_it_is_spsa_of_the_mean_where_everything_depends_on_everything(kind, monkeypatch):
    monkeypatch.setattr(differences, "key_of_rule", lambda function, args: jax.random.key(3))  # the same draws
    value, expected = spsa(0.2, 2)(lambda p, key: jnp.mean(coupled(p)))(COUPLED, None)
    got_value, got = local_perturbation(EVERYTHING[kind], 0.2, 2)(coupled)(COUPLED, None)
    np.testing.assert_allclose(got_value, value, rtol=1e-6)
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-6), got, expected)


def test_it_is_unbiased_and_less_noisy_than_spsa():
    # Neighbouring pixels share a parameter: each error depends on two of twenty.
    size = 20
    w = jnp.asarray(np.random.default_rng(0).normal(size=(size, 1)), jnp.float32)
    errors = lambda w, key: (w[:-1, 0] * w[1:, 0] - 0.5) ** 2
    neighbours = np.stack([np.arange(size - 1), np.arange(1, size)], axis=1)
    exact = jax.grad(lambda w: jnp.mean(errors(w, None)))(w)
    noise = {}
    for name, rule, loss_fn in (
        ("local", local_perturbation(neighbours, 1e-2), errors),
        ("global", spsa(1e-2), lambda w, key: jnp.mean(errors(w, key))),
    ):
        samples = jax.jit(jax.vmap(lambda key, rule=rule, loss_fn=loss_fn: rule(loss_fn)(w, key)[1]))(KEYS[:5000])
        mean, error = mean_and_error(samples)
        assert np.all(np.abs(mean - exact) < 5 * error + 2e-4)  # 2e-4: sigma^2, and the rounding of a difference
        noise[name] = np.mean(np.var(samples, axis=0))
    assert noise["local"] < noise["global"] / 5


def test_what_contributed_at_either_point_is_credited():
    # Two layers at one depth, of which any perturbation shows the nearer one: no derivative, and one pixel.
    def render(params):
        nearest = jnp.argmin(params["depth"])
        return nearest, params["color"][nearest]

    def contributions(params, key):
        return {"depth": render(params)[0][None, None], "color": render(params)[0][None, None]}

    loss_fn = lambda params, key: render(params)[1][None] ** 2
    params = {"depth": jnp.zeros(2), "color": jnp.array([3.0, 1.0])}
    for key in jax.random.split(jax.random.key(0), 20):
        local = local_perturbation(contributions, 0.5)(loss_fn)(params, key)[1]
        first, second = local["depth"]
        if float(first) != float(second):  # the two are perturbed apart, and both are credited, oppositely
            assert float(first) == -float(second) != 0
            break
    else:
        raise AssertionError("no perturbation parted the layers")


def test_indices_count_once_absent_ones_not_and_wrong_ones_are_nan():
    key, w, own = jax.random.key(0), jnp.asarray(START, jnp.float32), np.arange(4)
    gradient = lambda indices: np.asarray(local_perturbation(indices, 0.5)(separable)(w, key)[1])
    exact = gradient(own[:, None])
    np.testing.assert_array_equal(gradient(np.stack([own, own, np.full(4, -1)], axis=1)), exact)
    absent = gradient(np.array([[0], [-1], [2], [-1]]))
    np.testing.assert_array_equal(absent, np.where([True, False, True, False], exact, 0))
    assert np.isnan(gradient(np.array([[0], [1], [2], [4]]))).any()


def test_an_error_that_is_not_finite_reaches_its_contributors_alone():
    loss_fn = lambda w, key: jnp.stack([w[0] ** 2, jnp.log(w[1])])
    for marks in (np.array([[0], [1]]), np.eye(2, dtype=bool)):
        gradient = local_perturbation(marks, 0.1)(loss_fn)(jnp.array([1.0, -1.0]), jax.random.key(0))[1]
        np.testing.assert_allclose(gradient, [1.0, np.nan], rtol=1e-5)


def test_faults_are_named():
    w, key = jnp.ones(4), jax.random.key(0)
    for marks, message in (
        ({"w": np.eye(4, dtype=bool)}, "must have the structure of params"),
        (np.ones((4, 3), bool), r"of booleans must have shape \(4,\) .*got \(4, 3\)"),
        (np.ones((3,), bool), r"of booleans must have shape \(4,\) .*got \(3,\)"),
        (np.arange(4), r"of integers must have shape \(4,\)"),
        (np.ones((4, 4)), "must be integers or booleans, got .*float32"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"local_perturbation: contributions {message}"):
            local_perturbation(marks, 0.1)(separable)(w, key)
    with pytest.raises(ValueError, match="local_perturbation: loss_fn must return an array of errors"):
        local_perturbation(np.eye(4, dtype=bool), 0.1)(quartic)(w, key)
    with pytest.raises(ValueError, match=r"spsa: loss_fn must return a scalar, got shape \(4,\)"):
        spsa(0.1)(separable)(w, key)
    with pytest.raises(ValueError, match="spsa: sigma is a schedule"):
        spsa(lambda step: 0.1)(quartic)(w, key)
    with pytest.raises(ValueError, match="spsa: expected a typed PRNG key"):
        spsa(0.1)(quartic)(w)
