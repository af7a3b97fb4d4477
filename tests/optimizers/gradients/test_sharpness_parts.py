"""ESAM and SDAT: closed forms, their limits in SAM, the moments of the mask, and what each costs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from optimizers import TrainState, accumulate, esam, make_train_step, sam, smooth_domain_adversarial

RANDOM = np.random.default_rng(0)
INPUTS, START = RANDOM.normal(size=(8, 3)), RANDOM.normal(size=3)
ROOTS = RANDOM.normal(size=(2, 3, 3))
TASK, ADVERSARY = (root @ root.T for root in ROOTS)
KEY = jax.random.key(0)


def squares(w, batch, key=None):
    """One loss an example, whose gradient is 2 (x w) x."""
    return (batch @ w) ** 2


def gradient_of(rule, loss_fn, *args):
    with jax.enable_x64(True):
        return np.asarray(rule(loss_fn)(jnp.asarray(START), *map(jnp.asarray, args))[1])


def slope(w, batch=INPUTS):
    return 2 * (batch @ w) @ batch / len(batch)


def test_esam_of_everything_is_sam_and_needs_no_key():
    got = gradient_of(esam(0.3, 1.0, 1.0), squares, INPUTS)
    np.testing.assert_allclose(got, gradient_of(sam(0.3), lambda w, b: jnp.mean(squares(w, b)), INPUTS), rtol=1e-13)


@pytest.mark.parametrize(("gamma", "kept"), [(0.01, 1), (0.5, 4), (0.8, 6), (0.99, 8)])
def test_esam_learns_from_the_examples_whose_loss_rises_most(gamma, kept):
    g = slope(START)
    risen = START + 0.3 * g / np.linalg.norm(g)
    most = np.argsort((INPUTS @ START) ** 2 - (INPUTS @ risen) ** 2)[:kept]
    got = gradient_of(esam(0.3, 1.0, gamma), squares, INPUTS)
    np.testing.assert_allclose(got, slope(risen, INPUTS[most]), rtol=1e-12)


def test_esam_perturbs_each_parameter_at_random_and_by_sams_amount_on_average():
    # The gradient of |w|^2/2 is the point itself, so the rule's result is the perturbed point.
    beta, rho, draws = 0.3, 0.5, 20_000
    loss_fn = lambda w, batch, key: 0.5 * jnp.sum(w["a"] ** 2) * batch + 0.5 * w["b"] ** 2 * batch
    start = {"a": jnp.array([1.0, -2.0, 0.5]), "b": jnp.float32(1.5)}
    point = lambda key: esam(rho, beta)(loss_fn)(start, jnp.ones(2), key)[1]
    points = jax.jit(jax.vmap(point))(jax.random.split(KEY, draws))
    moved = np.column_stack([points["a"], points["b"]]).astype(np.float64)
    whole = np.array([1.0, -2.0, 0.5, 1.5])
    moved -= whole
    full = rho * whole / np.linalg.norm(whole)
    perturbed = np.abs(moved) > 1e-3
    np.testing.assert_allclose(moved, np.where(perturbed, full / beta, 0.0), atol=1e-6)
    error = np.abs(full) * np.sqrt((1 - beta) / beta / draws)
    assert np.all(np.abs(moved.mean(axis=0) - full) < 5 * error)
    # The variance in closed form; its own error follows from the fourth moment of a Bernoulli number.
    np.testing.assert_allclose(moved.var(axis=0), full**2 * (1 - beta) / beta, rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(perturbed.T), np.eye(4), atol=5 / np.sqrt(draws))


def test_esam_costs_a_gradient_a_pass_and_a_gradient_of_some():
    sizes, backward = [], []

    @jax.custom_vjp
    def seen(losses):
        return losses

    def fwd(losses):
        return losses, None

    def bwd(_, cotangent):
        backward.append(cotangent.shape[0])
        return (cotangent,)

    seen.defvjp(fwd, bwd)

    def loss_fn(w, batch, key):
        sizes.append(batch.shape[0])
        return seen(squares(w, batch)), w

    w = jnp.asarray(START, jnp.float32)
    (value, aux), _ = esam(0.3, 0.6, 0.25)(loss_fn, has_aux=True)(w, jnp.asarray(INPUTS, jnp.float32), KEY)
    assert (sizes, backward) == ([8, 8, 2], [8, 2])
    np.testing.assert_allclose(value, np.mean((INPUTS @ START) ** 2), rtol=1e-6)
    np.testing.assert_array_equal(aux, w)
    sizes.clear(), backward.clear()
    esam(0.3, 0.6, 1.0)(loss_fn, has_aux=True)(w, jnp.asarray(INPUTS, jnp.float32), KEY)
    assert (sizes, backward) == ([8, 8], [8, 8])


def test_esam_of_a_batch_on_eight_devices_selects_from_the_whole():
    def trained(mesh):
        tx = optax.sgd(0.01)
        step = make_train_step(
            lambda w, batch, key: (squares(w, batch), {}), tx, gradient=esam(0.3, 0.6, 0.5), mesh=mesh
        )
        state = TrainState.create(params=jnp.asarray(START, jnp.float32), tx=tx, mesh=mesh)
        for _ in range(2):
            state, metrics = step(state, np.asarray(np.tile(INPUTS, (2, 1)), np.float32))
        assert metrics["loss"].shape == ()
        return np.asarray(state.params)

    np.testing.assert_allclose(trained(Mesh(np.array(jax.devices()[:8]), ("data",))), trained(None), rtol=1e-5)


def test_esam_inside_accumulation_selects_within_each_microbatch():
    got = gradient_of(accumulate(2, inner=esam(0.3, 1.0, 0.5)), squares, INPUTS)
    parts = [gradient_of(esam(0.3, 1.0, 0.5), squares, INPUTS[i::2]) for i in range(2)]
    np.testing.assert_allclose(got, np.mean(parts, axis=0), rtol=1e-12)


def test_esam_names_its_faults():
    w, batch = jnp.ones(3), jnp.ones((4, 3))
    with pytest.raises(ValueError, match=r"esam: loss_fn must return .* \[B\], got shape \(\)"):
        esam()(lambda w, b, k: jnp.sum(w))(w, batch, KEY)
    with pytest.raises(ValueError, match="esam: expected a typed PRNG key"):
        esam()(squares)(w, batch)
    with pytest.raises(ValueError, match="esam: expected a batch"):
        esam()(lambda w: w)(w)
    with pytest.raises(ValueError, match=r"esam: every leaf .* its 4 examples .* \(3, 4\)"):
        esam()(lambda w, b, k: squares(w, b["x"]))(w, {"x": batch, "other": batch.T}, KEY)


def domains(w):
    """The losses of the task and of the adversary, two quadratics."""
    return jnp.stack([0.5 * w @ TASK @ w, 0.5 * w @ ADVERSARY @ w])


def sdat_in_numpy():
    g = TASK @ START
    return TASK @ (START + 0.3 * g / np.linalg.norm(g)) + ADVERSARY @ START


def test_sdat_closed_form_on_quadratics():
    np.testing.assert_allclose(gradient_of(smooth_domain_adversarial(0.3), domains), sdat_in_numpy(), rtol=1e-12)


def test_sdat_without_a_radius_is_the_sum_and_without_an_adversary_sam():
    plain = gradient_of(smooth_domain_adversarial(0.0), domains)
    np.testing.assert_allclose(plain, (TASK + ADVERSARY) @ START, rtol=1e-12)
    alone = gradient_of(smooth_domain_adversarial(0.3), lambda w: domains(w) * np.array([1.0, 0.0]))
    np.testing.assert_allclose(alone, gradient_of(sam(0.3), lambda w: domains(w)[0]), rtol=1e-13)


def test_sdat_takes_the_task_twice_and_the_adversary_where_it_is():
    points = []

    def loss_fn(w):
        points.append(jax.lax.stop_gradient(w))
        return domains(w), w

    (losses, aux), _ = smooth_domain_adversarial(0.3)(loss_fn, has_aux=True)(jnp.asarray(START, jnp.float32))
    assert len(points) == 3
    np.testing.assert_allclose(losses, domains(START), rtol=1e-6)
    np.testing.assert_allclose(aux, START, rtol=1e-6)


def test_sdat_in_the_train_step_reports_both_losses():
    tx = optax.sgd(0.1)
    step = make_train_step(lambda w, b, k: (domains(w), {}), tx, gradient=smooth_domain_adversarial(0.3))
    state, metrics = step(TrainState.create(params=jnp.asarray(START, jnp.float32), tx=tx), jnp.zeros(1))
    np.testing.assert_allclose(metrics["loss"], domains(START), rtol=1e-6)
    np.testing.assert_allclose(state.params, START - 0.1 * sdat_in_numpy(), rtol=1e-5)


def test_sdat_names_its_faults():
    with pytest.raises(ValueError, match=r"smooth_domain_adversarial: loss_fn .* \[task, adversarial\].* \(3,\)"):
        smooth_domain_adversarial()(lambda w: w)(jnp.ones(3))
    with pytest.raises(ValueError, match="smooth_domain_adversarial: rho is a schedule"):
        smooth_domain_adversarial(lambda step: 0.1)(domains)(jnp.ones(3))
