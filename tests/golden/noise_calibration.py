"""Golden values of losses for noisy labels, losses for calibration and calibration errors.

    python tests/golden/noise_calibration.py path/to/clones

where torch, torchmetrics, netcal, uncertainty-calibration, scikit-learn and crowd-kit are installed. `path/to/clones`
holds the authors' modules that are no packages, with `.float()` made `.double()` and decorators taken away: `apl.py`
(loss.py of github.com/HanxunH/Active-Passive-Losses), `dual_focal.py` (github.com/Linwei94/DualFocalLoss), `acls.py`
and `mbls.py` (github.com/cvlab-yonsei/ACLS), `mmce.py` and `flsd.py` (github.com/torrvision/focal_calibration),
`ldr.py` (github.com/Optimization-AI/ICML2023_LDR), `bi_tempered.py` (jax/loss.py of google/bi-tempered-loss there).
What is a few lines in its repository is written out below, with the repository's name. Writes noise_calibration.npz
beside this file: arrays named `case/part`, gradients `case/grad_*`, and the peers under `peers`.
"""

import importlib.util
import math
import pathlib
import sys
from importlib.metadata import version

import calibration
import netcal.metrics
import numpy as np
import pandas
import torch
import torch.nn.functional as F
import torchmetrics.functional.classification as metrics
from crowdkit.aggregation import DawidSkene
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

GOLDEN: dict[str, np.ndarray] = {}


def clone(name: str):
    """A module of a clone."""
    spec = importlib.util.spec_from_file_location(name, pathlib.Path(sys.argv[1]) / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(case: str, function, inputs: dict[str, torch.Tensor], constants: dict[str, torch.Tensor] | None = None):
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


def one_by_one(loss):
    """What a peer averages over the batch, an example at a time."""
    return lambda x, y: torch.stack([loss(x[i : i + 1], y[i : i + 1]).reshape(()) for i in range(len(y))])


def noisy_labels(logits: torch.Tensor, ids: torch.Tensor) -> None:
    """Active-passive losses, symmetric cross-entropy, LDR and ALDR, ELR, corrections, several annotators."""
    apl, classes = clone("apl"), logits.shape[1]
    for case, loss in {
        "nce": apl.NormalizedCrossEntropy(classes),
        "rce": apl.ReverseCrossEntropy(classes),
        "sce": apl.SCELoss(0.1, 1.0, classes),
        "nce_rce": apl.NCEandRCE(1.0, 1.0, classes),
        "nce_mae": apl.NCEandMAE(1.0, 2.0, classes),  # half the mean absolute error of the paper
    }.items():
        record(case, one_by_one(loss), {"logits": logits}, {"labels": ids})

    def normalized_focal(x, y):  # as apl.NormalizedFocalLoss, without its detached factors
        terms = -((1 - x.softmax(1)) ** 0.5) * x.log_softmax(1)
        return terms.gather(1, y[:, None])[:, 0] / terms.sum(1)

    peer = one_by_one(apl.NormalizedFocalLoss(gamma=0.5, num_classes=classes))
    np.testing.assert_allclose(normalized_focal(logits, ids), peer(logits, ids), rtol=1e-12)
    record("nfl", normalized_focal, {"logits": logits}, {"labels": ids})

    ldr, one_hot = clone("ldr"), F.one_hot(ids, classes).double()
    scores = logits / logits.abs().mean(1, keepdim=True)  # they normalise so

    def ldr_kl(x, y):  # as ldr.LDRLoss_V1 without softplus and normalisation
        pushed = 1.5 * (1 - one_hot) + x - x.gather(1, y[:, None])
        return 0.7 * torch.log(torch.mean(torch.exp(pushed / 0.7), dim=1))

    record("ldr_kl", ldr_kl, {"logits": logits}, {"labels": ids})
    adaptive = ldr.ALDRLoss_V1(len(ids), threshold=1.5, Lambda=0.9, alpha=2.0)
    adaptive.Lambda = torch.linspace(0.6, 0.9, len(ids), dtype=torch.float64)[:, None]
    GOLDEN["aldr/logits"], GOLDEN["aldr/labels"] = scores.numpy(), ids.numpy()
    GOLDEN["aldr/before"] = adaptive.Lambda[:, 0].clone().numpy()
    GOLDEN["aldr/loss"] = adaptive(scores, one_hot, torch.arange(len(ids))).numpy()
    GOLDEN["aldr/after"] = adaptive.Lambda[:, 0].numpy()

    old = 0.9 * torch.softmax(torch.randn_like(logits), dim=1)

    def early_learning(x, t):  # github.com/shengliu66/ELR, ELR/model/loss.py, two calls
        p = torch.clamp(F.softmax(x, dim=1), 1e-4, 1.0 - 1e-4)
        t = 0.7 * t + 0.3 * (p.detach() / p.detach().sum(dim=1, keepdim=True))
        GOLDEN["elr/new"] = t.numpy()
        return (1 - (t * p).sum(dim=1)).log()

    record("elr", early_learning, {"logits": logits}, {"targets": old})

    noise = torch.softmax(2 * torch.eye(classes, dtype=torch.float64) + torch.randn(classes, classes).double(), dim=1)

    def forward(x, t, y):  # github.com/giorgiop/loss-correction, loss.py
        return -torch.log(x.softmax(1) @ t).gather(1, y[:, None])[:, 0]

    def backward(x, t, y):
        return -(F.one_hot(y, classes).double() @ torch.inverse(t) * x.log_softmax(1)).sum(1)

    inputs = {"logits": logits, "transition": noise}
    record("forward", forward, inputs, {"labels": ids})
    record("backward", backward, inputs, {"labels": ids})

    def soft(x, y):  # Reed et al., with the gradient through the target
        target = 0.95 * F.one_hot(y, classes).double() + 0.05 * x.softmax(1)
        return F.cross_entropy(x, target, reduction="none")

    def hard(x, y):
        target = 0.8 * F.one_hot(y, classes).double() + 0.2 * F.one_hot(x.argmax(1), classes).double()
        return F.cross_entropy(x, target, reduction="none")

    record("soft_bootstrapping", soft, {"logits": logits}, {"labels": ids})
    record("hard_bootstrapping", hard, {"logits": logits}, {"labels": ids})

    confusion = torch.randn(len(ids), 2, classes, classes, dtype=torch.float64)
    said = torch.randint(0, classes, (len(ids), 2))

    def annotators(x, c, y):  # github.com/ies-research/multi-annotator-deep-learning, lfma/modules/_madl_module.py
        p_class_log, p_perf_log = F.log_softmax(x, dim=-1), F.log_softmax(c, dim=-1)
        p_annot_log = torch.logsumexp(p_class_log[:, None, :, None] + p_perf_log, dim=2).swapaxes(1, 2)
        return F.nll_loss(p_annot_log, y, reduction="none", ignore_index=-1)

    record("annotators", annotators, {"logits": logits, "confusion_logits": confusion}, {"labels": said})
    prior = torch.distributions.Gamma(torch.tensor(1.25).double(), torch.tensor(0.25).double())
    record("bandwidth_prior", lambda g: -prior.log_prob(g), {"gamma": torch.tensor([0.1, 1.0, 7.0]).double()})


def dawid_skene() -> None:
    """The last likelihood of crowd-kit's EM, with what it depends on."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 40)
    right = generator.random((40, 4)) < np.array([0.9, 0.7, 0.6, 0.8])
    labels = np.where(right, truth[:, None], generator.integers(0, 3, (40, 4)))
    rows = [(task, worker, labels[task, worker]) for task in range(40) for worker in range(4)]
    data = pandas.DataFrame(rows, columns=["task", "worker", "label"])
    model = DawidSkene(n_iter=500, tol=0).fit(data)
    errors = model.errors_.reindex(pandas.MultiIndex.from_product([range(4), range(3)])).fillna(0.0)
    GOLDEN["dawid_skene/labels"] = labels
    GOLDEN["dawid_skene/priors"] = model.priors_.sort_index().to_numpy()
    # worker, said, true: the rows of errors are what was said
    GOLDEN["dawid_skene/errors"] = errors.sort_index(axis=1).to_numpy().reshape(4, 3, 3)
    GOLDEN["dawid_skene/posterior"] = model.probas_.sort_index().sort_index(axis=1).to_numpy()


def calibration_losses(logits: torch.Tensor, ids: torch.Tensor) -> None:
    """Dual focal, FLSD-53, MbLS, ACLS, MMCE, soft-binned ECE."""
    dual, flsd = clone("dual_focal"), clone("flsd")
    record("dual_focal", one_by_one(dual.DualFocalLoss(gamma=5.0)), {"logits": logits}, {"labels": ids})
    record("flsd", one_by_one(flsd.FocalLossAdaptive(gamma=3.0)), {"logits": logits}, {"labels": ids})
    wide = 4 * logits
    mbls, acls = clone("mbls").MbLS(margin=6.0, alpha=0.1), clone("acls").ACLS(margin=6.0)
    record("mbls", one_by_one(lambda x, y: mbls(x, y)[0]), {"logits": wide}, {"labels": ids})
    record("acls", one_by_one(lambda x, y: acls(x, y)[0]), {"logits": wide}, {"labels": ids})
    mmce = clone("mmce").MMCE("cpu")
    record("mmce_squared", lambda x, y: mmce(x, y), {"logits": logits}, {"labels": ids})

    def soft_binned(x, y):  # github.com/google/uncertainty-baselines, secondary_losses.py, in torch
        confidence, predicted = x.softmax(1).max(1)
        right = (predicted == y).double()
        anchors = torch.arange(1 / 30, 1, 1 / 15, dtype=torch.float64)
        shares = F.softmax(-((confidence[:, None] - anchors) ** 2) / 0.01, dim=1)
        mass = shares.sum(0)
        confident = (confidence[:, None] * shares).sum(0) / mass
        accurate = (right[:, None] * shares).sum(0) / mass
        return torch.sqrt(((confident - accurate) ** 2 * F.normalize(mass, p=1.0, dim=0)).sum())

    record("soft_binned", soft_binned, {"logits": logits}, {"labels": ids})


def calibration_errors() -> None:
    """ECE, MCE and class-wise ECE of torchmetrics, netcal and uncertainty-calibration, sklearn's curve and score."""
    logits = 1.5 * torch.randn(400, 4, dtype=torch.float64)
    ids = torch.multinomial(torch.softmax(logits / 2, dim=1), 1)[:, 0]
    p = torch.softmax(logits, dim=1)
    GOLDEN["ece/logits"], GOLDEN["ece/labels"] = logits.numpy(), ids.numpy()
    for norm in ("l1", "l2", "max"):
        error = metrics.multiclass_calibration_error(p, ids, num_classes=4, n_bins=15, norm=norm)
        GOLDEN[f"ece/torchmetrics_{norm}"] = error.numpy()
    GOLDEN["ece/netcal"] = np.asarray(netcal.metrics.ECE(15).measure(p.numpy(), ids.numpy()))
    GOLDEN["ece/netcal_max"] = np.asarray(netcal.metrics.MCE(15).measure(p.numpy(), ids.numpy()))
    confidence, right = p.max(1).values.numpy(), (p.argmax(1) == ids).numpy()
    # Bins of equally many examples, of the plain (not debiased) estimator.
    bins = calibration.get_equal_bins(confidence, num_bins=8)
    pairs = list(zip(confidence, right))
    GOLDEN["ece/equal_mass"] = np.asarray(calibration.plugin_ce(calibration.bin(pairs, bins), power=2))
    per_class = [
        metrics.binary_calibration_error(p[:, c], (ids == c).long(), n_bins=15, norm="l1").numpy() for c in range(4)
    ]
    GOLDEN["ece/classwise"] = np.stack(per_class)
    frequency, mean = calibration_curve(right, confidence, n_bins=10)
    GOLDEN["ece/curve"] = np.stack([mean, frequency])
    GOLDEN["ece/brier"] = np.asarray(brier_score_loss(right, confidence))
    temperature = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [temperature], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-14, tolerance_change=1e-16
    )

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / temperature, ids)
        loss.backward()
        return loss

    optimizer.step(closure)  # as github.com/gpleiss/temperature_scaling
    GOLDEN["ece/temperature"] = temperature.detach().numpy()[0]


def bi_tempered(logits: torch.Tensor, ids: torch.Tensor) -> None:
    """The authors' JAX code, run to convergence, in float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    peer = clone("bi_tempered")
    x, y = logits.numpy(), np.eye(logits.shape[1])[ids]
    GOLDEN["bi_tempered/logits"], GOLDEN["bi_tempered/labels"] = x, ids.numpy()

    def loss(x):
        return peer.bi_tempered_logistic_loss(x, y, 0.8, 1.4, 0.0, 200)

    value, pullback = jax.vjp(loss, x)
    GOLDEN["bi_tempered/loss"] = np.asarray(value)
    GOLDEN["bi_tempered/grad_logits"] = np.asarray(pullback(np.ones_like(value))[0])
    GOLDEN["bi_tempered/softmax"] = np.asarray(peer.tempered_softmax(x, 1.4, 200))


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.Tensor.cuda = lambda self, *_: self
    logits, ids = 2 * torch.randn(8, 5, dtype=torch.float64), torch.randint(0, 5, (8,))
    ids[:3] = logits[:3].argmax(1)
    noisy_labels(logits, ids)
    dawid_skene()
    calibration_losses(logits, ids)
    calibration_errors()
    bi_tempered(logits, ids)
    peers = ("torch", "torchmetrics", "netcal", "uncertainty-calibration", "scikit-learn", "crowd-kit", "jax")
    GOLDEN["peers"] = np.array([f"{peer} {version(peer)}" for peer in peers])
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), **GOLDEN)
    print(math.ceil(sum(x.nbytes for x in GOLDEN.values()) / 1024), "KiB", *GOLDEN["peers"])
