"""The manifolds: geometry that holds whatever the formulas, closed forms, and the edges of the number formats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from optimizers import euclidean, poincare_ball, positive_definite, sphere, stiefel

MANIFOLDS = {
    "euclidean": (euclidean(1), (2, 4)),
    "sphere": (sphere(), (2, 4)),
    "poincare_ball": (poincare_ball(), (2, 4)),
    "poincare_ball_c": (poincare_ball(0.3), (2, 4)),
    "stiefel": (stiefel(), (2, 4, 3)),
    "orthogonal": (stiefel(), (3, 3)),
    "positive_definite": (positive_definite(), (2, 3, 3)),
}
WITH_LOG = [name for name, (manifold, _) in MANIFOLDS.items() if manifold.log is not None]


def points_and_vectors(name, dtype=jnp.float64):
    """Two points, and two tangent vectors at the first."""
    manifold, shape = MANIFOLDS[name]
    keys = jax.random.split(jax.random.key(3), 4)
    x, y = (manifold.random(key, shape, dtype) for key in keys[:2])
    u, v = (0.4 * manifold.tangent(x, jax.random.normal(key, shape, dtype)) for key in keys[2:])
    return manifold, x, y, u, v


def off(name, x):
    """How far points are from their manifold."""
    if name.startswith("sphere"):
        return jnp.abs(jnp.linalg.norm(x, axis=-1) - 1).max()
    if name.startswith("poincare"):
        c = 0.3 if name.endswith("c") else 1.0
        return jnp.maximum(c * jnp.sum(x**2, axis=-1) - 1, 0).max()
    if name in ("stiefel", "orthogonal"):
        return jnp.abs(jnp.matrix_transpose(x) @ x - jnp.eye(x.shape[-1])).max()
    if name == "positive_definite":
        return jnp.abs(x - jnp.matrix_transpose(x)).max() + jnp.maximum(-jnp.linalg.eigvalsh(x), 0).max()
    return jnp.zeros(())


@pytest.mark.parametrize("name", MANIFOLDS)
def test_points_stay_and_vectors_are_tangent(name):
    with jax.enable_x64(True):
        manifold, x, y, u, v = points_and_vectors(name)
        ends = manifold.exp(x, u), manifold.retraction(x, u), manifold.project(x + u), x, y
        for end in ends:
            assert off(name, end) < 1e-13
        for end, vector in ((x, manifold.egrad_to_rgrad(x, u + 1)), (ends[0], manifold.transport(x, ends[0], v))):
            np.testing.assert_allclose(manifold.tangent(end, vector), vector, atol=1e-13)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_the_riemannian_gradient_represents_the_derivative(name):
    """<grad f, v> in the metric is the derivative of f along v, for every tangent v."""
    with jax.enable_x64(True):
        manifold, x, y, _, v = points_and_vectors(name)

        def f(x):
            return jnp.sum(jnp.sin(x * y) + x**2)

        slope = jax.jvp(f, (x,), (v,))[1]
        gradient = manifold.egrad_to_rgrad(x, jax.grad(f)(x))
        np.testing.assert_allclose(jnp.sum(manifold.inner(x, gradient, v)), slope, rtol=1e-12)


@pytest.mark.parametrize("step", ["exp", "retraction"])
@pytest.mark.parametrize("name", MANIFOLDS)
def test_steps_begin_with_their_velocity(name, step):
    """The curve t -> step(x, t v) is at x at 0, and leaves with v."""
    with jax.enable_x64(True):
        manifold, x, _, _, v = points_and_vectors(name)
        curve = lambda t: getattr(manifold, step)(x, t * v)
        h = 1e-5
        np.testing.assert_allclose((curve(h) - curve(-h)) / (2 * h), v, atol=1e-8)
        np.testing.assert_allclose(curve(0.0), x, atol=1e-15)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_exp_follows_geodesics(name):
    """Constant speed, and an acceleration without tangential part: the latter by the covariant derivative."""
    with jax.enable_x64(True):
        manifold, x, _, _, v = points_and_vectors(name)
        speed = lambda t: jax.jvp(lambda t: manifold.exp(x, t * v), (t,), (jnp.ones(()),))
        if name in ("positive_definite", "stiefel", "orthogonal"):  # whose derivatives are singular at repeated values
            h = 1e-4
            curve = lambda t: manifold.exp(x, t * v)
            speed = lambda t: (curve(t), (curve(t + h) - curve(t - h)) / (2 * h))
        lengths = [manifold.inner(y, w, w) for y, w in map(speed, (0.3, 0.9))]
        for each in lengths:
            np.testing.assert_allclose(each, manifold.inner(x, v, v), rtol=1e-6)
        if name in ("sphere", "stiefel", "orthogonal", "euclidean"):  # metrics of the space around
            h = 1e-3
            y, before, after = (manifold.exp(x, t * v) for t in (0.5, 0.5 - h, 0.5 + h))
            acceleration = (before - 2 * y + after) / h**2
            np.testing.assert_allclose(manifold.tangent(y, acceleration), 0.0, atol=1e-5)


@pytest.mark.parametrize("name", WITH_LOG)
def test_log_and_distance_agree_with_exp(name):
    with jax.enable_x64(True):
        manifold, x, y, u, _ = points_and_vectors(name)
        np.testing.assert_allclose(manifold.log(x, manifold.exp(x, u)), u, atol=1e-12)
        np.testing.assert_allclose(manifold.exp(x, manifold.log(x, y)), y, atol=1e-12)
        log = manifold.log(x, y)
        np.testing.assert_allclose(manifold.distance(x, y) ** 2, manifold.inner(x, log, log), rtol=1e-11)
        np.testing.assert_allclose(manifold.distance(x, y), manifold.distance(y, x), rtol=1e-12)
        np.testing.assert_array_equal(manifold.distance(x, x) < 1e-7, True)  # roots of roundings, in the cone


@pytest.mark.parametrize("name", WITH_LOG)
def test_transport_is_an_isometry(name):
    """Inner products are kept, the geodesic's own velocity stays its velocity, and the way back undoes it."""
    with jax.enable_x64(True):
        manifold, x, y, u, v = points_and_vectors(name)
        carried = manifold.transport(x, y, u), manifold.transport(x, y, v)
        np.testing.assert_allclose(manifold.inner(y, *carried), manifold.inner(x, u, v), atol=1e-13)
        np.testing.assert_allclose(manifold.transport(y, x, carried[0]), u, atol=1e-13)
        np.testing.assert_allclose(manifold.transport(x, y, manifold.log(x, y)), -manifold.log(y, x), atol=1e-12)


def test_stiefel_transport_is_the_projection():
    with jax.enable_x64(True):
        manifold, x, y, u, _ = points_and_vectors("stiefel")
        np.testing.assert_array_equal(manifold.transport(x, y, u), manifold.tangent(y, u))
        assert (manifold.inner(y, *2 * (manifold.transport(x, y, u),)) < manifold.inner(x, u, u)).all()


def isometry(name):
    """A map of the whole manifold to itself that keeps distances, with its derivative."""
    random = np.random.default_rng(1)
    rotation = lambda n: jnp.asarray(scipy.linalg.qr(random.normal(size=(n, n)))[0])
    if name in ("euclidean", "sphere", "poincare_ball", "poincare_ball_c"):
        q = rotation(4)
        return lambda x: x @ q, lambda v: v @ q
    if name == "positive_definite":
        a = jnp.asarray(random.normal(size=(3, 3)))
        return (lambda x: a @ x @ a.T,) * 2
    rows, columns = MANIFOLDS[name][1][-2:]
    left, right = rotation(rows), rotation(columns)
    return (lambda x: left @ x @ right,) * 2


@pytest.mark.parametrize("name", MANIFOLDS)
def test_geometry_is_that_of_the_manifold_not_of_its_coordinates(name):
    """Isometries commute with exp, transport and gradients."""
    with jax.enable_x64(True):
        manifold, x, y, u, v = points_and_vectors(name)
        there, along = isometry(name)
        np.testing.assert_allclose(manifold.exp(there(x), along(u)), there(manifold.exp(x, u)), atol=1e-11)
        np.testing.assert_allclose(
            manifold.transport(there(x), there(y), along(u)), along(manifold.transport(x, y, u)), atol=1e-11
        )
        np.testing.assert_allclose(manifold.inner(there(x), along(u), along(v)), manifold.inner(x, u, v), atol=1e-11)


def test_closed_forms():
    """Great circles; the ball's radii; geodesics of commuting matrices; rotations of the plane."""
    with jax.enable_x64(True):
        x, v = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 2.0, 0.0])
        np.testing.assert_allclose(sphere().exp(x, v), [np.cos(2), np.sin(2), 0], atol=1e-15)
        for c in (1.0, 0.3):
            ball, r = poincare_ball(c), 0.7
            expected = 2 / np.sqrt(c) * np.arctanh(np.sqrt(c) * r)
            np.testing.assert_allclose(ball.distance(jnp.zeros(2), jnp.array([0.0, r])), expected, rtol=1e-14)
        a, b = jnp.array([1.0, 3.0]), jnp.array([0.5, -2.0])
        np.testing.assert_allclose(positive_definite().exp(jnp.diag(a), jnp.diag(b)), np.diag(a * np.exp(b / a)))
        turn = 0.7 * jnp.array([[0.0, -1.0], [1.0, 0.0]])
        np.testing.assert_allclose(stiefel().exp(jnp.eye(2), turn), scipy.linalg.expm(turn), atol=1e-14)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_zero_vectors_move_nothing_and_have_gradients(name):
    manifold, x, y, _, _ = points_and_vectors(name, jnp.float32)
    zero = jnp.zeros_like(x)
    for move in (manifold.exp, manifold.retraction):
        np.testing.assert_allclose(move(x, zero), x, atol=1e-6)
    np.testing.assert_array_equal(manifold.transport(x, y, zero), 0.0)
    np.testing.assert_array_equal(manifold.inner(x, zero, zero), 0.0)
    if name in ("euclidean", "sphere", "poincare_ball", "poincare_ball_c"):
        slopes = jax.jacobian(manifold.exp, argnums=1)(x, zero)
        assert jnp.isfinite(slopes).all()
        assert jnp.isfinite(jax.grad(lambda y: manifold.log(x, y).sum())(x)).all()


def test_small_and_large_angles_keep_their_digits():
    """In float32, where 1 - cos(angle) has none left: a thousandth, and a thousandth short of half a turn."""
    x, across = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 0.6, 0.8])
    for angle in (1e-4, 1e-3, np.pi - 1e-3):
        y = sphere().exp(x, angle * across)
        np.testing.assert_allclose(sphere().distance(x, y), angle, rtol=2e-4 if angle > 3 else 1e-6, atol=1e-7)
        np.testing.assert_allclose(sphere().log(x, y)[1], 0.6 * angle, rtol=1e-6)


def test_antipodes_are_finite():
    x, u = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(sphere().transport(x, -x, u), u, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_ball_has_a_boundary(dtype):
    """Steps of any length end inside, where distances, gradients and transport are still finite."""
    with jax.enable_x64(True):
        ball, x = poincare_ball(), jnp.zeros(3, dtype)
        for move in (ball.exp, ball.retraction):
            y = move(x, jnp.array([1e3, -1e3, 10.0], dtype))
            assert y.dtype == dtype
            margin = 1 - float(jnp.linalg.norm(y))
            assert margin == pytest.approx(float(jnp.finfo(dtype).eps) ** (1 / 3), rel=1e-3)
            u = ball.transport(y, x, ball.egrad_to_rgrad(y, jnp.ones(3, dtype)))
            assert jnp.isfinite(ball.distance(x, y))
            assert jnp.isfinite(u).all()
            # Roundings of 1 - |y|^2, which is eps^(1/3), are magnified twice by its inverse.
            np.testing.assert_allclose(ball.exp(y, ball.log(y, x)), x, atol=float(jnp.finfo(dtype).eps) ** (1 / 3))


def test_what_is_no_point_is_nan():
    assert jnp.isnan(sphere().project(jnp.zeros(3))).all()
    assert jnp.isnan(poincare_ball().distance(jnp.zeros(2), jnp.array([1.0, 1.0])))
    assert jnp.isnan(positive_definite().exp(-jnp.eye(2), jnp.eye(2))).all()


def test_a_singular_matrix_is_projected_to_what_can_be_factored():
    cone = positive_definite()
    x = cone.project(jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, -1.0]]))
    assert jnp.isfinite(jnp.linalg.cholesky(x)).all()
    np.testing.assert_allclose(x, [[1, 1, 0], [1, 1, 0], [0, 0, 0]], atol=1e-5)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_every_platform_and_empty_products(name):
    manifold, x, y, u, _ = points_and_vectors(name, jnp.float32)
    used = jax.jit(lambda x, y, u: (manifold.exp(x, u), manifold.transport(x, y, u), manifold.retraction(x, u)))
    assert jax.export.export(used, platforms=["cpu", "cuda", "tpu"])(x, y, u).platforms == ("cpu", "cuda", "tpu")
    empty = jnp.zeros((0, *x.shape[-manifold.ndim :]))
    assert used(empty, empty, empty)[0].shape == empty.shape
