"""Whether hyperparameters transfer across widths, on this machine: `python -m benchmarks.mup --help`.

Two experiments, each under the standard parametrisation (Adam) and the maximal update one (`mup_adam`, `mup_init`):

- the coordinate check: how far the activations of every layer of a network move in a few steps, by width;
- the learning rate at which a small transformer reads English best, by width: the text task of `benchmarks.train`.

Prints both tables, and writes `build/mup.png`.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import optimizers
from benchmarks.train.tasks.text import CONTEXT, Transformer, load_text_split
from objectives import softmax_cross_entropy

BASE = 64
FORMS = ("standard", "maximal update")
LAYERS = ("input", "hidden", "output")


class WideTransformer(Transformer):
    """The text task's transformer, whose attention takes a factor on its logits."""

    def apply_scaled(self, params: Any, tokens: jax.Array, scale: float) -> jax.Array:
        """Logits, with queries (a third of the first projection of each block) scaled by `scale`."""
        scaled = jax.tree_util.tree_map_with_path(lambda path, p: _scale_queries(path, p, scale), params)
        outputs: Any = self.apply(scaled, tokens)
        return outputs["logits"]


def _scale_queries(path: Any, p: jax.Array, scale: float) -> jax.Array:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    size = p.shape[-1] // 3
    joint = "DenseGeneral" in name and p.shape[-1] % 3 == 0 and p.shape[-2] == 4
    return p.at[..., :size].multiply(scale) if joint else p


def coordinate_check(widths: Sequence[int], steps: int, seeds: int) -> dict[str, np.ndarray]:
    """Root mean square change `[widths, layers]` of the activations of a tanh network after `steps` of Adam."""
    found = {}
    for form in FORMS:
        rows = [_movement(width, form, steps, seeds) for width in widths]
        found[form] = np.array(rows)
    return found


def _layers(width: int, key: jax.Array) -> dict[str, jax.Array]:
    shapes = dict(zip(LAYERS, ((8, width), (width, width), (width, 4))))
    keys = dict(zip(LAYERS, jax.random.split(key, 3)))
    return {name: jax.random.normal(keys[name], shape) * shape[0] ** -0.5 for name, shape in shapes.items()}


def _activations(params: dict[str, jax.Array], x: jax.Array) -> list[jax.Array]:
    first = jnp.tanh(x @ params["input"])
    second = jnp.tanh(first @ params["hidden"])
    return [first, second, second @ params["output"]]


def _movement(width: int, form: str, steps: int, seeds: int) -> np.ndarray:
    x, y = (jax.random.normal(jax.random.key(n), (32, n)) for n in (8, 4))

    def loss_fn(params: dict[str, jax.Array]) -> jax.Array:
        return jnp.mean((_activations(params, x)[-1] - y) ** 2)

    def moved(key: jax.Array) -> jax.Array:
        params, base = _layers(width, key), _layers(BASE, jax.random.fold_in(key, 1))
        params, tx = _prepared(form, params, base, 1e-2)

        def step(carry: Any, _: None) -> tuple[Any, None]:
            params, state = carry
            updates, state = tx.update(jax.grad(loss_fn)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        trained = jax.lax.scan(step, (params, tx.init(params)), length=steps)[0][0]
        pairs = zip(_activations(params, x), _activations(trained, x))
        return jnp.stack([jnp.mean((after - before) ** 2) for before, after in pairs])

    squares = jax.jit(jax.vmap(moved))(jax.random.split(jax.random.key(0), seeds))
    return np.sqrt(np.mean(squares, axis=0))


def _prepared(
    form: str, params: Any, base: Any, rate: Any, is_output: Callable[[str], bool] | None = None
) -> tuple[Any, optax.GradientTransformation]:
    """First parameters and optimizer of a form."""
    if form == "standard":
        return params, optimizers.adam(rate)
    shapes = jax.eval_shape(lambda: base)
    return (
        optimizers.mup_init(params, base, is_output=is_output),
        optimizers.mup_adam(rate, shapes, is_output=is_output),
    )


def _is_head(path: str) -> bool:
    """The transformer's head has its weights as `[classes, width]`: what they sum over comes last."""
    return path.endswith("ClassHead_0/weights")


def transfer(widths: Sequence[int], rates: Sequence[float], steps: int, batch: int) -> dict[str, np.ndarray]:
    """Bits per byte `[widths, rates]` of the text task after `steps`, the mean of the last tenth of them."""
    text = jnp.asarray(load_text_split()[0]["bytes"])
    return {form: np.array([_bits(text, width, rates, form, steps, batch) for width in widths]) for form in FORMS}


def _bits(text: jax.Array, width: int, rates: Sequence[float], form: str, steps: int, batch: int) -> np.ndarray:
    network, tokens = WideTransformer(width=width), jnp.zeros((1, CONTEXT), jnp.int32)
    base = WideTransformer(width=BASE).init(jax.random.key(1), tokens)
    # Attention logits divided by the size of a head, and as usual at the base's width.
    scale = (BASE / width) ** 0.5 if form == "maximal update" else 1.0

    def loss_fn(params: Any, key: jax.Array) -> jax.Array:
        starts = jax.random.randint(key, (batch,), 0, len(text) - CONTEXT)
        windows = text[starts[:, None] + jnp.arange(CONTEXT + 1)].astype(jnp.int32)
        logits = network.apply_scaled(params, windows[:, :-1], scale)
        return jnp.mean(softmax_cross_entropy(logits, windows[:, 1:])) / jnp.log(2.0)

    def run(rate: jax.Array) -> jax.Array:
        params, tx = _prepared(form, network.init(jax.random.key(0), tokens), base, rate, _is_head)

        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            params, state = carry
            loss, grad = jax.value_and_grad(loss_fn)(params, key)
            updates, state = tx.update(grad, state, params)
            return (optax.apply_updates(params, updates), state), loss

        _, losses = jax.lax.scan(step, (params, tx.init(params)), jax.random.split(jax.random.key(2), steps))
        return jnp.mean(losses[-max(steps // 10, 1) :])

    one = jax.jit(run)
    return np.array([one(jnp.float32(rate)) for rate in rates])


def print_table(title: str, columns: Sequence[str], widths: Sequence[int], found: dict[str, np.ndarray]) -> None:
    """One row a form and width; the best of a row of losses is for the reader to see."""
    table = Table("form", "width", *columns, title=title)
    for form, rows in found.items():
        for width, row in zip(widths, rows):
            table.add_row(form, str(width), *(f"{value:.3f}" for value in row))
    Console().print(table)


def plot(
    path: Path, widths: Sequence[int], moved: dict[str, np.ndarray], text: tuple[Sequence[int], Sequence[float], Any]
) -> None:
    """Both experiments, a column a form."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 7), sharey="row", layout="constrained")
    text_widths, rates, bits = text
    for (upper, lower), form in zip(axes.T, FORMS):
        for number, layer in enumerate(LAYERS):
            upper.loglog(widths, moved[form][:, number], marker="o", label=layer)
        upper.set(title=form, xlabel="width", ylabel="change of activations")
        for width, row in zip(text_widths, bits[form]):
            lower.semilogx(rates, row, marker="o", label=f"width {width}")
        lower.set(xlabel="learning rate", ylabel="bits per byte")
        upper.legend()
        lower.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mup", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="narrow and short: to see that everything runs")
    parser.add_argument("--steps", type=int, default=200, help="steps of the text task (200)")
    parser.add_argument("--plot", type=Path, default=Path("build/mup.png"), metavar="PATH")
    options = parser.parse_args(arguments)
    widths = (64, 128) if options.quick else (64, 128, 256, 512, 1024)
    text_widths = (64,) if options.quick else (64, 128, 256)
    rates = (3e-3, 3e-2) if options.quick else tuple(2.0**k * 1e-3 for k in range(-1, 6))
    steps = 2 if options.quick else options.steps
    moved = coordinate_check(widths, steps=5, seeds=2 if options.quick else 5)
    print_table("change of activations after 5 steps of Adam", LAYERS, widths, moved)
    bits = transfer(text_widths, rates, steps, batch=4 if options.quick else 16)
    print_table(f"bits per byte after {steps} steps", [f"{rate:.2g}" for rate in rates], text_widths, bits)
    plot(options.plot, widths, moved, (text_widths, rates, bits))
    print(f"wrote {options.plot}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
