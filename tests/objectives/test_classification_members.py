"""Classification losses of one equation each: closed forms, limits, what they learn, shards and masks.

tests/golden/classification.py wrote the golden arrays and names the versions.
"""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from programs import all_compiled

import objectives

o = all_compiled(objectives)
GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "classification.npz")
RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(6, 4))
IDS = np.array([0, 1, 2, 3, 0, 2])
SOFT = RNG.dirichlet(np.ones(4), size=6)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
P_Y = P[np.arange(6), IDS]


@pytest.fixture(autouse=True)
def _seeded():
    """Every test draws from the start of the same stream, whatever ran before it."""
    global RNG
    RNG = np.random.default_rng(1)


class TestMargins:
    def test_closed_forms(self):
        f, t = np.linspace(-3, 3, 13), 0.7
        wanted = {
            o.hinge_loss: lambda m: np.maximum(0, 1 - m),
            o.squared_hinge_loss: lambda m: np.maximum(0, 1 - m) ** 2,
            o.modified_huber_loss: lambda m: np.where(m >= -1, np.maximum(0, 1 - m) ** 2, -4 * m),
            o.savage_loss: lambda m: 1 / (1 + np.exp(2 * m)) ** 2,
            o.tangent_loss: lambda m: (2 * np.arctan(m) - 1) ** 2,
        }
        with jax.enable_x64(True):
            for loss, phi in wanted.items():
                np.testing.assert_allclose(loss(f, np.ones(13)), phi(f), rtol=1e-12, atol=1e-15)
                np.testing.assert_allclose(loss(f, np.full(13, t)), t * phi(f) + (1 - t) * phi(-f), rtol=1e-12)

    def test_labels_that_are_no_probabilities_are_nan(self):
        for loss in (o.hinge_loss, o.savage_loss, o.sigmoid_cross_entropy, o.asymmetric_loss):
            got = loss(jnp.zeros(4), jnp.array([-1, 2, 0, 1]))
            np.testing.assert_array_equal(np.isnan(got), [True, True, False, False])

    def test_expected_hinges_of_soft_labels(self):
        with jax.enable_x64(True):
            for loss in (o.crammer_singer_loss, o.weston_watkins_loss):
                each = np.stack([loss(LOGITS, np.full(6, y)) for y in range(4)], -1)
                np.testing.assert_allclose(loss(LOGITS, SOFT), (SOFT * each).sum(-1), rtol=1e-12)
                assert loss(np.ones((1, 1)), np.zeros(1, int)) == 0
            ties = np.array([[1.0, 1.0, 0.0]])
            np.testing.assert_allclose(o.crammer_singer_loss(ties, np.array([0])), 1.0)


class TestLinks:
    def test_stablemax(self):
        s = np.where(LOGITS >= 0, LOGITS + 1, 1 / (1 - np.minimum(LOGITS, 0)))
        with jax.enable_x64(True):
            np.testing.assert_allclose(np.exp(o.log_stablemax(LOGITS)), s / s.sum(-1, keepdims=True), rtol=1e-12)
            uniform = o.stablemax_cross_entropy(np.zeros((1, 7)), np.array([2]))
            np.testing.assert_allclose(uniform, np.log(7), rtol=1e-14)
            slope = jax.jacfwd(lambda z: o.log_stablemax(z)[0])(np.zeros(2))
            np.testing.assert_allclose(slope, [0.5, -0.5])  # s has slope 1 at 0
        gradient = jax.grad(lambda z: o.stablemax_cross_entropy(z, jnp.array(0)))(jnp.array([1e4, 0.0]))
        assert (gradient != 0).all()
        assert (jax.grad(lambda z: o.softmax_cross_entropy(z, jnp.array(0)))(jnp.array([1e4, 0.0])) == 0).all()

    def test_sparse_softmax(self):
        s = jnp.array([[3.0, 2.0, 1.0, 0.0]] * 2)
        loss = o.sparse_softmax_cross_entropy(s, jnp.array([0, 2]), k=2)
        np.testing.assert_allclose(loss, [0.313262, 2.313262], rtol=1e-5)
        with jax.enable_x64(True):
            full = o.sparse_softmax_cross_entropy(LOGITS, SOFT, k=9)
            np.testing.assert_allclose(full, o.softmax_cross_entropy(LOGITS, SOFT), rtol=1e-12)
            perceptron = o.sparse_softmax_cross_entropy(LOGITS, IDS, k=1)
            np.testing.assert_allclose(perceptron, LOGITS.max(-1) - LOGITS[np.arange(6), IDS], atol=1e-14)
            p = np.asarray(o.sparse_softmax(LOGITS, k=3))
            assert ((p > 0).sum(-1) == 3).all()
            np.testing.assert_allclose(p.sum(-1), 1)
        assert ((np.asarray(o.sparse_softmax(jnp.zeros((2, 5)), k=2)) > 0).sum(-1) == 2).all()
        gradient = jax.grad(lambda z: o.sparse_softmax_cross_entropy(z, jnp.array(2), k=2))(s[0])
        assert gradient[2] == -1

    def test_spherical_z_loss(self):
        with jax.enable_x64(True):
            loss = partial(o.spherical_z_loss, labels=IDS, a=0.5, b=3.0, epsilon=1e-150)
            z = (LOGITS - LOGITS.mean(-1, keepdims=True)) / LOGITS.std(-1, keepdims=True)
            wanted = np.log1p(np.exp(0.5 * (3 - z[np.arange(6), IDS]))) / 0.5
            np.testing.assert_allclose(loss(LOGITS), wanted, rtol=1e-12)
            np.testing.assert_allclose(loss(7 * LOGITS + 3), wanted, rtol=1e-12)
            gradient = jax.grad(lambda x: loss(x).sum())(LOGITS)
            np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-13)
            np.testing.assert_allclose((gradient * LOGITS).sum(-1), 0, atol=1e-13)
            one_hot = o.spherical_z_loss(np.eye(10)[:1], np.array([0]), a=400.0, b=4.0, epsilon=1e-9)
            np.testing.assert_allclose(one_hot, 4 - 3, rtol=1e-9)  # z is √(10 - 1), and a is nearly a hinge
            equal = o.spherical_z_loss(np.ones((1, 3)), np.array([0]), a=0.1, b=10.0)
            np.testing.assert_allclose(equal, 10 * np.log1p(np.e), rtol=1e-12)

    def test_relu_classifier(self):
        rows = jnp.array([[2.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
        value, gradient = jax.value_and_grad(
            lambda o_: (o.relu_classifier_loss(o_, jnp.array([0, 0]), normalize=True) * jnp.array([1.0, 2.0])).sum()
        )(rows)
        np.testing.assert_allclose(value, np.log(2) - 2 * np.log(1e-7), rtol=1e-6)
        np.testing.assert_array_equal(gradient[1], 0)
        scaled = o.relu_classifier_loss(5 * rows, jnp.array([0, 1]), normalize=True)
        np.testing.assert_allclose(scaled, np.log(2), rtol=1e-6)
        np.testing.assert_allclose(o.relu_classifier_loss(rows / 10, jnp.array([0, 1])), -np.log([0.2, 0.1]), rtol=1e-6)


def test_taylor_series_converges_to_cross_entropy_and_starts_at_the_absolute_error():
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.taylor_cross_entropy_loss(LOGITS, IDS, order=1), 1 - P_Y, rtol=1e-12)
        series = sum((1 - P_Y) ** j / j for j in range(1, 6))
        np.testing.assert_allclose(o.taylor_cross_entropy_loss(LOGITS, IDS, order=5), series, rtol=1e-12)
        likely = np.log(np.stack([P_Y.clip(0.1), 1 - P_Y.clip(0.1)], -1))
        got = o.taylor_cross_entropy_loss(likely, np.zeros(6, int), order=400)
        np.testing.assert_allclose(got, -likely[:, 0], rtol=1e-12)


def test_confidence_penalty_is_the_negative_entropy():
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.confidence_penalty(LOGITS), (P * np.log(P)).sum(-1), rtol=1e-12)
        off = np.array([[1.0, 1.0, -np.inf]])
        np.testing.assert_allclose(o.confidence_penalty(off), -np.log(2), rtol=1e-14)
        assert np.isfinite(jax.grad(lambda x: o.confidence_penalty(x).sum())(off)).all()


class TestCheckered:
    def test_closed_form_and_symmetries(self):
        z, y = 2 * RNG.normal(size=(7, 5)), RNG.random(7)
        p = (1 + np.tanh(z / 2).prod(-1)) / 2
        with jax.enable_x64(True):
            np.testing.assert_allclose(o.checkered_sigmoid(z), p, rtol=1e-12)
            loss = o.checkered_regression_loss(z, y)
            np.testing.assert_allclose(loss, -y * np.log(p) - (1 - y) * np.log(1 - p), rtol=1e-11)
            two, one = z * np.array([-1, -1, 1, 1, 1]), z * np.array([1, 1, -1, 1, 1])
            np.testing.assert_allclose(o.checkered_sigmoid(two), p, rtol=1e-12)
            np.testing.assert_allclose(o.checkered_sigmoid(one), 1 - p, rtol=1e-11)
            single = o.checkered_regression_loss(z[:, :1], y)
            np.testing.assert_allclose(single, o.sigmoid_cross_entropy(z[:, 0], y), rtol=1e-12)

    def test_saturated_planes_keep_their_logarithm(self):
        z = jnp.array([[200.0, 300.0, -1e4]])  # p = 1/2 (1 - tanh tanh tanh), of which the largest part is e^{-200}
        np.testing.assert_allclose(o.checkered_regression_loss(z, jnp.ones(1)), 200.0, rtol=1e-6)

    def test_two_planes_learn_xor(self):
        x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]) - 0.5, np.array([0, 1, 1, 0])

        def fit(planes):
            w = jnp.asarray(np.random.default_rng(1).normal(size=(2, planes)))
            gradient = jax.grad(lambda w: o.checkered_regression_loss(jnp.asarray(x) @ w, y).sum())
            w = jax.lax.fori_loop(0, 500, lambda _, w: w - 0.5 * gradient(w), w)
            return np.asarray(o.checkered_sigmoid(x @ w) > 0.5)

        np.testing.assert_array_equal(fit(2), y == 1)
        assert (fit(1) != (y == 1)).any()

    def test_generalised_convexity(self):
        """F(y) ≥ F(x) + ∇F(x)(y - x) - KL(π(x) ‖ π(y)) for components that are Gaussian."""
        with jax.enable_x64(True):
            centres = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])

            def components(x):
                return -((x[..., None, :] - centres) ** 2).sum(-1)

            def loss(x):
                return o.sum_log_concave_loss(components(x))

            x, y = 2 * RNG.normal(size=(2, 200, 2))
            shares = [jax.nn.log_softmax(components(point)) for point in (x, y)]
            divergence = (np.exp(shares[0]) * (shares[0] - shares[1])).sum(-1)
            slope = (jax.vmap(jax.grad(loss))(x) * (y - x)).sum(-1)
            assert (loss(y) >= loss(x) + slope - divergence - 1e-12).all()
            assert not (loss(y) >= loss(x) + slope - 1e-12).all()  # it is not convex


def test_frechet_mean():
    grid = np.abs(np.arange(5.0)[:, None] - np.arange(5.0))
    p = RNG.dirichlet(np.ones(5), size=50)
    np.testing.assert_array_equal(o.frechet_mean(p, 1 - np.eye(5)), p.argmax(-1))
    np.testing.assert_array_equal(o.frechet_mean(p, grid), np.rint(p @ np.arange(5)))
    np.testing.assert_array_equal(o.frechet_mean(np.eye(5), grid), np.arange(5))
    assert o.frechet_mean(np.array([0.5, 0.5]), grid[:, [0, 2]]) == 1
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.frechet_costs(p, grid), p @ (grid**2).T, rtol=1e-13)


class TestEnsLoss:
    def test_gradient_equals_the_authors_arithmetic_on_the_same_draws(self, monkeypatch):
        golden = {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith("ensloss/")}
        monkeypatch.setattr(jax.random, "normal", lambda key, shape, dtype: jnp.asarray(golden["draws"], dtype))
        with jax.enable_x64(True):

            def function(f):
                loss = objectives.ensloss(f, golden["labels"], jax.random.key(0), lam=0.5)
                return jnp.sum(loss * jnp.linspace(1, 2, 8)), loss

            gradient, loss = jax.grad(function, has_aux=True)(golden["logits"])
        np.testing.assert_allclose(loss, golden["loss"], rtol=1e-12)
        np.testing.assert_allclose(gradient, golden["grad_logits"], rtol=1e-12)

    @pytest.mark.parametrize("lam", [-0.8, 0.0, 0.7])
    def test_derivatives_are_negative_and_grow_with_the_margin(self, lam):
        margins = jnp.asarray(RNG.normal(size=64), jnp.float32)
        g = np.asarray(jax.jit(partial(o.sample_calibrated_derivatives, lam=lam))(jax.random.key(3), margins))
        assert (g < 0).all()
        assert (g >= -1 - 2e-6).all()
        below = np.sort(np.asarray(margins)[np.asarray(margins) <= 1])
        order = np.argsort(np.asarray(margins))
        assert (np.diff(g[order][: len(below)]) >= 0).all()
        assert len(np.unique(g)) > 8
        shuffled = np.random.default_rng(0).permutation(64)
        again = np.asarray(o.sample_calibrated_derivatives(jax.random.key(3), margins[shuffled], lam=lam))
        np.testing.assert_allclose(again, g[shuffled], rtol=1e-5)

    def test_a_masked_example_takes_no_rank_and_bad_labels_are_nan(self):
        logits, where = jnp.array([1.0, jnp.nan, -2.0, 0.5]), np.array([True, False, True, True])
        labels = jnp.array([1, 7, 0, 1])
        loss = o.ensloss(logits, labels, jax.random.key(0), where=where)
        assert loss[1] == 0
        assert np.isfinite(loss).all()
        gradient = jax.grad(lambda f: o.ensloss(f, labels, jax.random.key(0), where=where).sum())(logits)
        assert gradient[1] == 0
        assert (np.asarray(gradient)[[0, 2, 3]] != 0).all()
        assert np.isnan(o.ensloss(logits[2:], jnp.array([2, 1]), jax.random.key(0))).tolist() == [True, False]

    def test_masked_examples_take_no_draw(self, monkeypatch):
        draws = np.array([-1.0, -3.0, -2.0, -9.0, -9.0])
        monkeypatch.setattr(jax.random, "normal", lambda key, shape, dtype: jnp.asarray(draws, dtype))
        logits, where = jnp.array([0.5, 0.0, -1.0, 0.0, 0.9]), np.array([True, False, True, False, True])
        gradient = jax.grad(lambda f: objectives.ensloss(f, jnp.ones(5), jax.random.key(0), where=where).sum())(logits)
        np.testing.assert_allclose(gradient, -np.exp([-2, -np.inf, -1, -np.inf, -3]) - 1e-6 * where, rtol=1e-6)

    @pytest.mark.parametrize("masked", [False, True])
    def test_shards_take_the_ranks_of_the_global_batch(self, masked):
        mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        split = PartitionSpec("data")
        logits, labels = jnp.asarray(RNG.normal(size=16), jnp.float32), jnp.asarray(RNG.integers(0, 2, 16))
        where = jnp.asarray(RNG.random(16) < 0.7) if masked else jnp.ones(16, bool)

        def function(f, y, m):
            return o.ensloss(f, y, jax.random.key(0), where=m, axis_name="data")

        sharded = jax.shard_map(function, mesh=mesh, in_specs=(split,) * 3, out_specs=split)
        got, gradient = jax.jit(
            lambda f: (sharded(f, labels, where), jax.grad(lambda f: sharded(f, labels, where).sum())(f))
        )(logits)
        whole = jax.jit(partial(o.ensloss, labels=labels, key=jax.random.key(0), where=where))
        np.testing.assert_allclose(got, whole(logits), rtol=1e-6)
        np.testing.assert_allclose(gradient, jax.grad(lambda f: whole(f).sum())(logits), rtol=1e-6)

    def test_separable_data_are_learnt(self):
        x = jnp.asarray(RNG.normal(size=(64, 3)), jnp.float32)
        y = (x @ jnp.array([1.0, -2.0, 0.5]) > 0).astype(jnp.int32)

        def step(w, key):
            return w - 0.1 * jax.grad(lambda w: o.ensloss(x @ w, y, key).mean())(w), None

        w, _ = jax.lax.scan(step, jnp.zeros(3), jax.random.split(jax.random.key(0), 300))
        assert ((x @ w > 0) == y).mean() > 0.95


class TestMixing:
    def test_inputs_and_labels_are_mixed_alike(self):
        x = np.eye(5, dtype=np.float32)
        inputs, labels = jax.jit(partial(o.mixup, classes=5, alpha=1.0))(jax.random.key(2), x, np.arange(5))
        np.testing.assert_allclose(inputs, labels, rtol=1e-6)
        np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-6)
        assert 0 < labels[0, 0] < 1
        images = np.broadcast_to(x[:, None, None], (5, 9, 8, 5))
        seen = set()
        for seed in range(6):
            pasted, labels = jax.jit(partial(o.cutmix, classes=5))(jax.random.key(seed), images, np.eye(5))
            np.testing.assert_allclose(pasted.mean((1, 2)), labels, rtol=1e-5, atol=1e-7)
            assert set(np.unique(pasted)) <= {0.0, 1.0}
            replaced = np.any(np.asarray(pasted) != images, axis=-1)[0]
            rows, columns = replaced.any(1), replaced.any(0)
            np.testing.assert_array_equal(replaced, rows[:, None] & columns)  # a box
            seen.add(int(replaced.sum()))
        assert len(seen) > 2

    def test_half_precision_inputs_keep_their_dtype_and_bad_ids_are_nan(self):
        inputs, labels = o.mixup(jax.random.key(0), jnp.ones((3, 2), jnp.bfloat16), jnp.array([0, 1, 5]), classes=2)
        assert inputs.dtype == jnp.bfloat16
        assert labels.dtype == jnp.float32
        assert np.isnan(labels).any()


class TestOnlineLabels:
    def test_soft_labels_are_the_means_of_correct_predictions(self):
        logits = jnp.array([[2.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 3.0, 0.0], [5.0, 0.0, 0.0]])
        labels, where = jnp.array([0, 0, 1, 1]), np.array([True, True, True, False])
        state = o.collect_online_labels(o.online_labels(3), logits[:2], labels[:2])
        state = o.collect_online_labels(state, logits[2:].at[1].set(jnp.nan), labels[2:], where=where[2:])
        p = jax.nn.softmax(logits)
        np.testing.assert_allclose(state.counts, [2, 1, 0])
        new = jax.jit(o.renew_online_labels)(state)
        np.testing.assert_allclose(new.soft, [(p[0] + p[1]) / 2, p[2], np.full(3, 1 / 3)], rtol=1e-6)
        assert new.sums.sum() == new.counts.sum() == 0
        loss = o.online_label_smoothing_loss(logits, labels, new, smoothing=0.25)
        target = 0.75 * jax.nn.one_hot(labels, 3) + 0.25 * new.soft[labels]
        np.testing.assert_allclose(loss, o.softmax_cross_entropy(logits, target), rtol=1e-6)
        uniform = o.online_label_smoothing_loss(logits, labels, o.online_labels(3), smoothing=0.1)
        np.testing.assert_allclose(uniform, o.softmax_cross_entropy(logits, labels, label_smoothing=0.1), rtol=1e-6)

    def test_shards_collect_the_global_batch_and_bad_ids_are_left_out(self):
        mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        logits, labels = jnp.asarray(RNG.normal(size=(16, 3)), jnp.float32), jnp.asarray(RNG.integers(-1, 4, 16))
        sharded = jax.shard_map(
            lambda x, y: o.collect_online_labels(o.online_labels(3), x, y, axis_name="data"),
            mesh=mesh,
            in_specs=PartitionSpec("data"),
            out_specs=PartitionSpec(),
        )
        whole = o.collect_online_labels(o.online_labels(3), logits, labels)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), jax.jit(sharded)(logits, labels), whole)
        right = (np.asarray(logits).argmax(-1) == np.asarray(labels)).sum()
        assert whole.counts.sum() == right


class TestNumerics:
    def test_collapse_is_where_the_gradient_is_zero(self):
        gaps = jnp.array([[5.0], [15.0], [17.0], [40.0], [-30.0]])
        logits = jnp.concatenate([gaps, jnp.zeros((5, 1))], -1)
        losses = o.softmax_cross_entropy(logits, jnp.zeros(5, int))
        share = o.softmax_collapse_fraction(logits, jnp.zeros(5, int))
        assert share == (np.asarray(losses) == 0).mean() == 0.4
        assert o.softmax_collapse_fraction(logits, jnp.zeros(5, int), dtype=jnp.bfloat16) == np.float32(0.6)
        where = np.array([True, True, False, True, True])
        assert o.softmax_collapse_fraction(logits, jnp.zeros(5, int), where=where) == 0.25

    def test_alignment(self):
        w = {"a": jnp.asarray(RNG.normal(size=(3, 2)), jnp.bfloat16), "b": jnp.zeros(2)}
        got = o.nlm_alignment(w, {"a": -2 * w["a"], "b": jnp.ones(2)})
        np.testing.assert_allclose([got["a"], got["b"]], [1, 0], atol=1e-6)
        assert got["a"].dtype == jnp.float32
        huge = o.nlm_alignment(jnp.array([1e30, 0.0]), jnp.array([1e-30, 1e-30]))
        np.testing.assert_allclose(huge, -np.sqrt(0.5), rtol=1e-6)
