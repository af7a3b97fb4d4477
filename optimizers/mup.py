"""The maximal update parametrisation: hyperparameters tuned at one width that hold at every other.

The kind of a leaf is told from its shapes in two models that differ in width alone. With n the growth of the axis that
is summed over and m that of the other, where they grow:

| kind | grows | root mean square of the first values | Adam's rate | SGD's rate |
|---|---|---|---|---|
| input, bias, gain | towards the outputs alone | as in the base model | 1 | m |
| hidden | on both sides | 1 / √n of it | 1 / n | m / n |
| output | towards the inputs alone | 1 / n of it | 1 / n | 1 / n |
| fixed | nowhere | as it is | 1 | 1 |

This is the form without multipliers in the forward pass: the model stays as it is, but for attention, whose logits are
to be divided by the size of a head and not by its root. The base is of the same kind as the parameters; of a linen
module and of an nnx one:

    base = Net(width=64).init(key, x)
    params, tx = mup_init(Net(width=1024).init(key, x), base), mup_adam(1e-3, base)

    base, model = nnx.state(Net(64, rngs), nnx.Param), Net(1024, rngs)
    nnx.update(model, mup_init(nnx.state(model, nnx.Param), base))
    optimizer = nnx.Optimizer(model, mup_adam(1e-3, base), wrt=nnx.Param)
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimizers._moments import check_decays, check_descent, descend, real_dtype
from optimizers._trees import PyTree, accumulator_dtype, wide
from optimizers.adaptive.adam import scale_by_adam

Base = PyTree | Callable[[PyTree], PyTree]
IsOutput = Callable[[str], bool] | None


class _Growth(NamedTuple):
    """The growth of a leaf's inputs and of its outputs, 1 where they do not grow."""

    inputs: float
    outputs: float


def _growth(function: str, path: str, base: tuple[int, ...], shape: tuple[int, ...], is_output: IsOutput) -> _Growth:
    if len(base) != len(shape) or any(b == 0 < s for b, s in zip(base, shape)):
        raise ValueError(f"{function}: base must have the axes of {path or 'the parameters'}, {shape}, got {base}")
    axes = [axis for axis, (b, s) in enumerate(zip(base, shape)) if b != s]
    ratios = [shape[axis] / base[axis] for axis in axes]
    if len(ratios) > 2:
        raise ValueError(f"{function}: base must differ in two axes of a leaf at most, got {base} for {path} {shape}")
    if len(ratios) == 2:
        return _Growth(*ratios)
    if not ratios:
        return _Growth(1.0, 1.0)
    inner = axes[0] < len(shape) - 1 if is_output is None else is_output(path)
    return _Growth(ratios[0], 1.0) if inner else _Growth(1.0, ratios[0])


def _growths(function: str, base: Base, params: PyTree, is_output: IsOutput) -> PyTree:
    base = base(params) if callable(base) else base
    (names, leaves, structure), (base_names, base_leaves, _) = _named(params), _named(base)
    if names != base_names:
        raise ValueError(f"{function}: base must have the leaves of the parameters, {names}, got {base_names}")
    growths = [
        _growth(function, name, np.shape(b), np.shape(p), is_output) for name, p, b in zip(names, leaves, base_leaves)
    ]
    return jax.tree.unflatten(structure, growths)


def _named(tree: PyTree) -> tuple[list[str], list[Any], Any]:
    """Paths, leaves and structure; the box that nnx has around a parameter is no part of its path."""
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in found]
    return [path.removesuffix("/value") for path in paths], [leaf for _, leaf in found], structure


RULES: dict[str, Callable[[_Growth], float]] = {
    "adam": lambda growth: 1 / growth.inputs,
    "sgd": lambda growth: growth.outputs / growth.inputs,
}


def _check_optimizer(function: str, optimizer: str) -> None:
    if optimizer not in RULES:
        raise ValueError(f"{function}: optimizer must be 'adam' or 'sgd', got {optimizer!r}")


def mup_multipliers(
    params: PyTree,
    base: Base,
    optimizer: Literal["adam", "sgd"] = "adam",
    is_output: IsOutput = None,
) -> PyTree:
    r"""Factors on the learning rate of each leaf, from the shapes of a model and of the narrow one it was tuned at.

    $$\eta_{leaf} = \eta \cdot \begin{cases} 1 / n & \text{Adam} \\ m / n & \text{SGD} \end{cases}$$

    with n and m the growth of the leaf's inputs and outputs. Of two axes that grow, the first is the inputs', as in
    Flax's kernels `[..., in, out]`; one axis alone is the outputs' where it is the last (kernels of the first layer,
    embeddings, biases), the inputs' elsewhere (kernels of the last layer).

    Args:
        params: Parameters of the model, or their shapes: arrays or `jax.eval_shape`'s result.
        base: The same of the base model, or a function from parameters to it.
        optimizer: `"adam"` for every method that scales the gradient's entries to size 1 (Lion, Adafactor); `"sgd"`.
        is_output: Of a leaf with one growing axis, by its path `a/b/kernel`, whether that is the inputs' axis: for
            other layouts, and for heads as an axis of their own.

    Returns:
        A tree of floats.

    Raises:
        ValueError: `optimizer` is none of the two, the trees differ, or more than two axes of a leaf grow.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layers = lambda n: {"in": jnp.ones((3, n)), "hidden": jnp.ones((n, n)), "out": jnp.ones((n, 2))}
        >>> print(mup_multipliers(jax.eval_shape(lambda: layers(256)), jax.eval_shape(lambda: layers(64))))
        {'hidden': 0.25, 'in': 1.0, 'out': 0.25}

    Source:
        G. Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer", 2022,
        table 3; G. Yang, E. Littwin, "Tensor Programs IVb: Adaptive Optimization in the Infinite-Width Limit", 2023.
    """
    _check_optimizer("mup_multipliers", optimizer)
    growths = _growths("mup_multipliers", base, params, is_output)
    return jax.tree.map(RULES[optimizer], growths, is_leaf=lambda x: isinstance(x, _Growth))


def mup_init(params: PyTree, base: PyTree, is_output: IsOutput = None) -> PyTree:
    r"""First values of the right size for a width, from any first values and those of the base model.

    $$\theta \leftarrow \theta\,\frac{r(\theta_{base})}{r(\theta)} \cdot \begin{cases} 1 & \text{input, bias, gain} \\
    1/\sqrt n & \text{hidden} \\ 1 / n & \text{output} \end{cases}$$

    for the leaves that differ in shape, with r the root mean square. It does not matter how the initialiser of a leaf
    depends on the width: only its distribution's shape stays. Leaves of zeros stay zeros, and gains of one ones.

    Args:
        params: First values of the model.
        base: First values of the base model, arrays.
        is_output: As in `mup_multipliers`.

    Returns:
        The parameters, in their dtypes.

    Raises:
        ValueError: The trees differ, or more than two axes of a leaf grow.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> init = lambda width: jax.random.normal(jax.random.key(0), (width, 2)) / jnp.sqrt(width)
        >>> readout = mup_init(init(4096), base=init(1024))
        >>> print(f"{jnp.std(init(1024)):.4f} {jnp.std(init(4096)):.4f} {jnp.std(readout):.4f}")
        0.0315 0.0159 0.0079

    Source:
        G. Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer", 2022,
        table 3.
    """
    growths = _growths("mup_init", base, params, is_output)
    boxed = jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(base))

    def leaf(p: Any, b: Any, growth: _Growth) -> Any:
        if growth == (1.0, 1.0):
            return p
        wished, found = _root_mean_square(b), _root_mean_square(p)
        size = 1 / growth.inputs if growth.outputs == 1 else 1 / math.sqrt(growth.inputs)
        factor = jnp.where((found > 0) & (wished > 0), size * wished / jnp.where(found > 0, found, 1.0), 1.0)
        return (wide(p) * factor).astype(p.dtype)

    return jax.tree.map(leaf, params, boxed, growths)


def _root_mean_square(x: Any) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(jnp.abs(wide(jnp.asarray(x))))))


def mup_scale(
    base: Base, optimizer: Literal["adam", "sgd"] = "adam", is_output: IsOutput = None
) -> optax.GradientTransformationExtraArgs:
    r"""Scale each leaf's update by its factor of the maximal update parametrisation.

    $$u \leftarrow u \cdot \begin{cases} 1 / n & \text{Adam} \\ m / n & \text{SGD} \end{cases}$$

    Behind the method and before the weight decay, which then keeps its strength at every width:
    `optax.chain(scale_by_lion(), mup_scale(base), optax.add_decayed_weights(0.1), optax.scale_by_learning_rate(1e-4))`.

    Args:
        base: Parameters of the base model, or their shapes, or a function from parameters to them.
        optimizer: `"adam"` for every method that scales the gradient's entries to size 1; `"sgd"`.
        is_output: As in `mup_multipliers`.

    Returns:
        An Optax transformation without state; updates keep their dtype.

    Raises:
        ValueError: `optimizer` is none of the two; on `update`, the trees differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = mup_scale(base=jnp.ones((2, 2)))
        >>> gradient = jnp.ones((4, 4))
        >>> print(tx.update(gradient, tx.init(gradient))[0][0])
        [0.5 0.5 0.5 0.5]

    Source:
        G. Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer", 2022,
        table 3; G. Yang, E. Littwin, "Tensor Programs IVb: Adaptive Optimization in the Infinite-Width Limit", 2023.
    """
    _check_optimizer("mup_scale", optimizer)

    def init(params: PyTree) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: PyTree, state: optax.EmptyState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, optax.EmptyState]:
        del params, extra_args
        factors = jax.tree.map(
            RULES[optimizer],
            _growths("mup_scale", base, updates, is_output),
            is_leaf=lambda x: isinstance(x, _Growth),
        )

        def leaf(u: Any, factor: float) -> Any:
            if factor == 1:
                return u
            u = jnp.asarray(u)
            dtype = accumulator_dtype(u.dtype)
            return (u.astype(dtype) * jnp.asarray(factor, real_dtype(dtype))).astype(u.dtype)

        return jax.tree.map(leaf, updates, factors), state

    return optax.GradientTransformationExtraArgs(init, update)


def mup_adam(
    learning_rate: optax.ScalarOrSchedule,
    base: Base,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    is_output: IsOutput = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam in the maximal update parametrisation: the learning rate tuned on the base model, at any width.

    $$\theta \leftarrow \theta - \frac{\eta}{n}\,\frac{\hat m}{\sqrt{\hat v} + \varepsilon}$$

    with n the growth of the leaf's inputs. Begin with `mup_init`'s parameters. Of the base model itself it is `adam`,
    bit for bit. The gradients of all but the last layer shrink as the width grows: `eps` has to be negligible beside
    them.

    Args:
        learning_rate: η, at least 0: a number, a traced scalar or an Optax schedule.
        base: Parameters of the base model, or their shapes, or a function from parameters to them.
        b1: Decay of the average gradient, in [0, 1).
        b2: Decay of the average squared gradient, in [0, 1).
        eps: Added to the root, at least 0.
        is_output: As in `mup_multipliers`.

    Returns:
        An Optax transformation.

    Raises:
        ValueError: A concrete hyperparameter is out of range; on `update`, the trees differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = mup_adam(0.1, base=jnp.ones((2, 2)))
        >>> params = jnp.zeros((8, 8))
        >>> print(f"{tx.update(jnp.ones((8, 8)), tx.init(params), params)[0][0, 0]:.3f}")
        -0.025

    Source:
        G. Yang, E. Littwin, "Tensor Programs IVb: Adaptive Optimization in the Infinite-Width Limit", 2023.
    """
    check_decays("mup_adam", eps, b1=b1, b2=b2)
    check_descent("mup_adam", learning_rate)
    return descend(optax.chain(scale_by_adam(b1, b2, eps), mup_scale(base, is_output=is_output)), learning_rate)


def mup_adamw(
    learning_rate: optax.ScalarOrSchedule,
    base: Base,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 1e-4,
    mask: Any = None,
    is_output: IsOutput = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdamW in the maximal update parametrisation; the decay is the same at every width.

    $$\theta \leftarrow \theta - \eta\,\Big(\frac{1}{n}\,\frac{\hat m}{\sqrt{\hat v} + \varepsilon} +
    \lambda\,\theta\Big)$$

    Args:
        learning_rate: η, at least 0: a number, a traced scalar or an Optax schedule.
        base: Parameters of the base model, or their shapes, or a function from parameters to them.
        b1: Decay of the average gradient, in [0, 1).
        b2: Decay of the average squared gradient, in [0, 1).
        eps: Added to the root, at least 0.
        weight_decay: Decay rate λ, at least 0, multiplied by the learning rate: a number, a traced scalar or a
            schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        is_output: As in `mup_multipliers`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range; on `update`, the trees differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = mup_adamw(0.1, base=jnp.ones((2, 2)), weight_decay=0.5)
        >>> params = jnp.ones((8, 8))
        >>> print(f"{tx.update(jnp.ones((8, 8)), tx.init(params), params)[0][0, 0]:.3f}")
        -0.075

    Source:
        G. Yang, E. Littwin, "Tensor Programs IVb: Adaptive Optimization in the Infinite-Width Limit", 2023.
    """
    check_decays("mup_adamw", eps, b1=b1, b2=b2)
    check_descent("mup_adamw", learning_rate, weight_decay)
    directions = optax.chain(scale_by_adam(b1, b2, eps), mup_scale(base, is_output=is_output))
    return descend(directions, learning_rate, weight_decay, mask)
