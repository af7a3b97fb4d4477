"""Losses for rare classes: public implementations, closed forms in float64, limits, invariances.

tests/golden/imbalance.py wrote the golden arrays and names the public implementations with their versions.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from programs import all_compiled, gradient, x64

import objectives

obj = all_compiled(objectives)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "imbalance.npz")
COUNTS = np.array([500.0, 60.0, 9.0, 2.0])
WEIGHTS = np.array([0.2, 0.5, 1.0, 2.3])
FREQUENCIES = np.array([0.5, 0.1, 1e-3, 5e-4])
RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(7, 4))
IDS = np.arange(7) % 4
SOFT = RNG.dirichlet(np.ones(4), size=7)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def cross_entropy(scores, q):
    return -(q * (scores - np.log(np.exp(scores).sum(-1, keepdims=True)))).sum(-1)


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


def boxes(logits, labels):
    """Label 4 is background."""
    return obj.equalization_loss(logits, labels, frequencies=FREQUENCIES, foreground=labels < 4)


def second_version(step):
    state = obj.equalization_state(3)
    if step:
        before = parts(f"equalization_v2_{step - 1}")
        state = obj.EqualizationState(jnp.asarray(before["state_positive"]), jnp.asarray(before["state_negative"]))
    return lambda logits, labels: obj.equalization_v2_loss(logits, labels, state=state)


CASES = {
    "vs": lambda x, y: obj.vs_loss(x, y, class_counts=COUNTS, gamma=0.3, tau=1.2, class_weights=WEIGHTS),
    "ldam": lambda x, y: obj.ldam_loss(x, y, class_counts=COUNTS, max_margin=0.5, scale=10.0, class_weights=WEIGHTS),
    "balanced_softmax": lambda x, y: obj.balanced_softmax_loss(x, y, class_counts=COUNTS),
    "influence_balanced": lambda x, h, y: obj.influence_balanced_loss(x, y, h, class_weights=WEIGHTS),
    "cost_sensitive": lambda x, y: obj.cost_sensitive_binary_loss(x, y, fn_weight=5.0),
    "seesaw": lambda x, y: obj.seesaw_loss(x, y, class_counts=np.array([500.0, 60.0, 9.0, 0.0])),
    "equalization": boxes,
    **{f"equalization_v2_{step}": second_version(step) for step in range(3)},
    "gml": lambda q, k, y, ky, seen: obj.gaussian_mixture_likelihood_loss(
        q, y, k, ky, class_counts=COUNTS, temperature=0.1, pairs=seen
    ),
    "enveloping": obj.enveloping_loss,
    "homogeneity": obj.homogeneity_loss,
    "contrastive_False": lambda x, y, s: obj.surrogate_contrastive_loss(x, y, s),
    # The authors divide the weights by the largest in the batch, 5 here.
    "contrastive_True": lambda x, y, s: obj.surrogate_contrastive_loss(x, y, s, distance_weighted=True) - np.log(5.0),
    "edges_dnorm": lambda x, y: obj.density_normalized_edge_loss(x, y, alpha=0.7, beta=0.4),
    "edges_dnorm-fgbg": lambda x, y: obj.density_normalized_edge_loss(x, y, alpha=0.7, beta=0.4, normalize="group"),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case):
    golden = {name: value for name, value in parts(case).items() if not name.startswith("state_")}
    wanted = {name: golden.pop(name) for name in list(golden) if name == "loss" or name.startswith("grad_")}
    inputs = [golden.pop(name.removeprefix("grad_")) for name in wanted if name != "loss"]
    constants = list(golden.values())

    @jax.jit
    def run(inputs):
        def total(inputs):
            loss = CASES[case](*inputs, *constants)
            return loss.sum(), loss

        return jax.value_and_grad(total, has_aux=True)(inputs)

    with jax.enable_x64(True):
        (_, loss), gradients = run([jnp.asarray(x) for x in inputs])
    assert loss.dtype == np.float64
    # The tolerance is float64's after sums of a few exponentials. The state of the second equalisation loss is in
    # float32, and so are the authors' weights by distance.
    rtol = 1e-6 if case.startswith(("equalization_v2", "contrastive_True")) else 1e-11
    np.testing.assert_allclose(loss, wanted["loss"], rtol=rtol)
    for name, value in zip([n for n in wanted if n != "loss"], gradients):
        np.testing.assert_allclose(value, wanted[name], rtol=100 * rtol, atol=rtol, err_msg=name)


def test_every_golden_case_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files} - {"peers"} == CASES.keys()


def test_equalization_state_equals_the_authors():
    state = obj.equalization_state(3)
    for step in range(3):
        golden = parts(f"equalization_v2_{step}")
        state = obj.record_equalization(state, np.float32(golden["logits"]), golden["labels"].astype(np.int32))
        np.testing.assert_allclose(state.positive, golden["state_positive"], rtol=2e-6)
        np.testing.assert_allclose(state.negative, golden["state_negative"], rtol=2e-6)


@x64
def test_adjusted_softmax_closed_form():
    scale, shift, margin = (
        np.array([1.0, 0.8, 0.5, 2.0]),
        np.array([0.3, -1.0, -2.0, 0.0]),
        np.array([0.0, 0.1, 0.5, 2]),
    )
    z = scale * LOGITS + shift
    of_label = np.stack([cross_entropy(z - margin[c] * np.eye(4)[c], np.eye(4)[c]) for c in range(4)], -1)
    keywords = {"scale": scale, "shift": shift, "margin": margin, "class_weights": WEIGHTS}
    got = obj.adjusted_softmax_loss(LOGITS, IDS, **keywords)
    np.testing.assert_allclose(got, WEIGHTS[IDS] * of_label[np.arange(7), IDS], rtol=1e-12)
    for q in (SOFT, 3 * SOFT):  # labels that do not sum to one count by their sum
        got = obj.adjusted_softmax_loss(LOGITS, q, **keywords)
        np.testing.assert_allclose(got, (q * WEIGHTS * of_label).sum(-1), rtol=1e-12)


@x64
def test_limits_of_the_adjusted_softmax():
    for q in (IDS, SOFT):
        plain = obj.softmax_cross_entropy(LOGITS, q)
        equal = np.full(4, 30.0)
        for got in (
            obj.vs_loss(LOGITS, q, class_counts=equal),
            obj.logit_adjusted_loss(LOGITS, q, class_counts=COUNTS, tau=0.0),
            obj.cdt_loss(LOGITS, q, class_counts=COUNTS, gamma=0.0),
            obj.balanced_softmax_loss(LOGITS, q, class_counts=equal),
            obj.ldam_loss(LOGITS, q, class_counts=COUNTS, max_margin=0.0, scale=1.0),
            obj.adjusted_softmax_loss(LOGITS, q),
        ):
            np.testing.assert_allclose(got, plain, rtol=1e-12)
        adjusted = obj.logit_adjusted_loss(LOGITS, q, class_counts=COUNTS, tau=0.7)
        np.testing.assert_allclose(
            obj.vs_loss(LOGITS, q, class_counts=COUNTS, gamma=0.0, tau=0.7), adjusted, rtol=1e-12
        )
        tempered = obj.cdt_loss(LOGITS, q, class_counts=COUNTS, gamma=0.2)
        np.testing.assert_allclose(
            obj.vs_loss(LOGITS, q, class_counts=COUNTS, gamma=0.2, tau=0.0), tempered, rtol=1e-12
        )
        np.testing.assert_allclose(  # a factor common to all counts means nothing
            obj.vs_loss(LOGITS, q, class_counts=COUNTS / 571), obj.vs_loss(LOGITS, q, class_counts=COUNTS), rtol=1e-12
        )


@x64
def test_logit_adjustment_is_best_where_the_balanced_posterior_is_known():
    """The expected loss under p(y | x) is least at f = log p - τ log π, that of the balanced classifier at τ = 1."""
    posterior = RNG.dirichlet(np.ones(4), size=50)
    best = np.log(posterior) - 0.8 * np.log(COUNTS / COUNTS.sum())
    loss = lambda f: obj.logit_adjusted_loss(f, posterior, class_counts=COUNTS, tau=0.8)
    np.testing.assert_allclose(gradient(loss, best), 0, atol=1e-14)
    entropy = -(posterior * np.log(posterior)).sum(-1)
    np.testing.assert_allclose(loss(best), entropy, rtol=1e-12)
    assert (loss(best + RNG.normal(size=best.shape)) > entropy).all()
    trained = obj.post_hoc_logits(np.log(posterior), class_counts=COUNTS, tau=0.8)
    np.testing.assert_allclose(trained, best, rtol=1e-12)
    factors = obj.post_hoc_logits(LOGITS, class_counts=COUNTS, tau=0.0, gamma=0.5)
    np.testing.assert_allclose(factors, LOGITS * (500 / COUNTS) ** 0.5, rtol=1e-12)


def test_a_class_never_seen_is_switched_off():
    counts = np.array([5.0, 3.0, 0.0])
    x = jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    losses = obj.balanced_softmax_loss, obj.vs_loss, obj.logit_adjusted_loss

    @jax.jit
    def run(x, ids):
        total = lambda x, loss, counts: loss(x, ids, class_counts=counts).sum()
        whole = [jax.value_and_grad(total)(x, loss, counts) for loss in losses]
        shorter = [total(x[:, :2], loss, counts[:2]) for loss in losses]
        return whole, shorter, [loss(x[0], jnp.array(2), class_counts=counts) for loss in losses]

    for (value, slope), shorter, unseen in zip(*run(x, jnp.array([0, 1])), strict=True):
        np.testing.assert_allclose(value, shorter, rtol=1e-6)
        np.testing.assert_array_equal(slope[:, 2], 0)
        assert unseen == np.inf
    assert obj.post_hoc_logits(x, class_counts=counts)[0, 2] == -np.inf
    assert np.isfinite(obj.ldam_loss(x, jnp.array([2, 0]), class_counts=counts)).all()
    for weights in (obj.class_balanced_weights(counts), obj.inverse_frequency_weights(counts)):
        assert weights[2] == 0
        np.testing.assert_allclose(weights.sum(), 3, rtol=1e-6)


class TestClassWeights:
    def test_class_balanced_weights(self):
        effective = (1 - 0.9999**COUNTS) / (1 - 0.9999)
        wanted = 4 / effective / (1 / effective).sum()
        # float32 holds 1 - 0.9999 to four digits, and the weights all the same to seven
        np.testing.assert_allclose(obj.class_balanced_weights(np.float32(COUNTS)), wanted, rtol=1e-6)
        np.testing.assert_allclose(obj.class_balanced_weights(COUNTS, 0.0), np.ones(4), rtol=1e-6)
        inverse = 4 / COUNTS / (1 / COUNTS).sum()
        for weights in (
            obj.class_balanced_weights(COUNTS, 1.0),
            jax.jit(obj.class_balanced_weights)(COUNTS, 1.0),
            obj.inverse_frequency_weights(COUNTS),
        ):
            np.testing.assert_allclose(weights, inverse, rtol=1e-6)
        np.testing.assert_allclose(obj.inverse_frequency_weights(COUNTS, 0.0), np.ones(4), rtol=1e-6)
        assert np.isnan(obj.inverse_frequency_weights(np.array([1.0, -1.0]))[1])

    def test_deferred_weights_are_traced(self):
        run = jax.jit(lambda step: obj.deferred_class_weights(WEIGHTS, step, start=5))
        np.testing.assert_array_equal(run(4), np.ones(4))
        np.testing.assert_allclose(run(5), WEIGHTS, rtol=1e-6)

    def test_max_norm(self):
        w = RNG.normal(size=(5, 3)) * np.array([[0.1], [1], [2], [5], [0]])
        lengths = np.linalg.norm(w, axis=-1)
        np.testing.assert_allclose(obj.class_weight_norms(np.float32(w)), lengths, rtol=1e-6)
        projected = obj.max_norm_projection(np.float32(w), 0.7)
        np.testing.assert_allclose(obj.class_weight_norms(projected), np.minimum(lengths, 0.7), rtol=1e-6)
        np.testing.assert_allclose(projected[0], w[0], rtol=1e-6)


@x64
def test_rivals_without_weights_are_cross_entropy():
    plain = obj.softmax_cross_entropy(LOGITS, IDS)
    key = jax.random.key(0)
    for got in (
        obj.seesaw_loss(LOGITS, IDS, class_counts=COUNTS, mitigation=0.0, compensation=0.0),
        obj.softmax_equalization_loss(LOGITS, IDS, key=key, frequencies=FREQUENCIES, probability=0.0),
        obj.softmax_equalization_loss(LOGITS, IDS, key=key, frequencies=np.ones(4), probability=1.0),
    ):
        np.testing.assert_allclose(got, plain, rtol=1e-12)
    spared = obj.softmax_equalization_loss(LOGITS, IDS, key=key, frequencies=FREQUENCIES, probability=1.0)
    kept = (FREQUENCIES >= 1.77e-3) | (np.eye(4)[IDS] == 1)
    wanted = np.log((np.exp(LOGITS) * kept).sum(-1)) - LOGITS[np.arange(7), IDS]
    np.testing.assert_allclose(spared, wanted, rtol=1e-12)
    slope = gradient(
        lambda x: obj.softmax_equalization_loss(x, IDS, key=key, frequencies=FREQUENCIES, probability=1.0), LOGITS
    )
    np.testing.assert_array_equal(np.asarray(slope)[~kept], 0)


def test_softmax_equalization_spares_at_random():
    many = jnp.zeros((20_000, 4))
    losses = obj.softmax_equalization_loss(
        many, jnp.zeros(20_000, int), key=jax.random.key(1), frequencies=FREQUENCIES, probability=0.3
    )
    shares = [(np.isclose(losses, np.log(n))).mean() for n in (2, 3, 4)]
    np.testing.assert_allclose(shares, [0.09, 0.42, 0.49], atol=0.015)  # four standard errors


@x64
def test_equalization_limits():
    every = optax.losses.sigmoid_binary_cross_entropy(LOGITS, np.eye(4)[IDS]).sum(-1)
    np.testing.assert_allclose(obj.equalization_loss(LOGITS, IDS, frequencies=np.ones(4)), every, rtol=1e-12)
    fresh = obj.equalization_v2_loss(LOGITS, IDS, state=obj.equalization_state(4))
    np.testing.assert_allclose(fresh, every, rtol=1e-12)
    background = obj.equalization_loss(LOGITS, np.zeros((7, 4)), frequencies=FREQUENCIES)
    np.testing.assert_allclose(background, np.log1p(np.exp(LOGITS)).sum(-1), rtol=1e-12)
    assert np.isnan(obj.equalization_loss(LOGITS, np.full(7, 4), frequencies=FREQUENCIES)).all()
    at_the_threshold = obj.equalization_loss(LOGITS, IDS, frequencies=np.full(4, 0.25), threshold=0.25)
    np.testing.assert_allclose(at_the_threshold, every, rtol=1e-12)  # rare is below it


@x64
def test_what_is_recorded_of_a_masked_batch():
    state, kept = obj.EqualizationState(*jnp.array([[8.0, 1.0, 3.0, 2.0], [4.0, 9.0, 1.0, 1.0]])), np.arange(7) % 3 > 0
    spoilt, ids = np.where(kept[:, None], LOGITS, np.nan), np.where(kept, IDS, 99)
    left = obj.record_equalization(state, LOGITS[kept], IDS[kept])
    np.testing.assert_allclose(obj.record_equalization(state, spoilt, ids, where=kept), left, rtol=1e-12)
    assert np.isnan(obj.record_equalization(state, LOGITS, ids)).all()


class TestMixtureLikelihood:
    Q, K = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
    KEY_IDS = np.arange(4)

    def loss(self, q, y, k, ky, counts=COUNTS, **more):
        return obj.gaussian_mixture_likelihood_loss(q, y, k, ky, class_counts=counts, **more)

    @x64
    def test_one_key_a_class_is_logit_adjustment(self):
        unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
        cosine = unit(self.Q) @ unit(self.K).T
        got = self.loss(self.Q, IDS[:6], self.K, self.KEY_IDS, temperature=0.2)
        wanted = obj.logit_adjusted_loss(cosine / 0.2, IDS[:6], class_counts=COUNTS)
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
        uniform = self.loss(self.Q, SOFT[:6], self.K, self.KEY_IDS, np.ones(4), temperature=0.2)
        np.testing.assert_allclose(uniform, obj.softmax_cross_entropy(cosine / 0.2, SOFT[:6]), rtol=1e-12)

    @x64
    def test_more_of_the_same_keys_change_nothing(self):
        keys = np.r_[self.K, self.K[2:3], self.K[2:3]]
        wanted = self.loss(self.Q, IDS[:6], self.K, self.KEY_IDS)
        np.testing.assert_allclose(self.loss(self.Q, IDS[:6], keys, np.r_[self.KEY_IDS, 2, 2]), wanted, rtol=1e-12)
        spoilt = np.r_[self.K, np.full((2, 3), np.nan)]
        empty = self.loss(self.Q, IDS[:6], spoilt, np.r_[self.KEY_IDS, -1, 99], key_where=np.arange(6) < 4)
        np.testing.assert_allclose(empty, wanted, rtol=1e-12)

    @x64
    def test_equal_similarities_leave_the_prior(self):
        got = self.loss(np.zeros((4, 3)), self.KEY_IDS, self.K, self.KEY_IDS)
        np.testing.assert_allclose(got, -np.log(COUNTS / COUNTS.sum()), rtol=1e-12)

    def test_small_temperatures_stay_in_the_log_domain(self):
        got = self.loss(np.float32(self.Q), IDS[:6], np.float32(self.K), self.KEY_IDS, temperature=1e-4)
        assert np.isfinite(got).all()
        assert got.max() > 1e3

    def test_classes_without_keys(self):
        got = self.loss(np.float32(self.Q[:2]), np.array([0, 3]), np.float32(self.K[:3]), self.KEY_IDS[:3])
        assert np.isfinite(got[0])
        assert got[1] == np.inf
        assert np.isnan(self.loss(np.float32(self.Q), IDS[:6], np.float32(self.K), self.KEY_IDS + 1)).all()


def test_totals_under_shard_map():
    """What is summed over a batch equals the same over its shards."""
    x, y, guess = np.float32(RNG.normal(size=(16, 3))), RNG.integers(0, 3, 16), RNG.integers(0, 3, 16)
    kept = RNG.random(16) < 0.7
    state = obj.EqualizationState(jnp.array([8.0, 1.0, 0.0]), jnp.array([4.0, 9.0, 0.0]))

    def everything(x, y, guess, kept, axis_name=None):
        rest = {"where": kept, "axis_name": axis_name}
        return (
            obj.accumulate_class_counts(jnp.ones(3), y, **rest),
            obj.record_equalization(state, x, y, **rest),
            obj.label_centroids(x, y, labels=3, **rest),
            obj.soft_confusion_matrix(x[:, 0], y > 0, **rest),
            obj.false_head_rate(guess, y, border=1, **rest),
            obj.cone_effect(x, **rest),
            obj.fisher_discriminant_ratio(x, y, classes=3, **rest),
        )

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = PartitionSpec("data")
    sharded = jax.shard_map(
        lambda *batch: everything(*batch, axis_name="data"),
        mesh=mesh,
        in_specs=(split,) * 4,
        out_specs=PartitionSpec(),
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6),  # sums in another order, and a solve
        jax.jit(sharded)(x, y, guess, kept),
        jax.jit(everything)(x, y, guess, kept),
    )
