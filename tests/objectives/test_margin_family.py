"""The margin losses beside ArcFace: golden values of their authors' code, limits, states, samples and fixed classes."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from programs import shared

import objectives
from objectives import (
    Curriculum,
    NormStatistics,
    combined_margin,
    equiangular_basis_vectors,
    focal_loss,
    margin_softmax_loss,
    mirrored_halves,
    norm_statistics,
    partial_fc_loss,
    softmax_cross_entropy,
    unpg_loss,
)
from objectives.margin import prototypes

adaface_loss, magface_loss, update_norm_statistics = map(
    shared, (objectives.adaface_loss, objectives.magface_loss, objectives.update_norm_statistics)
)
arcface_loss, cosface_loss, combined_margin_loss = map(
    shared, (objectives.arcface_loss, objectives.cosface_loss, objectives.combined_margin_loss)
)
sphereface_loss, sphereface_r_loss = map(shared, (objectives.sphereface_loss, objectives.sphereface_r_loss))
curricularface_loss, update_curriculum = map(shared, (objectives.curricularface_loss, objectives.update_curriculum))
elastic_arcface_loss, elastic_cosface_loss = map(
    shared, (objectives.elastic_arcface_loss, objectives.elastic_cosface_loss)
)
emma_logits, logit_annealing_loss = map(shared, (objectives.emma_logits, objectives.logit_annealing_loss))
equiangular_basis_loss, sface_loss = map(shared, (objectives.equiangular_basis_loss, objectives.sface_loss))

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "margin_ranking.npz")
RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
IDS = np.array([0, 1, 2, 3, 0, 2])
X[3] = 0.2 * W[0] - W[3]  # past π with a margin of 0.5
KEY = jax.random.key(0)


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def adaface(x, w, y):
    statistics = update_norm_statistics(NormStatistics(jnp.asarray(30.0), jnp.asarray(8.0)), x)
    return adaface_loss(x, w, y, statistics)


def curricularface(x, w, y):
    return curricularface_loss(x, w, y, update_curriculum(Curriculum(jnp.asarray(0.3)), x, w, y))


def emma(z, h, y):
    return softmax_cross_entropy(emma_logits(z, y, h, radius=0.7, lipschitz=1.3), y)


CASES = {
    "cosface": cosface_loss,
    "sphereface": sphereface_loss,
    "sphereface_r": sphereface_r_loss,
    "adaface": adaface,
    "magface": magface_loss,
    "curricularface": curricularface,
    "sface": sface_loss,
    "unpg": lambda x, w, y: unpg_loss(x, w, y, margin=lambda c: c - 0.4, whisker=0.1),
    "logit_annealing": logit_annealing_loss,
    "emma": emma,
}


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


@pytest.fixture(scope="module")
def computed():
    """Loss and gradients of every case, in one program."""

    @jax.jit
    def run(tables):
        results = {}
        for case, (inputs, labels) in tables.items():
            loss, pullback = jax.vjp(lambda *x, case=case, y=labels: CASES[case](*x, y), *inputs)
            results[case] = loss, pullback(jnp.ones_like(loss))
        return results

    with jax.enable_x64(True):
        tables = {}
        for case in CASES:
            golden = parts(case)
            names = [name.removeprefix("grad_") for name in golden if name.startswith("grad_")]
            tables[case] = [golden[name] for name in names], golden["labels"]
        return run(tables)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case, computed):
    golden, (loss, gradients) = parts(case), computed[case]
    # SphereFace's authors' gradients (and SphereFace-R's) go through acos and powers of cosines, which lose digits.
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-9, atol=1e-11)
    for gradient, wanted in zip(gradients, [x for name, x in golden.items() if name.startswith("grad_")], strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-7, atol=1e-9)


def test_states_equal_those_of_the_public_implementations():
    with jax.enable_x64(True):
        golden = parts("adaface")
        after = update_norm_statistics(NormStatistics(jnp.asarray(30.0), jnp.asarray(8.0)), golden["embeddings"])
        np.testing.assert_allclose(after, golden["after"], rtol=1e-12)
        golden = parts("curricularface")
        after = update_curriculum(
            Curriculum(jnp.asarray(0.3)), golden["embeddings"], golden["weights"], golden["labels"]
        )
        np.testing.assert_allclose(after.cosine, golden["after"], rtol=1e-12)


def test_golden_cases_reach_the_branches():
    """Some angles pass π with the margin, some negatives are hard, some qualities are clipped."""
    golden = parts("curricularface")
    cosine = unit(golden["embeddings"]) @ unit(golden["weights"]).T
    target = cosine[np.arange(7), golden["labels"]]
    assert (target < -np.cos(0.5)).sum() == 2
    assert (cosine > np.cos(np.arccos(target) + 0.5)[:, None]).sum() > 7
    lengths = np.linalg.norm(parts("adaface")["embeddings"], axis=-1)
    mean, std = parts("adaface")["after"]
    quality = 0.333 * (lengths - mean) / std
    assert (quality < -1).any()
    assert ((quality > -1) & (quality < 1)).any()
    longs = np.linalg.norm(parts("magface")["embeddings"], axis=-1)
    assert (longs < 10).any()
    assert ((longs > 10) & (longs < 110)).any()
    assert 0 < np.sum(parts("emma")["logits"].argmax(-1) != parts("emma")["labels"]) < 6


def test_limits_of_the_members():
    with jax.enable_x64(True):
        cosine = unit(X) @ unit(W).T
        plain = softmax_cross_entropy(8.0 * cosine, IDS)
        sphere = softmax_cross_entropy(np.linalg.norm(X, axis=-1, keepdims=True) * cosine, IDS)
        arc, cos = arcface_loss(X, W, IDS, scale=8.0), cosface_loss(X, W, IDS, scale=8.0)
        inside = np.arccos(cosine[np.arange(6), IDS]) + 0.5 < np.pi
        assert 3 < inside.sum() < 6
        still = NormStatistics(jnp.asarray(0.0), jnp.asarray(1e30))
        low = NormStatistics(jnp.asarray(1e6), jnp.asarray(1.0))
        high = NormStatistics(jnp.asarray(-1e6), jnp.asarray(1.0))
        shifted = np.where(np.eye(4, dtype=bool)[IDS], np.cos(np.arccos(cosine) - 0.35) - 0.7, cosine)
        wide = NormStatistics(jnp.asarray(90.0), jnp.asarray(10.0))
        held = 8.0 * (np.cos(0.001) - 0.7)  # at its class the angle would become negative
        others = np.where(np.eye(4, dtype=bool), -np.inf, 8.0 * unit(W) @ unit(W).T - held)
        clipped = np.arccos(cosine[np.arange(6), IDS]) > 0.36
        pairs = [
            (cosface_loss(X, W, IDS, scale=8.0, margin=0.0), plain),
            (sphereface_loss(X, W, IDS, margin=1.0), sphere),
            (sphereface_r_loss(X, W, IDS, scale=8.0, margin=1.0), plain),
            (combined_margin_loss(X, W, IDS, scale=8.0, angle=0.0, cosine=0.35), cos),
            (combined_margin_loss(X, W, IDS, scale=8.0, angle=0.5, cosine=0.0)[inside], arc[inside]),
            (elastic_arcface_loss(X, W, IDS, KEY, scale=8.0, std=0.0), arc),
            (elastic_cosface_loss(X, W, IDS, KEY, scale=8.0, std=0.0, plus=True), cos),
            (adaface_loss(X, W, IDS, still, scale=8.0, margin=0.35), cos),
            (adaface_loss(X, W, IDS, low, scale=8.0, margin=0.5)[inside], arc[inside]),
            (
                adaface_loss(X, W, IDS, high, scale=8.0, margin=0.35)[clipped],
                softmax_cross_entropy(8.0 * shifted, IDS)[clipped],
            ),
            (adaface_loss(X, W, IDS, low, scale=8.0, margin=0.0), plain),
            (adaface_loss(W, W, np.arange(4), high, scale=8.0, margin=0.35), np.log(np.exp(others).sum(-1) + 1)),
            (adaface_loss(300 * unit(X), W, IDS, wide), adaface_loss(100 * unit(X), W, IDS, wide)),
            (magface_loss(X, W, IDS, scale=8.0, low_margin=0.5, high_margin=0.5, regularization=0.0), arc),
            (curricularface_loss(X, W, IDS, Curriculum(jnp.asarray(1.0)), scale=1.0, margin=0.0) > 0, np.ones(6, bool)),
            (
                unpg_loss(X, W, np.zeros(6, int), margin=lambda c: c, scale=8.0),
                softmax_cross_entropy(8.0 * cosine, np.zeros(6, int)),
            ),
            (partial_fc_loss(X, W, IDS, KEY, margin=lambda c: c - 0.35, samples=4, scale=8.0), cos),
            (equiangular_basis_loss(X, W, IDS, temperature=1 / 8), plain),
        ]
    for index, (got, wanted) in enumerate(pairs):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13, err_msg=str(index))


def test_margins_decrease_in_the_angle():
    cosine = np.cos(np.linspace(0.01, np.pi - 0.01, 400))
    with jax.enable_x64(True):
        for margin in ({"factor": 4.0}, {"angle": 1.0}, {"factor": 1.5, "angle": 0.5, "cosine": 0.2}):
            assert (np.diff(combined_margin(**margin)(jnp.asarray(cosine))) < 0).all()
        # At right angles to the other class, the losses tell the margins.
        x, w = np.stack([cosine, np.sqrt(1 - cosine**2), 0 * cosine], -1), np.eye(3)[[0, 2]]
        for margin in (0.5, 2.0, 2.6, 3.1, np.pi):
            losses = arcface_loss(x, w, np.zeros(400, int), margin=margin, scale=1.0)
            assert (np.diff(losses) > 0).all()


def test_probabilities_mean_the_expected_loss():
    soft = RNG.dirichlet(np.ones(4), size=6)
    state = NormStatistics(jnp.asarray(1.5), jnp.asarray(0.5))
    members = [
        lambda y: cosface_loss(X, W, y),
        lambda y: sphereface_loss(X, W, y),
        lambda y: adaface_loss(X, W, y, state),
        lambda y: magface_loss(20 * X, W, y),
        lambda y: elastic_arcface_loss(X, W, y, KEY),
        lambda y: sface_loss(X, W, y, slope=2.0),
        lambda y: logit_annealing_loss(X @ W.T, y),
    ]
    with jax.enable_x64(True):
        for member in members:
            each = np.stack([member(np.full(6, c)) for c in range(4)], axis=-1)
            np.testing.assert_allclose(member(soft), (soft * each).sum(-1), rtol=1e-11)


def test_elastic_margins_are_handed_out_by_difficulty():
    x, w, y = RNG.normal(size=(200, 3)), RNG.normal(size=(4, 3)), RNG.integers(0, 4, 200)
    with jax.enable_x64(True):
        cosine = unit(x) @ unit(w).T
        target = cosine[np.arange(200), y]
        others = np.log(np.exp(cosine).sum(-1) - np.exp(target))

        def drawn(**options):  # the margins, from the losses
            losses = elastic_cosface_loss(x, w, y, KEY, scale=1.0, margin=1.0, std=0.3, **options)
            with np.errstate(divide="ignore"):  # masked losses are 0
                return target - (others - np.log(np.expm1(losses)))

        plain, plus = drawn(), drawn(plus=True)
        assert abs(plain.mean() - 1.0) < 4 * 0.3 / np.sqrt(200)
        assert abs(plain.std() - 0.3) < 4 * 0.3 / np.sqrt(400)
        np.testing.assert_allclose(np.sort(plus), np.sort(plain), rtol=1e-9)
        np.testing.assert_allclose(plus[np.argsort(-target)], np.sort(plain), rtol=1e-9)
        where = np.arange(200) % 3 > 0
        masked = drawn(plus=True, where=where)[where]
        np.testing.assert_allclose(masked[np.argsort(-target[where])], np.sort(plain[where]), rtol=1e-9)


def test_an_elastic_angle_of_either_sign():
    """A negative draw lowers the loss of what is far from its class, and the continuation decreases."""
    with jax.enable_x64(True):
        cosine = np.linspace(-1, 1, 101)
        x, w = np.stack([cosine, np.sqrt(1 - cosine**2)], -1), np.array([[1.0, 0.0], [0.0, -1.0]])
        noise = jax.random.normal(KEY, (101,), jnp.float64)
        losses = elastic_arcface_loss(x, w, np.zeros(101, int), KEY, scale=1.0, margin=0.0, std=1.0)
        target = -np.sqrt(1 - cosine**2) - np.log(np.expm1(losses))
        angle = np.arccos(cosine) + noise
        inside = (angle >= 0) & (angle <= np.pi) & (np.abs(cosine) < 1)
        assert inside.sum() > 50
        np.testing.assert_allclose(target[inside], np.cos(angle[inside]), rtol=1e-9, atol=1e-9)
        assert (target[angle < 0] >= 1).all()
        assert (target[angle > np.pi] <= -1).all()
        wild = elastic_arcface_loss(x, w, np.zeros(101, int), KEY, scale=1.0, margin=0.0, std=10.0)
        moved = -np.sqrt(1 - cosine**2) - np.log(np.expm1(wild)) - cosine
        assert (moved * noise <= 1e-12).all()  # a draw past π still moves one way


def test_statistics_by_hand():
    state = update_norm_statistics(norm_statistics(10.0, 2.0), jnp.array([[3.0, 4.0], [0.0, 9.0]]), decay=0.75)
    np.testing.assert_allclose(state, (0.75 * 10 + 0.25 * 7, 0.75 * 2 + 0.25 * np.sqrt(8)), rtol=1e-6)
    nan = jnp.array([[3.0, 4.0], [jnp.nan, 9.0]])
    one = update_norm_statistics(norm_statistics(10.0, 2.0), nan, decay=0.75, where=np.array([True, False]))
    np.testing.assert_allclose(one, (0.75 * 10 + 0.25 * 5, 2.0), rtol=1e-6)  # one length has no deviation
    ends = update_norm_statistics(norm_statistics(), jnp.array([[300.0, 0.0], [0.0, 0.0]]), decay=0.0)
    np.testing.assert_allclose(ends.mean, (100 + 0.001) / 2, rtol=1e-6)
    none = update_norm_statistics(norm_statistics(10.0, 2.0), nan, where=np.zeros(2, bool))
    np.testing.assert_array_equal(none, (10.0, 2.0))
    far = update_curriculum(
        Curriculum(jnp.asarray(0.5)), nan, jnp.eye(2), np.array([7, 0]), where=np.array([True, False])
    )
    assert far.cosine == 0.5  # an id out of range does not count
    grads = jax.grad(lambda x: sum(update_norm_statistics(norm_statistics(), x)))(jnp.ones((3, 2)))
    np.testing.assert_array_equal(grads, 0)


def test_states_under_shard_map_are_those_of_the_batch():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x, y = RNG.normal(size=(16, 3)).astype(np.float32), RNG.integers(0, 4, 16)
    where, w = RNG.random(16) < 0.7, W.astype(np.float32)

    def states(x, y, where, axis_name=None):
        return (
            update_norm_statistics(norm_statistics(), x, where=where, axis_name=axis_name),
            update_curriculum(objectives.curriculum(), x, w, y, where=where, axis_name=axis_name),
        )

    split = PartitionSpec("data")
    sharded = jax.jit(
        jax.shard_map(
            lambda *a: states(*a, axis_name="data"), mesh=mesh, in_specs=(split,) * 3, out_specs=PartitionSpec()
        )
    )
    for got, wanted in zip(jax.tree.leaves(sharded(x, y, where)), jax.tree.leaves(states(x, y, where))):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-8)
    auc = lambda s, y, m, axis_name=None: objectives.roc_auc(s, y, where=m, axis_name=axis_name)
    sharded = jax.shard_map(
        lambda *a: auc(*a, axis_name="data"), mesh=mesh, in_specs=(split,) * 3, out_specs=PartitionSpec()
    )
    np.testing.assert_allclose(jax.jit(sharded)(x[:, 0], y % 2, where), auc(x[:, 0], y % 2, where), rtol=1e-6)


def test_curricular_negatives_weigh_more_later():
    """A hard cosine c becomes c (t + c), which grows with t where c is positive, and falls where it is negative."""
    with jax.enable_x64(True):
        late, early = (curricularface_loss(X, W, IDS, Curriculum(jnp.asarray(t)), scale=8.0) for t in (0.9, -0.9))
        cosine, others = unit(X) @ unit(W).T, ~np.eye(4, dtype=bool)[IDS]
        target = cosine[np.arange(6), IDS]
        hard = others & (cosine > np.cos(np.arccos(target) + 0.5)[:, None])
        near, far = hard & (cosine > 0), hard & (cosine < 0)
        up, down = near.any(-1) & ~far.any(-1), far.any(-1) & ~near.any(-1)
        assert up.any()
        assert (late[up] > early[up]).all()
        assert (late[down] < early[down]).all()
        # Past π hard is what lies above cos(θ + m), not above the continued logit.
        theta, c = np.pi - 0.1, -0.95
        assert np.cos(theta) - 0.5 * np.sin(0.5) < c < np.cos(theta + 0.5)
        x, turn = np.array([[np.cos(theta), np.sin(theta)]]), theta - np.arccos(c)
        w = np.array([[1.0, 0.0], [np.cos(turn), np.sin(turn)]])
        loss = curricularface_loss(x, w, np.zeros(1, int), Curriculum(jnp.asarray(0.3)), scale=2.0)
        wanted = np.log1p(np.exp(2 * (c - (np.cos(theta) - 0.5 * np.sin(0.5)))))
        np.testing.assert_allclose(loss, wanted, rtol=1e-11)


def test_unpg_adds_what_lies_between_the_whiskers():
    plain = lambda c: c
    with jax.enable_x64(True):
        base = margin_softmax_loss(X, W, IDS, margin=plain, scale=4.0)
        losses = [unpg_loss(X, W, IDS, margin=plain, scale=4.0, whisker=k) for k in (0.0, 0.5, 1e6)]
        assert (losses[0] > base).all()
        assert (losses[0] <= losses[1]).all()
        assert (losses[1] <= losses[2]).all()
        cosine, pairs = unit(X) @ unit(W).T, unit(X) @ unit(X).T
        negatives = pairs[np.triu(IDS[:, None] != IDS, 1)]
        target = cosine[np.arange(6), IDS]
        total = np.exp(4 * cosine).sum(-1) + np.exp(4 * negatives).sum()
        np.testing.assert_allclose(losses[2], np.log(total) - 4 * target, rtol=1e-11)
        spoilt = np.arange(6) == 1
        out = unpg_loss(X, W, np.where(spoilt, 9, IDS), margin=plain, scale=4.0, whisker=1e6)
        np.testing.assert_array_equal(np.isnan(out), spoilt)
        left = unpg_loss(
            X, W, IDS, margin=plain, scale=4.0, whisker=1e6, where=~spoilt
        )  # what has no class is in no pair
        np.testing.assert_allclose(out[~spoilt], left[~spoilt], rtol=1e-12)


def test_partial_fc_samples_every_label_and_nothing_twice():
    classes, w = 50, RNG.normal(size=(50, 3))
    y = np.array([3, 3, 49, 0, 17, 3])
    loss = jax.jit(lambda w, key: partial_fc_loss(X, w, y, key, margin=lambda c: c, samples=10, scale=2.0))
    with jax.enable_x64(True):
        cosine = unit(X) @ unit(w).T
        touched = np.zeros(classes)
        for seed in range(20):
            value, pullback = jax.vjp(lambda w, seed=seed: loss(w, jax.random.key(seed)), jnp.asarray(w))
            sample = np.flatnonzero(np.abs(pullback(jnp.ones(6))[0]).sum(-1))
            assert len(sample) == 10
            assert set(y) <= set(sample)
            touched[sample] += 1
            wanted = np.log(np.exp(2 * cosine[:, sample]).sum(-1)) - 2 * cosine[np.arange(6), y]
            np.testing.assert_allclose(value, wanted, rtol=1e-10)
        rest = np.delete(touched, y)  # 6 of 46 a draw, 20 draws
        assert rest.max() < 12
        assert abs(rest.sum() - 20 * 6) == 0
        out = partial_fc_loss(X, w, np.where(np.arange(6) == 1, 99, y), KEY, margin=lambda c: c, samples=10)
        np.testing.assert_array_equal(np.isnan(out), np.arange(6) == 1)


def test_partial_fc_holds_no_table_of_all_classes():
    x, w, y = jnp.ones((64, 8)), jnp.ones((10_000, 8)), jnp.zeros(64, jnp.int32)
    loss = jax.jit(lambda x, w: partial_fc_loss(x, w, y, KEY, margin=lambda c: c, samples=100).sum())
    shapes = [v.aval.shape for e in jax.make_jaxpr(loss)(x, w).jaxpr.eqns for v in e.outvars]
    inner = [
        v.aval.shape for e in jax.make_jaxpr(loss)(x, w).jaxpr.eqns[0].params["jaxpr"].jaxpr.eqns for v in e.outvars
    ]
    assert (64, 100) in inner
    assert (64, 10_000) not in inner + shapes


def test_a_step_of_the_equiangular_search(monkeypatch):
    start = unit(np.asarray(jax.random.normal(KEY, (30, 20))))
    cosine = start @ start.T - np.eye(30)
    stepped = unit(start - 0.01 * 2 * (np.sign(cosine) * (np.abs(cosine) > 0.3)) @ start)
    for block in (1024, 7):  # the last rows of the last block are none
        monkeypatch.setattr(prototypes, "BLOCK", block)
        basis, largest = equiangular_basis_vectors(KEY, 30, 20, max_cosine=0.3, steps=1)
        np.testing.assert_allclose(basis, stepped, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(largest, np.abs(stepped @ stepped.T - np.eye(30)).max(), rtol=1e-5)


def test_equiangular_basis():
    basis, largest = equiangular_basis_vectors(KEY, 30, 20, max_cosine=0.3)
    cosine = np.asarray(basis, np.float64) @ np.asarray(basis, np.float64).T
    np.testing.assert_allclose(np.diag(cosine), 1, rtol=1e-6)
    off = np.abs(cosine - np.diag(np.diag(cosine))).max()
    np.testing.assert_allclose(off, largest, rtol=1e-5)
    assert largest <= 0.3 + 1.1e-4
    tau, k = 0.2, 5
    loss = equiangular_basis_loss(3 * jnp.eye(k), jnp.eye(k), np.arange(k), temperature=tau)
    np.testing.assert_allclose(loss, np.log1p((k - 1) * np.exp(-1 / tau)), rtol=1e-5)
    q = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    turned = equiangular_basis_loss(X @ q, W @ q, IDS)
    np.testing.assert_allclose(turned, equiangular_basis_loss(X, W, IDS), rtol=2e-4, atol=1e-5)
    np.testing.assert_array_equal(
        jax.grad(lambda w: equiangular_basis_loss(X, w, IDS).sum())(jnp.asarray(W, jnp.float32)), 0
    )
    with pytest.raises(ValueError, match=r"max_cosine must lie in \[0.131306, 1\], got 0.1"):  # Welch's bound
        equiangular_basis_vectors(KEY, 30, 20, max_cosine=0.1)


def test_sface_forces():
    """The gradient of a cosine is its sigmoid, whatever the others do."""
    with jax.enable_x64(True):
        theta = np.linspace(0.2, 2.8, 9)
        w = np.array([[1.0, 0.0]])
        loss = lambda x: sface_loss(x, w, np.zeros(9, int), slope=10.0)
        gradient = jax.grad(lambda t: loss(jnp.stack([jnp.cos(t), jnp.sin(t)], -1)).sum())(jnp.asarray(theta))
        pull = 64 / (1 + np.exp(-10 * (theta - 0.8)))
        np.testing.assert_allclose(gradient, pull * np.sin(theta), rtol=1e-9)
        np.testing.assert_allclose(
            sface_loss(np.array([[np.cos(0.8), np.sin(0.8)]]), w, np.zeros(1, int)), -32 * np.cos(0.8)
        )


def test_logit_annealing_limits():
    logits = 3 * X @ W.T
    with jax.enable_x64(True):
        plain = logit_annealing_loss(logits, IDS, offset=0.0, temperature=1.0, gamma=0.0)
        np.testing.assert_allclose(plain, softmax_cross_entropy(logits, IDS), rtol=1e-11)
        focal = logit_annealing_loss(logits, IDS, offset=0.0, temperature=1.0, gamma=2.0)
        np.testing.assert_allclose(focal, focal_loss(logits, IDS, gamma=2.0), rtol=1e-9)
        p = 1 / (1 + np.exp(2 / 0.75))
        value = logit_annealing_loss(np.zeros((1, 2)), np.zeros(1, int))[0]
        np.testing.assert_allclose(value, -0.75 * (1 - p) ** 5 * np.log(p), rtol=1e-12)
        margin = np.linspace(4, 20, 9)
        z = np.stack([margin, np.zeros(9)], -1)
        annealed, kept = (logit_annealing_loss(z, np.zeros(9, int), gamma=g) for g in (5.0, 0.0))
        ratio = annealed / kept
        assert (np.diff(ratio) < 0).all()
        assert ratio[-1] < 1e-20
        off = logit_annealing_loss(np.array([[1.0, -np.inf, 0.0]]), np.array([[0.5, 0.0, 0.5]]))
        np.testing.assert_allclose(
            off, logit_annealing_loss(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])), rtol=1e-12
        )


def test_emma_margins():
    with jax.enable_x64(True):
        z, h = np.array([[0.5, 0.0, 3.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        got = emma_logits(z, np.array([0]), h, radius=0.25, lipschitz=2.0)[0]
        d = 0.5 * np.array([0, np.sqrt(2), 1.0])
        share = np.clip(np.array([0, 0.5 / d[1], -2.5 / d[2]]), 0.01, 1)
        np.testing.assert_allclose(got, np.array([0, -0.5, 2.5]) + share * d, rtol=1e-9, atol=1e-15)
        out = emma_logits(np.tile(z, (2, 1)), np.array([5, 0]), h, radius=0.25)
        np.testing.assert_array_equal(np.isnan(out), [[True] * 3, [False] * 3])


def test_symmetry():
    image = RNG.normal(size=(2, 4, 6, 3))
    for left in (image, image[:, :, :5]):
        symmetric = left + left[:, :, ::-1]
        halves = mirrored_halves(symmetric.astype(np.float32))
        np.testing.assert_array_equal(*halves)
        assert halves[0].shape == (2, 4, 3, 3)  # the middle of an odd width is in both
    with jax.enable_x64(True):
        a, b = RNG.normal(size=(2, 5, 3))
        np.testing.assert_allclose(objectives.symmetry_loss(a, b), 1 - (unit(a) * unit(b)).sum(-1), rtol=1e-12)
        np.testing.assert_allclose(objectives.symmetry_loss(3 * a, b), objectives.symmetry_loss(a, 2 * b), rtol=1e-12)
        np.testing.assert_allclose(objectives.symmetry_loss(a, -a), 2, rtol=1e-12)
        np.testing.assert_allclose(
            objectives.symmetry_loss(a, b, distance="euclidean"), np.linalg.norm(a - b, axis=-1), rtol=1e-12
        )
