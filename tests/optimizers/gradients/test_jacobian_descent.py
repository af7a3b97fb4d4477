"""Jacobian descent through the Gramian: equal to the stacked Jacobian and an aggregator, without its memory."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import (
    TrainState,
    gramian,
    jacobian_descent,
    make_train_step,
    mgda,
    mgda_weights,
    pcgrad_weights,
    per_example,
    per_task,
    upgrad,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "trunk_heads.npz")


@jax.custom_vjp
def steeper(x):
    """A square whose backward pass says 1.1 times its slope: the rules follow the backward pass."""
    return x**2


steeper.defvjp(lambda x: (x**2, x), lambda x, cotangent: (2.2 * x * cotangent,))


def recurrent(params, x):
    """The losses [5] of examples: a gather, a scan of checkpointed layers, a custom backward pass, complex leaves."""

    def layer(hidden, w):
        return jnp.tanh(hidden @ w), jnp.sum(hidden)

    hidden, sums = jax.lax.scan(jax.checkpoint(layer), x @ params["e"][jnp.array([0, 2, 1])], params["w"])
    return (
        jnp.mean(steeper(hidden), axis=1) + jnp.sum(jnp.abs(params["c"]) ** 2 * jnp.arange(2.0)) + 0.1 * jnp.sum(sums)
    )


def recurrent_arguments():
    random = np.random.default_rng(0)
    shapes = {"e": (3, 4), "w": (2, 4, 4), "zero": (0, 2)}
    params = {name: jnp.asarray(random.normal(size=shape)) for name, shape in shapes.items()}
    params |= {"c": jnp.asarray(random.normal(size=2) + 1j * random.normal(size=2)), "none": None}
    return params, jnp.asarray(random.normal(size=(5, 3)))


def aggregated(tx, stacked):
    return tx.update(stacked, tx.init(None))[0]


def assert_trees_close(actual, expected, **tolerance):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, **tolerance), actual, expected)


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_its_gramian_and_gradient_are_those_of_the_stacked_jacobian(chunk):
    seen = []

    def linear(products):
        """Weights that lose nothing of the Gramian, and do not amplify its rounding."""
        seen.append(products)
        return jnp.sin(products).sum(axis=0)

    with jax.enable_x64(True):
        args = recurrent_arguments()
        losses, jacobian = per_task()(recurrent)(*args)
        value, (products, gradient) = jax.jit(
            lambda *a: (lambda v, g: (v, (seen[-1], g)))(*jacobian_descent(linear, chunk=chunk)(recurrent)(*a))
        )(*args)
        np.testing.assert_allclose(products, products.T, rtol=1e-14)
        np.testing.assert_allclose(products, gramian(jacobian), rtol=1e-11)
        np.testing.assert_allclose(value, losses, rtol=1e-14)
        weights = jnp.sin(products).sum(axis=0)
        assert_trees_close(gradient, jax.tree.map(lambda g: jnp.tensordot(weights, g, axes=1), jacobian), rtol=1e-11)


@pytest.mark.parametrize(
    ("weighting", "tx"),
    [(None, upgrad()), (mgda_weights, mgda())],
    ids=["upgrad", "mgda"],
)
def test_it_equals_per_task_and_the_aggregator(weighting, tx):
    with jax.enable_x64(True):
        args = recurrent_arguments()
        rule = jacobian_descent(chunk=2) if weighting is None else jacobian_descent(weighting, chunk=2)
        gradient = jax.jit(rule(recurrent))(*args)[1]
        assert_trees_close(gradient, aggregated(tx, per_task()(recurrent)(*args)[1]), rtol=1e-8, atol=1e-10)


def examples_loss(params, batch):
    hidden = jnp.tanh(batch["x"] @ params["trunk/w"] + params["trunk/b"])
    return jnp.mean(jnp.square(hidden @ params["left/w"] + params["left/b"] - batch["y"]), axis=1)


def test_instance_wise_risk_minimisation_equals_torchjd():
    with jax.enable_x64(True):
        names = [name.removeprefix("examples/") for name in GOLDEN.files if name.startswith("examples/")]
        params = {name: jnp.asarray(GOLDEN[name]) for name in names}
        batch = {name: jnp.asarray(GOLDEN[name]) for name in "xy"}
        losses, gradient = jax.jit(jacobian_descent(chunk=2)(examples_loss))(params, batch)
        # torchjd's solver stops at about 1e-7 of the largest entry.
        assert_trees_close(gradient, {name: GOLDEN[f"examples/{name}"] for name in names}, rtol=1e-6, atol=1e-6)
        of_one = lambda p, b: jnp.mean(examples_loss(p, b))
        each, stacked = jax.jit(per_example(chunk=3)(of_one))(params, batch)
        np.testing.assert_allclose(each, losses, rtol=1e-14)
        assert_trees_close(gradient, aggregated(upgrad(), stacked), rtol=1e-9, atol=1e-11)


def test_equal_weights_give_the_gradient_of_the_mean_loss():
    args = jax.tree.map(lambda x: x.astype(jnp.float32), GOLDEN["x"]), GOLDEN["y"].astype(np.float32)
    losses = lambda w: jnp.mean((args[0] @ w - args[1]) ** 2, axis=1)
    w = jnp.ones((3, 2))
    _, gradient = jacobian_descent(lambda products: jnp.full(6, 1 / 6))(losses)(w)
    np.testing.assert_allclose(gradient, jax.grad(lambda w: jnp.mean(losses(w)))(w), rtol=1e-5)


def test_a_random_weighting_takes_its_key_by_closure():
    # Gradients (2, 0) and (-2, 2): of two tasks PCGrad's orders do not matter, and the weights are 2 and 3/2.
    losses = lambda w: jnp.stack([w[0] ** 2, (w[0] - 2.0) ** 2 + (w[1] + 1.0) ** 2])
    rule = jacobian_descent(lambda products: pcgrad_weights(products, jax.random.key(0)))
    np.testing.assert_allclose(rule(losses)(jnp.array([1.0, 0.0]))[1], [1.0, 3.0], rtol=1e-6)


def tanh_losses(w, x):
    return jnp.mean(jnp.tanh(x @ w), axis=1)


def test_no_more_than_a_chunk_of_gradients_is_held():
    tasks, width = 32, 256
    shapes = jax.ShapeDtypeStruct((width, width), jnp.float32), jax.ShapeDtypeStruct((tasks, width), jnp.float32)

    def held(rule):
        memory = jax.jit(rule(tanh_losses)).lower(*shapes).compile().memory_analysis()
        return (memory.temp_size_in_bytes + memory.output_size_in_bytes) / (4 * width**2)

    rule = lambda chunk: jacobian_descent(lambda products: jnp.exp(-products[0]), chunk=chunk)
    assert held(per_task()) > tasks
    assert held(rule(1)) < 5  # the result, a gradient, its unit vector
    assert held(rule(4)) < 16


def test_one_forward_pass_and_as_many_chunks_as_it_takes():
    calls = []

    def losses(w, x):
        calls.append(1)
        return tanh_losses(w, x)

    jaxpr = jax.make_jaxpr(jacobian_descent(lambda products: products[0], chunk=3)(losses))(
        jnp.ones((4, 4)), jnp.ones((12, 4))
    )
    assert len(calls) == 1
    assert [e.params["length"] for e in jaxpr.eqns if e.primitive.name == "scan"] == [4]


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_gradient_that_is_not_finite_shows_in_every_entry(bad):
    losses = lambda w: jnp.stack([w["a"] ** 2, bad * w["a"], w["b"] ** 2])
    for rule in (jacobian_descent(), jacobian_descent(lambda products: jnp.array([1.0, 0.0, 1.0]))):
        gradient = rule(losses)({"a": jnp.float32(1.0), "b": jnp.float32(1.0)})[1]
        assert np.isnan(jax.tree.leaves(gradient)).all(), gradient


@pytest.mark.parametrize(("dtype", "accuracy"), [(jnp.float16, 2e-3), (jnp.bfloat16, 2e-2)])
def test_long_gradients_of_half_precision_overflow_nothing(dtype, accuracy):
    slopes = 300.0 * np.random.default_rng(0).normal(size=(3, 50))  # squared norms of 4e6
    losses = lambda w: jnp.asarray(slopes, w.dtype) @ w
    half = jacobian_descent(chunk=2)(losses)(jnp.zeros(50, dtype))[1]
    assert half.dtype == dtype
    expected = jacobian_descent()(losses)(jnp.zeros(50))[1]
    np.testing.assert_allclose(half, expected, atol=accuracy * float(jnp.abs(expected).max()))


def test_the_train_step_descends_on_every_task():
    tx = optax.sgd(0.1)
    targets = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
    loss_fn = lambda w, batch, key: (0.5 * jnp.sum((w - targets) ** 2, axis=1), {})
    step = make_train_step(loss_fn, tx, gradient=jacobian_descent())
    state, losses = TrainState.create(params=jnp.array([2.0, 3.0]), tx=tx), []
    for _ in range(100):
        losses.append(loss_fn(state.params, None, None)[0])
        state, _ = step(state, None)
    assert (np.diff(losses, axis=0) < 1e-4 * losses[0][0]).all()  # UPGrad's reg_eps lets a task lose so much
    # It stops where the two gradients oppose each other: on the segment between the targets.
    assert abs(float(jnp.linalg.det(targets - state.params))) < 1e-3


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"jacobian_descent: loss_fn must return .*\[T\], got shape \(\)"):
        jacobian_descent()(lambda w: w**2)(1.0)
    with pytest.raises(ValueError, match=r"jacobian_descent: loss_fn must return .*got shape \(0,\)"):
        jacobian_descent()(lambda w: w * jnp.ones(0))(1.0)
    with pytest.raises(ValueError, match=r"jacobian_descent: weighting must return .* expected \(2,\), got \(2, 2\)"):
        jacobian_descent(lambda products: products)(lambda w: w * jnp.ones(2))(1.0)
