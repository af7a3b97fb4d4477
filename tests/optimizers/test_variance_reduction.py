"""SVRG, SAGA and SAG on ridge logistic regression, against scikit-learn's solution and by what defines them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import LogisticRegression

from optimizers import TrainState, make_train_step, norm_test_batch_size, per_example, sag, saga, svrg

N, RIDGE = 200, 0.1
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 4))
Y = np.sign(X @ np.array([1.0, -2.0, 0.5, 0.0]) + RANDOM.normal(size=N))
DATA = {"x": X, "y": Y, "index": np.arange(N)}


def loss_fn(w, batch, key=None):
    del key
    return jnp.mean(jnp.logaddexp(0.0, -batch["y"] * (batch["x"] @ w))) + 0.5 * RIDGE * jnp.sum(w**2)


def solution():
    """scikit-learn minimises |w|² / 2 + C Σ log(…): ours times 1 / λ, with C = 1 / (λ n)."""
    model = LogisticRegression(
        C=1 / (RIDGE * N), fit_intercept=False, tol=1e-14, max_iter=1000, solver="newton-cholesky"
    )
    return model.fit(X, Y).coef_[0]


def distances(rule, passes=50, batch=4, rate=0.1):
    """Distance to the solution after each pass over random batches, at a constant rate."""
    data = jax.tree.map(jnp.asarray, DATA)
    tx = optax.sgd(rate)
    keywords = {} if rule is None else {"gradient": rule}
    step = make_train_step(lambda w, batch, key: (loss_fn(w, batch), {}), tx, donate=False, **keywords)
    state = TrainState.create(params=jnp.zeros(4), tx=tx, **keywords)

    def one_pass(state, key):
        def one(state, key):
            chosen = jax.random.choice(key, N, (batch,), replace=False)
            return step(state, jax.tree.map(lambda leaf: leaf[chosen], data))[0], None

        state, _ = jax.lax.scan(one, state, jax.random.split(key, N // batch))
        return state, state.params

    _, path = jax.jit(lambda s: jax.lax.scan(one_pass, s, jax.random.split(jax.random.key(0), passes)))(state)
    return np.linalg.norm(path - solution(), axis=1)


@pytest.mark.parametrize("name", ["svrg", "saga", "sag"])
def test_converges_linearly_to_scikit_learns_solution(name):
    with jax.enable_x64(True):
        make = {"svrg": lambda: svrg(DATA, 2 * N // 4), "saga": lambda: saga(N), "sag": lambda: sag(N)}
        found = distances(make[name]())
    assert found[-1] < 1e-8
    # A factor of ten and more for ten passes, down to the digits that scikit-learn's solution has.
    assert np.all(found[10::10] < np.maximum(0.1 * found[:-10:10], 1e-13))


def test_plain_stochastic_gradients_stall():
    with jax.enable_x64(True):
        found = distances(None)
    assert np.min(found) > 1e-3


def test_svrg_is_unbiased_and_exact_at_the_snapshot():
    with jax.enable_x64(True):
        rule = svrg(DATA, inner_steps=5)
        value_and_grad = rule.rule(loss_fn)
        one = lambda i: jax.tree.map(lambda leaf: jnp.asarray(leaf)[i][None], DATA)
        w = jnp.asarray(RANDOM.normal(size=4))
        full = jax.grad(loss_fn)(w, DATA)
        at_snapshot = jax.vmap(lambda i: value_and_grad(w, one(i), state=rule.init(w))[1])(jnp.arange(N))
        np.testing.assert_allclose(at_snapshot, np.tile(full, (N, 1)), rtol=1e-11, atol=1e-13)
        _, _, state = value_and_grad(w, one(0), state=rule.init(w))
        away = w + 0.1
        found = jax.vmap(lambda i: value_and_grad(away, one(i), state=state)[1])(jnp.arange(N))
        np.testing.assert_allclose(found.mean(axis=0), jax.grad(loss_fn)(away, DATA), rtol=1e-11)
        plain = jax.vmap(lambda i: jax.grad(loss_fn)(away, one(i)))(jnp.arange(N))
        assert found.var(axis=0).sum() < 0.05 * plain.var(axis=0).sum()


def test_svrg_renews_its_snapshot_after_the_steps_given():
    rule = svrg({"x": X[:3], "y": Y[:3]}, inner_steps=3)
    state, w = rule.init(jnp.zeros(4)), jnp.zeros(4)
    for step in range(7):
        w = jnp.full(4, float(step))
        _, _, state = rule.rule(loss_fn)(w, {"x": X[:1], "y": Y[:1]}, state=state)
        np.testing.assert_array_equal(state.snapshot, 3.0 * (step // 3))


@pytest.mark.parametrize(("make", "weight"), [(saga, 1.0), (sag, 2 / 6)])
def test_tables_follow_their_definition(make, weight):
    """In NumPy: three steps on pairs of six examples, parabolas whose gradients are w - x."""
    with jax.enable_x64(True):
        points, table = RANDOM.normal(size=(6, 2)), np.zeros((6, 2))
        rule = make(6)
        state, value_and_grad = (
            rule.init(jnp.zeros(2)),
            rule.rule(lambda w, b: 0.5 * jnp.mean(jnp.sum((w - b["x"]) ** 2, -1))),
        )
        for pair in ([0, 3], [1, 0], [5, 3]):
            w = RANDOM.normal(size=2)
            value, v, state = value_and_grad(jnp.asarray(w), {"index": jnp.array(pair), "x": points[pair]}, state=state)
            gradients = w - points[pair]
            expected = weight * (gradients - table[pair]).mean(axis=0) + table.mean(axis=0)
            table[pair] = gradients
            np.testing.assert_allclose(v, expected, rtol=1e-12)
            np.testing.assert_allclose(value, 0.5 * np.mean(np.sum(gradients**2, axis=1)), rtol=1e-12)
            np.testing.assert_allclose(state.table, table, rtol=1e-12)
            np.testing.assert_allclose(state.mean, table.mean(axis=0), rtol=1e-11, atol=1e-15)


def test_the_norm_test_finds_the_batch_whose_noise_is_the_gradients_length():
    gradients = RANDOM.normal(size=(50, 3)) + 0.5
    with jax.enable_x64(True):
        variance, mean = gradients.var(axis=0, ddof=1).sum(), gradients.mean(axis=0)
        expected = variance / (0.5**2 * (mean @ mean))
        tree = {"a": gradients[:, :1], "b": gradients[:, 1:]}
        np.testing.assert_allclose(norm_test_batch_size(tree, chi=0.5), expected, rtol=1e-12)
    assert np.isinf(norm_test_batch_size(jnp.array([[1.0], [-1.0]])))
    assert norm_test_batch_size(jnp.zeros((3, 2))) == 0.0
    _, stacked = per_example()(loss_fn)(jnp.zeros(4), DATA)
    assert 1 < float(norm_test_batch_size(stacked)) < N
