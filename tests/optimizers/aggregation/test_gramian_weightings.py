"""Bargaining, priorities, votes and weights with a memory: golden values of their public implementations, and what
defines each."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import nnls

import optimizers

FOLDER = pathlib.Path(__file__).parents[2] / "golden"
GOLDEN = np.load(FOLDER / "aggregation_gramian.npz")  # torchjd 0.18.0, conflictfree 0.1.8, ml-bloop c4626c6
JACOBIANS = {
    name.removesuffix("/jacobian"): array
    for name, array in np.load(FOLDER / "aggregation.npz").items()
    if name.endswith("/jacobian")
}
TRAJECTORIES = ("conflicting_3x5", "dependent_3x5", "scaled_10x40")
# Functions of the Gramian and of one number, and the number for each name.
COMPILED = {
    "fairgrad": jax.jit(jax.vmap(optimizers.fairgrad_weights, in_axes=(0, None))),
    "nash_mtl": jax.jit(jax.vmap(lambda g, norm: optimizers.nash_mtl_weights(g, max_norm=norm), in_axes=(0, None))),
    "pcd": jax.jit(jax.vmap(lambda g, tau: optimizers.pcd_weights(g, tau=tau), in_axes=(0, None))),
}
NAMES = {
    "fairgrad_0.5": 0.5,
    "fairgrad_1": 1.0,
    "fairgrad_2": 2.0,
    "nash_mtl": 1.0,
    "nash_mtl_unbounded": np.inf,
    "pcd": 0.02,
}
BARGAINS = tuple(name for name in NAMES if name != "pcd")

every = pytest.mark.parametrize("name", NAMES)


@functools.cache
def weights_of(name, dtype=np.float64):
    """Weights for each of the gradients `[T, P]`; one compilation for each function and T."""
    found = {}
    for tasks in (2, 3, 10) if dtype is np.float64 else (10,):
        cases = [case for case in JACOBIANS if len(JACOBIANS[case]) == tasks]
        gramians = np.stack([JACOBIANS[case] @ JACOBIANS[case].T for case in cases])
        with jax.enable_x64(dtype is np.float64):
            function = COMPILED[name.removesuffix("_unbounded").rstrip("_.0123456789")]
            weights = np.asarray(function(jnp.asarray(gramians, dtype), jnp.asarray(NAMES[name], dtype)), np.float64)
        assert weights.shape == (len(cases), tasks)
        found |= zip(cases, weights, strict=True)
    return found


def shortest_unit_combination(gradients):
    """The norm of the shortest convex combination of the unit gradients, by Lawson and Hanson's algorithm."""
    units = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    weights, _ = nnls(np.vstack([units.T, np.ones(len(units))]), np.append(np.zeros(units.shape[1]), 1.0))
    return np.linalg.norm(weights @ units) / weights.sum()


@every
def test_aggregates_equal_torchjd(name):
    stationary, unsolved = set(), set()
    for case, weights in weights_of(name).items():
        gradients, expected = JACOBIANS[case], GOLDEN[f"{case}/{name}"]
        length = np.linalg.norm(GOLDEN[f"{case}/nash_mtl_unbounded"]) / np.sqrt(len(gradients))
        if name in BARGAINS and not weights.any():
            stationary.add(case)  # torchjd's solvers stop somewhere
            assert shortest_unit_combination(gradients) < 1e-6, case
        elif name.startswith("nash") and abs(length - 1) > 1e-3:
            unsolved.add(case)  # and the one of Nash-MTL elsewhere too: no solution has another norm than sqrt(T)
        else:
            tolerance = (5e-4 if name.startswith("nash") else 1e-8) * np.linalg.norm(expected)
            np.testing.assert_allclose(weights @ gradients, expected, atol=tolerance, rtol=0, err_msg=case)
    assert {case for case in JACOBIANS if case.startswith("dependent")} <= stationary or name == "pcd"
    assert len(stationary) <= 5
    assert len(unsolved) <= 4


@pytest.mark.parametrize("name", ["fairgrad_2", "nash_mtl", "pcd"])
def test_float32_gives_the_float64_aggregate(name):
    for case, weights in weights_of(name, np.float32).items():
        gradients = JACOBIANS[case]
        expected = weights_of(name)[case] @ gradients
        # PCD makes a short projection as long as the primary gradient, and its rounding too.
        tolerance = (1e-3 if name == "pcd" else 2e-5) * np.linalg.norm(expected)
        np.testing.assert_allclose(weights @ gradients, expected, atol=tolerance, rtol=0, err_msg=case)


def test_example_of_torchjd():
    gradients = JACOBIANS["example"]
    np.testing.assert_allclose(weights_of("nash_mtl")["example"] @ gradients, [0.0542, 0.7061, 0.7061], atol=5e-5)


@pytest.mark.parametrize(("name", "alpha"), [("fairgrad_0.5", 0.5), ("fairgrad_1", 1), ("fairgrad_2", 2)])
def test_gains_are_the_powers_of_the_weights(name, alpha):
    for case, weights in weights_of(name).items():
        if weights.any():
            gradients = JACOBIANS[case]
            assert weights.min() > 0
            np.testing.assert_allclose(
                gradients @ (weights @ gradients), weights ** (-1 / alpha), rtol=1e-9, err_msg=case
            )


def test_nash_is_fair_at_alpha_one_and_of_norm_sqrt_t_before_the_bound():
    for case, weights in weights_of("nash_mtl_unbounded").items():
        np.testing.assert_allclose(weights, weights_of("fairgrad_1")[case], rtol=1e-12, err_msg=case)
        if weights.any():
            update = weights @ JACOBIANS[case]
            np.testing.assert_allclose(np.linalg.norm(update), np.sqrt(len(weights)), rtol=1e-9, err_msg=case)
            bounded = weights_of("nash_mtl")[case] @ JACOBIANS[case]
            np.testing.assert_allclose(bounded, update / np.linalg.norm(update), rtol=1e-9, err_msg=case)


def test_nash_ignores_the_tasks_scales_and_bisects_two():
    gradients = JACOBIANS["conflicting_3x5"]
    scales = np.array([[0.01], [1.0], [30.0]])
    with jax.enable_x64(True):
        aggregate = jax.jit(lambda j: optimizers.nash_mtl_weights(j @ j.T) @ j)
        np.testing.assert_allclose(aggregate(scales * gradients), aggregate(gradients), rtol=1e-9)
    for case in JACOBIANS:
        if case.endswith("2x4") and not case.startswith("dependent"):
            units = JACOBIANS[case] / np.linalg.norm(JACOBIANS[case], axis=1, keepdims=True)
            bisector = units.sum(axis=0)
            expected = bisector / np.linalg.norm(bisector)
            np.testing.assert_allclose(weights_of("nash_mtl")[case] @ JACOBIANS[case], expected, rtol=1e-9)


def test_fairness_goes_from_the_sum_to_equal_gains():
    gradients = JACOBIANS["random_3x5"]
    with jax.enable_x64(True):
        products = jnp.asarray(gradients @ gradients.T)
        compiled = jax.jit(jax.vmap(optimizers.fairgrad_weights, in_axes=(None, 0)))
        weights = np.asarray(compiled(products, jnp.array([1e-3, 30.0])))
    np.testing.assert_allclose(weights[0], 1.0, atol=0.01)
    gains = gradients @ (weights[1] @ gradients)
    np.testing.assert_allclose(gains, gains.mean(), rtol=0.15)


def test_64_tasks_against_independent_solvers():
    """Lawson and Hanson's non-negative least squares, the equation itself, and the two programs of CAGrad."""
    random = np.random.default_rng(64)
    gradients = random.standard_normal((64, 80)) * 10.0 ** random.uniform(-1, 1, (64, 1))
    gradients -= 0.5 * gradients.mean(axis=0)
    mean, radius = gradients.mean(axis=0), 0.5 * np.linalg.norm(gradients.mean(axis=0))
    size = np.linalg.norm(gradients)

    def solve(products):
        return {
            "mgda": optimizers.mgda_weights(products),
            "dualproj": optimizers.dualproj_weights(products, norm_eps=0.0, reg_eps=0.0),
            "cagrad": optimizers.cagrad_weights(products, 0.5),
            "nash": optimizers.nash_mtl_weights(products, max_norm=jnp.inf),
            "fairgrad": optimizers.fairgrad_weights(products, 3.0),
        }

    scaled = 1e3 / size  # of the row of ones, which only has to be there
    weights, _ = nnls(np.vstack([scaled * gradients.T, np.ones(64)]), np.append(np.zeros(80), 1.0))
    shortest = weights / weights.sum() @ gradients
    added, _ = nnls(gradients.T, -mean)
    projected = mean + added @ gradients
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 2e-4)):
        with jax.enable_x64(dtype is np.float64):
            found = jax.jit(solve)(jnp.asarray(gradients @ gradients.T, dtype))
        found = {name: np.asarray(w, np.float64) for name, w in found.items()}
        np.testing.assert_allclose(found["mgda"] @ gradients, shortest, atol=tolerance * size)
        np.testing.assert_allclose(found["dualproj"] @ gradients, projected, atol=tolerance * size)
        v = found["cagrad"] - 1 / 64
        v /= v.sum()
        gain = (gradients @ (found["cagrad"] @ gradients)).min()
        bound = v @ gradients @ mean + radius * np.linalg.norm(v @ gradients)
        assert v.min() > -1e-6
        np.testing.assert_allclose(gain, bound, atol=tolerance * size * np.linalg.norm(mean))
        for name, alpha in (("nash", 1.0), ("fairgrad", 3.0)):
            update = found[name] @ gradients
            unmet = (gradients @ update - found[name] ** (-1 / alpha)) / np.linalg.norm(gradients, axis=1)
            assert np.abs(unmet).max() < tolerance * np.linalg.norm(update), (name, dtype)


# --- priorities and votes


def test_pcd_serves_the_secondary_tasks_and_stays_near_the_primary():
    """The Karush-Kuhn-Tucker conditions of its program, before it is made as long as the primary gradient."""
    met = 0
    for case, weights in weights_of("pcd").items():
        gradients = JACOBIANS[case]
        squares = np.sum(gradients**2, axis=1)
        units = gradients / np.sqrt(squares + 1e-8)[:, None]
        multipliers = weights * np.sqrt(squares + 1e-8)
        multipliers = multipliers[1:] / multipliers[0]
        d = units[0] + multipliers @ units[1:]
        excess = units[1:] @ d - 0.02 * np.sum(units[1:] ** 2, axis=1)
        np.testing.assert_allclose(np.linalg.norm(weights @ gradients), np.sqrt(squares[0]), rtol=1e-9)
        if excess.min() > -1e-9 * (1 + multipliers.max(initial=0.0)):
            met += 1
            assert multipliers.min() >= 0, case
            assert np.abs(multipliers * excess).max() < 1e-9 * (1 + multipliers.max() ** 2), case
        else:
            assert not multipliers.any(), case  # the constraints contradict: the primary gradient itself
            assert shortest_unit_combination(gradients[1:]) < 1e-6, case
    assert met >= 12


def test_pcd_of_contradicting_tasks_and_of_a_share_for_each():
    weigh = jax.jit(lambda gramian, tau: optimizers.pcd_weights(gramian, tau=tau))
    opposite = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, -1.0, 1.0]])
    np.testing.assert_allclose(weigh(opposite, jnp.array([0.02, 0.02])), [1.0, 0.0, 0.0], atol=1e-6)
    weights = weigh(jnp.eye(3), jnp.array([0.5, 0.25]))  # (1, 0.5, 0.25), made of norm 1
    np.testing.assert_allclose(weights, np.array([1.0, 0.5, 0.25]) / np.sqrt(1.3125), rtol=1e-5)


@pytest.mark.parametrize(("byzantine", "selected"), [(0, 1), (1, 1), (2, 3)])
def test_krum_equals_torchjd_on_squared_distances_and_the_definition(byzantine, selected):
    for case, gradients in JACOBIANS.items():
        if len(gradients) < 4:
            continue
        squared = np.sum((gradients[:, None] - gradients) ** 2, axis=-1)
        scores = np.sort(squared, axis=1)[:, 1 : len(gradients) - byzantine - 1].sum(axis=1)
        expected = np.isin(np.arange(len(gradients)), np.argsort(scores)[:selected]) / selected
        with jax.enable_x64(True):
            weights = optimizers.krum_weights(jnp.asarray(gradients @ gradients.T), byzantine, selected=selected)
        np.testing.assert_allclose(weights, expected, rtol=1e-12, err_msg=case)
        np.testing.assert_allclose(weights, GOLDEN[f"{case}/krum_{byzantine}_{selected}"], rtol=1e-12, err_msg=case)


def test_krum_is_not_drawn_away_by_those_it_is_told_of():
    honest = np.random.default_rng(0).normal(1.0, 0.1, (6, 4))
    sent = np.concatenate([honest, np.full((2, 4), 50.0)])  # which agree with each other
    weights = np.asarray(optimizers.krum_weights(jnp.asarray(sent @ sent.T, jnp.float32), 2, selected=4))
    assert weights[6:].max() == 0
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-6)


# --- weights with a memory


@functools.partial(jax.jit, static_argnums=0)
def scanned(transformation, state, inputs):
    def step(state, inputs):
        updates, state = transformation.update(inputs[0], state, **inputs[1])
        return state, updates

    return jax.lax.scan(step, state, inputs)


def run(transformation, gradients, extra=None):
    """The updates `[K, P]` for gradients `[K, T, P]` (or without T), and the last state, in float64."""
    with jax.enable_x64(True):
        state = transformation.init(jnp.zeros(gradients.shape[-1]))
        state, updates = scanned(transformation, state, (jnp.asarray(gradients), extra or {}))
        return np.asarray(updates), jax.tree.map(np.asarray, state)


MEMORIES = {
    "excess_mtl": lambda tasks: optimizers.excess_mtl(tasks),
    "excess_mtl_warm": lambda tasks: optimizers.excess_mtl(tasks, step_size=0.3, warmup_steps=2),
    "cr_mogm": lambda tasks: optimizers.cr_mogm(optimizers.mgda_weights, tasks, smoothing=0.7),
    "modo": optimizers.modo,
    "modo_across": lambda tasks: optimizers.modo(tasks, gamma=0.02, rho=0.3),
    "sdmgrad": optimizers.sdmgrad,
    "sdmgrad_across": optimizers.sdmgrad,
    "sdmgrad_preferring": lambda tasks: optimizers.sdmgrad(
        tasks, lam=0.6, preference=np.linspace(1, 2, tasks), step_size=1.0, momentum=0.9, iterations=7
    ),
    "pcd": lambda tasks: optimizers.pcd(tasks, tau=0.1, beta=0.9),
    "nash_mtl_every_2": lambda tasks: optimizers.nash_mtl(max_norm=0.5, update_weights_every=2, tasks=tasks),
    "bloop": lambda tasks: optimizers.bloop(0.5, rho=0.3),
}


@functools.cache
def memory(name, tasks):
    return MEMORIES[name](tasks)


@pytest.mark.parametrize("name", MEMORIES)
def test_trajectories_equal_those_of_the_public_implementations(name):
    for case in TRAJECTORIES[:1] if name.startswith("nash") else TRAJECTORIES:  # torchjd solves no others
        matrices, expected = GOLDEN[f"{case}/trajectory"], GOLDEN[f"{case}/trajectory_{name}"]
        extra = None
        if name.endswith("across"):
            with jax.enable_x64(True):
                extra = {"cross_gramian": jax.vmap(optimizers.cross_gramian)(matrices[:-1], matrices[1:])}
            matrices = matrices[:-1]
        updates, _ = run(memory(name, matrices.shape[1]), matrices, extra)
        if expected.shape == matrices.shape[:2]:
            expected = np.einsum("kt,ktp->kp", expected, matrices)
        # The iterations of torchjd's inner MGDA, and of its Nash bargain, stop early.
        tolerance = {"cr_mogm": 2e-3, "nash_mtl_every_2": 2e-3}.get(name, 1e-8)
        np.testing.assert_allclose(updates, expected, atol=tolerance * np.abs(matrices).max(), rtol=0, err_msg=case)


@pytest.mark.parametrize("name", ["excess_mtl", "cr_mogm", "modo", "sdmgrad", "pcd", "nash_mtl_every_2", "bloop"])
def test_a_gradient_with_nan_leaves_the_memory_as_it_is(name):
    matrices = GOLDEN["conflicting_3x5/trajectory"]
    spoilt = matrices[[0, 3, 1, 2]]
    spoilt[1, 1, 2] = np.nan
    updates, _ = run(memory(name, 3), spoilt)
    expected, _ = run(memory(name, 3), matrices)
    assert np.isnan(updates[1]).all()
    np.testing.assert_array_equal(updates[[0, 2, 3]], expected[:3])


def test_nash_weights_are_kept_between_solutions_under_the_bound_of_each_update():
    matrices = np.repeat(GOLDEN["conflicting_3x5/trajectory"][:1], 3, axis=0)
    matrices[1] *= 10
    matrices[2] *= 0.1
    updates, _ = run(optimizers.nash_mtl(max_norm=1.0, update_weights_every=3, tasks=3), matrices)
    np.testing.assert_allclose(updates[1], updates[0], rtol=1e-9)  # cut from 10 sqrt(3) to 1
    np.testing.assert_allclose(updates[2], 0.1 * np.sqrt(3) * updates[0], rtol=1e-9)  # shorter than the bound


def test_excess_weights_recover_from_a_risk_that_exhausts_float32():
    gradients = np.ones((5, 2, 1), np.float32)
    gradients[1] = [[1e6], [1e-6]]
    gradients[2:] = np.array([[0.0], [1.0]])
    transformation = optimizers.excess_mtl(2, step_size=50.0)
    state = transformation.init(jnp.zeros(1))
    weights = []
    for pair in gradients:
        _, state = transformation.update(jnp.asarray(pair), state)
        weights.append(np.exp(state.log_weights))
    np.testing.assert_array_equal(weights[1], [1.0, 0.0])
    assert np.isfinite(state.log_weights).all()


def test_smoothing_may_be_scheduled():
    matrices = GOLDEN["conflicting_3x5/trajectory"]
    ends = optimizers.cr_mogm(optimizers.mgda_weights, 3, smoothing=lambda step: jnp.where(step < 2, 1.0, 0.0))
    updates, state = run(ends, matrices)
    first, *_, last = np.asarray(mgda_weights(matrices))
    np.testing.assert_allclose(updates[1], first @ matrices[1], rtol=1e-9)
    np.testing.assert_allclose(state.values, last, rtol=1e-9)


def test_smoothed_weights_may_harm_a_task_that_the_weighting_does_not():
    matrices = np.array([[[1.0, 0.0], [0.0, 0.1]], [[-1.0, 0.0], [0.9, 0.5]]])
    updates, _ = run(optimizers.cr_mogm(optimizers.mgda_weights, 2), matrices)
    alone, _ = run(optimizers.mgda(), matrices)
    assert (matrices[1] @ alone[1]).min() > 0
    assert (matrices[1] @ updates[1]).min() < -0.1


def test_modo_and_sdmgrad_approach_mgda():
    gradients = JACOBIANS["conflicting_3x5"]
    expected = mgda_weights(gradients[None])[0] @ gradients
    repeated = np.repeat(gradients[None], 2000, axis=0)
    updates, _ = run(optimizers.modo(3, gamma=0.05, rho=0.0), repeated)
    np.testing.assert_allclose(updates[-1], expected, atol=1e-6)
    updates, _ = run(optimizers.sdmgrad(3, lam=0.0, step_size=0.3, iterations=50), repeated[:40])
    np.testing.assert_allclose(updates[-1], expected, atol=1e-6)


def mgda_weights(matrices):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(lambda j: optimizers.mgda_weights(j @ j.T)))(matrices))


def test_the_cross_gramian_is_free_of_the_noise_that_one_batch_has():
    expected = np.random.default_rng(0).standard_normal((2, 3))
    noise = jax.random.normal(jax.random.key(0), (2, 4000, 2, 3)) * jnp.array([[0.5], [2.0]])
    first, second = expected + noise
    crossed = np.asarray(jax.jit(jax.vmap(optimizers.cross_gramian))(first, second))
    error = crossed.std(axis=0) / np.sqrt(len(crossed))
    assert (np.abs(crossed.mean(axis=0) - expected @ expected.T) < 5 * error).all()
    biased = np.asarray(jax.vmap(lambda g: g @ g.T)(first)).mean(axis=0) - expected @ expected.T
    np.testing.assert_allclose(np.diag(biased), [3 * 0.25, 3 * 4.0], rtol=0.15)


def test_cross_gramian_of_trees():
    random = np.random.default_rng(1)
    shapes = {"w": (3, 4, 2), "b": (3,), "empty": (3, 0)}
    first, second = ({n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()} for _ in range(2))
    flat = [np.concatenate([t[n].reshape(3, -1) for n in shapes], axis=1) for t in (first, second)]
    np.testing.assert_allclose(optimizers.cross_gramian(first, second), flat[0] @ flat[1].T, rtol=1e-5, atol=1e-6)
    assert optimizers.cross_gramian({}, {}).shape == (0, 0)
    with pytest.raises(ValueError, match=r"^cross_gramian: first and second must have"):
        optimizers.cross_gramian(first, {"w": second["w"]})


# --- Bloop and M-ConFIG


def test_bloop_leaves_the_average_direction_to_the_main_loss():
    matrices = GOLDEN["scaled_10x40/trajectory"]
    updates, state = run(optimizers.bloop(0.5, rho=0.3), matrices)
    auxiliary = (updates - matrices[:, 0])[-1]
    assert abs(auxiliary @ state.average) < 1e-9 * np.linalg.norm(auxiliary) * np.linalg.norm(state.average)
    np.testing.assert_array_equal(run(optimizers.bloop(0.0), matrices)[0], matrices[:, 0])
    own, _ = run(optimizers.bloop(1.0, rho=1.0), matrices)
    shares = np.einsum("kap,kp->k", matrices[:, 1:], matrices[:, 0]) / np.sum(matrices[:, 0] ** 2, axis=1)
    np.testing.assert_allclose(own, matrices.sum(axis=1) - shares[:, None] * matrices[:, 0], rtol=1e-9, atol=1e-9)


def test_bloop_finds_the_shortest_minimiser_where_the_weighted_sum_is_biased():
    random = np.random.default_rng(3)
    matrix, target = random.standard_normal((2, 5)), random.standard_normal(2)
    shortest = np.linalg.pinv(matrix) @ target

    def descend(transformation):
        def step(carry, _):
            params, state = carry
            main = jax.grad(lambda w: jnp.sum((matrix @ w - target) ** 2) / 2)(params)
            updates, state = transformation.update(jnp.stack([main, params]), state)
            return (params - 0.02 * updates, state), None

        with jax.enable_x64(True):
            start = jnp.asarray(random.standard_normal(5))
            carry = (start, transformation.init(start))
            return np.asarray(jax.jit(lambda c: jax.lax.scan(step, c, length=3000))(carry)[0][0])

    assert np.linalg.norm(descend(optimizers.bloop(2.0)) - shortest) < 0.02 * np.linalg.norm(shortest)
    assert np.linalg.norm(descend(optimizers.sum_tasks(weights=[1.0, 2.0])) - shortest) > 0.1 * np.linalg.norm(shortest)


def test_m_config_equals_the_authors_operator():
    transformation = optimizers.m_config(2)
    for case, extra in (
        ("conflicting_3x5", None),
        ("dependent_3x5", None),
        ("scaled_10x40", {"task": jnp.arange(8, dtype=jnp.int32) % 2}),
    ):
        gradients = GOLDEN[f"{case}/trajectory"][:, :2].reshape(8, -1)
        expected = GOLDEN[f"{case}/trajectory_m_config"]
        updates, _ = run(transformation, gradients, extra)
        np.testing.assert_allclose(updates, expected, rtol=1e-5, atol=1e-7, err_msg=case)
        assert not expected[0].any()


def test_m_config_of_losses_in_any_order():
    """With no momentum it is ConFIG of the latest gradients, over their root mean square."""
    latest = JACOBIANS["conflicting_3x5"]
    order = jnp.array([2, 2, 0, 1], jnp.int32)
    gradients = np.stack([7.0 * latest[2], latest[2], latest[0], latest[1]])
    updates, state = run(optimizers.m_config(3, b1=0.0, b2=0.0, eps=1.0), gradients, {"task": order})
    with jax.enable_x64(True):
        expected = np.asarray(optimizers.config_weights(jnp.asarray(latest @ latest.T))) @ latest
    assert not updates[:3].any()
    np.testing.assert_allclose(updates[3], expected / (np.abs(expected) + 1.0), rtol=1e-6)
    np.testing.assert_array_equal(state.seen, [1, 1, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.fairgrad(0.0), r"^fairgrad: alpha must lie in \(0, inf\)"),
        (lambda: optimizers.nash_mtl(max_norm=0.0), r"^nash_mtl: max_norm must lie in \(0, inf\]"),
        (lambda: optimizers.nash_mtl(update_weights_every=2), r"^nash_mtl: tasks must be given"),
        (lambda: optimizers.krum_weights(jnp.eye(4), 2), r"^krum_weights: byzantine=2 .* need 5 gradients"),
        (lambda: optimizers.krum(-1), r"^krum: byzantine must be at least 0"),
        (lambda: optimizers.pcd(2, tau=[0.1, 1.5]), r"^pcd: tau must lie in \[0, 1\]"),
        (lambda: optimizers.pcd_weights(jnp.eye(3), tau=[0.1]), r"^pcd_weights: tau must be a number or have shape"),
        (lambda: optimizers.pcd_weights(jnp.eye(3), jnp.ones(2)), r"^pcd_weights: mean_squares must have shape"),
        (
            lambda: optimizers.modo(3).update(jnp.eye(2), optimizers.modo(3).init(None)),
            r"^modo: tasks is 3, but the gradients are stacked for 2 tasks",
        ),
        (
            lambda: optimizers.excess_mtl(3).update(jnp.eye(2), optimizers.excess_mtl(3).init(jnp.zeros(2))),
            r"^excess_mtl: tasks is 3, but",
        ),
    ],
)
def test_errors_name_function_and_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_hyperparameters_may_be_injected():
    gradients = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
    injected = optax.inject_hyperparams(optimizers.bloop)(lam=0.5, rho=0.2)
    updates, _ = jax.jit(injected.update)(gradients, injected.init(gradients[0]))
    np.testing.assert_allclose(updates, [1.0, 0.5], rtol=1e-6)
