"""Golden gradients of torchjd for a trunk with two heads, and for the examples of a batch.

`python tests/golden/trunk_heads.py`, in float64.
"""

import pathlib
from importlib.metadata import version

import numpy as np
import torch
from torchjd.aggregation import UPGrad
from torchjd.autojac import backward, jac_to_grad, mtl_backward

HERE = pathlib.Path(__file__)
SHAPES = {"trunk/w": (3, 4), "trunk/b": (4,), "left/w": (4, 2), "left/b": (2,), "right/w": (4, 1), "right/b": (1,)}


def main() -> None:
    """Write trunk_heads.npz beside this file."""
    generator = np.random.default_rng(3)
    arrays = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
    arrays |= {
        "x": generator.normal(size=(6, 3)),
        "y": generator.normal(size=(6, 2)),
        "z": generator.normal(size=(6, 1)),
    }
    data = {name: torch.as_tensor(arrays[name]) for name in ("x", "y", "z")}

    def parameters() -> dict[str, torch.Tensor]:
        return {name: torch.tensor(arrays[name], requires_grad=True) for name in SHAPES}

    def squares(p: dict[str, torch.Tensor], features: torch.Tensor, head: str, target: str) -> torch.Tensor:
        return torch.square(features @ p[f"{head}/w"] + p[f"{head}/b"] - data[target]).mean(dim=1)

    p = parameters()
    trunk = [p["trunk/w"], p["trunk/b"]]
    features = torch.tanh(data["x"] @ p["trunk/w"] + p["trunk/b"])
    losses = [squares(p, features, "left", "y").mean(), squares(p, features, "right", "z").mean()]
    mtl_backward(losses, features=features)
    arrays["losses"] = torch.stack(losses).detach().numpy()
    arrays |= {f"jacobian/{name}": p[name].jac.numpy() for name in ("trunk/w", "trunk/b")}
    jac_to_grad(trunk, UPGrad())
    arrays |= {f"gradient/{name}": p[name].grad.numpy() for name in SHAPES}

    p = parameters()
    features = torch.tanh(data["x"] @ p["trunk/w"] + p["trunk/b"])
    of_examples = squares(p, features, "left", "y")
    mine = [name for name in SHAPES if not name.startswith("right")]
    backward(of_examples)
    jac_to_grad([p[name] for name in mine], UPGrad())
    arrays |= {f"examples/{name}": p[name].grad.numpy() for name in mine}

    peer = ", ".join(f"{name} {version(name)}" for name in ("torchjd", "torch", "quadprog"))
    np.savez_compressed(HERE.with_suffix(".npz"), peer=np.array(peer), **arrays)
    print(peer)
    flat = np.concatenate([arrays[f"jacobian/{name}"].reshape(2, -1) for name in ("trunk/w", "trunk/b")], axis=1)
    print("Gramian of the trunk:", (flat @ flat.T).tolist())


if __name__ == "__main__":
    main()
