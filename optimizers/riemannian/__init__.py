"""Parameters that live on manifolds: steps along geodesics, with the metric of each leaf's manifold.

A method takes `manifold`: a `Manifold` for all leaves, a tree of them that is a prefix of the parameters, or a function
from path to manifold. A product of manifolds is a tree of several leaves, or a leaf with leading axes.

| file | what |
|---|---|
| `manifold.py` | `Manifold`, the functions that make one; `euclidean` |
| `sphere.py` | `sphere`: unit vectors |
| `stiefel.py` | `stiefel`: orthonormal columns |
| `poincare.py` | `poincare_ball`: hyperbolic space |
| `positive_definite.py` | `positive_definite`: covariances |
| `adam.py` | `riemannian_adam`, `riemannian_amsgrad` |
| `adagrad.py` | `riemannian_adagrad` |
| `sgd.py` | `riemannian_sgd`, with momentum |
"""

from optimizers.riemannian.adagrad import riemannian_adagrad
from optimizers.riemannian.adam import riemannian_adam, riemannian_amsgrad
from optimizers.riemannian.manifold import Manifold, euclidean
from optimizers.riemannian.poincare import poincare_ball
from optimizers.riemannian.positive_definite import positive_definite
from optimizers.riemannian.sgd import riemannian_sgd
from optimizers.riemannian.sphere import sphere
from optimizers.riemannian.stiefel import stiefel

__all__ = [
    "Manifold",
    "euclidean",
    "poincare_ball",
    "positive_definite",
    "riemannian_adagrad",
    "riemannian_adam",
    "riemannian_amsgrad",
    "riemannian_sgd",
    "sphere",
    "stiefel",
]
