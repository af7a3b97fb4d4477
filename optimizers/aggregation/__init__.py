"""Many gradients to one: optax transformations from stacked task gradients `[T, ...]` to one gradient `[...]`.

`optimizers.per_task` makes the stacked gradients; an aggregator is the first link of the chain:
`optax.chain(upgrad(), adamw(1e-3))`. Most are a weighting of the Gramian of the task gradients, a function
`[T, T] -> [T]` that is public too, or of their number alone; some work on each coordinate, or keep gradients.

| file | what |
|---|---|
| `pcgrad.py` | `pcgrad`, `pcgrad_weights`: conflicting gradients made orthogonal pair by pair, and summed |
| `gradvac.py` | `gradvac`, `gradvac_weights`: gradients turned up to the cosines they usually have, and summed |
| `upgrad.py` | `upgrad`, `upgrad_weights`: the mean of the gradients, each projected onto the dual cone of all |
| `dualproj.py` | `dualproj`, `dualproj_weights`: the mean of the gradients, projected onto their dual cone |
| `mgda.py` | `mgda`, `mgda_weights`: the shortest convex combination |
| `modo.py` | `modo`, `modo_weights`: one step an update towards the weights of `mgda` |
| `moco.py` | `moco`: the same, on tracked gradients |
| `cagrad.py` | `cagrad`, `cagrad_weights`: near the mean, the best update for the worst-off task |
| `sdmgrad.py` | `sdmgrad`, `sdmgrad_weights`: near the mean, an update for the worst-off task, by projected steps |
| `nash_mtl.py` | `nash_mtl`, `nash_mtl_weights`: Nash's solution of the tasks' bargain over the update |
| `fairgrad.py` | `fairgrad`, `fairgrad_weights`: the update whose gains are alpha-fair to the tasks |
| `imtl_g.py` | `imtl_g`, `imtl_g_weights`: one angle with every gradient, and weights of sum 1 |
| `config.py` | `config`, `config_weights`: one angle with every gradient, and their joint length |
| `m_config.py` | `m_config`: `config` of momenta, for steps that differentiate one loss each |
| `aligned_mtl.py` | `aligned_mtl`, `aligned_mtl_weights`: gradients made orthogonal and of one length, and averaged |
| `db_mtl.py` | `db_mtl`: averaged gradients of the log losses, scaled to the longest and summed |
| `gradnorm.py` | `gradnorm`: weights learnt to balance the norms, from the norms and the losses |
| `excess_mtl.py` | `excess_mtl`: weights that grow with the tasks' excess risks |
| `pcd.py` | `pcd`, `pcd_weights`: the first task's gradient, with a share of progress for every other task |
| `balgrad.py` | `balgrad`, `balgrad_weights`: the first gradient without what opposes the weighted others, and those |
| `pareto_guided.py` | `pareto_guided`, `pareto_guided_weights`: what harms none and serves the last, a guide, best |
| `bloop.py` | `bloop`: auxiliary gradients made orthogonal to a moving average of the main one |
| `loss_balancer.py` | `loss_balancer`: EnCodec's, for gradients with respect to a model's output |
| `graddrop.py` | `graddrop`: at each coordinate the gradients of one sign, drawn by chance |
| `trimmed_mean.py` | `trimmed_mean`: at each coordinate the mean without the extremes |
| `krum.py` | `krum`, `krum_weights`: the gradient, or the mean of several, nearest to its neighbours |
| `linear.py` | `mean_tasks`, `sum_tasks`: fixed weights |
| `rgw.py` | `rgw`, `rgw_weights`: random weights |
| `cr_mogm.py` | `cr_mogm`: another weighting's weights, averaged over the updates |
| `shared.py` | `shared_only`: an aggregator for the trunk that the tasks share, beside their heads |
| `conflicts.py` | `conflict_rate`: how many pairs of tasks disagree |
| `_gramian.py` | `gramian` of a tree, `cross_gramian` of two; weighted sums, a transformation from a weighting |
| `_dual_cone.py` | `dual_cone_projection_weights`: the projection onto the dual cone, an exact quadratic program |
| `_complementarity.py` | linear complementarity problems, which the quadratic programs come down to |
| `_bargaining.py` | the equation of `nash_mtl` and `fairgrad` |
| `_spectrum.py` | eigenvalues of a Gramian, and which of them are 0 |
| `_carried.py` | aggregators that carry a number per task in their state |
| `_tasks.py` | the number of tasks, their losses and their norms |
"""

from optimizers.aggregation._carried import TaskState
from optimizers.aggregation._dual_cone import dual_cone_projection_weights
from optimizers.aggregation._gramian import cross_gramian, gramian
from optimizers.aggregation.aligned_mtl import aligned_mtl, aligned_mtl_weights
from optimizers.aggregation.balgrad import balgrad, balgrad_weights
from optimizers.aggregation.bloop import BloopState, bloop
from optimizers.aggregation.cagrad import cagrad, cagrad_weights
from optimizers.aggregation.config import config, config_weights
from optimizers.aggregation.conflicts import conflict_rate
from optimizers.aggregation.cr_mogm import cr_mogm
from optimizers.aggregation.db_mtl import DBMTLState, db_mtl
from optimizers.aggregation.dualproj import dualproj, dualproj_weights
from optimizers.aggregation.excess_mtl import ExcessMTLState, excess_mtl
from optimizers.aggregation.fairgrad import fairgrad, fairgrad_weights
from optimizers.aggregation.graddrop import GradDropState, graddrop
from optimizers.aggregation.gradnorm import GradNormState, gradnorm
from optimizers.aggregation.gradvac import GradVacState, gradvac, gradvac_weights
from optimizers.aggregation.imtl_g import imtl_g, imtl_g_weights
from optimizers.aggregation.krum import krum, krum_weights
from optimizers.aggregation.linear import mean_tasks, sum_tasks
from optimizers.aggregation.loss_balancer import LossBalancerState, loss_balancer
from optimizers.aggregation.m_config import MConFIGState, m_config
from optimizers.aggregation.mgda import mgda, mgda_weights
from optimizers.aggregation.moco import MoCoState, moco
from optimizers.aggregation.modo import modo, modo_weights
from optimizers.aggregation.nash_mtl import nash_mtl, nash_mtl_weights
from optimizers.aggregation.pareto_guided import pareto_guided, pareto_guided_weights
from optimizers.aggregation.pcd import pcd, pcd_weights
from optimizers.aggregation.pcgrad import PCGradState, pcgrad, pcgrad_weights
from optimizers.aggregation.rgw import RGWState, rgw, rgw_weights
from optimizers.aggregation.sdmgrad import sdmgrad, sdmgrad_weights
from optimizers.aggregation.shared import shared_only
from optimizers.aggregation.trimmed_mean import trimmed_mean
from optimizers.aggregation.upgrad import upgrad, upgrad_weights

__all__ = [
    "BloopState",
    "DBMTLState",
    "ExcessMTLState",
    "GradDropState",
    "GradNormState",
    "GradVacState",
    "LossBalancerState",
    "MConFIGState",
    "MoCoState",
    "PCGradState",
    "RGWState",
    "TaskState",
    "aligned_mtl",
    "aligned_mtl_weights",
    "balgrad",
    "balgrad_weights",
    "bloop",
    "cagrad",
    "cagrad_weights",
    "config",
    "config_weights",
    "conflict_rate",
    "cr_mogm",
    "cross_gramian",
    "db_mtl",
    "dual_cone_projection_weights",
    "dualproj",
    "dualproj_weights",
    "excess_mtl",
    "fairgrad",
    "fairgrad_weights",
    "graddrop",
    "gradnorm",
    "gradvac",
    "gradvac_weights",
    "gramian",
    "imtl_g",
    "imtl_g_weights",
    "krum",
    "krum_weights",
    "loss_balancer",
    "m_config",
    "mean_tasks",
    "mgda",
    "mgda_weights",
    "moco",
    "modo",
    "modo_weights",
    "nash_mtl",
    "nash_mtl_weights",
    "pareto_guided",
    "pareto_guided_weights",
    "pcd",
    "pcd_weights",
    "pcgrad",
    "pcgrad_weights",
    "rgw",
    "rgw_weights",
    "sdmgrad",
    "sdmgrad_weights",
    "shared_only",
    "sum_tasks",
    "trimmed_mean",
    "upgrad",
    "upgrad_weights",
]
