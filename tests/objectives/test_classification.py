"""Losses of class scores: closed forms in float64, optax, limits, and the edges where p is 0 or 1."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from programs import all_compiled

import objectives

o = all_compiled(objectives)


RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(6, 4))
IDS = np.array([0, 1, 2, 3, 0, 2])
ONE_HOT = np.eye(4)[IDS]
SOFT = RNG.dirichlet(np.ones(4), size=6)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
SOFTMAX_LOSSES = [o.softmax_cross_entropy, o.poly_loss, o.focal_loss, o.squentropy_loss]


def value_and_gradient(function, *inputs):
    """Values and the gradient of their sum, jitted."""
    return jax.jit(jax.value_and_grad(lambda *x: (lambda v: (v.sum(), v))(function(*x)), has_aux=True))(*inputs)


def assert_same(ours, theirs, *inputs, rtol=1e-12):
    """Equal values and gradients in float64."""
    with jax.enable_x64(True):
        mine, peer = value_and_gradient(ours, *inputs), value_and_gradient(theirs, *inputs)
        np.testing.assert_allclose(mine[0][1], peer[0][1], rtol=rtol, atol=1e-13)
        np.testing.assert_allclose(mine[1], peer[1], rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("q", [ONE_HOT, SOFT], ids=["hard", "soft"])
def test_closed_forms(q):
    weights, epsilons = np.array([0.5, 1.0, 2.0, 4.0]), [1.0, -0.5, 0.25]
    smoothed = 0.9 * q + 0.1 / 4
    wrong = sum(e * (1 - P) ** (j + 1) for j, e in enumerate(epsilons))
    with jax.enable_x64(True):
        for got, wanted in [
            (o.softmax_cross_entropy(LOGITS, q), -(q * np.log(P)).sum(-1)),
            (o.softmax_cross_entropy(LOGITS, q, label_smoothing=0.1), -(smoothed * np.log(P)).sum(-1)),
            (o.poly_loss(LOGITS, q, epsilon=-1.0), (q * (-np.log(P) - (1 - P))).sum(-1)),
            (o.poly_n_loss(LOGITS, q, epsilons=epsilons), (q * (wrong - np.log(P))).sum(-1)),
            (o.focal_loss(LOGITS, q, gamma=1.5, alpha=weights), -(q * weights * (1 - P) ** 1.5 * np.log(P)).sum(-1)),
            (o.squentropy_loss(LOGITS, q), (-q * np.log(P) + (1 - q) * LOGITS**2 / 3).sum(-1)),
        ]:
            np.testing.assert_allclose(got, wanted, rtol=1e-12)


@pytest.mark.parametrize("loss", SOFTMAX_LOSSES)
def test_ids_and_one_hot_labels_agree(loss):
    assert_same(lambda x: loss(x, IDS), lambda x: loss(x, ONE_HOT), LOGITS)
    assert_same(lambda x: loss(x, IDS.astype(np.int8)), lambda x: loss(x, ONE_HOT.astype(bool)), LOGITS)


def test_equals_optax():
    theirs = optax.losses
    assert_same(
        lambda x: o.softmax_cross_entropy(x, IDS),
        lambda x: theirs.softmax_cross_entropy_with_integer_labels(x, IDS),
        LOGITS,
    )
    assert_same(lambda x: o.softmax_cross_entropy(x, SOFT), lambda x: theirs.softmax_cross_entropy(x, SOFT), LOGITS)
    assert_same(
        lambda x: o.softmax_cross_entropy(x, SOFT, label_smoothing=0.2),
        lambda x: theirs.softmax_cross_entropy(x, theirs.smooth_labels(SOFT, 0.2)),
        LOGITS,
    )
    assert_same(lambda x: o.poly_loss(x, SOFT), lambda x: theirs.poly_loss_cross_entropy(x, SOFT), LOGITS)
    labels = RNG.uniform(0.05, 0.95, size=LOGITS.shape)
    assert_same(
        lambda x: o.sigmoid_focal_loss(x, labels, gamma=1.5, alpha=0.3),
        lambda x: theirs.sigmoid_focal_loss(x, labels, gamma=1.5, alpha=0.3),
        LOGITS,
    )


def test_poly_closed_values_and_series():
    np.testing.assert_allclose(o.poly_loss(jnp.zeros(2), jnp.array(0), epsilon=3.0), np.log(2) + 1.5, rtol=1e-6)
    terms = 60  # epsilon_j = -1/j takes the first terms of the expansion away; what is left vanishes as (1 - p)^terms
    left = o.poly_n_loss(jnp.array([1.0, 0.0]), jnp.array(0), epsilons=-1 / np.arange(1, terms + 1))
    np.testing.assert_allclose(left, 0, atol=1e-6)


def test_limits():
    for ours in (
        lambda x: o.poly_loss(x, IDS, epsilon=0.0),
        lambda x: o.poly_n_loss(x, IDS, epsilons=[0.0, 0.0]),
        lambda x: o.poly_n_loss(x, IDS, epsilons=[]),
        lambda x: o.focal_loss(x, IDS, gamma=0.0),
        lambda x: o.softmax_cross_entropy(x, IDS, label_smoothing=jnp.zeros(())),
        lambda x: o.squentropy_loss(x, IDS) - jnp.where(ONE_HOT == 1, 0, x**2).sum(-1) / 3,
    ):
        assert_same(ours, lambda x: o.softmax_cross_entropy(x, IDS), LOGITS)
    assert_same(
        lambda x: o.poly_n_loss(x, SOFT, epsilons=np.array([0.7])), lambda x: o.poly_loss(x, SOFT, epsilon=0.7), LOGITS
    )
    assert_same(
        lambda x: o.poly_focal_loss(x, ONE_HOT, epsilon=0.0, alpha=0.3),
        lambda x: o.sigmoid_focal_loss(x, ONE_HOT, alpha=0.3),
        LOGITS,
    )
    assert_same(
        lambda x: o.sigmoid_focal_loss(x, SOFT, gamma=0.0),
        lambda x: optax.losses.sigmoid_binary_cross_entropy(x, SOFT),
        LOGITS,
    )
    assert_same(  # Poly-1 focal without focusing is Poly-1 on two classes
        lambda x: o.poly_focal_loss(x, np.ones(6), epsilon=2.0, gamma=0.0),
        lambda x: o.poly_loss(jnp.stack([x, 0 * x], -1), np.zeros(6, int), epsilon=2.0),
        LOGITS[:, 0],
    )
    assert_same(lambda x: o.softmax_cross_entropy(x + 50.0, IDS), lambda x: o.softmax_cross_entropy(x, IDS), LOGITS)


def test_squentropy_of_two_classes_and_of_one():
    with jax.enable_x64(True):
        a, b = 0.3, -1.2
        got = o.squentropy_loss(np.array([a, b]), np.array(0))
        np.testing.assert_allclose(got, np.log1p(np.exp(b - a)) + b**2, rtol=1e-14)
        np.testing.assert_allclose(o.squentropy_loss(np.zeros(7), np.array(3)), np.log(7), rtol=1e-14)
    assert o.squentropy_loss(jnp.array([[3.0]]), jnp.array([0])) == 0


@pytest.mark.parametrize("loss", SOFTMAX_LOSSES)
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_saturated_and_equal_logits(loss, scale, dtype):
    logits = jnp.array([[scale, 0.0, 0.0], [scale, scale, scale], [0.0, scale, -scale]], dtype)
    for labels in (jnp.array([0, 1, 2]), jnp.array([1, 1, 1]), jnp.full((3, 3), 1 / 3)):
        (_, value), gradient = value_and_gradient(lambda x, y=labels: loss(x, y), logits)
        assert value.dtype == jnp.float32
        assert gradient.dtype == dtype
        assert np.isfinite(value).all()
        assert np.isfinite(np.asarray(gradient, np.float32)).all()
    np.testing.assert_allclose(o.softmax_cross_entropy(logits, jnp.array([1, 1, 1]))[1], np.log(3), rtol=1e-6)


def test_confident_predictions_against_mpmath():
    margins = np.array([-80.0, -20.0, -5.0, 0.0, 5.0, 12.0])
    logits = jnp.stack([jnp.float32(margins), jnp.zeros(6)], -1)
    p = [1 / (1 + mpmath.exp(-mpmath.mpf(m))) for m in margins]
    for got, exact in [
        (o.softmax_cross_entropy(logits, np.zeros(6, int)), [-mpmath.log(x) for x in p]),
        (o.poly_loss(logits, np.zeros(6, int)), [-mpmath.log(x) + 2 * (1 - x) for x in p]),
        (o.focal_loss(logits, np.zeros(6, int)), [-mpmath.log(x) * (1 - x) ** 2 for x in p]),
        (o.sigmoid_focal_loss(jnp.float32(margins), np.ones(6)), [-mpmath.log(x) * (1 - x) ** 2 for x in p]),
    ]:
        # float32 holds log p near 0 to 6e-8, half a unit of 1; Poly-1's slope there is 1 + epsilon = 3
        np.testing.assert_allclose(got, np.array(exact, float), rtol=3e-6, atol=1.8e-7)
    got = o.sigmoid_focal_loss(jnp.float32(20.0), jnp.ones(()))  # neither factor goes through p, which is 1
    np.testing.assert_allclose(got, float(mpmath.exp(-60)), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("logit", [-1e4, -200.0, 0.0, 200.0, 1e4])
def test_focal_gradients_are_finite_at_the_ends(gamma, logit):
    for loss in (o.sigmoid_focal_loss, o.poly_focal_loss):
        for label in (0.0, 0.5, 1.0):
            derivatives = jax.grad(lambda x, y, g, f=loss: f(x, y, gamma=g), argnums=(0, 1, 2))(logit, label, gamma)
            assert np.isfinite(derivatives).all()
    logits = jnp.array([logit, 0.0])
    for label in (0, 1):
        derivatives = jax.grad(lambda x, g, y=label: o.focal_loss(x, jnp.array(y), gamma=g), argnums=(0, 1))(
            logits, gamma
        )
        assert all(np.isfinite(d).all() for d in derivatives)


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([[1.0, 0, 0], [0.25, 0.75, 0]])], ids=["ids", "soft"])
def test_a_class_switched_off_contributes_nothing(labels):
    logits = jnp.array([[1.0, 2.0, -jnp.inf], [0.5, -0.5, -jnp.inf]])
    labels = jnp.asarray(labels)
    short = labels if labels.ndim == 1 else labels[:, :2]
    for loss in (o.softmax_cross_entropy, o.poly_loss, o.focal_loss):
        (_, value), gradient = value_and_gradient(lambda x, f=loss: f(x, labels), logits)
        (_, wanted), wanted_gradient = value_and_gradient(lambda x, f=loss: f(x, short), logits[:, :2])
        np.testing.assert_allclose(value, wanted, rtol=1e-6)
        np.testing.assert_allclose(gradient, np.pad(wanted_gradient, ((0, 0), (0, 1))), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", SOFTMAX_LOSSES)
def test_bad_ids_are_nan_and_masked_ones_are_not(loss):
    logits, labels = jnp.zeros((4, 3)), jnp.array([0, 3, -100, 2])
    np.testing.assert_array_equal(np.isnan(loss(logits, labels)), [False, True, True, False])
    assert np.isnan(jax.grad(lambda x: loss(x, labels).sum())(logits)).any(-1).tolist() == [False, True, True, False]
    kept = np.array([True, False, False, True])
    value, gradient = jax.value_and_grad(lambda x: loss(x, labels, where=kept).sum())(
        logits.at[1].set(jnp.nan).at[2].set(jnp.inf)
    )
    np.testing.assert_allclose(value, loss(logits[kept], labels[kept]).sum(), rtol=1e-6)
    np.testing.assert_array_equal(gradient[~kept], 0)
    assert np.isnan(loss(logits, labels.astype(jnp.uint8)))[2]  # 156


def test_gradients_by_probabilities_and_hyperparameters():
    with jax.enable_x64(True):
        losses = jax.jit(lambda x, q: [loss(x, q) for loss in SOFTMAX_LOSSES])
        check_grads(losses, (LOGITS, ONE_HOT), 1, ("rev",), rtol=1e-5, atol=1e-5)
        focal = jax.jit(lambda x, g: o.sigmoid_focal_loss(x, ONE_HOT, gamma=g))
        check_grads(focal, (LOGITS, jnp.asarray(1.5)), 1, ("rev",), rtol=1e-5)


class TestHarmonic:
    def test_closed_forms(self):
        with jax.enable_x64(True):
            got = o.harmonic_loss(np.zeros(1), np.array([[1.0], [2.0]]), np.array(0), exponent=2.0)
            np.testing.assert_allclose(got, np.log(1.25), rtol=1e-8)
            x, w = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
            distance = np.linalg.norm(x[:, None] - w, axis=-1)
            powers = distance ** -np.sqrt(3)
            p = powers / powers.sum(-1, keepdims=True)
            got = o.harmonic_loss(x, w, SOFT, epsilon=1e-30)
            np.testing.assert_allclose(got, -(SOFT * np.log(p)).sum(-1), rtol=1e-12)
            np.testing.assert_allclose(jax.nn.softmax(o.harmonic_logits(x, w, epsilon=1e-30)), p, rtol=1e-12)
            equidistant = o.harmonic_loss(np.zeros(3), np.eye(3), np.array(1))
            np.testing.assert_allclose(equidistant, np.log(3), rtol=1e-14)

    def test_invariances(self):
        with jax.enable_x64(True):
            x, w = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
            rotation = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
            wanted = o.harmonic_loss(x, w, IDS, epsilon=1e-30)
            for move in (lambda z: 7 * z, lambda z: z @ rotation, lambda z: z + np.array([1.0, -2.0, 3.0])):
                np.testing.assert_allclose(o.harmonic_loss(move(x), move(w), IDS, epsilon=1e-30), wanted, rtol=1e-11)

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
    def test_an_embedding_at_its_centre_costs_nothing_and_moves_nowhere(self, dtype):
        w = jnp.asarray(RNG.normal(size=(4, 8)), dtype)
        (_, value), gradient = value_and_gradient(lambda x: o.harmonic_loss(x, w, jnp.arange(4), exponent=8.0), w)
        np.testing.assert_allclose(value, 0, atol=1e-6)
        np.testing.assert_allclose(np.asarray(gradient, np.float32), 0, atol=1e-6)
        by_weights = jax.grad(lambda w, x: o.harmonic_loss(x, w, jnp.array([1, 2, 3, 0])).sum())(w, w)
        assert np.isfinite(np.asarray(by_weights, np.float32)).all()

    def test_gradient_by_the_exponent(self):
        with jax.enable_x64(True):
            x, w = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
            loss = jax.jit(lambda x, w, n: o.harmonic_loss(x, w, IDS, exponent=n))
            check_grads(loss, (x, w, jnp.asarray(2.5)), 1, ("rev",), rtol=1e-5, atol=1e-5)

    def test_errors(self):
        with pytest.raises(
            ValueError, match=r"harmonic_loss: weights must have shape \[C, 3\] with C > 0, got .*\[4, 2\]"
        ):
            o.harmonic_loss(jnp.ones((6, 3)), jnp.ones((4, 2)), IDS)
        with pytest.raises(ValueError, match=r"harmonic_logits: exponent must lie in \(0, inf\], got 0.0"):
            o.harmonic_logits(jnp.ones((6, 3)), jnp.ones((4, 3)), exponent=0.0)


def test_errors_name_function_argument_expectation_and_what_came():
    x = jnp.zeros((6, 4))
    for call, error, message in [
        (
            lambda: o.softmax_cross_entropy(x, IDS[:5]),
            ValueError,
            r"labels must be class ids \[6\] or .* \[6, 4\], got",
        ),
        (lambda: o.poly_loss(x, IDS * 1.0), TypeError, r"poly_loss: labels of shape \[6\] must be integer class ids"),
        (lambda: o.focal_loss(x.astype(int), IDS), TypeError, r"focal_loss: logits must be floating point, got int32"),
        (lambda: o.squentropy_loss(x[:, :0], IDS), ValueError, r"squentropy_loss: logits must have at least one class"),
        (
            lambda: o.poly_loss(x, IDS, where=np.ones((6, 1), bool)),
            ValueError,
            r"where must have shape \[6\], got bool",
        ),
        (
            lambda: o.poly_loss(x, IDS, epsilon=-1.5),
            ValueError,
            r"poly_loss: epsilon must lie in \[-1, inf\], got -1.5",
        ),
        (lambda: o.poly_loss(x, IDS, epsilon=jnp.ones(2)), ValueError, r"poly_loss: epsilon must be a scalar, got"),
        (lambda: o.poly_loss(x, IDS, epsilon="2"), TypeError, r"poly_loss: epsilon must be a number, got str"),
        (lambda: o.poly_n_loss(x, IDS, epsilons=[0, -0.6]), ValueError, r"epsilons\[1\] must lie in \[-0.5, inf\]"),
        (lambda: o.focal_loss(x, IDS, gamma=-1), ValueError, r"focal_loss: gamma must lie in \[0, inf\], got -1.0"),
        (lambda: o.focal_loss(x, IDS, alpha=jnp.ones(3)), ValueError, r"alpha must have one entry per class, \[4\]"),
        (lambda: o.sigmoid_focal_loss(x, IDS), ValueError, r"labels must have the shape of logits, \[6, 4\], got int"),
        (lambda: o.sigmoid_focal_loss(x, x, alpha=2.0), ValueError, r"alpha must lie in \[0, 1\], got 2.0"),
        (
            lambda: o.softmax_cross_entropy(x, IDS, label_smoothing=1.1),
            ValueError,
            r"label_smoothing must lie in \[0, 1\]",
        ),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_hyperparameters_may_be_traced_and_swept():
    sweep = jnp.array([0.0, 0.5, 2.0])
    x = jnp.asarray(LOGITS, jnp.float32)
    for run in (
        lambda h: o.poly_loss(x, IDS, epsilon=h),
        lambda h: o.focal_loss(x, IDS, gamma=h),
        lambda h: o.softmax_cross_entropy(x, IDS, label_smoothing=h / 4),
        lambda h: o.poly_n_loss(x, IDS, epsilons=jnp.stack([h, -h / 8])),
        lambda h: o.poly_focal_loss(x, ONE_HOT, epsilon=h, gamma=h, alpha=h / 4),
    ):
        np.testing.assert_allclose(jax.vmap(run)(sweep), jnp.stack([run(h) for h in sweep]), rtol=1e-6, atol=1e-7)


def test_integer_labels_never_become_a_table():
    logits, labels = jax.ShapeDtypeStruct((64, 4096), jnp.float32), jax.ShapeDtypeStruct((64,), jnp.int32)
    for loss in (o.softmax_cross_entropy, o.poly_loss, o.focal_loss):
        step = jax.jit(jax.value_and_grad(lambda x, y, f=loss: o.reduce_mean(f(x, y))))
        memory = step.lower(logits, labels).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 0.1 * memory.argument_size_in_bytes
