"""The weightings beyond PCGrad and UPGrad: torchjd's golden aggregates, and what defines each, in float64."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optimizers
from optimizers.aggregation import rgw

FOLDER = pathlib.Path(__file__).parents[2] / "golden"
GOLDEN = np.load(FOLDER / "aggregation_more.npz")  # torchjd 0.18.0, quadprog, clarabel
JACOBIANS = {
    name.removesuffix("/jacobian"): array
    for name, array in np.load(FOLDER / "aggregation.npz").items()
    if name.endswith("/jacobian")
}
WEIGHTINGS = {
    "mgda": optimizers.mgda_weights,
    "dualproj": optimizers.dualproj_weights,
    "imtl_g": optimizers.imtl_g_weights,
    "aligned_mtl": optimizers.aligned_mtl_weights,
    "aligned_mtl_median": lambda g: optimizers.aligned_mtl_weights(g, scale_mode="median"),
    "aligned_mtl_rmse": lambda g: optimizers.aligned_mtl_weights(g, scale_mode="rmse"),
    "config": optimizers.config_weights,
    "cagrad_0.5": lambda g: optimizers.cagrad_weights(g, 0.5),
    "cagrad_2": lambda g: optimizers.cagrad_weights(g, 2.0),
}
# Of the norm of all gradients together. torchjd's MGDA is Frank-Wolfe, which converges slowly; its CAGrad solves to a
# gap of 1e-8 in the objective, whose root that is in the point. The conditions of both are held to rounding below.
TOLERANCES = {"mgda": 2e-3, "cagrad_0.5": 5e-5, "cagrad_2": 5e-5}
COMPILED = {name: jax.jit(jax.vmap(weighting)) for name, weighting in WEIGHTINGS.items()}

every = pytest.mark.parametrize("name", WEIGHTINGS)


def weights_of(name, jacobians, dtype=np.float64):
    """Weights for each of the gradients `[T, P]`, in float64; one compilation for each T."""
    found = {}
    for tasks, cases in itertools.groupby(
        sorted(jacobians, key=lambda c: len(jacobians[c])), lambda c: len(jacobians[c])
    ):
        cases = list(cases)
        gramians = np.stack([jacobians[case] @ jacobians[case].T for case in cases])
        with jax.enable_x64(dtype is np.float64):
            weights = np.asarray(COMPILED[name](jnp.asarray(gramians, dtype)), np.float64)
        assert weights.shape == (len(cases), tasks)
        found |= zip(cases, weights, strict=True)
    return found


@every
def test_aggregates_equal_torchjd(name):
    for case, weights in weights_of(name, JACOBIANS).items():
        gradients = JACOBIANS[case]
        tolerance = TOLERANCES.get(name, 1e-8) * np.linalg.norm(gradients)
        np.testing.assert_allclose(weights @ gradients, GOLDEN[f"{case}/{name}"], atol=tolerance, rtol=0, err_msg=case)


@pytest.mark.parametrize("name", [name for name in WEIGHTINGS if name != "cagrad_2"])
def test_float32_gives_the_float64_aggregate(name):
    wide, narrow = weights_of(name, JACOBIANS), weights_of(name, JACOBIANS, np.float32)
    for case, gradients in JACOBIANS.items():
        # Gradients of very different lengths leave a Gramian in float32 little of the short ones; Aligned-MTL divides
        # by its eigenvalues.
        hard = name.startswith("aligned") and case.startswith("scaled_10")
        tolerance = (5e-2 if hard else 2e-5) * np.linalg.norm(gradients)
        np.testing.assert_allclose(narrow[case] @ gradients, wide[case] @ gradients, atol=tolerance, err_msg=case)


@pytest.mark.parametrize("name", ["dualproj", "aligned_mtl", "config"])
def test_preference_equals_torchjd(name):
    weighting = {"dualproj": optimizers.dualproj_weights, "aligned_mtl": optimizers.aligned_mtl_weights}
    weighting = weighting.get(name, optimizers.config_weights)
    with jax.enable_x64(True):
        for case in ("example", "conflicting_3x5"):
            gradients = JACOBIANS[case]
            preference = jnp.linspace(1.0, 2.0, len(gradients))
            weights = weighting(jnp.asarray(gradients @ gradients.T), preference=preference)
            np.testing.assert_allclose(weights @ gradients, GOLDEN[f"{case}/{name}_preferring"], rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dualproj", [0.5563, 1.1109, 1.1109]),
        ("mgda", [0.0, 1.0, 1.0]),
        ("imtl_g", [0.0767, 1.0, 1.0]),
        ("aligned_mtl", [0.2133, 0.9673, 0.9673]),
        ("config", [0.1588, 2.0706, 2.0706]),
        ("cagrad_0.5", [0.1835, 1.2041, 1.2041]),
    ],
)
def test_example_of_torchjd(name, expected):
    weights = weights_of(name, {"example": JACOBIANS["example"]})["example"]
    np.testing.assert_allclose(weights @ JACOBIANS["example"], expected, atol=5e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_mgda_satisfies_the_optimality_conditions(dtype, tolerance):
    """`<g_t, x> >= |x|^2` for every task, with equality where it has weight; x = J^T w."""
    for case, weights in weights_of("mgda", JACOBIANS, dtype).items():
        gradients = JACOBIANS[case]
        x = weights @ gradients
        excess = (gradients @ x - x @ x) / np.linalg.norm(gradients, axis=1) / np.linalg.norm(gradients)
        assert weights.min() >= 0, case
        np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-6)
        assert excess.min() > -tolerance, case
        assert (weights * np.abs(excess)).max() < tolerance, case


@pytest.mark.parametrize("c", [0.5, 2])
def test_cagrad_closes_the_gap_of_its_two_programs(c):
    """The worst task's gain in the ball, at most `<J^T v, g_0> + radius |J^T v|` for any v of the simplex."""
    stationary = []
    for case, weights in weights_of(f"cagrad_{c:g}", JACOBIANS).items():
        gradients = JACOBIANS[case]
        mean, x = gradients.mean(axis=0), weights @ gradients
        radius = c * np.linalg.norm(mean)
        if not weights.any():
            stationary.append(case)  # then 0 is a convex combination, as MGDA finds
            shortest = weights_of("mgda", {case: gradients})[case] @ gradients
            assert np.linalg.norm(shortest) < 1e-4 * np.linalg.norm(gradients), case  # norm_eps
            continue
        v = weights - 1 / len(weights)
        v /= v.sum()
        assert v.min() >= 0, case
        np.testing.assert_allclose(np.linalg.norm(x - mean), radius, rtol=1e-9, err_msg=case)
        bound = v @ gradients @ mean + radius * np.linalg.norm(v @ gradients)
        gain = (gradients @ x).min()
        np.testing.assert_allclose(gain, bound, rtol=1e-7, atol=1e-9 * np.linalg.norm(gradients) ** 2, err_msg=case)
        assert (gain > 0) | (c < 1), case
    dependent = {case for case in JACOBIANS if case.startswith("dependent")}
    assert (dependent <= set(stationary)) == (c > 1)
    assert len(stationary) < 10


def test_cagrad_without_a_ball_is_the_mean_and_norm_eps_bounds_what_counts():
    gramian = jnp.array([[1.0, -1.0], [-1.0, 2.0]])
    weights = jax.jit(lambda gramian, c, norm_eps: optimizers.cagrad_weights(gramian, c, norm_eps=norm_eps))
    np.testing.assert_allclose(weights(gramian, 0.0, 1e-4), [0.5, 0.5], rtol=1e-6)
    # A norm of 0.4 of the two gradients' together, (0.2, 0.4) at most, is as good as 0 when told so.
    np.testing.assert_array_equal(weights(gramian, 2.0, 0.4), [0.0, 0.0])


def independent():
    return {case: g for case, g in JACOBIANS.items() if np.linalg.matrix_rank(g) == len(g)}


def test_imtl_g_projects_equally_onto_independent_gradients():
    for case, weights in weights_of("imtl_g", independent()).items():
        gradients = independent()[case]
        lengths = gradients @ (weights @ gradients) / np.linalg.norm(gradients, axis=1)
        np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-9)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-6, err_msg=case)


def test_config_has_one_cosine_with_independent_gradients_and_their_joint_length():
    for case, weights in weights_of("config", independent()).items():
        gradients = independent()[case]
        x = weights @ gradients
        lengths = gradients @ x / np.linalg.norm(x)
        cosines = lengths / np.linalg.norm(gradients, axis=1)
        np.testing.assert_allclose(cosines, cosines[0], rtol=1e-6, err_msg=case)
        assert cosines[0] > 0, case
        np.testing.assert_allclose(np.linalg.norm(x), lengths.sum(), rtol=1e-9)


def test_aligned_mtl_makes_gradients_orthogonal_and_of_one_length():
    for mode, reduce in {"min": np.min, "median": lambda v: np.sort(v)[(v.size - 1) // 2], "rmse": np.mean}.items():
        gradients = JACOBIANS["conflicting_3x5"]
        with jax.enable_x64(True):
            gramian = jnp.asarray(gradients @ gradients.T)
            rows = [optimizers.aligned_mtl_weights(gramian, preference=p, scale_mode=mode) for p in np.eye(3)]
        aligned = np.stack(rows) @ gradients
        expected = reduce(np.linalg.eigvalsh(gradients @ gradients.T)) * np.eye(3)
        np.testing.assert_allclose(aligned @ aligned.T, expected, atol=1e-12)


def test_dualproj_is_the_nearest_point_that_harms_no_task():
    """Its difference from the mean is a combination of gradients that it does not improve."""
    for case, weights in weights_of("dualproj", JACOBIANS).items():
        gradients = JACOBIANS[case]
        added = weights - 1 / len(weights)
        gains = gradients @ (weights @ gradients)
        assert added.min() > -1e-12, case
        allowed = 2e-4 * np.linalg.norm(gradients) ** 2 * np.abs(weights).max()  # reg_eps
        assert gains.min() > -allowed, case
        assert np.abs(added * gains).max() <= allowed * np.abs(weights).max(), case


def test_two_tasks_in_closed_form():
    random = np.random.default_rng(4)
    jacobians = {
        str(i): random.standard_normal((2, 3)) * np.array([[1.0], [random.uniform(0.2, 5)]]) for i in range(20)
    }
    found = {name: weights_of(name, jacobians) for name in ("mgda", "imtl_g", "aligned_mtl", "config")}
    inside = 0
    for case, gradients in jacobians.items():
        gramian = gradients @ gradients.T
        (a, b), (_, d) = gramian
        share = np.clip((d - b) / (a + d - 2 * b), 0.0, 1.0)
        inside += 0 < share < 1
        np.testing.assert_allclose(found["mgda"][case], [share, 1 - share], atol=1e-11)
        units = gradients / np.sqrt([[a], [d]])
        bisector = units.sum(axis=0)  # one angle with both, in their plane
        lengths = gradients @ bisector / np.linalg.norm(bisector)
        expected = lengths.sum() * bisector / np.linalg.norm(bisector)
        np.testing.assert_allclose(found["config"][case] @ gradients, expected, rtol=1e-9)
        expected = np.sqrt([d, a]) / np.sqrt([a, d]).sum()
        np.testing.assert_allclose(found["imtl_g"][case], expected, rtol=1e-9)
        volume = np.sqrt(a * d - b * b)  # G^(-1/2) by Cayley and Hamilton
        inverse_root = np.linalg.inv(gramian + volume * np.eye(2)) * np.sqrt(a + d + 2 * volume)
        expected = np.sqrt(np.linalg.eigvalsh(gramian)[0]) * inverse_root @ [0.5, 0.5]
        np.testing.assert_allclose(found["aligned_mtl"][case], expected, rtol=1e-9)
    assert 0 < inside < 20


def test_a_vanishing_gradient_is_left_out_by_those_that_divide_by_its_norm():
    gradients = JACOBIANS["conflicting_2x4"]
    beside = {"beside": np.insert(gradients, 1, 0.0, axis=0)}
    for name in ("imtl_g", "config"):
        expected = np.insert(weights_of(name, {"alone": gradients})["alone"], 1, 0.0)
        np.testing.assert_allclose(weights_of(name, beside)["beside"], expected, rtol=1e-9, err_msg=name)


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gramian_with_nan_or_inf_gives_nan(name, bad):
    gramian = np.eye(3, dtype=np.float32)
    gramian[0, 2] = gramian[2, 0] = bad
    assert np.isnan(COMPILED[name](gramian[None])).all()


def test_random_weights_are_those_of_the_softmax_and_change_with_every_update():
    keys = jax.random.split(jax.random.key(1), 4000)
    drawn = np.asarray(jax.vmap(lambda key: optimizers.rgw_weights(3, key))(keys))
    np.testing.assert_allclose(drawn.sum(axis=1), 1.0, rtol=1e-6)
    # The log-ratio of two weights is the difference of two standard normals: mean 0, variance 2, to 5 standard errors.
    ratio = np.log(drawn[:, 0] / drawn[:, 2])
    assert abs(ratio.mean()) < 5 * np.sqrt(2 / len(keys))
    assert abs(ratio.var() - 2) < 5 * 2 * np.sqrt(2 / len(keys))

    transformation = rgw(7)
    step = jax.jit(transformation.update)
    first, state = step(np.eye(4, dtype=np.float32), transformation.init(None))
    second, _ = step(np.eye(4, dtype=np.float32), state)
    other, _ = rgw(8).update(jnp.eye(4), rgw(8).init(None))
    expected = optimizers.rgw_weights(4, jax.random.split(jax.random.key(7))[1])
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    assert min(np.abs(first - second).max(), np.abs(first - other).max()) > 1e-3


def test_sum_of_tasks_takes_weights():
    gradients = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    updates, _ = optimizers.sum_tasks(weights=[0.5, -2.0]).update(gradients, optimizers.sum_tasks().init(None))
    np.testing.assert_array_equal(updates, [-5.5, 3.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.cagrad(-0.1), r"^cagrad: c must lie in \[0, inf\]"),
        (lambda: optimizers.cagrad_weights(jnp.eye(2), norm_eps=-1.0), r"^cagrad_weights: norm_eps must lie"),
        (lambda: optimizers.aligned_mtl(scale_mode="max"), r"^aligned_mtl: scale_mode must be 'min', 'median' or"),
        (lambda: optimizers.config_weights(jnp.eye(2), preference=[1.0]), r"^config_weights: preference must have one"),
        (lambda: optimizers.rgw_weights(0, jax.random.key(0)), r"^rgw_weights: tasks must be at least 1"),
        (lambda: optimizers.mgda_weights(jnp.ones((2, 3))), r"^mgda_weights: gramian must have shape \[T, T\]"),
    ],
)
def test_errors_name_function_and_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
