"""Golden values of the authors' PSGD (psgd_torch a8616f1), M-FAC (IST-DASLab/M-FAC optim.py) and torch_tract.

`python tests/golden/second_order_fitted.py FOLDER`, with psgd.py and preconditioned_stochastic_gradient_descent.py of
psgd_torch and optim.py of M-FAC (as mfac_optim.py) in the folder. psgd.py estimates spectral norms from random vectors;
here it uses the deterministic estimate of its predecessor, the other of the two files.
"""

import pathlib
import sys
from importlib.metadata import version

import numpy as np
import torch
from torch_tract import TrActConv2d, TrActLinear

sys.path.insert(0, sys.argv[1])
import mfac_optim
import preconditioned_stochastic_gradient_descent as older
import psgd

STEPS, MU = 50, 0.1
torch.set_default_dtype(torch.float64)


def lu_without_pivots(matrix: torch.Tensor, pivot: bool) -> tuple[torch.Tensor]:
    """What torch.lu(matrix, pivot=False) returns on devices other than the CPU."""
    packed = matrix.clone()
    for k in range(len(packed) - 1):
        packed[k + 1 :, k] /= packed[k, k]
        packed[k + 1 :, k + 1 :] -= torch.outer(packed[k + 1 :, k], packed[k, k + 1 :])
    return (packed,)


def without_chance() -> None:
    """No random norms, and M-FAC's factors on the CPU. Balancing is random too; it leaves the factors' product."""
    torch.lu = lu_without_pivots
    torch.nn.parallel.parallel_apply = lambda functions, arguments: [
        f(*a) if isinstance(a, tuple) else f(a) for f, a in zip(functions, arguments)
    ]
    psgd.norm_lower_bound_spd = older.norm_lower_bound
    psgd.norm_lower_bound_skh = older.norm_lower_bound
    mfac_optim.USE_CUDA = False


def pairs(shape: tuple[int, ...], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs (v, h) [STEPS, ...], h of different scales."""
    generator = torch.Generator().manual_seed(seed)
    scales = 10 ** torch.rand(shape, generator=generator)
    v, h = torch.randn((2, STEPS, *shape), generator=generator)
    return v, scales * (h + 0.5 * v)


def kron(name: str, shape: tuple[int, ...], geometry: str, **sizes: float) -> dict[str, np.ndarray]:
    """The preconditioned last h after the fits of the factors."""
    v, h = pairs(shape, len(shape))
    ql, exprs = psgd.init_kron(h[0], Scale=0.7, dQ=geometry, **sizes)
    fit = psgd.update_precond_kron_eq if geometry == "EQ" else psgd.update_precond_kron_newton_q0p5eq1p5
    more = {} if geometry == "EQ" else {"damping": 0.0}
    path = []
    for one_v, one_h in zip(v, h):
        fit(ql, exprs, one_v, one_h, lr=MU, betaL=0.9, **more)
        path.append(psgd.precond_grad_kron(ql, exprs, one_h).numpy().copy())
    return {f"{name}_v": v.numpy(), f"{name}_h": h.numpy(), f"{name}_path": np.stack(path)}


def vectors(name: str, n: int) -> dict[str, np.ndarray]:
    """The same for LRA (U moves at even steps, V at odd ones), for the cross and for the triangle."""
    v, h = pairs((n,), 7)
    generator = torch.Generator().manual_seed(8)
    u0, v0 = 0.3 * torch.randn((2, n, 2), generator=generator)
    uvd, bounds = [u0.clone(), v0.clone(), torch.ones(n, 1)], [torch.zeros([]) for _ in range(3)]
    a, b = torch.ones(n), torch.zeros(n)
    q, bound = torch.eye(n), torch.zeros([])
    rand, randn_like = torch.rand, torch.randn_like
    lra, cross, dense = [], [], []
    for step, (one_v, one_h) in enumerate(zip(v, h)):
        torch.rand = lambda *_, step=step: torch.tensor(0.9 * (step % 2))
        psgd.update_precond_lra(uvd, bounds, one_v[:, None], one_h[:, None], lr=MU, betaL=0.9)
        torch.rand = rand
        lra.append(psgd.precond_grad_lra(uvd, one_h[:, None])[:, 0].numpy().copy())
        older.update_precond_Xmat_math_(a, b, one_v.clone(), one_h, MU, "2nd", 0.0)
        cross.append(older.precond_grad_Xmat_math(a, b, one_h).numpy().copy())
        torch.randn_like = torch.zeros_like
        psgd.update_precond_dense_eq(q, bound, one_v[:, None], one_h[:, None], lr=MU, betaL=0.9, damping=0.0)
        torch.randn_like = randn_like
        dense.append((q.T @ (q @ one_h)).numpy().copy())
    result = {"v": v, "h": h, "u0": u0, "v0": v0}
    paths = {"lra": lra, "xmat": cross, "dense": dense}
    return {f"{name}_{k}": x.numpy() for k, x in result.items()} | {
        f"{name}_{k}": np.stack(x) for k, x in paths.items()
    }


def trajectory(make: object, gradients: list[torch.Tensor]) -> list[np.ndarray]:
    """Parameters of a few shapes after STEPS steps on the gradients gradients[t] + 0.1 * parameters."""
    xs = [torch.ones(g.shape[1:]).requires_grad_() for g in gradients]
    step = make(xs)
    for t in range(STEPS):
        step(xs, t)
    return [x.detach().numpy() for x in xs]


def whitening(gradients: list[torch.Tensor], **keywords: float) -> list[np.ndarray]:
    def make(xs: list[torch.Tensor]) -> object:
        optimizer = psgd.KronWhiten(xs, lr_params=0.01, damping=0.0, dQ="Q0.5EQ1.5", **keywords)

        def step(xs: list[torch.Tensor], t: int) -> None:
            optimizer.step(lambda: sum((g[t] * x).sum() + 0.05 * (x**2).sum() for g, x in zip(gradients, xs)))

        return step

    return trajectory(make, gradients)


def memory(gradients: list[torch.Tensor], **keywords: float) -> list[np.ndarray]:
    def make(xs: list[torch.Tensor]) -> object:
        optimizer = mfac_optim.MFAC(xs, lr=0.01, ngrads=8, damp=0.05, moddev="cpu", optdev="cpu", **keywords)
        optimizer.hinv.grads = [g.double() for g in optimizer.hinv.grads]
        for name in ("dots", "giHig", "denom", "coef"):
            setattr(optimizer.hinv, name, getattr(optimizer.hinv, name).double())

        def step(xs: list[torch.Tensor], t: int) -> None:
            for g, x in zip(gradients, xs):
                x.grad = g[t] + 0.1 * x.detach()
            optimizer.step()

        return step

    return trajectory(make, gradients)


def first_layers() -> dict[str, np.ndarray]:
    """Gradients of the weights of a dense and a convolutional layer, for both of the systems that may be solved."""
    generator = torch.Generator().manual_seed(3)
    result = {}
    for name, rows in (("few", 3), ("many", 9)):
        layer = TrActLinear(5, 4, lambda_=0.1)
        x, error = torch.randn(rows, 5, generator=generator), torch.randn(rows, 4, generator=generator)
        layer(x).backward(error)
        arrays = {"x": x, "error": error, "w": layer.weight.detach(), "b": layer.bias.detach()}
        arrays["gradient"] = layer.weight.grad
        result |= {f"linear_{name}_{k}": a.numpy() for k, a in arrays.items()}
    for name, size in (("few", 3), ("many", 7)):
        layer = TrActConv2d(2, 3, (3, 2), stride=2, padding=1, lambda_=0.1)
        x = torch.randn(1, 2, size, size, generator=generator)
        y = layer(x)
        error = torch.randn(y.shape, generator=generator)
        y.backward(error)
        arrays = {"x": x, "error": error, "w": layer.weight.detach(), "b": layer.bias.detach(), "y": y.detach()}
        arrays["gradient"] = layer.weight.grad
        result |= {f"conv_{name}_{k}": a.numpy() for k, a in arrays.items()}
    return result


def main() -> None:
    """Write second_order_fitted.npz beside this file."""
    without_chance()
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn((STEPS, *shape), generator=generator) for shape in ((3, 4), (5,), ())]
    arrays = kron("matrix", (3, 2), "EQ", max_skew=float("inf"))
    arrays |= kron("tensor", (3, 4, 2), "EQ", max_size=3)
    arrays |= kron("procrustes", (3, 2), "Q0.5EQ1.5", max_skew=float("inf"))
    arrays |= vectors("vector", 5)
    runs = {
        "whitening": whitening(gradients, momentum=0.9),
        "whitening_plain": whitening(gradients, preconditioner_init_scale=1.0, grad_clip_max_amps=(1.0, 1.5)),
        "whitening_momentum": whitening(gradients, momentum=0.5, whiten_grad=False),
        "mfac": memory(gradients, momentum=0.9),
        "mfac_decay": memory(gradients, weight_decay=0.2),
    }
    for number, g in enumerate(gradients):
        arrays[f"gradients_{number}"] = g.numpy()
        arrays |= {f"{name}_{number}": run[number] for name, run in runs.items()}
    arrays |= first_layers()
    arrays["versions"] = np.array([f"{name} {version(name)}" for name in ("torch", "torch_tract")])
    np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
