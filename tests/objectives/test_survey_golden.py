"""Equality with public implementations in torch; tests/golden/survey.py wrote the arrays and names the versions."""

import pathlib

import jax
import numpy as np
import pytest

import objectives

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "survey.npz")


def triplet_sums(embeddings, labels):
    """Of every anchor's triplets the sum, where the loss is their mean."""
    same = labels[:, None] == labels
    triplets = (same.sum(1) - 1) * (~same).sum(1)
    return triplets * objectives.triplet_loss(embeddings, labels, margin=0.7, mining="all")


# case: (function, keywords)
CASES = {
    "iou": ("iou_loss", {}),
    "giou": ("giou_loss", {}),
    "diou": ("diou_loss", {}),
    "ciou": ("ciou_loss", {}),
    "box_iou": ("box_iou", {}),
    "minimax": ("minimax_discriminator_loss", {}),
    "simsiam": ("simsiam_loss", {}),
    "info_nce": ("info_nce_loss", {"temperature": 0.3}),
    "triplet_all_sum": (triplet_sums, {}),
    "triplet_hard": ("triplet_loss", {"margin": 0.7}),
    "triplet_hard_squared": ("triplet_loss", {"margin": 0.7, "squared": True}),
    "circle": ("circle_loss", {"margin": 0.4, "scale": 80.0}),
    "multi_similarity_all": ("multi_similarity_loss", {"mining_margin": None}),
    "multi_similarity": ("multi_similarity_loss", {}),
    "n_pair": ("n_pair_loss", {}),
    "tversky": ("tversky_loss", {}),
    "generalized_dice_square": ("generalized_dice_loss", {}),
    "generalized_dice_simple": ("generalized_dice_loss", {"weighting": "simple"}),
    "generalized_dice_uniform": ("generalized_dice_loss", {"weighting": "uniform"}),
    "lovasz_softmax": ("lovasz_softmax_loss", {"per": "image"}),
    "lovasz_hinge": ("lovasz_hinge_loss", {}),
    "ssim": ("structural_similarity", {}),
    "psnr": ("peak_signal_noise_ratio", {}),
    "total_variation": ("total_variation", {}),
    "smoothness": ("disparity_smoothness_loss", {}),
    "frechet": ("frechet_distance", {}),
    "bleu_2": ("bleu_score", {"max_order": 2}),
    "bleu_4": ("bleu_score", {}),
}
# Tolerances are float64's, except where a peer works in float32, adds a guard, or loses digits itself.
LOOSE = {
    "ciou": 1e-6,  # 1e-7 is added to the denominators of the trade-off
    "generalized_dice_square": 1e-7,  # the weights are float32
    "generalized_dice_simple": 1e-7,
    "psnr": 1e-6,  # the logarithm of 10 is float32
    "bleu_2": 1e-6,  # float32 on both sides
    "bleu_4": 1e-6,
}


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case):
    name, keywords = CASES[case]
    function = getattr(objectives, name) if isinstance(name, str) else name
    golden = parts(case)
    wanted = golden.pop("loss")
    gradients = {n.removeprefix("grad_"): golden.pop(n) for n in list(golden) if n.startswith("grad_")}
    rtol = LOOSE.get(case, 1e-11)

    @jax.jit
    def run(moving, fixed):
        def total(moving):
            loss = function(**fixed, **moving, **keywords)
            return loss.sum(), loss

        return jax.value_and_grad(total, has_aux=True)(moving) if moving else ((0, total(moving)[1]), {})

    with jax.enable_x64(True):
        moving = {n: golden.pop(n) for n in gradients}
        (_, loss), ours = run(moving, golden)
    np.testing.assert_allclose(loss, wanted, rtol=rtol, atol=rtol * 1e-2)
    for argument, gradient in gradients.items():
        np.testing.assert_allclose(ours[argument], gradient, rtol=100 * rtol, atol=rtol, err_msg=argument)


def test_every_golden_case_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files} - {"peers"} == CASES.keys()
