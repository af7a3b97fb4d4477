"""Products with the curvature of a loss, and random estimates of its diagonal and trace.

Nothing here forms a matrix: the curvature is a function from a vector (a pytree like the parameters) to a vector.
`make_train_step` feeds what these functions need to transformations: `grad_fn` always, and with
`curvature=GaussNewton(...)` the products `gnvp_fn` and `gnb_fn`.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable, check_positive_integer
from optimizers._keys import typed_key
from optimizers._trees import PyTree, accumulator_dtype, global_norm, wide

Product = Callable[[PyTree], PyTree]


class GaussNewton(NamedTuple):
    """A loss in two parts, for its Gauss-Newton matrix: `make_train_step(..., curvature=GaussNewton(...))`.

    Attributes:
        outputs_fn: what the loss reads of the model: `outputs_fn(params, batch, key)`, or with a fourth argument
            `model_state` where the state has one; any pytree of arrays. It draws what `loss_fn` draws: the key is the
            same.
        loss_of_outputs: `loss_of_outputs(outputs, batch)`, the scalar loss, convex in the outputs.
        sampled_losses: `sampled_losses(outputs, key)`, one loss a label, for labels drawn from the model's own
            distribution; what `gauss_newton_bartlett_diagonal` needs, and nothing else does.
    """

    outputs_fn: Callable[..., Any]
    loss_of_outputs: Callable[[Any, Any], jax.Array]
    sampled_losses: Callable[[Any, jax.Array], jax.Array] | None = None


def hessian_vector_product(grad_fn: Callable[[PyTree], PyTree], params: PyTree, vector: PyTree) -> PyTree:
    r"""The Hessian times a vector: a forward derivative of the gradient, at about twice the gradient's cost.

    $$
    \nabla^2 L(\theta)\, v = \frac{d}{dt} \nabla L(\theta + t v) \Big|_{t=0}
    $$

    Args:
        grad_fn: the gradient as a function of the parameters: `jax.grad(loss)`, or the extra argument that
            `make_train_step` gives to transformations.
        params: the parameters, a pytree of real arrays.
        vector: the vector, in the shapes and dtypes of the parameters.

    Returns:
        The product, in the shapes and dtypes of the gradient.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss_fn = lambda x: x[0] ** 2 * x[1]
        >>> print(hessian_vector_product(jax.grad(loss_fn), jnp.array([1.0, 3.0]), jnp.array([1.0, 0.0])))
        [6. 2.]

    Source:
        B. A. Pearlmutter, "Fast Exact Multiplication by the Hessian", 1994.
    """
    product: PyTree = jax.jvp(grad_fn, (params,), (vector,))[1]
    return product


def gauss_newton_vector_product(
    outputs_fn: Callable[[PyTree], Any],
    loss_of_outputs: Callable[[Any], jax.Array],
    params: PyTree,
    vector: PyTree,
) -> PyTree:
    r"""The generalised Gauss-Newton matrix times a vector: the Hessian without the curvature of the model.

    $$
    G v = J^\top \bigl( \nabla_z^2 \ell(z) \bigr) J v, \qquad z = f(\theta), \quad J = \partial f / \partial \theta
    $$

    It is positive semi-definite where the loss is convex in the outputs, whatever the model. Where the loss is the
    negative logarithm of an exponential family's density with the outputs as its natural parameters (softmax
    cross-entropy of logits, squared errors), it is the Fisher information matrix.

    Args:
        outputs_fn: the outputs z of the model as a function of the parameters, any pytree of arrays.
        loss_of_outputs: the scalar loss of the outputs.
        params: the parameters, a pytree of real arrays.
        vector: the vector, in the shapes and dtypes of the parameters.

    Returns:
        The product, in the shapes and dtypes of the parameters.

    Examples:
        >>> import jax.numpy as jnp
        >>> outputs_fn, loss_of_outputs = lambda x: x[0] * x[1], lambda z: 0.5 * z**2
        >>> params, vector = jnp.array([1.0, 3.0]), jnp.array([1.0, 0.0])
        >>> print(gauss_newton_vector_product(outputs_fn, loss_of_outputs, params, vector))
        [9. 3.]

    Source:
        N. N. Schraudolph, "Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent", 2002.
    """
    outputs, forward = jax.linearize(outputs_fn, params)
    curved = hessian_vector_product(jax.grad(loss_of_outputs), outputs, forward(vector))
    product: PyTree = jax.linear_transpose(forward, params)(curved)[0]
    return product


def gauss_newton_bartlett_diagonal(
    outputs_fn: Callable[[PyTree], Any],
    sampled_losses: Callable[[Any, jax.Array], jax.Array],
    params: PyTree,
    key: jax.Array | int,
) -> PyTree:
    r"""An unbiased, non-negative estimate of the diagonal of the Gauss-Newton matrix, from one more gradient.

    $$
    \hat h = B\, \hat g \odot \hat g, \qquad
    \hat g = \nabla_\theta \frac{1}{B} \sum_{b=1}^B \ell\bigl(f_b(\theta), \hat y_b\bigr), \quad
    \hat y_b \sim p(\cdot \mid f_b(\theta))
    $$

    The expectation is over the labels: it is the diagonal of the Gauss-Newton matrix of the mean loss where the loss is
    the negative log-likelihood of the labels. The B labels have to be independent given the outputs.

    Args:
        outputs_fn: the outputs of the model as a function of the parameters.
        sampled_losses: `sampled_losses(outputs, key)`, the losses of labels drawn with the key from the model's own
            distribution, one a label in any shape. Labels that depend smoothly on the outputs need
            `jax.lax.stop_gradient`; those of `jax.random.categorical(key, logits)` do not.
        params: the parameters, a pytree of real arrays.
        key: a PRNG key (typed or raw), or a seed.

    Returns:
        The estimate, in the shapes of the parameters, in float32 or wider.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> def sampled_losses(logits, key):
        ...     return optax.softmax_cross_entropy_with_integer_labels(logits, jax.random.categorical(key, logits))
        >>> estimate = lambda key: gauss_newton_bartlett_diagonal(
        ...     lambda w: jnp.outer(jnp.ones(100), w), sampled_losses, jnp.zeros(2), key
        ... )
        >>> mean = jax.vmap(estimate)(jax.random.split(jax.random.key(0), 1000)).mean(0)
        >>> print([f"{h:.2f}" for h in mean])  # p (1 - p)
        ['0.25', '0.25']

    Source:
        H. Liu, Z. Li, D. Hall, P. Liang, T. Ma, "Sophia: A Scalable Stochastic Second-order Optimizer for Language
        Model Pre-training", 2023, Algorithm 2.
    """
    key = typed_key(key)

    def mean_and_count(params: PyTree) -> tuple[jax.Array, int]:
        losses = sampled_losses(outputs_fn(params), key)
        return jnp.mean(wide(losses)), losses.size

    gradient, count = jax.grad(mean_and_count, has_aux=True)(params)
    return jax.tree.map(lambda g: count * jnp.square(wide(g)), gradient)


def rademacher_like(key: jax.Array | int, tree: PyTree) -> PyTree:
    """Random signs, -1 or 1 with equal probability, in the shapes and dtypes of a tree.

    Args:
        key: a PRNG key (typed or raw), or a seed.
        tree: a pytree of arrays of floats.

    Returns:
        A tree like `tree`.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(jnp.abs(rademacher_like(0, jnp.zeros(3))))
        [1. 1. 1.]
    """
    return optax.tree.random_like(typed_key(key), jax.tree.map(jnp.asarray, tree), jax.random.rademacher)


def _mean_over_probes(
    function: str, of_probe: Product, params: PyTree, key: jax.Array | int, samples: int, distribution: str
) -> PyTree:
    """The mean of a function of a probe, sample after sample, in float32 or wider."""
    samples = check_positive_integer(function, "samples", samples)
    if distribution not in ("rademacher", "normal"):
        raise ValueError(f"{function}: distribution must be 'rademacher' or 'normal', got {distribution!r}")
    like = jax.tree.map(jnp.asarray, params)

    def estimate(key: jax.Array) -> PyTree:
        return of_probe(
            rademacher_like(key, like) if distribution == "rademacher" else optax.tree.random_like(key, like)
        )

    if samples == 1:
        return estimate(typed_key(key))
    keys = jax.random.split(typed_key(key), samples)
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(estimate, keys[0]))
    total, _ = jax.lax.scan(lambda sum_, key: (jax.tree.map(jnp.add, sum_, estimate(key)), None), start, keys)
    return jax.tree.map(lambda x: x / samples, total)


def hutchinson_diagonal(
    product: Product,
    params: PyTree,
    key: jax.Array | int,
    *,
    samples: int = 1,
    distribution: Literal["rademacher", "normal"] = "rademacher",
) -> PyTree:
    r"""An unbiased estimate of the diagonal of a matrix that is known by its products.

    $$
    \frac{1}{n} \sum_{i=1}^n z_i \odot (A z_i), \qquad \mathbb{E}[z z^\top] = I
    $$

    With random signs it is exact for a diagonal matrix; the variance of an entry is otherwise the sum of the squares of
    the other entries of its row (for symmetric matrices), over n. Normal probes add twice the square of the entry.

    Args:
        product: the matrix times a vector, e.g. `lambda v: hessian_vector_product(grad_fn, params, v)`.
        params: a pytree of arrays, of which only shapes and dtypes are read.
        key: a PRNG key (typed or raw), or a seed.
        samples: the number n of probes, taken one after the other.
        distribution: that of the probes: "rademacher" (random signs) or "normal".

    Returns:
        The estimate in the shapes of `params`, in float32 or wider.

    Raises:
        TypeError: if `samples` is no integer.
        ValueError: if there are no samples, or `distribution` is another.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(hutchinson_diagonal(lambda v: jnp.array([2.0, -3.0]) * v, jnp.zeros(2), 0))
        [ 2. -3.]

    Source:
        C. Bekas, E. Kokiopoulou, Y. Saad, "An Estimator for the Diagonal of a Matrix", 2007.
    """

    def of_probe(probe: PyTree) -> PyTree:
        return jax.tree.map(lambda z, h: wide(z) * wide(h), probe, product(probe))

    return _mean_over_probes("hutchinson_diagonal", of_probe, params, key, samples, distribution)


def hutchinson_trace(
    product: Product,
    params: PyTree,
    key: jax.Array | int,
    *,
    samples: int = 1,
    distribution: Literal["rademacher", "normal"] = "rademacher",
) -> jax.Array:
    r"""An unbiased estimate of the trace of a matrix that is known by its products.

    $$
    \frac{1}{n} \sum_{i=1}^n z_i^\top A z_i, \qquad \mathbb{E}[z z^\top] = I
    $$

    The variance for symmetric matrices is twice the sum of the squares of the entries off the diagonal (of all entries
    for normal probes), over n.

    Args:
        product: the matrix times a vector, e.g. `lambda v: hessian_vector_product(grad_fn, params, v)`.
        params: a pytree of arrays, of which only shapes and dtypes are read.
        key: a PRNG key (typed or raw), or a seed.
        samples: the number n of probes, taken one after the other.
        distribution: that of the probes: "rademacher" (random signs) or "normal".

    Returns:
        The estimate, a scalar in float32 or wider.

    Raises:
        TypeError: if `samples` is no integer.
        ValueError: if there are no samples, or `distribution` is another.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(hutchinson_trace(lambda v: jnp.array([2.0, -3.0]) * v, jnp.zeros(2), 0))
        -1.0

    Source:
        M. F. Hutchinson, "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines",
        1989.
    """

    def of_probe(probe: PyTree) -> jax.Array:
        return tree_dot(probe, product(probe))

    estimate: jax.Array = _mean_over_probes("hutchinson_trace", of_probe, params, key, samples, distribution)
    return estimate


def tree_dot(a: PyTree, b: PyTree) -> jax.Array:
    """The inner product of two trees, accumulated in float32 or wider."""
    dtype = jnp.result_type(jnp.float32, *(accumulator_dtype(x.dtype) for x in jax.tree.leaves(a)))
    products = [jnp.sum(wide(x) * wide(y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return sum(products, start=jnp.zeros((), dtype))


def linear(product: Product, params: PyTree) -> Product:
    """A product, with vectors in float32 or wider, whose nonlinear part is computed once and not at every vector.

    `product` is linear; it takes and gives vectors in the dtypes of `params`.
    """
    multiply = jax.linearize(product, jax.tree.map(jnp.zeros_like, params))[1]

    def apply(vector: PyTree) -> PyTree:
        narrow = jax.tree.map(lambda v, p: v.astype(jnp.result_type(p)), vector, params)
        return jax.tree.map(wide, multiply(narrow))

    return apply


def needed(function: str, name: str, given: Any, source: str = "make_train_step passes it") -> Any:
    """An extra argument that `update` cannot do without."""
    if given is None:
        raise ValueError(f"{function}: update needs the extra argument {name} ({source}), got None")
    return given


GAUSS_NEWTON_SOURCE = "make_train_step passes it with curvature=GaussNewton(...)"


def directional_sharpness(
    loss_fn: Callable[[PyTree], jax.typing.ArrayLike], params: PyTree, update: PyTree
) -> jax.Array:
    r"""The curvature of the loss along an update: what an optimizer pays, to second order, for the way it moves.

    $$S = \frac{u^\top \nabla^2 L(\theta)\, u}{\lVert u \rVert_2^2}, \qquad
    L(\theta + u) \approx L(\theta) + \nabla L(\theta)^\top u + \tfrac12 \lVert u \rVert_2^2\, S$$

    Two forward derivatives, no gradient and no Hessian: about the cost of three evaluations.

    Args:
        loss_fn: From parameters to a scalar; of the operations that forward differentiation knows.
        params: Tree of parameters.
        update: Tree of the same shapes, the update or any direction; its length does not matter.

    Returns:
        A scalar in float32 or wider, in units of the loss over squared units of the parameters; NaN for a zero update.

    Raises:
        TypeError: `loss_fn` is no function.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = lambda x: 0.5 * (x[0] ** 2 + 100 * x[1] ** 2)
        >>> gradient = jnp.array([1.0, 100.0])
        >>> for update in (gradient, jnp.sign(gradient)):
        ...     print(directional_sharpness(loss, jnp.ones(2), update).round(2))
        99.99
        50.5

    Source:
        Y. Pan, Y. Li, "Toward Understanding Why Adam Converges Faster Than SGD for Transformers", 2023.
    """
    check_callable("directional_sharpness", "loss_fn", loss_fn, "params -> scalar")
    scale = 1 / global_norm(update)
    unit = jax.tree.map(lambda p, u: (scale * wide(jnp.asarray(u))).astype(jnp.result_type(p)), params, update)

    def slope(x: PyTree) -> jax.Array:
        return jax.jvp(lambda x: jnp.asarray(loss_fn(x)), (x,), (unit,))[1]

    return wide(jax.jvp(slope, (params,), (unit,))[1]) / jnp.square(global_norm(unit))
