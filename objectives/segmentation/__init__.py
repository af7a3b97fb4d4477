r"""Losses for segmentation, by topic:

- `overlap`: Dice, Jaccard metric and Dice semimetric losses
- `tversky`: Tversky and focal Tversky losses
- `compound`: generalised Dice, log-cosh Dice and combo losses
- `lovasz`: Lovász-softmax and Lovász hinge, the convex extension of the Jaccard loss
- `boundary`: the boundary loss, and the signed distance maps it needs

The overlap losses are one equation on one soft confusion count: with the true positives, false positives and false
negatives of a class summed over the pixels,

    loss_c = 1 - (tp_c + smooth) / (tp_c + α fp_c + β fn_c + smooth),

averaged over classes (Tversky's index; α = β = 1 is Jaccard's, α = β = 1/2 Dice's). Members differ in α, β, in what
a true positive is for soft labels (the product p·t, or the overlap min(p, t), which alone is largest at p = t) and in
how the loss of a class is bent. A member is one call of `_counts.overlap_loss`.

The layout is `[batch, *space, classes]` throughout: classes last, any number of spatial axes (none is allowed).
"""

from objectives.segmentation.boundary import boundary_loss, signed_distance_map
from objectives.segmentation.compound import combo_loss, generalized_dice_loss, log_cosh_dice_loss
from objectives.segmentation.lovasz import lovasz_hinge_loss, lovasz_softmax_loss
from objectives.segmentation.overlap import dice_loss, dice_semimetric_loss, jaccard_metric_loss
from objectives.segmentation.tversky import focal_tversky_loss, tversky_loss

__all__ = [
    "boundary_loss",
    "combo_loss",
    "dice_loss",
    "dice_semimetric_loss",
    "focal_tversky_loss",
    "generalized_dice_loss",
    "jaccard_metric_loss",
    "log_cosh_dice_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "signed_distance_map",
    "tversky_loss",
]
