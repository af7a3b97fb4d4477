"""Dense layers that keep a random sketch of their input instead of the input.

One equation: `x^T g` is estimated by `(S^T x)^T (S^T g)` with a random S of k columns and mean `E S S^T = I`. A sketch
is how `S^T` is applied to rows; S itself is drawn anew from its key in the backward pass.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.fft import dct
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import wide
from optimizers.layers._inputs import add_bias, dense_inputs, describe, floating

Sketch: TypeAlias = Literal["gaussian", "rademacher", "row_sample", "dct"]


def _gaussian(key: Array, rows: Array, size: int) -> Array:
    return jax.random.normal(key, (size, len(rows)), rows.dtype) / math.sqrt(size) @ rows


def _rademacher(key: Array, rows: Array, size: int) -> Array:
    return jax.random.rademacher(key, (size, len(rows)), rows.dtype) / math.sqrt(size) @ rows


def _row_sample(key: Array, rows: Array, size: int) -> Array:
    return rows[jax.random.permutation(key, len(rows))[:size]] * math.sqrt(len(rows) / size)


def _cosines(rows: Array) -> Array:
    return dct(rows, axis=0, norm="ortho")


def _dct(key: Array, rows: Array, size: int) -> Array:
    return _row_sample(key, _cosines(rows), size)


_SKETCHES: dict[str, Callable[[Array, Array, int], Array]] = {
    "gaussian": _gaussian,
    "rademacher": _rademacher,
    "row_sample": _row_sample,
    "dct": _dct,
}


def _sketched(sketch: str, key: Array, x: Array, size: int) -> Array:
    """`S^T x` `[size, N]` in float32 or wider, of `x` `[..., N]` as rows."""
    rows = wide(_as_rows(x))
    return _SKETCHES[sketch](key, rows, size) if len(rows) else rows


def _as_rows(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _sketch_of(function: str, sketch: str, x: Array, sketch_size: int | None, fraction: float | None) -> int:
    """The number k of rows that are kept of those of `x` `[..., N]`, after checks of all that says so."""
    if sketch not in _SKETCHES:
        raise ValueError(f"{function}: sketch must be one of {list(_SKETCHES)}, got {sketch!r}")
    rows = math.prod(x.shape[:-1])
    if (sketch_size is None) == (fraction is None):
        given = "neither" if fraction is None else "both"
        raise ValueError(f"{function}: expected either sketch_size or fraction, got {given}")
    if fraction is not None:
        if isinstance(fraction, jax.core.Tracer):
            raise TypeError(f"{function}: fraction says how many rows are kept and cannot be traced")
        check_range(function, "fraction", fraction, 0.0, 1.0, open_low=True)
        return min(max(1, round(float(fraction) * rows)), rows)
    size = check_positive_integer(function, "sketch_size", sketch_size)
    if size > rows:
        raise ValueError(f"{function}: sketch_size must be at most the {rows} rows of the input, got {size}")
    return size


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _dense(sketch: str, size: int, x: Array, w: Array, key: Array) -> Array:
    del sketch, size, key
    return x @ w


def _dense_forward(sketch: str, size: int, x: Array, w: Array, key: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return x @ w, (_sketched(sketch, key, x, size).astype(x.dtype), w, key)


def _dense_backward(
    sketch: str, size: int, saved: tuple[Array, Array, Array], error: Array
) -> tuple[Array, Array, None]:
    x_sketch, w, key = saved
    dw = wide(x_sketch).T @ _sketched(sketch, key, error, size)
    return (error @ w.T).astype(x_sketch.dtype), dw.astype(w.dtype), None


_dense.defvjp(_dense_forward, _dense_backward)


def randomized_dense(
    x: Float[Array, "*batch inputs"],
    w: Float[Array, "inputs outputs"],
    key: Array,
    b: Float[Array, " outputs"] | None = None,
    *,
    sketch_size: int | None = None,
    fraction: float | None = None,
    sketch: Sketch = "gaussian",
) -> Float[Array, "*batch outputs"]:
    r"""A dense layer that saves for its backward pass a random sketch of the input, of fewer rows.

    $$
    y = x w + b, \qquad dx = dy\, w^\top, \quad db = \textstyle\sum dy, \quad
    dw := (S^\top x)^\top (S^\top dy), \quad \mathbb{E}\, S S^\top = I
    $$

    Output, dx and db are exact; dw is unbiased, and `randomized_matmul_variance` says how far off. Of B rows (all
    leading axes together) k are saved, and the key, from which S is drawn again. Memory is saved where nothing else
    needs `x` in the backward pass. Cost: `2 B k (inputs + outputs)` multiplications for the dense sketches, which also
    draw `B k` numbers twice, less for the others, and `B / k` times fewer for dw itself.

    Args:
        x: Inputs `[..., inputs]`, B rows in all.
        w: Weights `[inputs, outputs]`.
        key: PRNG key of the sketch; a new one at each step and layer.
        b: Bias `[outputs]`; none by default.
        sketch_size: Number k of rows saved, at most B; either this or `fraction`.
        fraction: k as a fraction of B, in (0, 1], not traced.
        sketch: `"gaussian"`: entries of S normal; `"rademacher"`: of random sign; `"row_sample"`: rows of the batch
            without replacement; `"dct"`: the same of the rows' cosine transform, which spreads every example over all
            of them. The last two are exact at k = B.

    Returns:
        Outputs `[..., outputs]`, in the dtype of `x @ w + b`; gradients in the dtypes of their arguments, dw
        accumulated in float32 or wider.

    Raises:
        TypeError: An array is not floating point, `sketch_size` no integer, `fraction` no number.
        ValueError: Shapes do not match, a value is out of range, the sketch unknown, or its size not given once.

    Examples:
        A quarter of the rows, and the mean over keys of the weights' gradient, which is 8:

        >>> import jax, jax.numpy as jnp
        >>> x, w = jnp.ones((8, 1)), jnp.ones((1, 1))
        >>> loss = lambda w, key: randomized_dense(x, w, key, fraction=0.25).sum()
        >>> gradients = jax.vmap(jax.grad(loss), (None, 0))(w, jax.random.split(jax.random.key(0), 100_000))
        >>> print(f"{gradients.mean():.1f}")
        8.0

    Source:
        Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets, "Memory-Efficient Backpropagation through Large
        Linear Layers", 2022.
    """
    name = "randomized_dense"
    x, w, b = dense_inputs(name, x, w, b)
    size = _sketch_of(name, sketch, x, sketch_size, fraction)
    return add_bias(_dense(sketch, size, x, w, key), b)


def _matching(function: str, a: Array, b: Array) -> tuple[Array, Array]:
    a, b = floating(function, "a", a, 1), floating(function, "b", b, 1)
    if a.shape[:-1] != b.shape[:-1]:
        raise ValueError(f"{function}: b must have the leading axes of a, {list(a.shape[:-1])}, got {describe(b)}")
    return a, b


def randomized_matmul(
    a: Float[Array, "*batch n"],
    b: Float[Array, "*batch m"],
    key: Array,
    *,
    sketch_size: int | None = None,
    fraction: float | None = None,
    sketch: Sketch = "gaussian",
) -> Float[Array, "n m"]:
    r"""An unbiased estimate of `a^T b` from k random combinations of the rows.

    $$
    (S^\top a)^\top (S^\top b), \qquad S \in \mathbb{R}^{B \times k},\quad \mathbb{E}\, S S^\top = I
    $$

    Args:
        a: `[..., n]`, B rows in all.
        b: `[..., m]`, as many rows.
        key: PRNG key of S.
        sketch_size: Number k of combinations, at most B; either this or `fraction`.
        fraction: k as a fraction of B, in (0, 1], not traced.
        sketch: As in `randomized_dense`.

    Returns:
        The estimate `[n, m]`, accumulated in float32 or wider, in the dtype of `a` and `b`.

    Raises:
        TypeError: An array is not floating point, `sketch_size` no integer, `fraction` no number.
        ValueError: Rows differ in number, a value is out of range, the sketch unknown, or its size not given once.

    Examples:
        With all the rows, in any order, the sample is the product:

        >>> import jax, jax.numpy as jnp
        >>> a = jnp.arange(4.0)[:, None]
        >>> print(f"{randomized_matmul(a, a, jax.random.key(0), sketch_size=4, sketch='row_sample')[0, 0]:.1f}")
        14.0

    Source:
        Drineas, Kannan, Mahoney, "Fast Monte Carlo Algorithms for Matrices I: Approximating Matrix Multiplication",
        2006; Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets, "Memory-Efficient Backpropagation through
        Large Linear Layers", 2022.
    """
    a, b = _matching("randomized_matmul", a, b)
    size = _sketch_of("randomized_matmul", sketch, a, sketch_size, fraction)
    product = _sketched(sketch, key, a, size).T @ _sketched(sketch, key, b, size)
    return product.astype(jnp.result_type(a, b))


def randomized_matmul_variance(
    a: Float[Array, "*batch n"],
    b: Float[Array, "*batch m"],
    *,
    sketch_size: int | None = None,
    fraction: float | None = None,
    sketch: Sketch = "gaussian",
) -> Float[Array, ""]:
    r"""The expected squared error of `randomized_matmul`, summed over the entries.

    With B rows, `p = ||a^T b||^2` and `q = \sum_i ||a_i||^2 ||b_i||^2` (of the cosine transforms, for `"dct"`):

    $$
    \text{gaussian: } \frac{\lVert a \rVert^2 \lVert b \rVert^2 + p}{k}, \qquad
    \text{rademacher: } \frac{\lVert a \rVert^2 \lVert b \rVert^2 + p - 2 q}{k}, \qquad
    \text{row\_sample, dct: } \frac{B (B - k)}{k (B - 1)} \left( q - \frac{p}{B} \right)
    $$

    in the Frobenius norm. With inputs and output errors of a layer it is the variance that `randomized_dense` adds to
    the gradient of the weights.

    Args:
        a: `[..., n]`, B rows in all.
        b: `[..., m]`, as many rows.
        sketch_size: Number k of combinations, at most B; either this or `fraction`.
        fraction: k as a fraction of B, in (0, 1], not traced.
        sketch: As in `randomized_dense`.

    Returns:
        The variance, a scalar in float32 (float64 for float64 inputs), at least 0.

    Raises:
        TypeError: An array is not floating point, `sketch_size` no integer, `fraction` no number.
        ValueError: Rows differ in number, a value is out of range, the sketch unknown, or its size not given once.

    Examples:
        >>> import jax.numpy as jnp
        >>> a, b = jnp.array([[1.0], [2.0]]), jnp.array([[1.0], [-1.0]])
        >>> for sketch in ("gaussian", "row_sample"):
        ...     print(randomized_matmul_variance(a, b, sketch_size=1, sketch=sketch))
        11.0
        9.0

    Source:
        Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets, "Memory-Efficient Backpropagation through Large
        Linear Layers", 2022; Cochran, "Sampling Techniques", 1977, for samples without replacement.
    """
    a, b = _matching("randomized_matmul_variance", a, b)
    size = _sketch_of("randomized_matmul_variance", sketch, a, sketch_size, fraction)
    a, b = wide(_as_rows(a)), wide(_as_rows(b))
    if sketch == "dct" and len(a):
        a, b = _cosines(a), _cosines(b)
    a_squares, b_squares = jnp.sum(a * a, axis=-1), jnp.sum(b * b, axis=-1)
    product, pairs = jnp.sum((a.T @ b) ** 2), jnp.sum(a_squares * b_squares)
    rows = max(len(a), 1)
    if sketch in ("row_sample", "dct"):
        factor = rows * (rows - size) / (max(size, 1) * max(rows - 1, 1))
        return factor * jnp.maximum(pairs - product / rows, 0)
    norms = jnp.sum(a_squares) * jnp.sum(b_squares) + product
    return jnp.maximum(norms - (2 * pairs if sketch == "rademacher" else 0), 0) / max(size, 1)
