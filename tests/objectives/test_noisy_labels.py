"""Losses for noisy labels: closed forms in float64, what makes them robust, limits and small experiments."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from programs import all_compiled

import objectives

o = all_compiled(objectives)

RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(6, 4))
IDS = np.array([0, 1, 2, 3, 0, 2])
HARD = np.eye(4)[IDS]
SOFT = RNG.dirichlet(np.ones(4), size=6)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
LOG_P = np.log(P)
NOISE = 0.6 * np.eye(4) + 0.4 * RNG.dirichlet(np.ones(4), size=4)
PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
TEMPERATURES = np.linspace(0.4, 1.0, 6)


def ldr(temperature, margin):
    """The loss of every label `[B, C]`."""
    temperature = np.broadcast_to(temperature, 6)[:, None, None]
    pushed = LOGITS[:, None, :] - LOGITS[:, :, None] + margin * (1 - np.eye(4))
    return temperature[..., 0] * np.log(np.exp(pushed / temperature).mean(-1))


def share(penalties):
    return penalties / penalties.sum(-1, keepdims=True)


# The loss, and what every label costs `[B, C]`.
LINEAR = {
    "normalized": (
        functools.partial(o.normalized_loss, penalty=lambda log_p: jnp.expm1(log_p) ** 2),
        share((1 - P) ** 2),
    ),
    "nce": (o.normalized_cross_entropy_loss, share(-LOG_P)),
    "nfl": (functools.partial(o.normalized_focal_loss, gamma=0.5), share(-((1 - P) ** 0.5) * LOG_P)),
    "nmae": (o.normalized_mae_loss, (1 - P) / 3),
    "rce": (functools.partial(o.reverse_cross_entropy_loss, log_zero=-6.0), 6 * (1 - P)),
    "sce": (functools.partial(o.symmetric_cross_entropy_loss, alpha=0.3, beta=2.0), -0.3 * LOG_P + 8 * (1 - P)),
    "ce+mae": (
        functools.partial(o.active_passive_loss, active="ce", passive="mae", alpha=0.5, beta=3.0),
        -0.5 * LOG_P + 6 * (1 - P),
    ),
    "focal+nmae": (
        functools.partial(o.active_passive_loss, active="focal", passive="nmae", gamma=2.0),
        -((1 - P) ** 2) * LOG_P + (1 - P) / 3,
    ),
    "nfl+nrce": (
        functools.partial(o.active_passive_loss, active="nfl", passive="nrce", gamma=2.0),
        share(-((1 - P) ** 2) * LOG_P) + (1 - P) / 3,
    ),
    "nce+rce": (o.active_passive_loss, share(-LOG_P) + 4 * (1 - P)),
    "forward": (lambda x, y: o.forward_correction_loss(x, y, NOISE), -np.log(P @ NOISE)),
    "backward": (lambda x, y: o.backward_correction_loss(x, y, NOISE), -LOG_P @ np.linalg.inv(NOISE).T),
    "peer": (
        lambda x, y: o.peer_loss(x, y, PRIOR, alpha=0.7),
        -LOG_P + 0.7 * (PRIOR * LOG_P).sum(-1, keepdims=True),
    ),
    "ldr": (functools.partial(o.ldr_kl_loss, temperature=0.7, margin=1.5), ldr(0.7, 1.5)),
    "aldr": (
        lambda x, y: o.aldr_kl_loss(x, y, TEMPERATURES, base_temperature=0.9, alpha=3.0, margin=0.5),
        ldr(TEMPERATURES, 0.5) - (3 * np.log(4) / 1.8 * (TEMPERATURES - 0.9) ** 2)[:, None],
    ),
}


@pytest.mark.parametrize("labels", ["ids", "probabilities"])
def test_closed_forms(labels):
    given, q = (IDS, HARD) if labels == "ids" else (SOFT, SOFT)
    with jax.enable_x64(True):
        losses = jax.jit(lambda x, y: {name: loss(x, y) for name, (loss, _) in LINEAR.items()})(LOGITS, given)
        for name, (_, per_label) in LINEAR.items():
            np.testing.assert_allclose(losses[name], (q * per_label).sum(-1), rtol=1e-11, atol=1e-13, err_msg=name)


def test_bootstrapping_closed_forms():
    predicted = np.eye(4)[P.argmax(-1)]
    with jax.enable_x64(True):
        soft, hard = o.soft_bootstrapping_loss(LOGITS, SOFT, beta=0.7), o.hard_bootstrapping_loss(LOGITS, IDS, beta=0.7)
    np.testing.assert_allclose(soft, -((0.7 * SOFT + 0.3 * P) * LOG_P).sum(-1), rtol=1e-12)
    np.testing.assert_allclose(hard, -((0.7 * HARD + 0.3 * predicted) * LOG_P).sum(-1), rtol=1e-12)


@pytest.mark.parametrize("name", ["nce", "nfl", "nmae", "normalized"])
def test_normalised_losses_are_symmetric(name):
    """Over the labels they sum to one, so that under symmetric noise the risk is affine in the clean one."""
    loss, noise_rate = LINEAR[name][0], 0.4
    noisy = (1 - noise_rate) * HARD + noise_rate / 3 * (1 - HARD)
    with jax.enable_x64(True):
        np.testing.assert_allclose(loss(LOGITS, np.ones((6, 4))), 1, rtol=1e-12)
        clean = np.asarray(loss(LOGITS, HARD))
        np.testing.assert_allclose(loss(LOGITS, noisy), (1 - noise_rate * 4 / 3) * clean + noise_rate / 3, rtol=1e-12)
        np.testing.assert_allclose(loss(np.zeros((1, 4)), np.array([2])), 0.25, rtol=1e-12)


def test_a_class_switched_off_is_not_there():
    """A logit of -inf is as good as no class, with the same gradients for the others; it is no cheap label."""
    off = np.concatenate([LOGITS, np.full((6, 1), -np.inf)], axis=-1)
    losses = {
        "normalized": LINEAR["normalized"][0],
        **{name: LINEAR[name][0] for name in ("nce", "nfl", "nmae", "sce", "focal+nmae", "nfl+nrce")},
        "soft": o.soft_bootstrapping_loss,
        "hard": o.hard_bootstrapping_loss,
        "ldr": o.ldr_kl_loss,
        "tempered": o.bi_tempered_logistic_loss,
    }

    @jax.jit
    def both(x, labels):
        def total(x):
            values = {name: loss(x, labels) for name, loss in losses.items()}
            return sum(map(jnp.sum, values.values())), values

        return jax.value_and_grad(total, has_aux=True)(x)

    with jax.enable_x64(True):
        for labels, more in ((IDS, IDS), (SOFT, np.concatenate([SOFT, np.zeros((6, 1))], -1))):
            (_, four), four_gradient = both(LOGITS, labels)
            (_, five), five_gradient = both(off, more)
            for name in losses:
                np.testing.assert_allclose(five[name], four[name], rtol=1e-12, err_msg=name)
            np.testing.assert_allclose(five_gradient[:, :4], four_gradient, rtol=1e-10, atol=1e-13)
            np.testing.assert_array_equal(five_gradient[:, 4], 0)
        impossible = o.symmetric_cross_entropy_loss(off, np.full(6, 4))
        np.testing.assert_array_equal(impossible, np.inf)
        np.testing.assert_array_equal(o.symmetric_cross_entropy_loss(off, np.full((6, 5), 0.2)), np.inf)
        np.testing.assert_allclose(o.reverse_cross_entropy_loss(off, np.full(6, 4)), 4.0)


def test_corrections_are_unbiased():
    """Forward: minimal at the true posterior under noisy labels. Backward: the clean loss, in expectation over them."""
    noisy = SOFT @ NOISE
    with jax.enable_x64(True):
        gradient = jax.grad(lambda x: o.forward_correction_loss(x, noisy, NOISE).sum())(np.log(SOFT))
        np.testing.assert_allclose(gradient, 0, atol=1e-12)
        elsewhere = o.forward_correction_loss(LOGITS, noisy, NOISE)
        assert (np.asarray(elsewhere) > np.asarray(o.forward_correction_loss(np.log(SOFT), noisy, NOISE))).all()
        clean = o.softmax_cross_entropy(LOGITS, SOFT)
        np.testing.assert_allclose(o.backward_correction_loss(LOGITS, noisy, NOISE), clean, rtol=1e-11)
        for correct in (o.forward_correction_loss, o.backward_correction_loss):
            np.testing.assert_allclose(
                correct(LOGITS, IDS, np.eye(4)), o.softmax_cross_entropy(LOGITS, IDS), rtol=1e-12
            )


def test_forward_correction_keeps_what_a_product_of_probabilities_loses():
    logits = np.array([[0.0, 200.0]], np.float32)
    np.testing.assert_allclose(o.forward_correction_loss(logits, np.array([0]), np.eye(2, dtype=np.float32)), 200.0)
    impossible = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    assert o.forward_correction_loss(logits, np.array([1]), impossible) == np.inf
    assert o.forward_correction_loss(logits, np.array([0]), impossible) == 0


def test_transition_matrix_is_read_off_at_anchor_points():
    clean = np.concatenate([np.eye(4), RNG.dirichlet(np.ones(4), size=30)])[RNG.permutation(34)]
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.anchor_transition_matrix(np.log(clean @ NOISE)), NOISE, rtol=1e-12)
        probabilities, kept = SOFT[RNG.integers(0, 6, 25)] + 0.1 * RNG.random((25, 4)), RNG.random(25) < 0.6
        probabilities /= probabilities.sum(-1, keepdims=True)
        left = probabilities[kept]
        for quantile in (0.0, 0.5, 0.9, 1.0):
            rank = max(int(np.ceil(quantile * len(left))) - 1, 0)
            wanted = np.stack([left[np.argsort(left[:, c])[rank]] for c in range(4)])
            got = o.anchor_transition_matrix(np.log(probabilities), quantile=quantile, where=kept)
            np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_peer_loss_is_the_mean_over_random_labels():
    labels = RNG.integers(0, 4, 6)
    prior = np.bincount(labels, minlength=4) / 6
    with jax.enable_x64(True):
        losses = np.asarray(o.peer_loss(LOGITS, labels, prior))
        shifted = [np.asarray(o.softmax_cross_entropy(LOGITS, np.roll(labels, shift))) for shift in range(6)]
    np.testing.assert_allclose(losses.mean(), shifted[0].mean() - np.mean(shifted), rtol=1e-12)


def test_ldr_limits():
    with jax.enable_x64(True):
        loss = jax.jit(lambda t, m: o.ldr_kl_loss(LOGITS, IDS, temperature=t, margin=m))
        own = LOGITS[np.arange(6), IDS]
        pushed = LOGITS - own[:, None] + 1.5 * (1 - HARD)
        cross_entropy = o.softmax_cross_entropy(LOGITS, IDS)
        np.testing.assert_allclose(loss(1.0, 0.0), cross_entropy - np.log(4), rtol=1e-12)
        np.testing.assert_allclose(loss(1e-6, 1.5), pushed.max(-1), atol=2e-6)
        np.testing.assert_allclose(loss(1e7, 1.5), pushed.mean(-1), atol=1e-6)
        np.testing.assert_allclose(o.ldr_kl_loss(LOGITS + 7.0, IDS), o.ldr_kl_loss(LOGITS, IDS), rtol=1e-11)
        # What is maximised, at random distributions of classes: never more.
        p = RNG.dirichlet(np.ones(4), size=(50, 6))
        objective = (p * pushed).sum(-1) - 0.7 * ((p * np.log(p)).sum(-1) + np.log(4))
        assert (objective <= np.asarray(loss(0.7, 1.5)) + 1e-12).all()
        best = np.exp(pushed / 0.7) / np.exp(pushed / 0.7).sum(-1, keepdims=True)
        attained = (best * pushed).sum(-1) - 0.7 * ((best * np.log(best)).sum(-1) + np.log(4))
        np.testing.assert_allclose(attained, loss(0.7, 1.5), rtol=1e-11)


def test_aldr_temperatures():
    scaled = LOGITS / TEMPERATURES[:, None]
    p = np.exp(scaled) / np.exp(scaled).sum(-1, keepdims=True)
    divergence = (p * np.log(4 * p)).sum(-1)
    with jax.enable_x64(True):
        new = o.aldr_temperatures(LOGITS, TEMPERATURES, base_temperature=0.9, alpha=3.0)
        np.testing.assert_allclose(new, 0.9 - 0.9 / (3 * np.log(4)) * divergence, rtol=1e-12)
        certain, unsure = 1e5 * np.eye(4), np.zeros((4, 4))
        np.testing.assert_allclose(o.aldr_temperatures(certain, np.ones(4), alpha=2.0), 0.5, rtol=1e-12)
        np.testing.assert_allclose(o.aldr_temperatures(unsure, np.ones(4), alpha=2.0), 1.0, rtol=1e-12)
        assert np.isnan(o.aldr_kl_loss(LOGITS, IDS, TEMPERATURES - 0.4)[0])
        assert np.isnan(o.aldr_temperatures(LOGITS, TEMPERATURES - 0.4)[0])


def log_t(x, t):
    return mpmath.log(x) if t == 1 else (mpmath.mpf(x) ** (1 - t) - 1) / (1 - t)


def exp_t(x, t):
    return mpmath.exp(x) if t == 1 else (1 + (1 - t) * x) ** (1 / (1 - t))


@pytest.mark.parametrize(("t1", "t2"), [(0.8, 1.2), (0.0, 2.5), (1.0, 1.0), (1.0, 1.7), (0.5, 1.0), (0.9, 1.000001)])
def test_bi_tempered_loss_is_the_authors_definition(t1, t2):
    """The normaliser found by mpmath to 50 digits, the divergence as the paper writes it."""
    logits = np.array([[3.0, -1.0, 0.5], [40.0, -40.0, 0.0], [0.1, 0.0, -0.1]])
    labels = np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    with mpmath.workdps(50):
        a, b = mpmath.mpf(str(t1)), mpmath.mpf(str(t2))
        probabilities, losses = [], []
        for x, q in zip(logits, labels):
            low, high = mpmath.mpf(max(x)), max(x) - log_t(mpmath.mpf(1) / 3, b)
            zero = lambda n, x=x: sum(exp_t(mpmath.mpf(v) - n, b) for v in x) - 1
            p = [exp_t(mpmath.mpf(v) - mpmath.findroot(zero, (low, high + 1e-9), solver="anderson"), b) for v in x]
            terms = [
                (c * (log_t(c, a) - log_t(v, a)) if c else 0) - (mpmath.mpf(c) ** (2 - a) - v ** (2 - a)) / (2 - a)
                for c, v in zip(map(float, q), p)
            ]
            probabilities.append([float(v) for v in p])
            losses.append(float(sum(terms)))
    with jax.enable_x64(True):
        ours = o.tempered_softmax(logits, temperature=t2)
        np.testing.assert_allclose(ours, probabilities, rtol=1e-10, atol=1e-30)
        np.testing.assert_allclose(o.bi_tempered_logistic_loss(logits, labels, t1=t1, t2=t2), losses, rtol=1e-9)


def test_bi_tempered_limits():
    with jax.enable_x64(True):
        loss = functools.partial(o.bi_tempered_logistic_loss, LOGITS)
        np.testing.assert_allclose(loss(IDS, t1=1.0, t2=1.0), o.softmax_cross_entropy(LOGITS, IDS), rtol=1e-12)
        np.testing.assert_allclose(o.tempered_softmax(LOGITS, temperature=1.0), P, rtol=1e-12)
        # A Bregman divergence: zero, with its gradient, exactly at the labels.
        matching = (SOFT**-0.4 - 1) / -0.4  # log_t of the labels at 1.4
        divergence = jax.jit(jax.value_and_grad(lambda x: o.bi_tempered_logistic_loss(x, SOFT, t1=0.7, t2=1.4).sum()))
        np.testing.assert_allclose(o.tempered_softmax(matching, temperature=1.4), SOFT, rtol=1e-12)
        value, gradient = divergence(matching)
        np.testing.assert_allclose(value, 0, atol=1e-13)
        np.testing.assert_allclose(gradient, 0, atol=1e-12)
        assert divergence(LOGITS)[0] > 0.1
    # Bounded however wrong, in float32, and a thousand equal classes.
    assert o.bi_tempered_logistic_loss(np.array([[1e4, -1e4]], np.float32), np.array([1]), t1=0.8)[0] <= 5
    np.testing.assert_allclose(o.tempered_softmax(np.zeros(1000, np.float32), temperature=1.9), 1e-3, rtol=1e-5)


PACES = {"hard": (1.3, None), "linear": (1.3, None), "log": (0.8, None), "mixture": (1.3, 0.4)}


@pytest.mark.parametrize("kind", PACES)
def test_self_paced_weights_minimise_what_they_should(kind):
    threshold, lower = PACES[kind]
    losses, grid = np.linspace(0.01, 2, 41), np.linspace(0, 1, 20001)
    zeta = 1 - threshold if kind == "log" else (threshold * lower / (threshold - lower) if lower else 0)
    penalty = {
        "hard": lambda v: -threshold * v,
        "linear": lambda v: threshold * (v**2 / 2 - v),
        "log": lambda v: zeta * v - zeta**v / np.log(zeta),
        "mixture": lambda v: -zeta * np.log(v + zeta / threshold),
    }[kind](grid)
    objective = grid * losses[:, None] + penalty
    with jax.enable_x64(True):
        keywords = {"threshold": threshold, "regularizer": kind, "lower": lower}
        weights = np.asarray(o.self_paced_weights(losses, **keywords))
        value, slope = jax.vmap(jax.value_and_grad(lambda x: o.self_paced_loss(x, **keywords)))(losses)
        np.testing.assert_allclose(weights, grid[objective.argmin(-1)], atol=1e-4)  # the grid's width
        np.testing.assert_allclose(value, objective.min(-1), atol=1e-7)
        np.testing.assert_allclose(slope, weights, rtol=1e-14)
        certain = o.self_paced_weights(losses, annotated=losses > 1.9, **keywords)
        np.testing.assert_array_equal(certain, np.where(losses > 1.9, 1, weights))
    assert weights[-1] == 0
    if kind == "hard":
        np.testing.assert_allclose(value, np.minimum(losses, threshold) - threshold, rtol=1e-12)
    if kind in ("hard", "linear"):
        huge = o.self_paced_weights(losses.astype(np.float32), threshold=1e9, regularizer=kind)
        np.testing.assert_allclose(huge, 1, rtol=1e-6)


def test_self_paced_regression_finds_the_slope_that_outliers_hide():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, 200)
    y = 2 * x + 0.1 * rng.normal(size=200)
    wrong = rng.random(200) < 0.25
    y[wrong] = -5 * x[wrong] + 3
    weights, threshold = np.ones(200), 4.0
    for _ in range(12):
        slope, shift = np.polyfit(x, y, 1, w=np.sqrt(weights + 1e-9))
        losses = (y - slope * x - shift) ** 2
        weights = np.asarray(o.self_paced_weights(losses.astype(np.float32), threshold=threshold, regularizer="linear"))
        threshold = max(threshold * 0.8, 0.3)
    ordinary = np.polyfit(x, y, 1)[0]
    assert abs(slope - 2) < 0.05 < 1 < abs(ordinary - 2)
    assert weights[wrong].mean() < 0.1 < 0.8 < weights[~wrong].mean()


def test_small_losses():
    losses = np.array([0.3, 0.1, np.nan, 0.1, 0.9, 0.2], np.float32)
    np.testing.assert_array_equal(o.small_loss_weights(losses, keep=0.5), [0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(o.small_loss_weights(losses, keep=5 / 6), [1, 1, 0, 1, 1, 1])
    kept = np.array([True, True, True, False, True, False])
    np.testing.assert_array_equal(o.small_loss_weights(losses, keep=0.5, where=kept), [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(o.small_loss_weights(losses, keep=0.0), 0)


def test_early_learning_holds_to_what_was_learnt_first():
    targets = np.zeros((6, 4))
    with jax.enable_x64(True):
        for _ in range(3):
            targets = o.early_learning_targets(LOGITS, targets, momentum=0.7)
        clipped = np.clip(P, 1e-4, 1 - 1e-4)
        normalized = clipped / clipped.sum(-1, keepdims=True)
        np.testing.assert_allclose(targets, (1 - 0.7**3) * normalized, rtol=1e-12)
        value, gradient = jax.value_and_grad(lambda x: o.early_learning_regularizer(x, targets).sum())(LOGITS)
        np.testing.assert_allclose(value, np.log(1 - (clipped * targets).sum(-1)).sum(), rtol=1e-12)
    # Descent raises the class that was predicted, most of all where the example agrees with its past.
    assert (np.asarray(gradient)[np.arange(6), P.argmax(-1)] < 0).all()


def test_memory_is_written_and_read_by_id():
    memory = o.example_memory(4, (2,), fill=0.5)
    memory = o.record_examples(memory, np.array([3, -1, 4, 0]), np.arange(8.0).reshape(4, 2))
    np.testing.assert_array_equal(memory.values, [[6, 7], [0.5, 0.5], [0.5, 0.5], [0, 1]])
    np.testing.assert_array_equal(o.recall_examples(memory, np.array([3, 4, -1])), [[0, 1], [np.nan] * 2, [np.nan] * 2])


CONFUSION = np.log(RNG.dirichlet(np.ones(4), size=(6, 3, 4)))
SAID = RNG.integers(0, 4, (6, 3))


def test_annotators_closed_forms():
    with jax.enable_x64(True):
        loss = jax.jit(o.annotator_cross_entropy_loss)
        wanted = -np.log(np.einsum("bk,bakz->baz", P, np.exp(CONFUSION)))
        np.testing.assert_allclose(
            loss(LOGITS, CONFUSION, SAID), np.take_along_axis(wanted, SAID[..., None], -1)[..., 0], rtol=1e-12
        )
        said = RNG.dirichlet(np.ones(4), size=(6, 3))
        np.testing.assert_allclose(loss(LOGITS, CONFUSION, said), (said * wanted).sum(-1), rtol=1e-12)
        # The same for all examples: not copied.
        np.testing.assert_allclose(
            loss(LOGITS, CONFUSION[0], SAID), loss(LOGITS, np.stack([CONFUSION[0]] * 6), SAID), rtol=1e-12
        )
        perfect = o.annotator_cross_entropy_loss(LOGITS, 1e3 * np.eye(4)[None], IDS[:, None])
        np.testing.assert_allclose(perfect[:, 0], o.softmax_cross_entropy(LOGITS, IDS), rtol=1e-12)

        def guessing(x):
            return o.annotator_cross_entropy_loss(x, np.zeros((3, 4, 4)), SAID).sum()

        value, gradient = jax.value_and_grad(guessing)(LOGITS)
        np.testing.assert_allclose(value, 18 * np.log(4), rtol=1e-12)
        np.testing.assert_allclose(gradient, 0, atol=1e-14)


def test_annotators_who_said_nothing_are_masked():
    said = np.where(RNG.random((6, 3)) < 0.4, -1, SAID)
    losses = o.annotator_cross_entropy_loss(LOGITS.astype(np.float32), CONFUSION.astype(np.float32), said)
    masked = o.annotator_cross_entropy_loss(
        LOGITS.astype(np.float32), CONFUSION.astype(np.float32), said, where=said >= 0
    )
    np.testing.assert_array_equal(np.isnan(losses), said < 0)
    np.testing.assert_array_equal(masked, np.where(said < 0, 0, losses))
    nobody = LOGITS.astype(np.float32).copy()
    nobody[0] = np.nan
    said[0] = -1
    value, gradient = jax.value_and_grad(
        lambda x: o.annotator_cross_entropy_loss(x, CONFUSION.astype(np.float32), said, where=said >= 0).sum()
    )(nobody)
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient[0], 0)


def test_annotator_weights():
    embeddings = RNG.normal(size=(5, 3))
    with jax.enable_x64(True):
        similar = np.exp(-0.8 * ((embeddings[:, None] - embeddings) ** 2).sum(-1)).sum(-1)
        weights = o.annotator_similarity_weights(embeddings, gamma=0.8)
        np.testing.assert_allclose(weights, 5 / similar / (1 / similar).sum(), rtol=1e-12)
        np.testing.assert_allclose(o.annotator_similarity_weights(100 * embeddings, gamma=1.0), 1, rtol=1e-12)
        copies = np.array([[0.0], [0.0], [1.0]])
        np.testing.assert_allclose(o.annotator_similarity_weights(copies, gamma=1e3), [0.75, 0.75, 1.5], rtol=1e-12)
        np.testing.assert_allclose(jax.grad(o.annotator_bandwidth_prior)(1.0), 0, atol=1e-15)  # the mode
        confusion = jax.nn.softmax(o.diagonal_confusion_logits(np.array([0.3, -1.0, 2.0])))
        right = 1 / (1 + np.exp(-np.array([0.3, -1.0, 2.0])))
        wanted = np.where(np.eye(3, dtype=bool), right[:, None], (1 - right)[:, None] / 2)
        np.testing.assert_allclose(confusion, wanted, rtol=1e-12)
    start = jax.nn.softmax(o.prior_confusion_logits(5, accuracy=0.7))
    np.testing.assert_allclose(start, 0.7 * np.eye(5) + 0.075 * (1 - np.eye(5)), rtol=1e-6)
