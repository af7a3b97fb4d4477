"""Golden values of likelihoods, scoring rules, survival and ordinal losses, with gradients where the peer has them.

    python tests/golden/likelihoods.py

where torch, scoringrules, properscoring, statsmodels, lifelines, scikit-survival, scikit-learn, pycox and coral-pytorch
are installed (pycox without its data sets: two of its modules are read from their files). Writes likelihoods.npz beside
this file: arrays named `case/argument`, values `case/loss`, gradients of their sum `case/grad_*`, and the peers under
`peers`.
"""

import importlib.util
import pathlib
import sys
import types
from importlib.metadata import distribution, version

import lifelines.utils
import numpy as np
import properscoring
import scoringrules
import torch
import torch.nn.functional as F
from coral_pytorch.losses import coral_loss, corn_loss
from sklearn.metrics import mean_tweedie_deviance
from sksurv.metrics import concordance_index_censored
from statsmodels.duration.hazard_regression import PHReg
from torch import distributions as D

GOLDEN: dict[str, np.ndarray] = {}
SIZE = 12


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def record(case, function, inputs, constants=None):
    """Store the inputs, the loss of `function(*inputs, *constants)` and the gradients of its sum."""
    constants = constants or {}
    leaves = [value.clone().requires_grad_() for value in inputs.values()]
    loss = function(*leaves, *constants.values())
    loss.sum().backward()
    for name, value in (inputs | constants).items():
        GOLDEN[f"{case}/{name}"] = value.numpy()
    GOLDEN[f"{case}/loss"] = loss.detach().numpy()
    for name, leaf in zip(inputs, leaves, strict=True):
        GOLDEN[f"{case}/grad_{name}"] = leaf.grad.numpy()


def values(case, loss, **arrays):
    """Store arrays and a loss that has no gradient."""
    GOLDEN.update({f"{case}/{name}": np.asarray(value) for name, value in arrays.items()})
    GOLDEN[f"{case}/loss"] = np.asarray(loss, np.float64)


def likelihoods() -> None:
    location, scale, third = normal(SIZE), 0.5 * normal(SIZE), normal(SIZE)
    y, amount = normal(SIZE), torch.exp(normal(SIZE))
    count = torch.tensor([0, 1, 2, 3, 0, 7, 40, 0, 1, 5, 0, 2], dtype=torch.float64)
    line, logs = {"location": location, "log_scale": scale}, {"log_mean": location, "log_concentration": scale}

    def nll(make):
        return lambda *args: -make(*args[:-1]).log_prob(args[-1])

    def negative_binomial(m, s):
        return D.NegativeBinomial(s.exp(), logits=m - s)

    def zero_inflated(logits, m, y):
        zero = torch.where(y == 0, 0.0, -torch.inf)
        return -torch.logaddexp(F.logsigmoid(logits) + zero, F.logsigmoid(-logits) + D.Poisson(m.exp()).log_prob(y))

    def mixture(logits, m, s, y):
        parts = D.Normal(m, s.exp()).log_prob(y[:, None])
        return -torch.logsumexp(torch.log_softmax(logits, -1) + parts, -1)

    def multivariate(m, raw, y):
        factor = torch.tril(raw, -1) + torch.diag_embed(torch.diagonal(raw, dim1=-2, dim2=-1).exp())
        return -D.MultivariateNormal(m, scale_tril=factor).log_prob(y)

    def evidential(g, nu, alpha, beta, y):  # the authors' NIG_NLL and NIG_Reg, from their TensorFlow, in torch
        v, a, b = nu.exp(), alpha.exp(), beta.exp()
        omega = 2 * b * (1 + v)
        return (
            0.5 * torch.log(np.pi / v)
            - a * torch.log(omega)
            + (a + 0.5) * torch.log(v * (y - g) ** 2 + omega)
            + torch.lgamma(a)
            - torch.lgamma(a + 0.5)
            + 0.01 * torch.abs(y - g) * (2 * v + a)
        )

    target = {"targets": y}
    gaussian = {"mean": location, "log_variance": scale}
    record("gaussian", nll(lambda m, v: D.Normal(m, (0.5 * v).exp())), gaussian, target)
    record("laplace", nll(lambda m, s: D.Laplace(m, s.exp())), line, target)
    record("student_t", nll(lambda m, s, d: D.StudentT(d.exp(), m, s.exp())), {**line, "log_df": third}, target)
    angles = {"location": location, "log_concentration": scale}
    record("von_mises", nll(lambda m, c: D.VonMises(m, c.exp())), angles, target)
    record("gamma", nll(lambda m, c: D.Gamma(c.exp(), (c - m).exp())), logs, {"targets": amount})
    record("log_normal", nll(lambda m, s: D.LogNormal(m, s.exp())), line, {"targets": amount})
    shapes = {"log_alpha": location, "log_beta": scale}
    record("beta", nll(lambda a, b: D.Beta(a.exp(), b.exp())), shapes, {"targets": torch.sigmoid(y)})
    record("poisson", nll(lambda r: D.Poisson(r.exp())), {"log_rate": location}, {"targets": count})
    record("negative_binomial", nll(negative_binomial), logs, {"targets": count})
    inflated = {"inflation_logits": third, "log_rate": location}
    record("zero_inflated_poisson", zero_inflated, inflated, {"targets": count})
    simplex = {"targets": torch.softmax(normal(SIZE, 3), -1)}
    record("dirichlet", nll(lambda a: D.Dirichlet(a.exp())), {"log_concentration": normal(SIZE, 3)}, simplex)
    parts = {"logits": normal(SIZE, 3), "mean": normal(SIZE, 3), "log_scale": 0.5 * normal(SIZE, 3)}
    record("gaussian_mixture", mixture, parts, target)
    vectors = {"mean": normal(SIZE, 3), "log_cholesky": 0.5 * normal(SIZE, 3, 3)}
    record("multivariate_gaussian", multivariate, vectors, {"targets": normal(SIZE, 3)})
    evidence = {"location": location, "log_nu": scale, "log_alpha": third, "log_beta": normal(SIZE)}
    record("evidential_regression", evidential, evidence, target)
    for power in (1.0, 1.5, 2.0):
        some = amount.numpy() if power == 2 else count.numpy()
        mean = location.exp().numpy()
        deviance = [mean_tweedie_deviance(some[i : i + 1], mean[i : i + 1], power=power) for i in range(SIZE)]
        values(f"tweedie_{power}", deviance, log_mean=location, targets=some)


def scores() -> None:
    rng = np.random.default_rng(0)
    m, s, y = rng.normal(size=SIZE), 0.5 * rng.normal(size=SIZE), rng.normal(size=SIZE)
    scale, line = np.exp(s), {"location": m, "log_scale": s, "targets": y}
    closed, slope = properscoring.crps_gaussian(y, m, scale, grad=True)
    values("crps_gaussian", closed, mean=m, log_scale=s, targets=y, grad_mean=slope[0], grad_log_scale=slope[1] * scale)
    values("crps_logistic", scoringrules.crps_logistic(y, m, scale), **line)
    values("crps_laplace", scoringrules.crps_laplace(y, m, scale), **line)
    values("crps_student_t", scoringrules.crps_t(y, 3.0, m, scale), **line)
    means, logs, logits = rng.normal(size=(SIZE, 3)), 0.5 * rng.normal(size=(SIZE, 3)), rng.normal(size=(SIZE, 3))
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    mixture = {"logits": logits, "mean": means, "log_scale": logs, "targets": y}
    values("crps_gaussian_mixture", scoringrules.crps_mixnorm(y, means, np.exp(logs), weights), **mixture)
    ensemble = rng.normal(size=(SIZE, 7))
    values("crps_ensemble", properscoring.crps_ensemble(y, ensemble), ensemble=ensemble, targets=y)
    fair = scoringrules.crps_ensemble(y, ensemble, estimator="fair", backend="numpy")
    values("crps_ensemble_fair", fair, ensemble=ensemble, targets=y)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    quantiles = np.sort(rng.normal(size=(SIZE, 5)))
    pinball = scoringrules.crps_quantile(y, quantiles, levels, backend="numpy")
    values("crps_quantiles", pinball, quantiles=quantiles, targets=y)
    lower, upper = quantiles[:, :2], quantiles[:, :-3:-1]
    interval = scoringrules.interval_score(y, lower[:, 0], upper[:, 0], 0.1, backend="numpy")
    values("interval_score", interval, lower=lower[:, 0], upper=upper[:, 0], targets=y)
    middle = quantiles[:, 2]
    # Compiled by Numba: in 0.10.0 the same for NumPy adds the median itself and not the distance from it.
    weighted = scoringrules.weighted_interval_score(y, middle, lower, upper, np.array([0.1, 0.5]), backend="numba")
    values("weighted_interval_score", weighted, median=middle, lower=lower, upper=upper, targets=y)
    vectors, observed = rng.normal(size=(SIZE, 6, 3)), rng.normal(size=(SIZE, 3))
    arrays = {"ensemble": vectors, "targets": observed}
    for estimator in ("nrg", "fair"):
        energy = scoringrules.es_ensemble(observed, vectors, estimator=estimator, backend="numpy")
        values(f"energy_score_{estimator}", energy, **arrays)
    values("variogram_score", scoringrules.vs_ensemble(observed, vectors, p=0.5, backend="numpy"), **arrays)


def survival() -> None:
    rng = np.random.default_rng(1)
    eta, times, events = rng.normal(size=20), rng.integers(1, 7, 20).astype(float), rng.integers(0, 2, 20)
    strata = rng.integers(0, 2, 20).astype(np.int32)
    arrays = {"log_hazards": eta, "times": times, "events": events}
    for ties in ("efron", "breslow"):
        for groups in (None, strata):
            model = PHReg(times, np.eye(20), status=events, ties=ties, strata=groups)
            case = f"cox_{ties}" + ("" if groups is None else "_strata")
            more = {} if groups is None else {"strata": groups}
            values(case, -model.loglike(eta), **arrays, **more, grad_log_hazards=-model.score(eta))
    risks = np.round(eta, 0)  # with ties
    index = lifelines.utils.concordance_index(times, -risks, events)
    assert abs(index - concordance_index_censored(events == 1, times, risks)[0]) < 1e-12
    values("concordance_index", index, risks=risks, times=times, events=events)

    pycox = pathlib.Path(distribution("pycox").locate_file("pycox"))
    for package in ("pycox", "pycox.models"):
        sys.modules[package] = types.ModuleType(package)
    for module in ("utils", "loss"):
        spec = importlib.util.spec_from_file_location(f"pycox.models.{module}", pycox / "models" / f"{module}.py")
        loaded = sys.modules[f"pycox.models.{module}"] = importlib.util.module_from_spec(spec)
        setattr(sys.modules["pycox.models"], module, loaded)
        spec.loader.exec_module(loaded)
    losses = sys.modules["pycox.models.loss"]
    logits, bins, event = normal(20, 5), torch.randint(0, 5, (20,)), torch.randint(0, 2, (20,)).double()
    constants = {"durations": bins, "events": event}
    hazard = losses.nll_logistic_hazard
    record("logistic_hazard", lambda x, t, e: hazard(x, t, e, "none"), {"logits": logits}, constants)
    record("pmf_survival", lambda x, t, e: losses.nll_pmf(x, t, e, "none", 0.0), {"logits": logits}, constants)
    outlives = (bins[:, None] < bins) | ((bins[:, None] == bins) & (event == 0))
    pairs = (outlives & (event == 1)[:, None]).double()  # its pair_rank_mat, whose module needs the data sets

    def ranking(x, t, e):
        return losses.rank_loss_deephit_single(x, t, e, pairs, 0.3, "none")[:, 0]

    record("deephit_ranking", ranking, {"logits": logits}, constants)


def ordinal() -> None:
    logits, labels = 2 * normal(SIZE, 4), torch.randint(0, 5, (SIZE,))
    levels = (labels[:, None] > torch.arange(4)).double()
    importance = torch.tensor([0.5, 1.0, 2.0, 1.5], dtype=torch.float64)
    constants = {"labels": labels, "importance": importance}
    weighed = lambda x, y, w: coral_loss(x, levels, w, reduction=None)
    record("coral", weighed, {"logits": logits}, constants)
    record("corn_mean", lambda x, y: corn_loss(x, y, 5), {"logits": logits}, {"labels": labels})


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)  # pycox makes ones of the default dtype
    likelihoods()
    scores()
    survival()
    ordinal()
    names = "torch scoringrules properscoring statsmodels lifelines scikit-survival scikit-learn pycox coral-pytorch"
    peers = [f"{name} {version(name)}" for name in names.split()]
    print("\n".join(peers))
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), peers=np.array(peers), **GOLDEN)
