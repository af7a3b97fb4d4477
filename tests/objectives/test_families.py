"""The families of the classification room: closed forms, limits, properness, and the authors' public code.

tests/golden/classification.py wrote the golden arrays and names the versions.
"""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
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

# case: (function, keywords)
CASES = {
    "weighted": (o.softmax_cross_entropy, {"label_smoothing": 0.1}),
    "weighted_soft": (o.softmax_cross_entropy, {"label_smoothing": 0.1}),
    "binary": (o.sigmoid_cross_entropy, {}),
    "kl": (o.kl_divergence_loss, {}),
    "weston_watkins": (o.weston_watkins_loss, {"margin": 0.7}),
    "crammer_singer": (o.crammer_singer_loss, {}),
    "hinge": (o.hinge_loss, {}),
    "sparsemax": (o.sparsemax, {}),
    "entmax15": (o.entmax15, {}),
    "entmax_bisect": (o.entmax, {}),
    "sparsemax_loss": (o.sparsemax_loss, {}),
    "entmax15_loss": (o.entmax15_loss, {}),
    "entmax_loss": (o.entmax_loss, {"alpha": 1.7}),
    "asymmetric": (o.asymmetric_loss, {}),
    "asymmetric_constant": (
        o.asymmetric_loss,
        {"gamma_neg": 3.0, "gamma_pos": 2.0, "margin": 0.1, "stop_focusing_gradient": True},
    ),
    "asymmetric_single": (o.asymmetric_single_label_loss, {"gamma_pos": 1.0}),
    "two_way": (o.two_way_loss, {"negative_temperature": 1.5}),
    "zlpr": (o.zlpr_loss, {}),
    "macro_auc": (o.macro_auc, {}),
    "loki": (o.frechet_loss, {}),
}


@pytest.fixture(autouse=True)
def _seeded():
    """Every test draws from the start of the same stream, whatever ran before it."""
    global RNG
    RNG = np.random.default_rng(1)


POSITIONAL = ("logits", "scores", "labels", "distances")


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case):
    function, keywords = CASES[case]
    golden = parts(case)
    gradients = {name.removeprefix("grad_"): golden.pop(name) for name in list(golden) if name.startswith("grad_")}
    wanted = golden.pop("loss")

    @jax.jit
    def run(moving, fixed):
        def total(moving):
            arguments = {**fixed, **moving}
            positional = [arguments.pop(name) for name in POSITIONAL if name in arguments]
            loss = function(*positional, **arguments, **keywords)
            return jnp.sum(loss * jnp.linspace(1, 2, loss.size).reshape(loss.shape)), loss

        return jax.grad(total, has_aux=True)(moving)

    with jax.enable_x64(True):
        moving = {name: x for name, x in golden.items() if name in gradients}
        found, loss = run(moving, {name: x for name, x in golden.items() if name not in gradients})
    np.testing.assert_allclose(loss, wanted, rtol=1e-10, atol=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-8, atol=1e-10, err_msg=name)


def test_every_golden_case_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files} - {"peers"} == {*CASES, "distances", "ensloss"}


def test_harmonic_distances_equal_those_of_scipy():
    golden = parts("distances")
    x, w, precision = (golden.pop(name) for name in ("x", "w", "precision"))
    more = {"minkowski": {"order": 2.5}, "mahalanobis": {"precision": precision}}
    with jax.enable_x64(True):
        for name, distance in golden.items():
            logits = o.harmonic_logits(x, w, distance=name, exponent=3.0, epsilon=1e-30, **more.get(name, {}))
            np.testing.assert_allclose(logits, -3 * np.log(distance), rtol=1e-12, err_msg=name)
        own = o.harmonic_logits(x, w, distance=lambda x, w: jnp.abs(x[..., None, :] - w).sum(-1), exponent=3.0)
        np.testing.assert_allclose(own, -3 * np.log(golden["manhattan"]), rtol=1e-8)


def test_minkowski_of_order_two_is_euclidean_and_mahalanobis_of_the_identity_too():
    x, w = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
    with jax.enable_x64(True):

        def gradient(**keywords):
            return jax.grad(lambda x: o.harmonic_loss(x, w, np.arange(5) % 4, **keywords).sum())(x)

        wanted = gradient()
        np.testing.assert_allclose(gradient(distance="minkowski", order=2.0), wanted, rtol=1e-9)
        np.testing.assert_allclose(gradient(distance="mahalanobis", precision=np.eye(3)), wanted, rtol=1e-9)
        wide = o.harmonic_loss(x, w, np.arange(5) % 4, distance="minkowski", order=400.0, epsilon=1e-30)
        limit = o.harmonic_loss(x, w, np.arange(5) % 4, distance="chebyshev", epsilon=1e-30)
        np.testing.assert_allclose(wide, limit, atol=1e-2)  # the order is large, not infinite


class TestCompSum:
    @pytest.mark.parametrize("tau", [0.0, 0.5, 1.5, 1.7, 2.0])
    def test_is_phi_of_the_margins(self, tau):
        margins = LOGITS - LOGITS[np.arange(6), IDS][:, None]
        u = np.exp(margins).sum(-1) - 1
        with jax.enable_x64(True):
            loss = o.comp_sum_loss(LOGITS, IDS, tau=tau)
            np.testing.assert_allclose(loss, ((1 + u) ** (1 - tau) - 1) / (1 - tau), rtol=1e-12)
            expected = (SOFT * (P ** (tau - 1) - 1) / (1 - tau)).sum(-1)
            np.testing.assert_allclose(o.comp_sum_loss(LOGITS, SOFT, tau=tau), expected, rtol=1e-12)

    def test_members(self):
        with jax.enable_x64(True):
            cross_entropy = o.softmax_cross_entropy(LOGITS, IDS)
            np.testing.assert_allclose(o.comp_sum_loss(LOGITS, IDS), cross_entropy, rtol=1e-14)
            np.testing.assert_allclose(o.generalized_cross_entropy_loss(LOGITS, IDS, q=0.0), cross_entropy, rtol=1e-14)
            np.testing.assert_allclose(o.comp_sum_loss(LOGITS, IDS, tau=2.0), 1 - P_Y, rtol=1e-12)
            np.testing.assert_allclose(o.softmax_mae_loss(LOGITS, IDS), 1 - P_Y, rtol=1e-12)
            np.testing.assert_allclose(o.generalized_cross_entropy_loss(LOGITS, IDS), (1 - P_Y**0.7) / 0.7, rtol=1e-12)
            one_hot = np.eye(4)[IDS]
            np.testing.assert_allclose(o.softmax_mae_loss(LOGITS, IDS), abs(P - one_hot).sum(-1) / 2, rtol=1e-12)

    def test_is_smooth_in_tau_through_cross_entropy(self):
        with jax.enable_x64(True):
            log_p = np.log(P_Y)
            slope = jax.jacfwd(lambda tau: o.comp_sum_loss(LOGITS, IDS, tau=tau))
            for tau in (1.0, 1.0 + 1e-7, 1.0 - 1e-4):  # e^{(τ-1) log p} expanded: the slope is -(log p)²/2 at τ = 1
                np.testing.assert_allclose(slope(tau), -(log_p**2) / 2, rtol=1e-3)
            near = [o.comp_sum_loss(LOGITS, IDS, tau=1 + d) for d in (-1e-9, 0.0, 1e-9)]
            np.testing.assert_allclose(near[0], near[1], rtol=1e-8)
            np.testing.assert_allclose(near[2], near[1], rtol=1e-8)

    def test_float32_against_mpmath(self):
        margins = np.array([-40.0, -5.0, 0.0, 5.0, 14.0])
        logits = jnp.stack([jnp.float32(margins), jnp.zeros(5)], -1)
        p = [1 / (1 + mpmath.exp(-mpmath.mpf(m))) for m in margins]
        for tau in (0.5, 1.0, 1.0001, 1.7):
            power = mpmath.mpf(float(np.float32(tau))) - 1
            exact = [-mpmath.log(x) if power == 0 else (1 - x**power) / power for x in p]
            got = o.comp_sum_loss(logits, np.zeros(5, int), tau=jnp.float32(tau))
            # log p near 0 is held to 6e-8, a rounding of the 1 in 1 + e^{-m}
            np.testing.assert_allclose(got, np.array(exact, float), rtol=4e-6, atol=1.2e-7)

    def test_the_adversarial_term_is_the_movement_of_the_margins(self):
        moved = LOGITS + RNG.normal(size=(6, 4))

        def margins(f, y):
            return np.delete(f[y] - f, y)

        wanted = [
            np.log1p(np.exp(-margins(f, y) / 0.7).sum()) + 0.3 * np.linalg.norm(margins(g, y) - margins(f, y))
            for f, g, y in zip(LOGITS, moved, IDS)
        ]
        with jax.enable_x64(True):
            function = partial(o.smooth_adversarial_comp_sum_loss, rho=0.7, nu=0.3)
            np.testing.assert_allclose(function(LOGITS, moved, IDS), wanted, rtol=1e-12)
            each = [function(LOGITS, moved, np.full(6, y)) for y in range(4)]
            np.testing.assert_allclose(function(LOGITS, moved, SOFT), (SOFT * np.stack(each, -1)).sum(-1), rtol=1e-12)
            np.testing.assert_allclose(
                o.smooth_adversarial_comp_sum_loss(LOGITS, LOGITS, IDS, nu=5.0),
                o.softmax_cross_entropy(LOGITS, IDS),
                rtol=1e-13,
            )


DIVERGENCES = {
    "kl": (o.kl_divergence_loss, lambda p, q: (q * np.log(q / p)).sum(-1)),
    "chi": (o.chi_squared_loss, lambda p, q: ((p - q) ** 2 / p).sum(-1)),
    "hellinger": (o.hellinger_loss, lambda p, q: ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(-1) / 2),
    "js": (
        o.jensen_shannon_loss,
        lambda p, q: (q * np.log(2 * q / (p + q)) + p * np.log(2 * p / (p + q))).sum(-1) / 2,
    ),
    "alpha": (
        partial(o.alpha_divergence_loss, alpha=1.6),
        lambda p, q: ((q**1.6 * p**-0.6).sum(-1) - 1) / (1.6 * 0.6),
    ),
    "total variation": (
        partial(o.f_divergence_loss, generator=lambda d: jax.nn.relu(-jnp.expm1(d))),
        lambda p, q: abs(p - q).sum(-1) / 2,
    ),
}


class TestDivergences:
    @pytest.mark.parametrize("name", DIVERGENCES)
    def test_closed_form_zero_at_the_labels_and_class_ids(self, name):
        loss, closed = DIVERGENCES[name]
        with jax.enable_x64(True):
            np.testing.assert_allclose(loss(LOGITS, SOFT), closed(P, SOFT), rtol=1e-11, atol=1e-14)
            np.testing.assert_allclose(loss(np.log(SOFT), SOFT), 0, atol=1e-14)
            with_zero = SOFT.copy()
            with_zero[:, 1] = 0
            with_zero /= with_zero.sum(-1, keepdims=True)
            tiny = np.maximum(with_zero, 1e-300)
            np.testing.assert_allclose(loss(LOGITS, with_zero), closed(P, tiny), rtol=1e-11, atol=1e-14)
            gradient = jax.jit(jax.grad(lambda x: loss(x, with_zero).sum()))(LOGITS)
            assert np.isfinite(gradient).all()

    def test_relations(self):
        with jax.enable_x64(True):
            alpha = partial(o.alpha_divergence_loss, LOGITS, SOFT)
            np.testing.assert_allclose(alpha(alpha=1.0), o.kl_divergence_loss(LOGITS, SOFT), rtol=1e-13)
            np.testing.assert_allclose(alpha(alpha=2.0), o.chi_squared_loss(LOGITS, SOFT) / 2, rtol=1e-12)
            np.testing.assert_allclose(alpha(alpha=0.5), 4 * o.hellinger_loss(LOGITS, SOFT), rtol=1e-12)
            np.testing.assert_allclose(
                o.alpha_divergence_loss(LOGITS, IDS, alpha=0.3), o.comp_sum_loss(LOGITS, IDS, tau=1.7) / 0.3, rtol=1e-12
            )
            np.testing.assert_allclose(o.chi_squared_loss(LOGITS, IDS), o.comp_sum_loss(LOGITS, IDS, tau=0), rtol=1e-12)

    def test_jensen_shannon_is_bounded_by_log_two(self):
        got = o.jensen_shannon_loss(jnp.array([[1e4, -1e4], [-1e4, 1e4]]), jnp.array([0, 0]))
        np.testing.assert_allclose(got, [0, np.log(2)], atol=1e-7)


class TestFenchelYoung:
    def test_closed_values_of_sparsemax(self):
        loss = o.sparsemax_loss
        np.testing.assert_allclose(loss(jnp.array([[1.0, 0.0]] * 2), jnp.array([0, 1])), [0, 1], atol=1e-7)
        t = np.linspace(-3, 3, 25)
        huber = np.where(t >= 1, 0, np.where(t <= -1, -t, (t - 1) ** 2 / 4))
        with jax.enable_x64(True):
            np.testing.assert_allclose(loss(np.stack([t, 0 * t], -1), np.zeros(25, int)), huber, atol=1e-15)
            z, q = LOGITS, SOFT
            p = np.asarray(o.sparsemax(z))
            tau = np.array([(z[i][p[i] > 0].sum() - 1) / (p[i] > 0).sum() for i in range(6)])
            paper = -(q * z).sum(-1) + ((z**2 - tau[:, None] ** 2) * (p > 0)).sum(-1) / 2 + (q**2).sum(-1) / 2
            np.testing.assert_allclose(loss(z, q), paper, rtol=1e-12)

    @pytest.mark.parametrize("alpha", [1.0, 1.0 + 1e-6, 1.3, 1.5, 2.0, 3.0])
    def test_the_gradient_is_map_minus_label_and_the_map_solves_its_problem(self, alpha):
        with jax.enable_x64(True):
            p = o.entmax(LOGITS, alpha=alpha)
            np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-14)
            gradient = jax.grad(lambda z: o.entmax_loss(z, SOFT, alpha=alpha).sum())(LOGITS)
            np.testing.assert_allclose(gradient, p - SOFT, atol=1e-14)
            slopes = (np.asarray(p) ** (alpha - 1) - (alpha == 1)) / max(alpha - 1, 1e-300) if alpha != 1 else np.log(p)
            level = LOGITS - slopes  # on the support it is one number a row, and no more beside it
            for row, on in zip(level, np.asarray(p) > 0):
                np.testing.assert_allclose(row[on], row[on][0], rtol=1e-7, atol=1e-7)
                assert (row[~on] <= row[on][0] + 1e-9).all()

    def test_exact_and_bisected_maps_and_losses_agree(self):
        wide = 3 * RNG.normal(size=(8, 50))
        with jax.enable_x64(True):
            np.testing.assert_allclose(o.sparsemax(wide), o.entmax(wide, alpha=2.0), atol=1e-14)
            np.testing.assert_allclose(o.entmax15(wide), o.entmax(wide, alpha=1.5), atol=1e-14)
            np.testing.assert_allclose(jax.nn.softmax(wide), o.entmax(wide, alpha=1.0), rtol=1e-12)
            q = RNG.dirichlet(np.ones(50), size=8)
            np.testing.assert_allclose(o.sparsemax_loss(wide, q), o.entmax_loss(wide, q, alpha=2.0), atol=1e-13)
            np.testing.assert_allclose(o.kl_divergence_loss(wide, q), o.entmax_loss(wide, q, alpha=1.0), atol=1e-12)

    def test_float32_of_many_classes_is_float64s(self):
        wide = 3 * RNG.normal(size=(4, 2000)).astype(np.float32)
        for function in (o.sparsemax, o.entmax15, o.entmax):
            with jax.enable_x64(True):
                exact = function(wide.astype(np.float64))
            np.testing.assert_allclose(
                function(jnp.asarray(wide)), exact, atol=2e-6
            )  # scores of size 10 are held to 1e-6

    @pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
    def test_shifts_ties_and_classes_switched_off(self, shift):
        z = jnp.array([[0.0, 0.0, -jnp.inf], [2.0, 0.0, 0.0]]) + shift
        for function, expected in ((o.sparsemax, [[0.5, 0.5, 0], [1, 0, 0]]), (o.entmax15, [[0.5, 0.5, 0], [1, 0, 0]])):
            np.testing.assert_allclose(function(z), expected, atol=1e-6)
            assert np.isfinite(jax.jacrev(lambda z, f=function: f(z)[0])(z)).all()
        np.testing.assert_allclose(o.sparsemax_loss(z, jnp.array([0, 0])), [0.25, 0], atol=1e-6)
        soft = jnp.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
        np.testing.assert_allclose(o.entmax_loss(z, soft, alpha=1.5), [0, 0], atol=2e-6)

    def test_the_generic_loss_gives_its_members(self):
        with jax.enable_x64(True):
            logistic = o.fenchel_young_loss(
                LOGITS,
                SOFT,
                conjugate=partial(jax.nn.logsumexp, axis=-1),
                regularizer=lambda q: -jax.scipy.special.entr(q).sum(-1),
            )
            np.testing.assert_allclose(logistic, o.kl_divergence_loss(LOGITS, SOFT), rtol=1e-12)

    def test_losses_are_non_negative_and_zero_beyond_their_margin(self):
        for alpha in (1.25, 1.5, 2.0):
            gap = 1 / (alpha - 1)
            z = jnp.array([[gap, 0.0, 0.0], [gap - 0.5, 0.0, 0.0]])
            loss = o.entmax_loss(z, jnp.array([0, 0]), alpha=alpha)
            assert abs(loss[0]) < 1e-6 < 1e-4 < loss[1] or alpha == 1.25
            assert (loss > -1e-6).all()


def minimiser(loss, q, size, steps=400, rate=0.5):
    """The logits where the expected loss under q is least, by gradient descent with momentum in float64."""
    value = jax.grad(lambda z: jnp.sum(loss(z, q)))

    def step(carry, _):
        z, momentum = carry
        momentum = 0.9 * momentum - rate * value(z)
        return (z + momentum, momentum), None

    start = jnp.zeros((len(q), size))
    return jax.jit(lambda: jax.lax.scan(step, (start, start), None, length=steps)[0][0])()


PROPER = {
    "cross-entropy": (o.softmax_cross_entropy, jax.nn.softmax),
    "KL": (o.kl_divergence_loss, jax.nn.softmax),
    "stablemax": (o.stablemax_cross_entropy, lambda z: jnp.exp(o.log_stablemax(z))),
    "sparsemax": (o.sparsemax_loss, o.sparsemax),
    "entmax15": (o.entmax15_loss, o.entmax15),
    "entmax": (partial(o.entmax_loss, alpha=1.3), partial(o.entmax, alpha=1.3)),
    "hellinger": (o.hellinger_loss, jax.nn.softmax),
    "js": (o.jensen_shannon_loss, jax.nn.softmax),
}


@pytest.mark.parametrize("name", PROPER)
def test_the_expected_loss_is_least_at_the_true_distribution(name):
    loss, link = PROPER[name]
    q = 0.9 * RNG.dirichlet(np.ones(3), size=4) + 0.1 / 3
    with jax.enable_x64(True):
        np.testing.assert_allclose(link(minimiser(loss, q, 3)), q, atol=1e-5)


def test_binary_proper_losses_estimate_probabilities():
    scores = np.linspace(-5, 5, 20001)

    def sharper(f, q):  # the comp-sum losses beside cross-entropy are not proper
        return o.comp_sum_loss(jnp.stack([f, 0 * f], -1), jnp.stack([q, 1 - q], -1), tau=1.5)

    with jax.enable_x64(True):
        for loss, link, estimate in (
            (o.sigmoid_cross_entropy, jax.nn.sigmoid, lambda q: q),
            (o.savage_loss, lambda f: jax.nn.sigmoid(2 * f), lambda q: q),
            (o.tangent_loss, lambda f: jnp.arctan(f) + 0.5, lambda q: q),
            (o.squared_hinge_loss, lambda f: (f + 1) / 2, lambda q: q),
            (o.modified_huber_loss, lambda f: (f + 1) / 2, lambda q: q),
            (sharper, jax.nn.sigmoid, lambda q: q**2 / (q**2 + (1 - q) ** 2)),
        ):
            for q in (0.1, 0.3, 0.5, 0.8):
                best = scores[np.argmin(loss(scores, np.full(scores.shape, q)))]
                np.testing.assert_allclose(link(best), estimate(q), atol=3e-4)  # the spacing of the scores is 5e-4


class TestLegendreTron:
    def test_half_the_square_is_logistic_regression_with_a_reference_class(self):
        z, y = RNG.normal(size=(6, 3)), np.array([0, 1, 2, 3, 3, 0])
        logits = np.concatenate([z, np.zeros((6, 1))], -1)
        params = o.init_convex_potential(jax.random.key(0), 3)._replace(network=jnp.array(-800.0))
        with jax.enable_x64(True):
            wanted = o.softmax_cross_entropy(logits, y)
            loss = o.legendretron_loss(z, y, potential=lambda z: jnp.sum(z**2) / 2)
            np.testing.assert_allclose(loss, wanted, rtol=1e-14)
            np.testing.assert_allclose(o.log_softmax_plus(z), jax.nn.log_softmax(logits), rtol=1e-13)
        near = o.legendretron_loss(jnp.float32(z), y, potential=partial(o.convex_potential, params))
        np.testing.assert_allclose(near, wanted, rtol=1e-5)

    def test_the_link_is_monotone_and_the_loss_proper(self):
        with jax.enable_x64(True):
            params = o.init_convex_potential(jax.random.key(1), 2, width=5, depth=3)
            params = params._replace(network=jnp.array(2.0))
            potential = partial(o.convex_potential, params)
            hessians = jax.vmap(jax.hessian(potential))(3 * RNG.normal(size=(20, 2)))
            np.testing.assert_allclose(hessians, np.swapaxes(hessians, 1, 2), atol=1e-12)
            assert (np.linalg.eigvalsh(hessians) > 0.999).all()  # the square alone gives 1
            assert np.abs(hessians - np.eye(2)).max() > 0.05
            q = 0.9 * RNG.dirichlet(np.ones(3), size=3) + 0.1 / 3
            best = minimiser(partial(o.legendretron_loss, potential=potential), q, 2, rate=0.2)
            p = np.exp(o.log_softmax_plus(o.canonical_link(best, potential=potential)))
            np.testing.assert_allclose(p, q, atol=1e-5)
