"""Equality with public implementations; tests/golden/surrogates.py wrote the arrays and names the versions."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import objectives

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "surrogates.npz")
SAME = np.arange(12)[:, None] // 3 == np.arange(12) // 3  # four classes of three


def smooth_ap(embeddings):
    """The authors' mean over queries, each of which is among its own items and relevant."""
    return objectives.smooth_ap_loss(embeddings @ embeddings.T, SAME, temperature=0.1).mean()


def recall_at_k(embeddings):
    """The authors' mean over queries, each of which is among its own items and not relevant."""
    heats = {"temperature": 0.1, "rank_temperature": 0.5}
    labels = SAME & ~np.eye(12, dtype=bool)
    return objectives.recall_at_k_surrogate(embeddings @ embeddings.T, labels, top=(1, 2, 4), **heats).mean()


# case: (function, tolerance); that is float64's, except where the peer's is not
CASES = {
    "eiou": (objectives.eiou_loss, 1e-9),
    "siou": (objectives.siou_loss, 1e-9),
    "smooth_ap": (smooth_ap, 1e-9),
    "recall_at_k": (recall_at_k, 1e-9),
    "barron": (objectives.barron_nll_loss, 3e-6),  # the author's spline is right to 1e-6, its slope to 1e-4
}


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case):
    function, tolerance = CASES[case]
    golden = parts(case)
    wanted = golden.pop("loss")
    gradients = {n.removeprefix("grad_"): golden.pop(n) for n in list(golden) if n.startswith("grad_")}

    @jax.jit
    def run(moving, fixed):
        def total(moving):
            loss = function(**moving, **fixed)
            return loss.sum(), loss

        return jax.value_and_grad(total, has_aux=True)(moving)

    with jax.enable_x64(True):
        moving = {n: golden.pop(n) for n in gradients}
        (_, loss), ours = run(moving, golden)
    np.testing.assert_allclose(loss, wanted.squeeze(), rtol=tolerance, atol=tolerance)
    for argument, gradient in gradients.items():
        np.testing.assert_allclose(
            ours[argument], gradient, rtol=100 * tolerance, atol=30 * tolerance, err_msg=argument
        )


def measure(data, **options):
    """Average precisions [C, T] of golden detections."""
    arrays = {n: data[n] for n in ("boxes", "scores", "classes", "true_boxes", "true_classes")}
    masks = {n: data[n] for n in ("ignored", "where", "true_where")}
    settings = {"num_classes": 3, "average": "none", "max_detections": int(data["max_detections"]), **options}
    return jax.jit(lambda arrays, masks: objectives.mean_average_precision(**arrays, **masks, **settings))(
        arrays, masks
    )


@pytest.mark.parametrize("case", ["coco", "coco_few"])
def test_average_precision_equals_pycocotools(case):
    data = parts(case)
    np.testing.assert_allclose(measure(data), data["coco"], rtol=2e-6, atol=1e-7)
    mean = measure(data, average="macro")
    np.testing.assert_allclose(mean, np.nanmean(data["coco"]), rtol=2e-6)
    if "torchmetrics" in data:
        np.testing.assert_allclose(mean, data["torchmetrics"], rtol=2e-6)


@pytest.mark.parametrize("interpolation", ["all-point", "11-point"])
def test_average_precision_equals_mmdets_of_pascal_voc(interpolation):
    data = parts("coco")
    ours = measure(data, matching="voc", interpolation=interpolation, iou_thresholds=jnp.array([0.5]))
    np.testing.assert_allclose(ours[:, 0], data[interpolation], rtol=2e-6)


def test_every_golden_case_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files} - {"peers"} == {*CASES, "coco", "coco_few"}
