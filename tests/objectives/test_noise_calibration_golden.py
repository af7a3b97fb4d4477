"""Equality with public implementations; tests/golden/noise_calibration.py wrote the arrays and names the versions."""

import functools
import pathlib

import jax
import numpy as np
import pytest

import objectives as o

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "noise_calibration.npz")


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


def annotated(logits, confusion_logits, labels):
    return o.annotator_cross_entropy_loss(logits, confusion_logits, labels)


# case: (function of the inputs and constants in their order, relative tolerance of the gradient)
CASES = {
    "nce": o.normalized_cross_entropy_loss,
    "nfl": functools.partial(o.normalized_focal_loss, gamma=0.5),
    "rce": functools.partial(o.reverse_cross_entropy_loss, log_zero=np.log(1e-4)),  # they clip at 1e-4, about e^-9.2
    "sce": functools.partial(o.symmetric_cross_entropy_loss, log_zero=np.log(1e-4)),
    "nce_rce": functools.partial(o.active_passive_loss, log_zero=np.log(1e-4)),
    "nce_mae": functools.partial(o.active_passive_loss, passive="mae"),
    "ldr_kl": functools.partial(o.ldr_kl_loss, temperature=0.7, margin=1.5),
    "forward": lambda x, t, y: o.forward_correction_loss(x, y, t),
    "backward": lambda x, t, y: o.backward_correction_loss(x, y, t),
    "soft_bootstrapping": o.soft_bootstrapping_loss,
    "hard_bootstrapping": o.hard_bootstrapping_loss,
    "annotators": annotated,
    "bandwidth_prior": o.annotator_bandwidth_prior,
    "dual_focal": o.dual_focal_loss,
    "flsd": o.sample_dependent_focal_loss,
    "mbls": functools.partial(o.mbls_loss, margin=6.0),
    "acls": functools.partial(o.acls_loss, margin=6.0),
    "mmce_squared": lambda x, y: o.mmce_loss(x, y) ** 2,  # theirs is without the root
    "soft_binned": o.soft_binned_calibration_error,
    "elr": lambda x, t: o.early_learning_regularizer(x, o.early_learning_targets(x, t, momentum=0.7)),
    "bi_tempered": functools.partial(o.bi_tempered_logistic_loss, t1=0.8, t2=1.4),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case):
    golden = parts(case)
    names = [name.removeprefix("grad_") for name in golden if name.startswith("grad_")]
    constants = [value for name, value in golden.items() if name in ("labels", "targets")]

    @jax.jit
    def run(inputs, constants):
        value, pullback = jax.vjp(lambda inputs: CASES[case](*inputs, *constants), inputs)
        return value, pullback(np.ones(value.shape))[0]

    with jax.enable_x64(True):
        if case == "elr":  # their target is updated without a gradient, and so is ours
            np.testing.assert_allclose(
                o.early_learning_targets(*(golden[n] for n in ("logits", "targets"))), golden["new"]
            )
        value, gradients = run([golden[name] for name in names], constants)
    assert value.dtype == np.float64
    # The soft bins' peer is without our guard of empty bins, and MMCE_m's double sum rounds differently.
    np.testing.assert_allclose(value, golden["loss"], rtol=1e-9, atol=1e-12)
    for name, gradient in zip(names, gradients, strict=True):
        np.testing.assert_allclose(gradient, golden[f"grad_{name}"], rtol=1e-7, atol=1e-10, err_msg=name)


def test_tempered_softmax_is_the_authors():
    golden = parts("bi_tempered")
    with jax.enable_x64(True):
        ours = o.tempered_softmax(golden["logits"], temperature=1.4)
    np.testing.assert_allclose(ours, golden["softmax"], rtol=1e-10)


def test_adaptive_temperatures_are_the_authors():
    """They update the temperatures before the loss, and add 1e-5 to every probability; their constants are float32."""
    golden = parts("aldr")
    logits, before, after = golden["logits"], golden["before"], golden["after"]
    p = np.exp(logits / before[:, None])
    p = p / p.sum(-1, keepdims=True) + 1e-5
    smoothed = before[:, None] * np.log(p / p.sum(-1, keepdims=True))
    with jax.enable_x64(True):
        new = o.aldr_temperatures(smoothed, before, base_temperature=0.9, alpha=2.0)
        losses = o.aldr_kl_loss(logits, golden["labels"], after, base_temperature=0.9, alpha=2.0, margin=1.5)
    np.testing.assert_allclose(new, after, rtol=1e-7)
    np.testing.assert_allclose(np.asarray(losses).mean(), golden["loss"], rtol=1e-7)


def test_confusions_are_dawid_and_skenes():
    """From crowd-kit's priors and errors: the posterior of a class is the softmax of what all its labels cost."""
    golden = parts("dawid_skene")
    with np.errstate(divide="ignore"):
        confusion = np.log(golden["errors"].transpose(0, 2, 1))  # worker, true, said
    with jax.enable_x64(True):
        certain = np.log(np.maximum(np.eye(3), 1e-300))
        costs = [
            o.annotator_cross_entropy_loss(np.broadcast_to(each, (40, 3)), confusion, golden["labels"]).sum(-1)
            for each in certain
        ]
    joint = np.log(golden["priors"]) - np.stack(costs, -1)
    posterior = np.exp(joint - joint.max(-1, keepdims=True))
    posterior /= posterior.sum(-1, keepdims=True)
    # EM has converged, so the errors of its last step belong to the posterior, which crowd-kit holds above 1e-10.
    np.testing.assert_allclose(posterior, golden["posterior"], rtol=1e-9, atol=2e-10)


def test_calibration_errors_are_those_of_the_libraries():
    golden = parts("ece")
    logits, labels = golden["logits"], golden["labels"]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    confidence, right = p.max(-1), p.argmax(-1) == labels
    with jax.enable_x64(True):
        for norm in ("l1", "l2", "max"):
            ours = o.expected_calibration_error(logits, labels, norm=norm)
            # torchmetrics sums in float32.
            np.testing.assert_allclose(ours, golden[f"torchmetrics_{norm}"], rtol=1e-5, err_msg=norm)
        np.testing.assert_allclose(o.expected_calibration_error(logits, labels), golden["netcal"], rtol=1e-9)
        most = o.expected_calibration_error(logits, labels, norm="max")
        np.testing.assert_allclose(most, golden["netcal_max"], rtol=1e-9)
        mass = o.expected_calibration_error(logits, labels, num_bins=8, binning="equal_mass", norm="l2")
        np.testing.assert_allclose(mass, golden["equal_mass"], rtol=1e-9)
        np.testing.assert_allclose(o.classwise_calibration_error(logits, labels), golden["classwise"], rtol=1e-5)
        bins = o.reliability_diagram(confidence, right, num_bins=10)
        filled = np.asarray(bins.weight) > 0
        np.testing.assert_allclose(np.stack([bins.confidence, bins.frequency])[:, filled], golden["curve"], rtol=1e-10)
        brier = o.brier_decomposition(confidence, right)
        total = brier.reliability - brier.resolution + brier.uncertainty
        np.testing.assert_allclose(total + brier.within_variance - brier.within_covariance, golden["brier"], rtol=1e-10)
        np.testing.assert_allclose(o.fit_temperature(logits, labels), golden["temperature"], rtol=1e-6)


def test_every_golden_case_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files} - {"peers", "aldr", "dawid_skene", "ece"} == CASES.keys()
