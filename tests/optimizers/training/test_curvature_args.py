"""What the train step feeds to transformations that use curvature, and that they train with it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import (
    GaussNewton,
    TrainState,
    adahessian,
    adam,
    gauss_newton_bartlett_diagonal,
    gauss_newton_vector_product,
    hessian_vector_product,
    hutchinson_estimator_diag_hessian,
    make_train_step,
    natural_gradient,
    saddle_free_newton,
    sophia_g,
    thermodynamic_natural_gradient,
)

RANDOM = np.random.default_rng(0)
INPUTS = np.float32(RANDOM.normal(size=(40, 3)))
LABELS = np.argmax(INPUTS @ RANDOM.normal(size=(3, 4)) + RANDOM.gumbel(size=(40, 4)), axis=1)
BATCH = {"x": INPUTS, "y": LABELS}
START = {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}


def outputs_fn(params, batch, key):
    del key
    return batch["x"] @ params["kernel"] + params["bias"]


def loss_of_outputs(logits, batch):
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()


def sampled_losses(logits, key):
    return optax.softmax_cross_entropy_with_integer_labels(logits, jax.random.categorical(key, logits))


def loss_fn(params, batch, key):
    return loss_of_outputs(outputs_fn(params, batch, key), batch), {}


CURVATURE = GaussNewton(outputs_fn, loss_of_outputs, sampled_losses)


def run(tx, steps, **settings):
    step = make_train_step(loss_fn, tx, curvature=CURVATURE, donate=False, **settings)
    state = TrainState.create(params=START, tx=tx)
    return jax.jit(lambda state: jax.lax.scan(lambda s, _: step(s, BATCH), state, length=steps))(state)


def test_the_products_are_those_of_the_loss():
    """Of a linear model the Gauss-Newton matrix is the Hessian."""
    vector = jax.tree.map(lambda x: jnp.asarray(RANDOM.normal(size=x.shape), x.dtype), START)

    def update(updates, state, params, *, grad_fn, gnvp_fn, gnb_fn, **extra):
        del state, extra
        expected = hessian_vector_product(jax.grad(lambda p: loss_fn(p, BATCH, None)[0]), params, vector)
        given = {"hvp": hessian_vector_product(grad_fn, params, vector), "gnvp": gnvp_fn(params, vector)}
        errors = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), given, {"hvp": expected, "gnvp": expected})
        return updates, (errors, gnb_fn(params, jax.random.key(0)))

    zero = {"kernel": jnp.zeros(()), "bias": jnp.zeros(())}
    tx = optax.GradientTransformationExtraArgs(lambda p: ({"hvp": zero, "gnvp": zero}, p), update)
    state, _ = make_train_step(loss_fn, tx, curvature=CURVATURE)(TrainState.create(params=START, tx=tx), BATCH)
    errors, diagonal = state.opt_state
    assert max(jax.tree.leaves(errors)) < 1e-6
    expected = gauss_newton_bartlett_diagonal(
        lambda p: outputs_fn(p, BATCH, None), sampled_losses, START, jax.random.key(0)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), diagonal, expected)


@pytest.mark.parametrize(
    "tx",
    [
        natural_gradient(0.5, damping=1e-3),
        thermodynamic_natural_gradient(0.5, 100.0, damping=1e-3, rank=8),
        saddle_free_newton(0.5),
    ],
    ids=["natural_gradient", "thermodynamic", "saddle_free"],
)
def test_curvature_takes_fewer_steps_than_adam(tx):
    """Softmax regression: a loss that Adam needs over a hundred steps for is reached in ten."""
    _, metrics = run(tx, 10)
    _, peer = run(adam(0.1), 100)
    assert metrics["loss"][-1] < peer["loss"][-1] + 1e-4


def test_sophia_g_learns():
    state, metrics = run(sophia_g(0.05, weight_decay=0.0, update_interval=2, b2=0.9), 300)
    _, best = run(natural_gradient(1.0, damping=1e-4), 30)
    assert state.skipped == 0
    np.testing.assert_allclose(metrics["loss"][-1], best["loss"][-1], rtol=0.02)  # steps of a noisy method


@pytest.mark.parametrize("wrap", ["masked", "partition"])
def test_curvature_of_some_of_the_parameters(wrap):
    """What a mask leaves out is held where it is: the diagonal is that of the rest alone."""

    def quadratic(params, batch, key):
        del batch, key
        return jnp.sum(params["a"] ** 2 * params["b"] ** 2) + jnp.sum(params["a"] ** 2), {}

    tx = hutchinson_estimator_diag_hessian()
    labels = {"a": "curved", "b": "still"}
    if wrap == "masked":
        tx = optax.chain(
            optax.masked(tx, {"a": True, "b": False}), optax.masked(optax.set_to_zero(), {"a": False, "b": True})
        )
    else:
        tx = optax.partition({"curved": tx, "still": optax.set_to_zero()}, labels)
    start = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0, 0.5])}
    step = make_train_step(quadratic, tx, donate=False)
    state, _ = step(TrainState.create(params=start, tx=tx), None)
    np.testing.assert_allclose(state.params["a"] - start["a"], 2.0 * start["b"] ** 2 + 2.0, rtol=1e-6)
    np.testing.assert_array_equal(state.params["b"], start["b"])


def test_half_precision_parameters_are_evaluated_in_half_precision():
    """The loss sees the dtype of the state, whatever dtype a transformation works in."""
    seen = []

    def loss_fn(params, batch, key):
        del batch, key
        seen.append(params.dtype)
        return jnp.sum(params.astype(jnp.float32) ** 4), {}

    tx = adahessian(0.1)
    step = make_train_step(loss_fn, tx)
    state, _ = step(TrainState.create(params=jnp.ones(3, jnp.bfloat16), tx=tx), None)
    assert set(seen) == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_allclose(np.float32(state.params), 1.0 - 0.1 * 4.0 / 12.0, rtol=0.01)  # bfloat16
    assert state.opt_state[0].nu.dtype == jnp.float32


def test_products_are_free_where_they_are_not_called():
    """The step of a transformation that ignores them is the step without them."""

    def jaxpr(**settings):
        tx = adam(0.1)
        step = make_train_step(loss_fn, tx, **settings)
        return str(jax.make_jaxpr(step)(TrainState.create(params=START, tx=tx), BATCH))

    assert jaxpr(curvature=CURVATURE) == jaxpr()


def test_the_state_of_the_model_reaches_the_outputs():
    """`outputs_fn` gets what `loss_fn` gets."""

    def outputs_fn(params, batch, key, model_state):
        del key
        return params * batch * model_state

    def loss_fn(params, batch, key, model_state):
        return 0.5 * outputs_fn(params, batch, key, model_state) ** 2, ({}, model_state)

    tx = natural_gradient(1.0, damping=0.0)
    curvature = GaussNewton(outputs_fn, lambda z, batch: 0.5 * z**2)
    step = make_train_step(loss_fn, tx, curvature=curvature)
    state, _ = step(TrainState.create(params=jnp.float32(2.0), tx=tx, model_state=jnp.float32(3.0)), jnp.float32(1.5))
    np.testing.assert_allclose(state.params, 0.0, atol=1e-6)


def test_what_the_curvature_lacks_is_named():
    tx = sophia_g(0.1)
    state = TrainState.create(params=START, tx=tx)
    with pytest.raises(ValueError, match="sampled_losses"):
        make_train_step(loss_fn, tx, curvature=CURVATURE._replace(sampled_losses=None))(state, BATCH)
    with pytest.raises(ValueError, match="gnb_fn"):
        make_train_step(loss_fn, tx)(state, BATCH)


def test_gauss_newton_is_positive_where_the_hessian_is_not():
    """Of the model x² with squared errors, at a target beyond: J'J = 4x², L'' = 6x² - 2y."""
    params, vector = jnp.float32(0.5), jnp.float32(1.0)

    def square_error(z):
        return 0.5 * (z - 3.0) ** 2

    hessian = hessian_vector_product(jax.grad(lambda x: square_error(x**2)), params, vector)
    np.testing.assert_allclose(hessian, 1.5 - 6.0)
    np.testing.assert_allclose(gauss_newton_vector_product(lambda x: x**2, square_error, params, vector), 1.0)
