"""Golden trajectories of geoopt: `python tests/golden/riemannian.py` where it is installed."""

import pathlib
from importlib.metadata import version

import geoopt
import numpy as np
import torch

torch.set_default_dtype(torch.float64)
STEPS, RATE, DECAY = 50, 0.05, 0.1
KEPT = np.array([0, 1, 9, STEPS - 1])
UNCORRECTED = 10**9  # steps after which geoopt's bias corrections are 1

# Names say how geoopt steps and carries the momentum along.
MANIFOLDS = {
    "sphere_retraction_projection": (geoopt.Sphere(), (2, 4)),
    "sphere_exp_projection": (geoopt.SphereExact(), (2, 4)),
    "stiefel_retraction_projection": (geoopt.EuclideanStiefel(), (2, 4, 3)),
    "stiefel_exp_projection": (geoopt.EuclideanStiefelExact(), (2, 4, 3)),
    "poincare_ball_retraction_parallel": (geoopt.PoincareBall(c=0.7), (2, 4)),
    "poincare_ball_exp_parallel": (geoopt.PoincareBallExact(c=0.7), (2, 4)),
    "positive_definite_retraction_parallel": (geoopt.SymmetricPositiveDefinite(), (2, 3, 3)),
}


def adam(x, started, **settings):
    optimizer = geoopt.optim.RiemannianAdam([x], lr=RATE, betas=(0.8, 0.95), eps=1e-6, **settings)
    names = ("exp_avg", "exp_avg_sq") + (("max_exp_avg_sq",) if settings.get("amsgrad") else ())
    if started:
        optimizer.state[x].update(step=started, **{name: torch.zeros_like(x) for name in names})
    return optimizer


def momentum(x, **settings):
    """geoopt's momentum begins at the first derivative in coordinates; here it begins at 0."""
    optimizer = geoopt.optim.RiemannianSGD([x], lr=RATE, momentum=0.8, **settings)
    optimizer.state[x]["momentum_buffer"] = torch.zeros_like(x)
    return optimizer


OPTIMIZERS = {
    "adam": lambda x: adam(x, 0),
    "adam_decay": lambda x: adam(x, 0, weight_decay=DECAY),
    "adam_uncorrected": lambda x: adam(x, UNCORRECTED),
    "amsgrad_uncorrected": lambda x: adam(x, UNCORRECTED, amsgrad=True),
    "sgd": lambda x: geoopt.optim.RiemannianSGD([x], lr=RATE),
    "momentum": momentum,
    "momentum_decay": lambda x: momentum(x, weight_decay=DECAY),
}


def trajectory(make, manifold, start, gradients):
    """Points after the KEPT of STEPS steps; the gradient of step t is gradients[t] + x / 2."""
    x = geoopt.ManifoldParameter(torch.tensor(start), manifold=manifold)
    optimizer = make(x)
    path = []
    for gradient in torch.tensor(gradients):
        x.grad = gradient + 0.5 * x.detach()
        optimizer.step()
        path.append(x.detach().numpy().copy())
    return np.stack(path)[KEPT]


def main() -> None:
    """Write riemannian.npz beside this file."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    arrays = {"peer": f"geoopt {version('geoopt')}", "kept_steps": KEPT}
    print(arrays["peer"])
    for name, (manifold, shape) in MANIFOLDS.items():
        start = manifold.random(*shape).detach().numpy()
        if name.startswith("poincare"):
            start = 0.3 * start  # away from the boundary, where geoopt clips elsewhere
        gradients = 0.5 * random.normal(size=(STEPS, *shape))
        arrays |= {f"{name}/start": start, f"{name}/gradients": gradients}
        for optimizer, make in OPTIMIZERS.items():
            arrays[f"{name}/{optimizer}"] = trajectory(make, manifold, start, gradients)
            assert np.isfinite(arrays[f"{name}/{optimizer}"]).all(), (name, optimizer)
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
