"""Stochastic gradients of a finite sum whose noise vanishes at the minimum, so that a constant step size converges.

One equation. With i the examples of the batch, g_i their gradients here and t_i what is remembered of them,

    v = c · mean_i (g_i - t_i) + mean_j t_j

over the batch and over all examples. A member is its memory t: gradients at a snapshot (SVRG), or the latest gradient
of each example in a table (SAGA with c = 1, unbiased; SAG with c = batch / examples, biased and of less variance).
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._trees import PyTree, global_norm, wide
from optimizers.gradients.backprop import GradientRule, LossFn, backprop
from optimizers.gradients.examples import per_example
from optimizers.gradients.stateful import StatefulRule


class SVRGState(NamedTuple):
    """State of `svrg`: steps since the last snapshot, int32 `[]`; the snapshot's parameters and its full gradient."""

    phase: jax.Array
    snapshot: PyTree
    mean: PyTree


class TableState(NamedTuple):
    """State of `saga` and `sag`: the latest gradient of each example, `[n, ...]`, and the mean of the table."""

    table: PyTree
    mean: PyTree


def _zeros(params: PyTree, *leading: int) -> PyTree:
    return jax.tree.map(lambda p: jnp.zeros((*leading, *jnp.shape(p)), wide(jnp.asarray(p)).dtype), params)


def _in_dtype_of(tree: PyTree, like: PyTree) -> PyTree:
    return jax.tree.map(lambda x, p: x.astype(jnp.result_type(p)), tree, like)


def svrg(full_batch: PyTree, inner_steps: int, *, inner: GradientRule = backprop) -> StatefulRule:
    r"""SVRG: each stochastic gradient corrected by that of its batch at a snapshot, where all examples are known.

    $$v = \nabla f_B(\theta) - \nabla f_B(\tilde\theta) + \nabla f(\tilde\theta)$$

    The snapshot $\tilde\theta$ is renewed at the first step and after every `inner_steps`. There v is the full one,
    everywhere it is unbiased, and its variance vanishes with $\theta - \tilde\theta$. Costs two gradients of the batch,
    and one of all examples at every snapshot; the state holds two copies of the parameters in float32.

    Args:
        full_batch: All examples, in the form of a batch; the loss of a batch must be a mean over its examples.
        inner_steps: Steps that one snapshot serves, at least 1; a few passes over the data.
        inner: The gradient rule used for all gradients, such as `accumulate(4)` for a full batch that does not fit.

    Returns:
        A `StatefulRule`. The first argument after `params` is the batch.

    Raises:
        ValueError: `inner_steps` is less than 1.
        TypeError: `inner_steps` is no integer, or `inner` not a gradient rule.

    Examples:
        >>> import jax.numpy as jnp
        >>> data = jnp.array([1.0, 2.0, 6.0])
        >>> rule = svrg(data, inner_steps=10)
        >>> value_and_grad = rule.rule(lambda w, batch: jnp.mean((w - batch) ** 2))
        >>> w, state = 0.0, rule.init(0.0)
        >>> for batch in (data[:1], data[2:]):
        ...     value, gradient, state = value_and_grad(w, batch, state=state)
        ...     print(value, gradient)  # the same for each batch: 2 (w - mean)
        1.0 -6.0
        36.0 -6.0

    Source:
        R. Johnson, T. Zhang, "Accelerating Stochastic Gradient Descent using Predictive Variance Reduction", 2013; L.
        Bottou, F. Curtis, J. Nocedal, "Optimization Methods for Large-Scale Machine Learning", 2018, section 5.3.
    """
    inner_steps = check_positive_integer("svrg", "inner_steps", inner_steps)
    check_callable("svrg", "inner", inner, "rule(loss_fn, has_aux)")

    def init(params: PyTree) -> SVRGState:
        return SVRGState(jnp.zeros([], jnp.int32), _zeros(params), _zeros(params))

    def rule(loss_fn: LossFn, has_aux: bool = False) -> Callable[..., tuple[Any, Any, Any]]:
        value_and_grad = inner(loss_fn, has_aux)

        def reduced(params: PyTree, batch: PyTree, *args: Any, state: SVRGState, **kwargs: Any) -> tuple[Any, Any, Any]:
            params = jax.tree.map(jnp.asarray, params)
            value, gradient = value_and_grad(params, batch, *args, **kwargs)

            def renew() -> tuple[PyTree, PyTree]:
                full = value_and_grad(params, full_batch, *args, **kwargs)[1]
                return jax.tree.map(wide, params), jax.tree.map(wide, full)

            snapshot, mean = jax.lax.cond(state.phase == 0, renew, lambda: (state.snapshot, state.mean))
            remembered = value_and_grad(_in_dtype_of(snapshot, params), batch, *args, **kwargs)[1]
            v = jax.tree.map(lambda g, t, m: wide(g) - wide(t) + m, gradient, remembered, mean)
            return value, _in_dtype_of(v, gradient), SVRGState((state.phase + 1) % inner_steps, snapshot, mean)

        return reduced

    return StatefulRule(init, rule)


def _tabular(function: str, examples: int, index: Callable[[PyTree], Any], biased: bool) -> StatefulRule:
    """SAGA and SAG: `biased` weighs the difference to the table by the batch's part of all examples."""
    examples = check_positive_integer(function, "examples", examples)
    check_callable(function, "index", index, "batch -> numbers of its examples")

    def init(params: PyTree) -> TableState:
        return TableState(_zeros(params, examples), _zeros(params))

    def rule(loss_fn: LossFn, has_aux: bool = False) -> Callable[..., tuple[Any, Any, Any]]:
        value_and_gradients = per_example()(loss_fn, has_aux)

        def reduced(
            params: PyTree, batch: PyTree, *args: Any, state: TableState, **kwargs: Any
        ) -> tuple[Any, Any, Any]:
            where = jnp.asarray(index(batch))
            result, gradients = value_and_gradients(params, batch, *args, **kwargs)
            value = (jnp.mean(result[0]), result[1]) if has_aux else jnp.mean(result)
            changes = jax.tree.map(lambda g, table: wide(g) - table[where], gradients, state.table)
            part = where.size / examples
            weight = part if biased else 1.0
            v = jax.tree.map(lambda d, m: weight * jnp.mean(d, axis=0) + m, changes, state.mean)
            table = jax.tree.map(lambda t, g: t.at[where].set(wide(g)), state.table, gradients)
            mean = jax.tree.map(lambda m, d: m + part * jnp.mean(d, axis=0), state.mean, changes)
            return value, _in_dtype_of(v, params), TableState(table, mean)

        return reduced

    return StatefulRule(init, rule)


def saga(examples: int, index: Callable[[PyTree], Any] = itemgetter("index")) -> StatefulRule:
    r"""SAGA: each stochastic gradient corrected by the latest gradients of its examples, kept in a table.

    $$v = \frac{1}{|B|} \sum_{i \in B} (g_i - t_i) + \frac1n \sum_{j=1}^n t_j, \qquad t_i \leftarrow g_i
    \text{ for } i \in B$$

    Unbiased over random batches. The table begins with zeros and costs n copies of the parameters in float32: for small
    models. `svrg` needs two copies instead, and passes over all examples.

    Args:
        examples: n, their number, at least 1.
        index: From a batch to the numbers of its examples, distinct integers `[B]` in [0, n); by default the entry
            `index` of a dict.

    Returns:
        A `StatefulRule` for a loss that is a mean over examples. The first argument after `params` is the batch, whose
        leaves have the examples along their leading axis. The value is the mean of the examples' losses.

    Raises:
        ValueError: `examples` is less than 1.
        TypeError: `examples` is no integer, or `index` no function.

    Examples:
        >>> import jax.numpy as jnp
        >>> rule = saga(examples=2)
        >>> value_and_grad = rule.rule(lambda w, batch: jnp.mean((w - batch["x"]) ** 2))
        >>> w, state = jnp.float32(0.0), rule.init(0.0)
        >>> for i, x in ((0, 1.0), (1, 3.0), (0, 1.0)):
        ...     batch = {"index": jnp.array([i]), "x": jnp.array([x])}
        ...     value, gradient, state = value_and_grad(w, batch, state=state)
        ...     print(gradient)  # once the table is full, the mean of -2 and -6
        -2.0
        -7.0
        -4.0

    Source:
        A. Defazio, F. Bach, S. Lacoste-Julien, "SAGA: A Fast Incremental Gradient Method With Support for Non-Strongly
        Convex Composite Objectives", 2014; L. Bottou, F. Curtis, J. Nocedal, "Optimization Methods for Large-Scale
        Machine Learning", 2018, section 5.3.
    """
    return _tabular("saga", examples, index, biased=False)


def sag(examples: int, index: Callable[[PyTree], Any] = itemgetter("index")) -> StatefulRule:
    r"""SAG: the mean of the latest gradients of all examples, of which each step renews those of its batch.

    $$v = \frac1n \sum_{i \in B} (g_i - t_i) + \frac1n \sum_{j=1}^n t_j, \qquad t_i \leftarrow g_i
    \text{ for } i \in B$$

    Biased, and of less variance than `saga`; otherwise the same.

    Args:
        examples: n, their number, at least 1.
        index: From a batch to the numbers of its examples, as `saga` has it.

    Returns:
        A `StatefulRule`, as `saga`'s.

    Raises:
        ValueError: `examples` is less than 1.
        TypeError: `examples` is no integer, or `index` no function.

    Examples:
        >>> import jax.numpy as jnp
        >>> rule = sag(examples=2)
        >>> value_and_grad = rule.rule(lambda w, batch: jnp.mean((w - batch["x"]) ** 2))
        >>> w, state = jnp.float32(0.0), rule.init(0.0)
        >>> for i, x in ((0, 1.0), (1, 3.0)):
        ...     batch = {"index": jnp.array([i]), "x": jnp.array([x])}
        ...     value, gradient, state = value_and_grad(w, batch, state=state)
        ...     print(gradient)
        -1.0
        -4.0

    Source:
        M. Schmidt, N. Le Roux, F. Bach, "Minimizing finite sums with the stochastic average gradient", 2017.
    """
    return _tabular("sag", examples, index, biased=True)


def norm_test_batch_size(gradients: PyTree, chi: jax.typing.ArrayLike = 1.0) -> jax.Array:
    r"""The size of batch at which the noise of the gradient is no longer than the gradient itself, χ times.

    $$B = \frac{\operatorname{tr} \operatorname{Var}_i(g_i)}{\chi^2 \lVert \bar g \rVert^2}$$

    Grow the batch to this size whenever it is smaller: the dynamic sample size method, whose error falls linearly. The
    variance is the sample variance of the gradients of a batch, divided by one less than their number.

    Args:
        gradients: Gradients of at least two examples, stacked: each leaf `[B, ...]`, as `per_example` gives them.
        chi: χ, positive: the standard deviation of a batch's gradient that is borne, as a part of its norm.

    Returns:
        The batch size, a real scalar; infinite where the mean gradient is zero and the variance is not.

    Raises:
        ValueError: `chi` is not positive, or there are fewer than two gradients.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(norm_test_batch_size(jnp.array([[1.0, 0.0], [3.0, 0.0], [5.0, 0.0]]), chi=0.1))
        44.444...

    Source:
        R. Byrd, G. Chin, J. Nocedal, Y. Wu, "Sample size selection in optimization methods for machine learning", 2012;
        L. Bottou, F. Curtis, J. Nocedal, "Optimization Methods for Large-Scale Machine Learning", 2018, section 5.2.
    """
    check_range("norm_test_batch_size", "chi", chi, 0.0, open_low=True)
    counts = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(gradients)}
    if len(counts) != 1 or min(counts, default=()) in ((), (0,), (1,)):
        raise ValueError(
            "norm_test_batch_size: gradients must be of two examples or more along a common leading axis, "
            f"got {sorted(counts)}"
        )
    count = min(counts)[0]
    stacked = jax.tree.map(lambda g: wide(jnp.asarray(g)), gradients)
    mean = jax.tree.map(lambda g: jnp.mean(g, axis=0), stacked)
    noise = global_norm(jax.tree.map(jnp.subtract, stacked, mean)) ** 2 / (count - 1)
    allowed = (jnp.asarray(chi, float) * global_norm(mean)) ** 2
    return jnp.where(noise == 0, 0.0, noise / allowed)
