"""Equality with public implementations in torch; tests/golden/objectives.py wrote the arrays and names the versions."""

import pathlib

import jax
import numpy as np
import pytest

import objectives

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "objectives.npz")

# case: (function, keywords)
CASES = {
    "cross_entropy_ids": ("softmax_cross_entropy", {"label_smoothing": 0.1}),
    "cross_entropy_probabilities": ("softmax_cross_entropy", {"label_smoothing": 0.1}),
    "focal": ("focal_loss", {"gamma": 1.5}),
    "sigmoid_focal": ("sigmoid_focal_loss", {"gamma": 2.0, "alpha": 0.25}),
    "huber": ("huber_loss", {"delta": 0.7}),
    "arcface": ("arcface_loss", {"scale": 64.0, "margin": 0.5}),
    "subcenter_arcface": ("subcenter_arcface_loss", {"scale": 64.0, "margin": 0.5}),
    "barlow_twins": ("barlow_twins_loss", {}),
    "dice_monai": ("dice_loss", {"smooth": 0.5}),  # its 2·tp in numerator and denominator doubles the smoothing
    "dice_monai_foreground": ("dice_loss", {"smooth": 0.5, "ignore_background": True}),
    "dice_semimetric_monai": ("dice_semimetric_loss", {"smooth": 0.5, "classes": "all", "per": "image"}),
    "tversky_monai": ("dice_loss", {"alpha": 0.3, "beta": 0.7}),
    "dice_smp": ("dice_loss", {"smooth": 0.5, "per": "dataset"}),
    "jaccard_smp": ("jaccard_metric_loss", {"smooth": 0.5}),
    "jdt_hard": ("jaccard_metric_loss", {}),
    "jdt_soft": ("jaccard_metric_loss", {"classes": "all", "class_weights": np.array([0.5, 1.0, 2.0])}),
    "jdt_soft_dice": ("dice_semimetric_loss", {"classes": "all"}),
    "jdt_masked": ("jaccard_metric_loss", {"smooth": 0.1}),
    "harmonic": ("harmonic_loss", {"exponent": 3.0, "epsilon": 1e-4}),
}


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


def differentiate(case, function, keywords):
    """Loss and gradients of its sum, in float64, and what the peer computed."""
    golden = parts(case)
    wanted = {name: golden.pop(name) for name in list(golden) if name == "loss" or name.startswith("grad_")}
    names = [name.removeprefix("grad_") for name in wanted if name != "loss"]
    where = {"where": golden.pop("where")} if "where" in golden else {}

    @jax.jit
    def run(inputs, constants):
        def total(inputs):
            loss = function(*inputs, *constants, **where, **keywords)
            return loss.sum(), loss

        return jax.value_and_grad(total, has_aux=True)(inputs)

    with jax.enable_x64(True):
        inputs = [golden.pop(name) for name in names]
        (_, loss), gradients = run(inputs, list(golden.values()))
    assert loss.dtype == np.float64
    return loss, dict(zip(names, gradients, strict=True)), wanted


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case):
    name, keywords = CASES[case]
    loss, gradients, wanted = differentiate(case, getattr(objectives, name), keywords)
    # Tolerances are float64's, widened for pytorch-metric-learning, whose gradient goes through acos and loses digits
    # near a cosine of -1.
    np.testing.assert_allclose(loss, wanted["loss"], rtol=1e-10, atol=1e-12)
    for argument, gradient in gradients.items():
        np.testing.assert_allclose(gradient, wanted[f"grad_{argument}"], rtol=1e-8, atol=1e-10, err_msg=argument)


def test_mean_over_images_equals_the_authors_jaccard_metric_loss_per_image():
    def per_image(predictions, labels):
        return objectives.jaccard_metric_loss(predictions, labels, per="image").mean()

    loss, gradients, wanted = differentiate("jdt_hard_image", per_image, {})
    np.testing.assert_allclose(loss, wanted["loss"], rtol=1e-12)
    np.testing.assert_allclose(gradients["predictions"], wanted["grad_predictions"], rtol=1e-9, atol=1e-14)


def test_arcface_golden_values_include_angles_past_pi():
    golden = parts("arcface")
    x, w = golden["embeddings"], golden["weights"][golden["labels"]]
    cosine = (x * w).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(w, axis=-1)
    assert (cosine < -np.cos(0.5)).sum() == 2
    assert ((cosine > -np.cos(0.5)) & (cosine < 1)).sum() == 5


def test_every_golden_case_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files} - {"peers"} == CASES.keys() | {"jdt_hard_image"}
