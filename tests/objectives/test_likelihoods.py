"""Likelihoods against SciPy, mpmath and their limits; tests/golden/likelihoods.py wrote what peers say."""

import pathlib

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy import stats

import objectives

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "likelihoods.npz")

# case: (function, keywords)
CASES = {
    "gaussian": ("gaussian_nll_loss", {}),
    "laplace": ("laplace_nll_loss", {}),
    "student_t": ("student_t_nll_loss", {}),
    "von_mises": ("von_mises_nll_loss", {}),
    "gamma": ("gamma_nll_loss", {}),
    "log_normal": ("log_normal_nll_loss", {}),
    "beta": ("beta_nll_loss", {}),
    "poisson": ("poisson_nll_loss", {}),
    "negative_binomial": ("negative_binomial_nll_loss", {}),
    "zero_inflated_poisson": ("zero_inflated_poisson_nll_loss", {}),
    "dirichlet": ("dirichlet_nll_loss", {}),
    "gaussian_mixture": ("gaussian_mixture_nll_loss", {}),
    "multivariate_gaussian": ("multivariate_gaussian_nll_loss", {}),
    "evidential_regression": ("evidential_regression_loss", {"penalty": 0.01}),
    "tweedie_1.0": ("tweedie_deviance_loss", {"power": 1.0}),
    "tweedie_1.5": ("tweedie_deviance_loss", {"power": 1.5}),
    "tweedie_2.0": ("tweedie_deviance_loss", {"power": 2.0}),
    "crps_gaussian": ("crps_gaussian", {}),
    "crps_logistic": ("crps_logistic", {}),
    "crps_laplace": ("crps_laplace", {}),
    "crps_student_t": ("crps_student_t", {"df": 3.0}),
    "crps_gaussian_mixture": ("crps_gaussian_mixture", {}),
    "crps_ensemble": ("crps_ensemble", {"fair": False}),
    "crps_ensemble_fair": ("crps_ensemble", {"fair": True}),
    "crps_quantiles": ("crps_quantiles", {"levels": np.array([0.05, 0.25, 0.5, 0.75, 0.95])}),
    "interval_score": ("interval_score", {"alpha": 0.1}),
    "weighted_interval_score": ("weighted_interval_score", {"alphas": np.array([0.1, 0.5])}),
    "energy_score_nrg": ("energy_score", {"fair": False}),
    "energy_score_fair": ("energy_score", {"fair": True}),
    "variogram_score": ("variogram_score", {}),
    "cox_efron": ("cox_partial_likelihood_loss", {}),
    "cox_efron_strata": ("cox_partial_likelihood_loss", {}),
    "cox_breslow": ("cox_partial_likelihood_loss", {"ties": "breslow"}),
    "cox_breslow_strata": ("cox_partial_likelihood_loss", {"ties": "breslow"}),
    "concordance_index": ("concordance_index", {}),
    "logistic_hazard": ("logistic_hazard_loss", {}),
    "pmf_survival": ("pmf_survival_loss", {}),
    "deephit_ranking": ("deephit_ranking_loss", {"sigma": 0.3}),
    "coral": ("coral_loss", {}),
    "corn_mean": ("corn_loss", {}),
}


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


@pytest.fixture(scope="module")
def ours():
    """Losses and gradients of all cases in float64, from one program."""

    def differentiate(case, inputs):
        name, keywords = CASES[case]
        moving = {n.removeprefix("grad_") for n in parts(case) if n.startswith("grad_")}

        def total(leaves):
            loss = getattr(objectives, name)(**{**inputs, **leaves}, **keywords)
            return loss.sum(), loss

        (_, loss), gradients = jax.value_and_grad(total, has_aux=True)({n: inputs[n] for n in moving})
        return loss, gradients

    inputs = {
        case: {n: x for n, x in parts(case).items() if n != "loss" and not n.startswith("grad_")} for case in CASES
    }
    with jax.enable_x64(True):
        return jax.jit(lambda inputs: {case: differentiate(case, inputs[case]) for case in CASES})(inputs)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case, ours):
    golden = parts(case)
    loss, gradients = ours[case]
    assert loss.dtype == np.float64
    loss, wanted = np.asarray(loss), golden["loss"]
    if case.startswith("cox"):  # statsmodels has the sum over the batch
        loss = loss.sum()
    if case == "corn_mean":  # coral-pytorch divides by the number of its terms
        terms = (golden["labels"][:, None] >= np.arange(4)).sum()
        loss, gradients = loss.sum() / terms, {n: np.asarray(g) / terms for n, g in gradients.items()}
    rtol = 2e-6 if case == "von_mises" else 1e-9  # torch takes a polynomial of eight digits for the Bessel function
    np.testing.assert_allclose(loss, wanted, rtol=rtol, atol=1e-11)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, golden[f"grad_{name}"], rtol=rtol, atol=1e-11, err_msg=name)


def test_every_golden_case_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files} - {"peers"} == set(CASES)


def test_likelihoods_equal_scipys():
    """Those without a golden case; in float64."""
    rng = np.random.default_rng(0)
    m, s, logit = rng.normal(size=(3, 10))
    amount, count = np.exp(rng.normal(size=10)), np.array([0, 1, 2, 3, 0, 7, 40, 0, 1, 5])
    mean, shape, pi = np.exp(m), np.exp(s), 1 / (1 + np.exp(-logit))
    poisson, nb = stats.poisson(mean), stats.nbinom(shape, shape / (shape + mean))
    lower = np.array([-np.inf, -1.0, 0.3, 0.3, -np.inf, 1.0, 2.0, 8.0, -9.0, 0.0])
    upper = np.array([0.5, 1.0, 0.3, np.inf, np.inf, 1.5, 2.0, 9.0, -8.0, 0.01])
    normal = stats.norm(m, shape)
    with np.errstate(divide="ignore"):
        between = np.where(
            upper > m, np.log(normal.sf(lower) - normal.sf(upper)), np.log(normal.cdf(upper) - normal.cdf(lower))
        )

    def hurdle(base):
        rest = -np.log1p(-pi) - base.logpmf(count) + np.log1p(-base.pmf(0))
        return np.where(count == 0, -np.log(pi), rest)

    def inflated(base):
        return -np.log(np.where(count == 0, pi, 0) + (1 - pi) * base.pmf(count))

    wanted = {
        "inverse_gaussian": -stats.invgauss(mean / shape, scale=shape).logpdf(amount),
        "hurdle_poisson": hurdle(poisson),
        "hurdle_nb": hurdle(nb),
        "inflated_nb": inflated(nb),
        "tobit": np.where(lower == upper, -normal.logpdf(lower), -between),
        "mixture": -np.log(pi * normal.pdf(amount) + (1 - pi) * stats.laplace(m, shape).pdf(amount)),
        "beta_nll": shape**1.0 * -normal.logpdf(amount),
    }

    @jax.jit
    def compute():
        nlls = [objectives.gaussian_nll_loss(m, 2 * s, amount), objectives.laplace_nll_loss(m, s, amount)]
        return {
            "inverse_gaussian": objectives.inverse_gaussian_nll_loss(m, s, amount),
            "hurdle_poisson": objectives.hurdle_poisson_nll_loss(logit, m, count),
            "hurdle_nb": objectives.hurdle_negative_binomial_nll_loss(logit, m, s, count),
            "inflated_nb": objectives.zero_inflated_negative_binomial_nll_loss(logit, m, s, count),
            "tobit": objectives.tobit_nll_loss(m, s, lower, upper),
            "mixture": objectives.mixture_nll_loss(jnp.stack([logit, 0 * logit], -1), jnp.stack(nlls, -1)),
            "beta_nll": objectives.gaussian_nll_loss(m, 2 * s, amount, beta=0.5),
        }

    with jax.enable_x64(True):
        actual = compute()
    for name, value in wanted.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-8, err_msg=name)


mp.mp.dps = 50


def exact_poisson(y, log_rate):
    return mp.exp(log_rate) - y * log_rate + mp.loggamma(y + 1)


def exact_negative_binomial(y, m, s):
    r, mu = mp.exp(s), mp.exp(m)
    choose = mp.loggamma(y + r) - mp.loggamma(r) - mp.loggamma(y + 1)
    return -choose - r * mp.log(r / (r + mu)) - y * mp.log(mu / (r + mu))


def exact_gamma(y, m, c):
    a = mp.exp(c)
    return mp.loggamma(a) - a * mp.log(a * y / mp.exp(m)) + a * y / mp.exp(m) + mp.log(y)


def exact_student_t(y, loc, s, d):
    nu, z = mp.exp(d), (y - loc) / mp.exp(s)
    ratio = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2)
    return (nu + 1) / 2 * mp.log1p(z * z / nu) - ratio + mp.log(nu * mp.pi) / 2 + s


def exact_beta(y, a, b):
    a, b = mp.exp(a), mp.exp(b)
    return mp.log(mp.beta(a, b)) - (a - 1) * mp.log(y) - (b - 1) * mp.log1p(-y)


def exact_von_mises(y, loc, c):
    k = mp.exp(c)
    return 2 * k * mp.sin((y - loc) / 2) ** 2 + mp.log(2 * mp.pi * mp.besseli(0, k) * mp.exp(-k))


def exact_tobit_above(lower, m, s):
    return -mp.log(mp.erfc((lower - m) / mp.exp(s) / mp.sqrt(2)) / 2)


EXTREMES = {
    "poisson, a million": (exact_poisson, "poisson_nll_loss", 1e6, (13.8155,)),
    "poisson, none of very few": (exact_poisson, "poisson_nll_loss", 0.0, (-60.0,)),
    "negative binomial, nearly Poisson": (exact_negative_binomial, "negative_binomial_nll_loss", 10.0, (2.3, 16.0)),
    "negative binomial, a million": (exact_negative_binomial, "negative_binomial_nll_loss", 1e6, (13.8, 10.0)),
    "negative binomial, dispersed": (exact_negative_binomial, "negative_binomial_nll_loss", 3.0, (1.0, -30.0)),
    "negative binomial, a small mean": (exact_negative_binomial, "negative_binomial_nll_loss", 1.0, (-50.0, 1.0)),
    "gamma, a large shape": (exact_gamma, "gamma_nll_loss", 1.001, (0.0, 14.0)),
    "gamma, a small shape": (exact_gamma, "gamma_nll_loss", 2.0, (0.0, -30.0)),
    "student, nearly normal": (exact_student_t, "student_t_nll_loss", 3.0, (1.0, 0.5, 16.0)),
    "student, few degrees": (exact_student_t, "student_t_nll_loss", 3.0, (1.0, 0.5, -20.0)),
    "student, far out": (exact_student_t, "student_t_nll_loss", 1e30, (1.0, -40.0, 0.7)),
    "beta, concentrated": (exact_beta, "beta_nll_loss", 0.25, (11.0, 12.1)),
    "beta, spread": (exact_beta, "beta_nll_loss", 0.25, (-30.0, -31.0)),
    "von mises, concentrated": (exact_von_mises, "von_mises_nll_loss", 1.001, (1.0, 14.0)),
    "von mises, uniform": (exact_von_mises, "von_mises_nll_loss", 3.0, (1.0, -30.0)),
    "tobit, deep in the tail": (exact_tobit_above, "tobit_nll_loss", 40.0, (0.0, 0.1)),
}


@pytest.fixture(scope="module")
def extremes():
    def one(name, y, parameters):
        def loss(parameters):
            targets = (y, jnp.full(1, jnp.inf)) if name == "tobit_nll_loss" else (y,)
            return getattr(objectives, name)(*parameters, *targets)[0]

        return jax.value_and_grad(loss)(parameters)

    arrays = {
        case: (jnp.full(1, y, jnp.float32), tuple(jnp.full(1, p, jnp.float32) for p in parameters))
        for case, (_, _, y, parameters) in EXTREMES.items()
    }
    return jax.jit(lambda arrays: {case: one(EXTREMES[case][1], *arrays[case]) for case in EXTREMES})(arrays), arrays


@pytest.mark.parametrize("case", EXTREMES)
def test_extremes_equal_mpmath_in_float32(case, extremes):
    """Value and gradient at parameters where textbook forms lose all digits of float32."""
    exact = EXTREMES[case][0]
    (value, gradients), (y, parameters) = extremes[0][case], extremes[1][case]
    y, parameters = mp.mpf(float(y[0])), [mp.mpf(float(p[0])) for p in parameters]
    # What cannot be had: the logarithm of a million is rounded to 1e-6, and the misfit is a million times a half of the
    # squared difference of two of them. Textbook forms are off by 1, not by 0.01.
    loose = 1e-2 if "million" in case else 2e-3 if "concentrated" in case or "large" in case else 2e-5
    np.testing.assert_allclose(value, float(exact(y, *parameters)), rtol=2e-6, atol=loose)
    for k, gradient in enumerate(gradients):
        slope = mp.diff(lambda p, k=k: exact(y, *[p if j == k else q for j, q in enumerate(parameters)]), parameters[k])
        if "million" in case and k == 0:  # y - rate: a difference of what is rounded to 1 in a million
            np.testing.assert_allclose(gradient[0], float(slope), rtol=2e-2, atol=2.0)
        else:
            np.testing.assert_allclose(gradient[0], float(slope), rtol=2e-4 if loose > 1e-4 else 1e-5, atol=1e-4)


def test_limits():
    y, m, s = jnp.array([0.3, -2.0, 5.0]), jnp.array([0.1, 0.2, 0.3]), jnp.array([0.5, -0.5, 0.0])
    count = jnp.array([0.0, 3.0, 1000.0])

    @jax.jit
    def compute():
        log_rate = jnp.array([-3.0, 1.0, 6.9])
        return {
            "t, normal": (
                objectives.student_t_nll_loss(m, s, jnp.full(3, 1e4), y),
                objectives.gaussian_nll_loss(m, 2 * s, y),
            ),
            "negative binomial, Poisson": (
                objectives.negative_binomial_nll_loss(log_rate, jnp.full(3, 1e4), count),
                objectives.poisson_nll_loss(log_rate, count),
            ),
            "tweedie near 1": (
                objectives.tweedie_deviance_loss(log_rate, count, power=1.000001),
                objectives.tweedie_deviance_loss(log_rate, count, power=1.0),
            ),
            "tweedie near 2": (
                objectives.tweedie_deviance_loss(m, jnp.exp(y), power=1.999999),
                objectives.tweedie_deviance_loss(m, jnp.exp(y), power=2.0),
            ),
            "never inflated": (
                objectives.zero_inflated_poisson_nll_loss(jnp.full(3, -1e4), log_rate, count),
                objectives.poisson_nll_loss(log_rate, count),
            ),
            "one component": (
                objectives.gaussian_mixture_nll_loss(jnp.zeros((3, 1)), m[:, None], s[:, None], y),
                objectives.gaussian_nll_loss(m, 2 * s, y),
            ),
            "independent": (
                objectives.multivariate_gaussian_nll_loss(m[None], jnp.diag(s)[None], y[None])[0],
                objectives.gaussian_nll_loss(m, 2 * s, y).sum(),
            ),
            "Dawid-Sebastiani": (
                objectives.dawid_sebastiani_score(m, s, y),
                2 * objectives.gaussian_nll_loss(m, s, y) - np.log(2 * np.pi),
            ),
        }

    for name, (actual, wanted) in compute().items():
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def test_targets_outside_the_support_are_nan():
    p = jnp.zeros(4)
    outside = {
        "gaussian_nll_loss": (2, [np.nan, np.inf, -np.inf]),
        "gamma_nll_loss": (2, [0.0, -1.0, np.inf]),
        "log_normal_nll_loss": (2, [0.0, -1.0, np.nan]),
        "inverse_gaussian_nll_loss": (2, [0.0, -1.0, np.inf]),
        "beta_nll_loss": (2, [0.0, 1.0, -0.1]),
        "poisson_nll_loss": (1, [-1.0, np.nan, np.inf]),
        "negative_binomial_nll_loss": (2, [-1.0, np.nan, np.inf]),
        "hurdle_poisson_nll_loss": (2, [-1.0, np.nan, np.inf]),
        "tweedie_deviance_loss": (1, [-1.0, np.nan, np.inf]),
    }

    @jax.jit
    def compute():
        def one(name, count, y):
            loss, pullback = jax.vjp(lambda *p: getattr(objectives, name)(*p, jnp.array([0.5, *y])), *[p] * count)
            return loss, pullback(jnp.ones(4))

        result = {name: one(name, *each) for name, each in outside.items()}
        ends = jnp.array([[1.0, 0.0], [np.inf, np.inf], [-np.inf, -np.inf], [np.nan, 1.0], [0.0, 1.0]])
        zeros = jnp.zeros(5)
        return (
            result,
            objectives.tobit_nll_loss(zeros, zeros, *ends.T),
            objectives.aft_loss(
                zeros, zeros, jnp.array([-1.0, 0.0, 1.0, np.inf, 0.0]), jnp.array([1.0, 0.0, 0.5, np.inf, 1.0])
            ),
            objectives.dirichlet_nll_loss(jnp.zeros((3, 2)), jnp.array([[0.5, 0.4], [1.0, 0.0], [0.4, 0.6]])),
        )

    result, tobit, aft, dirichlet = compute()
    for name, (loss, gradients) in result.items():
        for array in (loss, *gradients):
            np.testing.assert_array_equal(np.isnan(array), [False, True, True, True], err_msg=name)
    for loss in (tobit, aft):
        np.testing.assert_array_equal(np.isnan(loss), [True] * 4 + [False])
    np.testing.assert_array_equal(np.isnan(dirichlet), [True, True, False])


def test_zero_is_no_gamma_amount():
    """At power 2 the deviance of 0 is infinite, and the answer NaN; just below it is a number."""
    deviance = jax.vmap(lambda p: objectives.tweedie_deviance_loss(jnp.zeros(1), jnp.zeros(1), power=p)[0])
    assert np.isnan(deviance(jnp.array([1.0, 1.5, 2.0]))).tolist() == [False, False, True]


def test_beta_nll_at_one_has_the_gradient_of_squared_error():
    loss = lambda m, v: objectives.gaussian_nll_loss(m, v, jnp.array([2.0, -1.0]), beta=1.0).sum()
    gradient = jax.grad(loss)(jnp.array([0.5, 0.5]), jnp.array([3.0, -5.0]))
    np.testing.assert_allclose(gradient, [-1.5, 1.5], rtol=1e-6)


def test_multivariate_gaussian_ignores_what_is_above_the_diagonal_and_has_no_inverse():
    rng = np.random.default_rng(0)
    m, raw, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3))
    losses = [objectives.multivariate_gaussian_nll_loss(m, np.float32(x), y) for x in (raw, np.tril(raw))]
    np.testing.assert_array_equal(*losses)


def barron_log_partition(logit):
    """log Z(α) by mpmath, α = 2σ(logit)."""
    alpha = 2 / (1 + mp.exp(-mp.mpf(logit)))
    bend = 2 - alpha

    def density(y):
        square = mp.exp(2 * y)
        return mp.exp(y - bend / alpha * ((square / bend + 1) ** (alpha / 2) - 1))

    return float(mp.log(2 * mp.quad(density, [-90, -50, -30, -15, -5, -2, 0, 1, 2, 4, 8, 15, 30, 50, 90])))


def test_barrons_normaliser_is_right_to_the_digits_of_the_dtype():
    logits = np.array([-20.0, -6.0, -2.0, -0.3, 0.0, 0.7, 2.0, 5.0, 12.0, 22.0])
    with mp.workdps(25):
        exact = [barron_log_partition(float(logit)) for logit in logits]
    zeros = np.zeros_like(logits)
    single = [x.astype(np.float32) for x in (zeros, zeros, logits, zeros)]
    np.testing.assert_allclose(objectives.barron_nll_loss(*single), exact, rtol=4e-7)
    with jax.enable_x64(True):
        np.testing.assert_allclose(objectives.barron_nll_loss(zeros, zeros, logits, zeros), exact, rtol=1e-13)


def test_barrons_limits_are_normal_and_cauchy():
    y, scale = np.linspace(-30, 30, 13), 1.7
    zeros, logs = np.zeros(13), np.full(13, np.log(scale))
    with jax.enable_x64(True):
        for logit, limit in ((1e4, stats.norm(0, scale)), (-1e4, stats.cauchy(0, scale * np.sqrt(2)))):
            loss = objectives.barron_nll_loss(zeros, logs, np.full(13, logit), y)
            np.testing.assert_allclose(loss, -limit.logpdf(y), rtol=1e-12)
        # between them the error's part is the general robust loss
        loss = objectives.barron_nll_loss(zeros, logs, np.full(13, 1.3), y)
        robust = objectives.general_robust_loss(y, zeros, alpha=2 / (1 + np.exp(-1.3)), scale=scale)
        np.testing.assert_allclose(loss - loss[6], robust, rtol=1e-11, atol=1e-12)


def test_barrons_expected_loss_is_least_at_the_true_parameters():
    theta = np.array([0.4, -0.3, 0.8])
    with jax.enable_x64(True):

        def loss(y, theta):
            return objectives.barron_nll_loss(*theta, y)

        both = jax.jit(lambda y: (loss(y, theta), jax.grad(loss, argnums=1)(y, theta)))
        hessian = jax.jit(lambda y: jax.hessian(loss, argnums=1)(y, theta))
        s, h = np.linspace(-4.0, 4.0, 161, retstep=True)
        y, weight = theta[0] + np.sinh(np.sinh(s)), h * np.cosh(np.sinh(s)) * np.cosh(s)
        values, slopes = jax.vmap(both)(y)
        density = weight * np.exp(-values)
        np.testing.assert_allclose(density.sum(), 1, rtol=1e-9)
        np.testing.assert_allclose(density @ slopes, 0, atol=1e-9)
        information = np.einsum("n,nij->ij", density, jax.vmap(hessian)(y))
        # Fisher's: the location is on its own, the scale and the shape tell apart, if only just
        np.testing.assert_allclose(information[0, 1:], 0, atol=1e-9)
        np.testing.assert_allclose(information, np.einsum("n,ni,nj->ij", density, slopes, slopes), rtol=1e-6, atol=1e-9)
        assert np.all(np.linalg.eigvalsh(information) > 1e-3)


def test_barrons_nodes_are_no_temporaries():
    size = 1 << 16
    arguments = [jax.ShapeDtypeStruct((size,), jnp.float32)] * 4
    gradient = jax.jit(jax.grad(lambda *a: objectives.barron_nll_loss(*a).sum(), argnums=(0, 1, 2)))
    temporaries = gradient.lower(*arguments).compile().memory_analysis().temp_size_in_bytes
    assert temporaries < 48 * 4 * size  # as Student's t, about; each of many numbers at all nodes would be 58 arrays
