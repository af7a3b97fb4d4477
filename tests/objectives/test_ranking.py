"""Sorting networks, soft permutations, soft ranks and pairs: golden values, exact limits, masks, equivariance."""

import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import shared
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

import objectives

diffsort_loss, error_free_sorting_loss = map(shared, (objectives.diffsort_loss, objectives.error_free_sorting_loss))
soft_swap, sorting_network = map(shared, (objectives.soft_swap, objectives.sorting_network))
neural_sort, neural_ndcg_loss, sinkhorn = map(
    shared, (objectives.neural_sort, objectives.neural_ndcg_loss, objectives.sinkhorn)
)
soft_rank, soft_sort = map(shared, (objectives.soft_rank, objectives.soft_sort))
mann_whitney_loss, roc_auc = map(shared, (objectives.mann_whitney_loss, objectives.roc_auc))

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "margin_ranking.npz")
RNG = np.random.default_rng(0)
SWAPS = ("cauchy", "reciprocal", "optimal", "logistic")
NETWORKS = ("bitonic", "odd_even")
WEIGH = np.linspace(1, 2, 8)


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


def network(name, swap):
    """As the golden script records it: sorted values and the permutation, weighed."""

    def run(values):
        n = values.shape[-1]
        exact = {"error_free": True} if swap == "error_free" else {"swap": swap}
        ordered, permutation = sorting_network(values, network=name, steepness=3.0, **exact)
        w = np.outer(WEIGH[:n], WEIGH[:n] ** 2)
        return jnp.concatenate([ordered * w[0], (permutation * w).reshape(len(values), -1)], axis=-1)

    return run


def neural_ndcg(scores, relevance):
    grades = jnp.maximum(relevance, 0)
    return neural_ndcg_loss(scores, grades, temperature=0.7, top=3, where=relevance >= 0)


CASES = {
    **{f"network_{name}_{swap}": network(name, swap) for name in NETWORKS for swap in (*SWAPS, "error_free")},
    **{f"diffsort_{n}": lambda x, y, n=n: diffsort_loss(x, y, network=n, steepness=3.0) for n in NETWORKS},
    "neural_sort": lambda s: neural_sort(s, temperature=0.7) * WEIGH[:6],
    "neural_ndcg": neural_ndcg,
    "neural_ndcg_transposed": neural_ndcg,
    "mann_whitney": mann_whitney_loss,
}
SINGLE = {"neural_sort", "neural_ndcg", "neural_ndcg_transposed"}  # allRank computes in float32


@pytest.fixture(scope="module")
def computed():
    """Loss and gradient of every case, in one program."""

    @jax.jit
    def run(tables):
        results = {}
        for case, (first, rest) in tables.items():
            loss, pullback = jax.vjp(lambda x, case=case, rest=rest: CASES[case](x, *rest), first)
            results[case] = loss, pullback(jnp.ones_like(loss))[0]
        return results

    tables = {}
    for case in CASES:
        golden = parts(case)
        tables[case] = (
            next(iter(golden.values())),
            [golden[n] for n in ("targets", "relevance", "labels") if n in golden],
        )
    with jax.enable_x64(True):
        return run(tables)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case, computed):
    golden, (loss, gradient) = parts(case), computed[case]
    wanted = next(x for name, x in golden.items() if name.startswith("grad_"))
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if case in SINGLE else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(loss, golden["loss"], **tolerance)
    np.testing.assert_allclose(gradient, wanted, **tolerance)


def test_every_golden_case_is_used():
    others = {"peers", "ndcg", "cosface", "sphereface", "sphereface_r", "adaface", "magface", "curricularface", "sface"}
    others |= {"unpg", "logit_annealing", "emma"}
    assert {name.split("/")[0] for name in GOLDEN.files} == CASES.keys() | others


def test_sigmoids_are_monotonic_but_for_the_logistic():
    """f(z) + z f'(z), the derivative of the soft minimum, stays above 0; for the logistic its least value is known."""
    half = jnp.linspace(0, 30, 2001)
    z = jnp.concatenate([-half[:0:-1], half])  # symmetric to the last bit
    least = {}
    for swap in SWAPS:
        low = lambda a, swap=swap: soft_swap(a, jnp.zeros_like(a), swap=swap, steepness=1.0)[0].sum()
        least[swap] = float(jax.grad(low)(z).min())
        low, high, share = soft_swap(z, -z, swap=swap, steepness=1.0)
        np.testing.assert_allclose(low + high, 0, atol=1e-5)
        np.testing.assert_allclose(share + share[::-1], 1, atol=1e-6)
        assert (np.diff(share) <= 0).all()
        assert soft_swap(jnp.ones(()), jnp.ones(()), swap=swap)[2] == 0.5
    np.testing.assert_allclose(least.pop("logistic"), -0.0998, atol=5e-5)
    assert min(least.values()) >= -1e-6
    np.testing.assert_allclose(
        soft_swap(0.0 * z[:2], np.array([0.25, -0.25], np.float32), swap="optimal", steepness=1.0)[2], [0.75, 0.25]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_sort(name):
    for n in (1, 2, 3, 5, 8, 13):
        values = RNG.normal(size=(3, n)).astype(np.float32)
        where = RNG.random((3, n)) < 0.6
        exact, permutation = sorting_network(values, network=name, error_free=True, steepness=0.1)
        np.testing.assert_array_equal(exact, np.sort(values, axis=-1))
        np.testing.assert_array_equal(np.sort(permutation, axis=-1)[..., -1], 1)
        np.testing.assert_array_equal(permutation.sum(-1), 1)
        np.testing.assert_array_equal(permutation.sum(-2), 1)
        np.testing.assert_array_equal(np.einsum("bri,bi->br", permutation, values), exact)
        spoilt = np.where(where, values, np.nan)
        exact, permutation = sorting_network(spoilt, network=name, error_free=True, where=where)
        soft, doubly = sorting_network(spoilt, network=name, where=where, steepness=2.0)
        for row in range(3):
            kept = np.sort(values[row][where[row]])
            np.testing.assert_array_equal(exact[row], np.pad(kept, (0, n - len(kept))))
            np.testing.assert_array_equal(permutation[row].sum(0), where[row])
            np.testing.assert_array_equal(permutation[row].sum(1), np.arange(n) < len(kept))
            np.testing.assert_allclose(doubly[row].sum(0), where[row], atol=1e-5)
            np.testing.assert_allclose(doubly[row].sum(1), np.arange(n) < len(kept), atol=1e-5)
            np.testing.assert_allclose(soft[row].sum(), kept.sum(), rtol=1e-4, atol=1e-5)


def test_networks_carry_what_the_permutation_would():
    values, carried = RNG.normal(size=(2, 6)), RNG.normal(size=(2, 6, 3))
    with jax.enable_x64(True):
        for name in NETWORKS:
            ordered, permutation = sorting_network(values, network=name, swap="optimal")
            other, moved = sorting_network(values, carried, network=name, swap="optimal")
            np.testing.assert_allclose(other, ordered, rtol=1e-12)
            np.testing.assert_allclose(moved, permutation @ carried, rtol=1e-12)
            np.testing.assert_allclose(ordered, (permutation @ values[..., None])[..., 0], rtol=1e-12)
            shifted = sorting_network(values + 5.0, network=name, swap="optimal")
            np.testing.assert_allclose(shifted[0] - 5.0, ordered, rtol=1e-10, atol=1e-12)


def test_error_free_gradients_are_those_of_soft_swaps_of_the_exact_values():
    """In a single comparator the gradients of exact and soft results are equal."""
    a, b = RNG.normal(size=(2, 5))
    with jax.enable_x64(True):
        weigh = lambda outs: sum(jnp.sum((i + 1.0) * x) for i, x in enumerate(outs))
        soft, exact = (
            jax.grad(lambda a, b, e=e: weigh(soft_swap(a, b, error_free=e)), (0, 1))(a, b) for e in (False, True)
        )
        np.testing.assert_allclose(exact, soft, rtol=1e-12)
        low, high, share = soft_swap(a, b, error_free=True)
        np.testing.assert_array_equal(low, np.minimum(a, b))
        np.testing.assert_array_equal(high, np.maximum(a, b))
        np.testing.assert_array_equal(share, b >= a)
        assert soft_swap(a[0], a[0], error_free=True)[2] == 1  # equal values stay where they are


def test_layers_are_one_scan_and_nothing_is_quadratic():
    """The depth of the bitonic network is log n (log n + 1) / 2, and carried columns make no matrix."""

    def shapes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval.shape for v in equation.outvars)
            for inner in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
                if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                    yield from shapes(getattr(inner, "jaxpr", inner))

    for name, depth in (("bitonic", lambda n: math.log2(n) * (math.log2(n) + 1) / 2), ("odd_even", lambda n: n)):
        programs = set()
        for n in (64, 256):
            run = lambda v, c, name=name: objectives.sorting_network(v, c, network=name)
            jaxpr = jax.make_jaxpr(run)(jnp.ones(n), jnp.ones((n, 1))).jaxpr
            assert [e.params["length"] for e in jaxpr.eqns if e.primitive.name == "scan"] == [depth(n)]
            assert max(math.prod(shape) for shape in shapes(jaxpr)) <= max(n * 36, 2 * n) < n * n
            programs.add(len(list(shapes(jaxpr))))
        assert len(programs) == 1  # the program does not grow with n


def test_sorting_losses():
    x, y = RNG.normal(size=(3, 6)), RNG.normal(size=(3, 6))
    items = RNG.normal(size=(3, 6, 2))
    with jax.enable_x64(True):
        assert (diffsort_loss(100 * y, y, steepness=100.0) < 1e-2).all()
        pair = lambda gap: diffsort_loss(np.array([gap, 0.0]), np.array([0, 1]), swap="logistic", steepness=1.0)
        np.testing.assert_allclose(pair(60.0), (2 * 60 + 2 * 100) / 4, rtol=1e-12)  # 1 - (1 - e⁻⁶⁰) is 0: held at -100
        np.testing.assert_allclose(pair(1e4), 100, rtol=1e-12)
        right = error_free_sorting_loss(3 * y - 1, y, items)
        np.testing.assert_array_equal(right, 0)
        wrong = error_free_sorting_loss(x, y, items)
        predicted, true = (np.take_along_axis(items, np.argsort(z)[..., None], axis=1) for z in (x, y))
        np.testing.assert_allclose(wrong, ((predicted - true) ** 2).mean((1, 2)), rtol=1e-12)
        gradient = jax.grad(lambda x: error_free_sorting_loss(x, y, items).sum())(jnp.asarray(x))
        assert (jnp.abs(gradient).sum(-1) > 0).all()
        where = np.arange(6) < np.array([4, 2, 0])[:, None]
        short = [error_free_sorting_loss(x[i, :m], y[i, :m], items[i, :m]) for i, m in enumerate((4, 2, 0))]
        np.testing.assert_allclose(error_free_sorting_loss(x, y, items, where=where), short, rtol=1e-12)
        for name in NETWORKS:
            soft = sorting_network(x, network=name, where=where)[1]
            for row, m in enumerate((4, 2)):
                p, q = soft[row, :m, :m], np.eye(6)[np.argsort(y[row, :m])][:, :m]
                wanted = -np.log(np.where(q == 1, p, 1 - p)).mean()
                got = diffsort_loss(x, y, network=name, where=where)
                np.testing.assert_allclose(got[row], wanted, rtol=1e-11)
                assert got[2] == 0


def test_neural_sort():
    s = RNG.normal(size=(2, 6))
    with jax.enable_x64(True):
        soft, hard = neural_sort(s), neural_sort(s, temperature=1e-4)
        np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-12)
        np.testing.assert_allclose(hard, np.eye(6)[np.argsort(-s)], atol=1e-12)
        np.testing.assert_allclose(neural_sort(s + 1e6), soft, rtol=1e-8)
        exact = np.round(8 * s) / 8  # moved without rounding in float32, whose products would lose the difference
        moved = neural_sort(np.float32(exact + 2.0**17))
        np.testing.assert_allclose(moved, neural_sort(exact), rtol=2e-6, atol=1e-7)
        order = RNG.permutation(6)
        np.testing.assert_allclose(neural_sort(s[:, order]), soft[..., order], rtol=1e-11)
        where = np.array([True, False, True, True, False, True])
        masked = neural_sort(np.where(where, s, np.nan), where=np.stack([where, where]))
        np.testing.assert_allclose(masked[:, :4][..., where], neural_sort(s[:, where]), rtol=1e-11)
        assert masked[:, 4:].sum() + masked[..., ~where].sum() == 0


def test_sinkhorn_is_doubly_stochastic_and_keeps_cross_ratios():
    logits = 2 * RNG.normal(size=(3, 5, 5))
    with jax.enable_x64(True):
        p = sinkhorn(logits, iterations=300)
        np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)
        np.testing.assert_allclose(p.sum(-2), 1, rtol=1e-9)
        ratios = lambda m: m[:, :-1, :-1] + m[:, 1:, 1:] - m[:, :-1, 1:] - m[:, 1:, :-1]
        np.testing.assert_allclose(ratios(np.log(p)), ratios(logits), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(sinkhorn(logits, iterations=0), np.exp(logits), rtol=1e-12)
        holed = np.pad(logits, ((0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
        value, pullback = jax.vjp(lambda x: sinkhorn(x, iterations=300), jnp.asarray(holed))
        np.testing.assert_allclose(value, np.pad(p, ((0, 0), (0, 1), (0, 1))), rtol=1e-12)
        assert np.isfinite(pullback(jnp.ones_like(value) * WEIGH[:6])[0]).all()


def test_neural_ndcg_becomes_ndcg():
    s, grades = RNG.normal(size=(4, 7)), RNG.integers(0, 4, (4, 7))
    with jax.enable_x64(True):
        golden = parts("ndcg")
        for top, value in zip((2, 6), golden["value"]):
            got = neural_ndcg_loss(golden["scores"], golden["relevance"], temperature=1e-3, top=top)
            np.testing.assert_allclose(got, -value, rtol=1e-9)
        for gain, gains in (("exponential", 2.0**grades - 1), ("linear", grades)):
            for top in (3, 7, 20):
                wanted = [ndcg_score(g[None], x[None], k=top) for g, x in zip(gains, s)]
                got = neural_ndcg_loss(s, grades, temperature=1e-4, top=top, gain=gain)
                np.testing.assert_allclose(got, -np.array(wanted), rtol=1e-9)
        order = RNG.permutation(7)
        soft = neural_ndcg_loss(s, grades)
        np.testing.assert_allclose(neural_ndcg_loss(s[:, order], grades[:, order]), soft, rtol=1e-10)
        np.testing.assert_allclose(neural_ndcg_loss(s + 3.0, grades), soft, rtol=1e-10)
        assert neural_ndcg_loss(s[0], 0 * grades[0]) == 0


def brute_projection(z, w):
    """Least squares over all permutations' convex hull: cyclic Dykstra-free check by the isotonic of scikit-learn."""
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(-z)
    fitted = IsotonicRegression(increasing=False).fit_transform(np.arange(len(z)), z[order] - np.sort(w)[::-1])
    out = np.empty_like(z)
    out[order] = z[order] - fitted
    return out


def test_soft_ranks_and_sorts_are_projections():
    values = RNG.normal(size=(8, 9))
    with jax.enable_x64(True):
        for strength in (1e-3, 0.3, 2.0, 50.0):
            ranks = np.stack([brute_projection(v / strength, np.arange(1.0, 10)) for v in values])
            np.testing.assert_allclose(soft_rank(values, regularization=strength), ranks, rtol=1e-9, atol=1e-9)
            ordered = np.stack([brute_projection(np.arange(1.0, 10) / strength, v) for v in values])
            np.testing.assert_allclose(soft_sort(values, regularization=strength), ordered, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(soft_rank(values, regularization=1e-3), values.argsort().argsort() + 1, rtol=1e-12)
        np.testing.assert_allclose(soft_sort(values, regularization=1e-3), np.sort(values), rtol=1e-9, atol=1e-12)
        order = RNG.permutation(9)
        np.testing.assert_allclose(soft_rank(values[:, order]), soft_rank(values)[:, order], rtol=1e-12)
        np.testing.assert_allclose(soft_rank(values).sum(-1), 45, rtol=1e-12)
        where = np.array([True, False, True, True, False, True, True, False, True])
        spoilt, both = np.where(where, values, np.nan), np.tile(where, (8, 1))
        masked = soft_rank(spoilt, where=both)
        np.testing.assert_allclose(masked[:, where], soft_rank(values[:, where]), rtol=1e-11)
        np.testing.assert_array_equal(masked[:, ~where], 0)
        masked = soft_sort(spoilt, where=both)
        np.testing.assert_allclose(
            masked, np.pad(soft_sort(values[:, where]), ((0, 0), (0, 3))), rtol=1e-11, atol=1e-12
        )
        jacobian = jax.jacobian(soft_rank)(jnp.asarray(values[0]))
        np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-12)  # that of a projection
        np.testing.assert_allclose(jacobian @ jacobian, jacobian, atol=1e-12)


def test_mann_whitney():
    s, y = RNG.normal(size=700), RNG.random(700) < 0.3  # more than a block
    with jax.enable_x64(True):
        pairs = np.logaddexp(0, s[~y] - s[y][:, None])
        np.testing.assert_allclose(mann_whitney_loss(s, y), pairs.mean(), rtol=1e-12)
        np.testing.assert_allclose(mann_whitney_loss(s + 100.0, y), pairs.mean(), rtol=1e-10)
        np.testing.assert_allclose(mann_whitney_loss(0 * s, y), np.log(2), rtol=1e-12)
        assert mann_whitney_loss(s, y) / np.log(2) >= 1 - roc_auc(s, y)
        # An offset of each query leaves a softmax within queries as it is, and not this.
        sim = RNG.normal(size=(5, 5))
        moved = sim + 3 * np.arange(5)[:, None]
        assert mann_whitney_loss(moved, np.eye(5)) > mann_whitney_loss(sim, np.eye(5)) + 0.5
        soft = RNG.random(30)
        weights = soft[:, None] * (1 - soft)
        wanted = (weights * np.logaddexp(0, s[:30] - s[:30, None])).sum() / soft.sum() / (1 - soft).sum()
        np.testing.assert_allclose(mann_whitney_loss(s[:30], soft), wanted, rtol=1e-12)
        for wrong in (-1.0, 2.0):
            soft[4], kept = wrong, np.arange(30) != 4
            assert np.isnan(mann_whitney_loss(s[:30], soft))
            left = mann_whitney_loss(s[:30][kept], soft[kept])
            np.testing.assert_allclose(mann_whitney_loss(s[:30], soft, where=kept), left, rtol=1e-12)


def test_mann_whitney_holds_no_table_of_all_pairs():
    n = 4096
    args = jnp.ones(n), jnp.asarray(np.arange(n) % 2)
    step = jax.jit(jax.grad(mann_whitney_loss)).lower(*args).compile()
    assert step.memory_analysis().temp_size_in_bytes < 4 * n * n / 4


def test_roc_auc():
    with jax.enable_x64(True):
        golden = parts("mann_whitney")
        np.testing.assert_allclose(roc_auc(golden["scores"], golden["labels"]), golden["auc"], rtol=1e-12)
        for _ in range(5):
            s, y, keep = RNG.integers(0, 9, 60) / 8, RNG.integers(0, 2, 60), RNG.random(60) < 0.7
            np.testing.assert_allclose(roc_auc(s, y), roc_auc_score(y, s), rtol=1e-12)
            masked = roc_auc(np.where(keep, s, np.nan), y, where=keep)
            np.testing.assert_allclose(masked, roc_auc_score(y[keep], s[keep]), rtol=1e-12)
        np.testing.assert_allclose(roc_auc(np.array([np.inf, 0.0, np.inf]), np.array([1, 0, 0])), 0.75)
    assert np.isnan(roc_auc(jnp.ones(3), jnp.ones(3)))
    assert np.isnan(roc_auc(jnp.array([0.0, jnp.nan]), jnp.array([0, 1])))


def test_smooth_ap_becomes_average_precision_and_recall_recall():
    generator = np.random.default_rng(5)
    scores = generator.permuted(np.tile(np.linspace(-1, 1, 40), (6, 1)), axis=1)
    labels = generator.random((6, 40)) < np.array([0.03, 0.1, 0.3, 0.5, 0.9, 1])[:, None]
    labels[:, 0] = True
    expected = [1 - average_precision_score(y, s) for y, s in zip(labels, scores, strict=True)]
    cold = {"temperature": 1e-4}
    np.testing.assert_allclose(objectives.smooth_ap_loss(scores, labels, **cold), expected, rtol=1e-5, atol=1e-6)
    order = np.argsort(-scores, axis=1)
    hits = np.cumsum(np.take_along_axis(labels, order, axis=1), axis=1)
    top = (1, 5, 40)
    recall = np.mean([hits[:, k - 1] / np.minimum(k, hits[:, -1]) for k in top], axis=0)
    # an item at rank k counts one half
    ours = objectives.recall_at_k_surrogate(scores, labels, top=top, rank_temperature=1e-3, **cold)
    last = [np.take_along_axis(labels, order[:, k - 1 : k], axis=1)[:, 0] / np.minimum(k, hits[:, -1]) for k in top]
    np.testing.assert_allclose(ours, 1 - recall + np.mean(last, axis=0) / 2, rtol=1e-5, atol=1e-5)


def test_smooth_ranks_in_blocks_are_those_of_all_pairs():
    generator = np.random.default_rng(6)
    scores, labels = generator.normal(size=300), generator.random(300) < 0.2
    with jax.enable_x64(True):
        smooth = jax.jit(jax.value_and_grad(lambda s: objectives.smooth_ap_loss(s, labels, temperature=0.5)))
        loss, slope = smooth(scores)
        step = 1e-6 * generator.normal(size=300)
        ahead = smooth(scores + step)[0]
    above = 1 / (1 + np.exp((scores[:, None] - scores) / 0.5))
    np.fill_diagonal(above, 0)
    precision = (1 + above @ labels) / (1 + above.sum(axis=1))
    np.testing.assert_allclose(loss, 1 - precision[labels].mean(), rtol=1e-12)
    np.testing.assert_allclose(ahead - loss, np.asarray(slope) @ step, rtol=1e-4)


def test_labels_that_are_none_spoil_their_query_alone():
    scores, labels = np.ones((3, 2), np.float32), np.array([[0, 1], [0, 2], [0, 0]])
    for loss in (objectives.smooth_ap_loss, objectives.recall_at_k_surrogate):
        np.testing.assert_array_equal(np.isnan(loss(scores, labels)), [False, True, False])
        assert loss(scores, labels)[2] == 0
