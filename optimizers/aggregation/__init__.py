"""Many gradients to one: optax transformations from stacked task gradients `[T, ...]` to one gradient `[...]`.

`optimizers.per_task` makes the stacked gradients; an aggregator is the first link of the chain:
`optax.chain(upgrad(), adamw(1e-3))`. Most are a weighting of the Gramian of the task gradients, a function
`[T, T] -> [T]` that is public too, or of their number alone; some work on each coordinate, or keep gradients.

| file | what |
|---|---|
| `pcgrad.py` | `pcgrad`, `pcgrad_weights`: conflicting gradients made orthogonal pair by pair, and summed |
| `upgrad.py` | `upgrad`, `upgrad_weights`: the mean of the gradients, each projected onto the dual cone of all |
| `dualproj.py` | `dualproj`, `dualproj_weights`: the mean of the gradients, projected onto their dual cone |
| `mgda.py` | `mgda`, `mgda_weights`: the shortest convex combination |
| `cagrad.py` | `cagrad`, `cagrad_weights`: near the mean, the best update for the worst-off task |
| `imtl_g.py` | `imtl_g`, `imtl_g_weights`: one angle with every gradient, and weights of sum 1 |
| `config.py` | `config`, `config_weights`: one angle with every gradient, and their joint length |
| `aligned_mtl.py` | `aligned_mtl`, `aligned_mtl_weights`: gradients made orthogonal and of one length, and averaged |
| `gradvac.py` | `gradvac`, `gradvac_weights`: gradients turned up to the cosines they usually have, and summed |
| `gradnorm.py` | `gradnorm`: weights learnt to balance the norms, from the norms and the losses |
| `moco.py` | `moco`: MGDA, a step at a time, on tracked gradients |
| `db_mtl.py` | `db_mtl`: averaged gradients of the log losses, scaled to the longest and summed |
| `graddrop.py` | `graddrop`: at each coordinate the gradients of one sign, drawn by chance |
| `trimmed_mean.py` | `trimmed_mean`: at each coordinate the mean without the extremes |
| `loss_balancer.py` | `loss_balancer`: EnCodec's, for gradients with respect to a model's output |
| `linear.py` | `mean_tasks`, `sum_tasks`: fixed weights |
| `rgw.py` | `rgw`, `rgw_weights`: random weights |
| `shared.py` | `shared_only`: an aggregator for the trunk that the tasks share, beside their heads |
| `conflicts.py` | `conflict_rate`: how many pairs of tasks disagree |
| `_dual_cone.py` | `dual_cone_projection_weights`: the projection onto the dual cone, an exact quadratic program |
| `_complementarity.py` | linear complementarity problems, which the quadratic programs come down to |
| `_spectrum.py` | eigenvalues of a Gramian, and which of them are 0 |
| `_tasks.py` | the number of tasks, their losses and their norms |
| `_gramian.py` | the Gramian of a tree, the weighted sum of its tasks, and a transformation from a weighting |
| `_gramian.py` | `gramian`: the Gramian of a tree; a weighted sum of its tasks, a transformation from a weighting |
"""

from optimizers.aggregation._dual_cone import dual_cone_projection_weights
from optimizers.aggregation._gramian import gramian
from optimizers.aggregation.aligned_mtl import aligned_mtl, aligned_mtl_weights
from optimizers.aggregation.cagrad import cagrad, cagrad_weights
from optimizers.aggregation.config import config, config_weights
from optimizers.aggregation.conflicts import conflict_rate
from optimizers.aggregation.db_mtl import DBMTLState, db_mtl
from optimizers.aggregation.dualproj import dualproj, dualproj_weights
from optimizers.aggregation.graddrop import GradDropState, graddrop
from optimizers.aggregation.gradnorm import GradNormState, gradnorm
from optimizers.aggregation.gradvac import GradVacState, gradvac, gradvac_weights
from optimizers.aggregation.imtl_g import imtl_g, imtl_g_weights
from optimizers.aggregation.linear import mean_tasks, sum_tasks
from optimizers.aggregation.loss_balancer import LossBalancerState, loss_balancer
from optimizers.aggregation.mgda import mgda, mgda_weights
from optimizers.aggregation.moco import MoCoState, moco
from optimizers.aggregation.pcgrad import PCGradState, pcgrad, pcgrad_weights
from optimizers.aggregation.rgw import RGWState, rgw, rgw_weights
from optimizers.aggregation.shared import shared_only
from optimizers.aggregation.trimmed_mean import trimmed_mean
from optimizers.aggregation.upgrad import upgrad, upgrad_weights

__all__ = [
    "DBMTLState",
    "GradDropState",
    "GradNormState",
    "GradVacState",
    "LossBalancerState",
    "MoCoState",
    "PCGradState",
    "RGWState",
    "aligned_mtl",
    "aligned_mtl_weights",
    "cagrad",
    "cagrad_weights",
    "config",
    "config_weights",
    "conflict_rate",
    "db_mtl",
    "dual_cone_projection_weights",
    "dualproj",
    "dualproj_weights",
    "graddrop",
    "gradnorm",
    "gradvac",
    "gradvac_weights",
    "gramian",
    "imtl_g",
    "imtl_g_weights",
    "loss_balancer",
    "mean_tasks",
    "mgda",
    "mgda_weights",
    "moco",
    "pcgrad",
    "pcgrad_weights",
    "rgw",
    "rgw_weights",
    "shared_only",
    "sum_tasks",
    "trimmed_mean",
    "upgrad",
    "upgrad_weights",
]
