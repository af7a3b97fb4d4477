"""AWP, RWP and AMP: closed forms, their limits in SAM, and golden trajectories of the authors' own code."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import (
    accumulate,
    adversarial_model_perturbation,
    adversarial_weight_perturbation,
    robust_weight_perturbation,
    sam,
)

ARRAYS = pathlib.Path(__file__).parents[2] / "golden"
GOLDEN, GOLDEN_RWP = np.load(ARRAYS / "sharpness.npz"), np.load(ARRAYS / "sharpness_stateful.npz")
RANDOM = np.random.default_rng(0)
ROOT = RANDOM.normal(size=(6, 6))
HESSIAN = ROOT @ ROOT.T / 6
WEIGHT, BIAS = RANDOM.normal(size=(2, 2)), RANDOM.normal(size=2)


def quadratic(params):
    x = jnp.concatenate([params["w"].ravel(), params["b"]])
    return 0.5 * x @ HESSIAN @ x


def gradient_of(rule, loss_fn=quadratic):
    with jax.enable_x64(True):
        gradient = rule(loss_fn)({"w": jnp.asarray(WEIGHT), "b": jnp.asarray(BIAS)})[1]
    return np.concatenate([np.ravel(gradient["w"]), gradient["b"]])


def gradient_at(w, b):
    return HESSIAN @ np.concatenate([w.ravel(), b])


@pytest.mark.parametrize("min_ndim", [1, 2, 3])
def test_awp_closed_form(min_ndim):
    slope = gradient_at(WEIGHT, BIAS)
    w, b = WEIGHT, BIAS
    if min_ndim <= 2:
        w = w + 0.1 * np.linalg.norm(w) * slope[:4].reshape(2, 2) / np.linalg.norm(slope[:4])
    if min_ndim <= 1:
        b = b + 0.1 * np.linalg.norm(b) * slope[4:] / np.linalg.norm(slope[4:])
    got = gradient_of(adversarial_weight_perturbation(0.1, min_ndim=min_ndim))
    np.testing.assert_allclose(got, gradient_at(w, b), rtol=1e-13)


def test_awp_of_one_leaf_is_sam_with_its_relative_radius():
    with jax.enable_x64(True):
        loss_fn = lambda w: jnp.sum(jnp.cos(w)) + jnp.sum(w**4)
        expected = sam(0.2 * np.linalg.norm(WEIGHT))(loss_fn)(jnp.asarray(WEIGHT))[1]
        got = adversarial_weight_perturbation(0.2)(loss_fn)(jnp.asarray(WEIGHT))[1]
    np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_awp_does_not_depend_on_the_scale_of_the_loss():
    rule = adversarial_weight_perturbation(0.2)
    quartic = lambda p: quadratic(p) + jnp.sum(p["w"] ** 4)
    scaled = gradient_of(rule, lambda p: 1000.0 * quartic(p))
    np.testing.assert_allclose(scaled, 1000.0 * gradient_of(rule, quartic), rtol=1e-13)


def test_awp_leaves_a_zero_weight_and_an_unused_weight_alone():
    loss_fn = lambda p: jnp.sum((p["zero"] - 1.0) ** 2) + jnp.sum(p["used"] ** 2) + 0 * jnp.sum(p["unused"])
    params = {"zero": jnp.zeros((2, 2)), "used": jnp.ones((2, 2)), "unused": jnp.ones((2, 2))}
    gradient = adversarial_weight_perturbation(0.5)(loss_fn)(params)[1]
    np.testing.assert_array_equal(gradient["zero"], -2.0)
    np.testing.assert_allclose(gradient["used"], 3.0, rtol=1e-6)
    np.testing.assert_array_equal(gradient["unused"], 0.0)


@pytest.mark.parametrize(
    ("name", "golden", "rule", "reduce"),
    [
        ("awp", GOLDEN, adversarial_weight_perturbation(0.05), jnp.mean),
        ("rwp", GOLDEN_RWP, robust_weight_perturbation(1.5, 0.3, per_layer=False), lambda losses: losses),
    ],
)
def test_awp_and_rwp_equal_the_authors_code(name, golden, rule, reduce):
    shapes = {"w1": (4, 3), "b1": (4,), "w2": (3, 4), "b2": (3,)}
    with jax.enable_x64(True):
        x, y = jnp.asarray(golden[f"{name}_inputs"]), jnp.asarray(golden[f"{name}_labels"])
        pieces = np.split(golden[f"{name}_start"], np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1])
        params = {name: jnp.asarray(p).reshape(shapes[name]) for name, p in zip(shapes, pieces)}

        def loss_fn(p):
            logits = jnp.tanh(x @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"]
            return reduce(optax.softmax_cross_entropy_with_integer_labels(logits, y))

        gradient = rule(loss_fn)

        def step(p, _):
            p = jax.tree.map(lambda leaf, g: leaf - 0.05 * g, p, gradient(p)[1])
            return p, jnp.concatenate([p[name].ravel() for name in shapes])

        _, path = jax.lax.scan(step, params, length=len(golden[name]))
    np.testing.assert_allclose(path, golden[name], rtol=1e-10)


INPUTS = RANDOM.normal(size=(4, 4))


def per_example(params, inputs=INPUTS):
    """One loss an example, between 0 and 1, whose weights are a matrix and a vector."""
    outputs = jnp.tanh(inputs @ params["w"].ravel() + jnp.sum(params["b"]))
    return outputs**2


def test_rwp_of_all_examples_in_one_step_is_awp():
    got = gradient_of(robust_weight_perturbation(np.inf, 0.2, steps=1), per_example)
    expected = gradient_of(adversarial_weight_perturbation(0.2), lambda p: jnp.mean(per_example(p)))
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_rwp_without_examples_is_the_gradient():
    plain = gradient_of(lambda loss_fn: jax.value_and_grad(loss_fn), lambda p: jnp.mean(per_example(p)))
    for rule in (robust_weight_perturbation(-1.0, 0.2), robust_weight_perturbation(np.inf, 0.0)):
        np.testing.assert_allclose(gradient_of(rule, per_example), plain, rtol=1e-13)


def outputs_and_gradients(w):
    """The losses of four examples at the weights, and the gradient of each in the weights, in NumPy."""
    outputs = np.tanh(INPUTS @ w.ravel() + BIAS.sum())
    return outputs**2, (2 * outputs * (1 - outputs**2))[:, None] * INPUTS


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_rwp_in_numpy(steps):
    # The bound lies between the losses, and the examples below it change on the way.
    highest = np.median(outputs_and_gradients(WEIGHT)[0]) + 0.05
    w, direction, masks = WEIGHT.ravel(), np.zeros(4), []
    for _ in range(steps):
        losses, gradients = outputs_and_gradients(w)
        masks.append(losses <= highest)
        direction = direction + gradients[masks[-1]].sum(axis=0)
        w = WEIGHT.ravel() + 0.5 * np.linalg.norm(WEIGHT) * direction / np.linalg.norm(direction)
    assert 0 < masks[0].sum() < 4
    assert steps == 1 or any(not np.array_equal(mask, masks[0]) for mask in masks)
    got = gradient_of(robust_weight_perturbation(highest, 0.5, steps=steps), per_example)
    np.testing.assert_allclose(got[:4], outputs_and_gradients(w)[1].mean(axis=0), rtol=1e-10)


@pytest.mark.parametrize("per_layer", [True, False])
def test_rwp_ends_on_the_edge_of_its_balls(per_layer):
    # The gradient of |p|^2/2 is the point itself, so the rule's result is the perturbed point.
    loss_fn = lambda p: 0.5 * (jnp.sum(p["w"] ** 2) + jnp.sum(p["b"] ** 2)) * jnp.ones(3)
    got = gradient_of(robust_weight_perturbation(np.inf, 0.2, min_ndim=1, per_layer=per_layer), loss_fn)
    moved = got - np.concatenate([WEIGHT.ravel(), BIAS])
    parts = (slice(0, 4), slice(4, 6)) if per_layer else (slice(0, 6),)
    for part in parts:
        np.testing.assert_allclose(np.linalg.norm(moved[part]), 0.2 * np.linalg.norm((got - moved)[part]), rtol=1e-12)


def test_rwp_of_accumulated_gradients_is_that_of_the_batch():
    rules = [robust_weight_perturbation(0.5, 0.3, steps=3, inner=inner) for inner in (accumulate(2), accumulate(1))]
    with jax.enable_x64(True):
        params = {"w": jnp.asarray(WEIGHT), "b": jnp.asarray(BIAS)}
        parts, whole = (rule(per_example)(params, jnp.asarray(INPUTS)) for rule in rules)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-13)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), parts[1], whole[1])


@pytest.mark.parametrize(("c_min", "cost"), [(np.inf, 6), (-1.0, 2)])
def test_rwp_costs_a_gradient_a_step_while_there_are_examples_and_one_more(c_min, cost):
    calls = []

    def loss_fn(params):
        jax.debug.callback(lambda: calls.append(1))
        return per_example(params), params

    params = {"w": jnp.asarray(WEIGHT, jnp.float32), "b": jnp.asarray(BIAS, jnp.float32)}
    rule = robust_weight_perturbation(c_min, 0.2, steps=5)
    (value, aux), _ = jax.jit(rule(loss_fn, has_aux=True))(params)
    jax.effects_barrier()
    assert len(calls) == cost
    np.testing.assert_allclose(value, jnp.mean(per_example(params)), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, aux, params)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_amp_inside_the_ball_is_gradient_ascent(steps):
    start, rate = np.concatenate([WEIGHT.ravel(), BIAS]), 0.1
    got = gradient_of(adversarial_model_perturbation(1e6, rate, steps=steps))
    risen = np.linalg.matrix_power(np.eye(6) + rate * HESSIAN, steps) @ start
    np.testing.assert_allclose(got, HESSIAN @ risen, rtol=1e-12)


def test_amp_projects_onto_the_ball_after_each_step():
    start, epsilon, rate = np.concatenate([WEIGHT.ravel(), BIAS]), 0.4, 0.5
    delta = np.zeros(6)
    for _ in range(3):
        delta = delta + rate * HESSIAN @ (start + delta)
        delta = delta * min(1.0, epsilon / np.linalg.norm(delta))
    np.testing.assert_allclose(np.linalg.norm(delta), epsilon, rtol=1e-12)  # the ball is felt
    got = gradient_of(adversarial_model_perturbation(epsilon, rate, steps=3))
    np.testing.assert_allclose(got, HESSIAN @ (start + delta), rtol=1e-12)


def test_amp_per_leaf_has_a_ball_for_each():
    slope, rate, epsilon = gradient_at(WEIGHT, BIAS), 0.5, 0.4
    ball = lambda d: d * min(1.0, epsilon / np.linalg.norm(d))
    moved = WEIGHT + ball(rate * slope[:4]).reshape(2, 2), BIAS + ball(rate * slope[4:])
    got = gradient_of(adversarial_model_perturbation(epsilon, rate, per_leaf=True))
    np.testing.assert_allclose(got, gradient_at(*moved), rtol=1e-12)


def test_amp_with_an_endless_step_is_sam():
    quartic = lambda p: quadratic(p) + jnp.sum(p["w"] ** 4)
    got = gradient_of(adversarial_model_perturbation(0.3, 1e12), quartic)
    np.testing.assert_allclose(got, gradient_of(sam(0.3), quartic), rtol=1e-12)


@pytest.mark.parametrize(("name", "split", "steps"), [("amp", 6, 1), ("amp_per_leaf", 4, 3)])
def test_amp_equals_the_authors_code(name, split, steps):
    rule = adversarial_model_perturbation(0.5, 0.3, steps=steps, per_leaf=split < 6)
    with jax.enable_x64(True):
        hessian = jnp.asarray(GOLDEN["hessian"])

        def loss_fn(pieces):
            x = jnp.concatenate(pieces)
            return 0.5 * x @ hessian @ x + 0.25 * jnp.sum(x**4)

        def step(pieces, _):
            pieces = jax.tree.map(lambda p, g: p - 0.05 * g, pieces, rule(loss_fn)(pieces)[1])
            return pieces, jnp.concatenate(pieces)

        start = [jnp.asarray(GOLDEN["start"][:split]), jnp.asarray(GOLDEN["start"][split:])]
        _, path = jax.lax.scan(step, start, length=len(GOLDEN[name]))
    np.testing.assert_allclose(path, GOLDEN[name], rtol=1e-10)


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"adversarial_weight_perturbation: gamma must lie in \[0, inf\], got -1"):
        adversarial_weight_perturbation(-1.0)
    with pytest.raises(ValueError, match="adversarial_weight_perturbation: gamma is a schedule"):
        adversarial_weight_perturbation(lambda step: 0.1)(quadratic)({"w": jnp.ones((2, 2)), "b": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"robust_weight_perturbation: loss_fn must .* \[B\], got shape \(\)"):
        robust_weight_perturbation()(quadratic)({"w": jnp.ones((2, 2)), "b": jnp.ones(2)})
    with pytest.raises(TypeError, match="adversarial_model_perturbation: steps must be an integer, got float"):
        adversarial_model_perturbation(steps=1.0)
