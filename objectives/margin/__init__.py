"""Softmax losses with a margin on the angle between an embedding and its class.

One equation: with the cosines c_j between the embedding and the class weights, the target's cosine is replaced by a
smaller one before a scaled softmax cross-entropy,

    loss = -log( e^{s m(c_y)} / (e^{s m(c_y)} + Σ_{j≠y} e^{s c_j}) ),

and a member of the family is its margin function m. Rooms:

- `fixed`: the same margin for every example: ArcFace (with sub-centres), CosFace, SphereFace, SphereFace-R, combined
- `elastic`: a margin drawn for every example: ElasticFace
- `quality`: a margin set by the embedding's length: AdaFace, MagFace
- `curricular`: hard negatives that weigh more as training goes on: CurricularFace
- `negatives`: other negatives than all classes: UNPG (pairs of the batch besides), Partial FC (a sample)
- `prototypes`: classes at fixed directions: equiangular basis vectors
- `lipschitz`: margins on logits, for certified robustness: logit annealing, EMMA
- `unnormalised`: cosines without a softmax: SFace, the symmetry of faces

To add a member: read the inputs, check its hyperparameters, give the margin. All of CosFace is

    def cosface_loss(embeddings, weights, labels, *, scale=64.0, margin=0.35, where=None):
        problem = read("cosface_loss", embeddings, weights, labels, scale, where)
        taken = hyperparameter("cosface_loss", "margin", margin, problem.scores.dtype, 0)
        return margin_softmax(problem, lambda cosine: cosine - taken)

where `margin` is elementwise on target cosines `[..., 1]` (`[..., C]` for probabilities), so that a margin of each
example's own is an array `[..., 1]` in it.
"""

from objectives.margin.curricular import Curriculum, curricularface_loss, curriculum, update_curriculum
from objectives.margin.elastic import elastic_arcface_loss, elastic_cosface_loss
from objectives.margin.fixed import (
    arcface_loss,
    combined_margin,
    combined_margin_loss,
    cosface_loss,
    margin_softmax_loss,
    sphereface_loss,
    sphereface_r_loss,
    subcenter_arcface_loss,
)
from objectives.margin.lipschitz import emma_logits, logit_annealing_loss
from objectives.margin.negatives import partial_fc_loss, unpg_loss
from objectives.margin.prototypes import equiangular_basis_loss, equiangular_basis_vectors
from objectives.margin.quality import (
    NormStatistics,
    adaface_loss,
    magface_loss,
    norm_statistics,
    update_norm_statistics,
)
from objectives.margin.unnormalised import mirrored_halves, sface_loss, symmetry_loss

__all__ = [
    "Curriculum",
    "NormStatistics",
    "adaface_loss",
    "arcface_loss",
    "combined_margin",
    "combined_margin_loss",
    "cosface_loss",
    "curricularface_loss",
    "curriculum",
    "elastic_arcface_loss",
    "elastic_cosface_loss",
    "emma_logits",
    "equiangular_basis_loss",
    "equiangular_basis_vectors",
    "logit_annealing_loss",
    "magface_loss",
    "margin_softmax_loss",
    "mirrored_halves",
    "norm_statistics",
    "partial_fc_loss",
    "sface_loss",
    "sphereface_loss",
    "sphereface_r_loss",
    "subcenter_arcface_loss",
    "symmetry_loss",
    "unpg_loss",
    "update_curriculum",
    "update_norm_statistics",
]
