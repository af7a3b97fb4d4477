"""One gradient an example, from the loss of a batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_positive_integer
from optimizers._trees import PyTree, wide
from optimizers.gradients._microbatches import fold_keys
from optimizers.gradients.backprop import LossFn, ValueAndGrad


def per_example(chunk: int | None = None) -> Callable[..., ValueAndGrad]:
    r"""The gradients of the examples of a batch, stacked: `per_task` for the examples.

    $$
    g_i = \nabla_\theta L(\theta; \{x_i\}), \qquad i = 1, \dots, B
    $$

    The loss of a batch is differentiated at batches of one example, whose leading axis is kept, so the loss that suits
    any other rule suits this one; a loss that couples examples sees each of them alone. Memory is B·P for P parameters,
    and time that of one backward pass of the batch where it is vectorised. `jacobian_descent` does without the B·P
    numbers.

    Args:
        chunk: examples that are differentiated at once (`jax.vmap`), chunk after chunk: bounds the memory of the
            activations, not that of the result. Must divide the batch; all of it by default.

    Returns:
        A gradient rule for a `loss_fn` that returns a scalar. The first argument after `params` is the batch, a pytree
        whose leaves have the examples along their leading axis; typed PRNG keys among the other arguments are folded
        with the number of the example, and everything else is passed on. Its value is the vector of losses, `[B]`; the
        leaves of its gradient are stacked, `[B, ...]`. Floating leaves of `aux` are averaged over the examples, other
        leaves are those of the last example.

    Raises:
        TypeError: if `chunk` is not an integer.
        ValueError: if `chunk` is less than 1 or does not divide the batch, there is no batch, or its leaves have no
            leading axis in common.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss_fn = lambda w, batch: jnp.mean((batch - w) ** 2)
        >>> losses, gradients = per_example()(loss_fn)(0.0, jnp.array([1.0, 2.0, 3.0]))
        >>> print(losses, gradients)
        [1. 4. 9.] [-2. -4. -6.]

    Source:
        Pierre Quinton, Valérian Rey, "Jacobian Descent for Multi-Objective Optimization", 2024.
    """
    chunk = None if chunk is None else check_positive_integer("per_example", "chunk", chunk)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def value_and_gradients(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, PyTree]:
            del step
            count, one = batches_of_one("per_example", loss_fn, has_aux, params, args, kwargs)
            together = count_at_once("per_example", chunk, count)
            numbered = jax.tree.map(
                lambda leaf: jnp.reshape(leaf, (count // together, together, *jnp.shape(leaf)[1:])),
                (args[0], jnp.arange(count)),
            )
            results = jax.lax.map(lambda part: jax.vmap(one)(*part), numbered)
            (losses, aux), gradients = jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[2:]), results)
            return ((losses, jax.tree.map(mean_or_last, aux)) if has_aux else losses), gradients

        return value_and_gradients

    return rule


def batches_of_one(
    function: str, loss_fn: LossFn, has_aux: bool, params: PyTree, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[int, Callable[[PyTree, jax.Array], tuple[tuple[jax.Array, PyTree], PyTree]]]:
    """The number of examples in the batch `args[0]`, and what makes `((value, aux), gradient)` of one and its number.

    Raises:
        ValueError: there is no batch, or its leaves have no leading axis in common; `function` names the rule.
    """

    def loss_and_aux(*args: Any, **kwargs: Any) -> tuple[Any, PyTree]:
        result: tuple[Any, PyTree] = loss_fn(*args, **kwargs) if has_aux else (loss_fn(*args, **kwargs), None)
        return result

    def one(example: PyTree, number: jax.Array) -> tuple[tuple[jax.Array, PyTree], PyTree]:
        rest, keywords = fold_keys((args[1:], kwargs), number)
        batch = jax.tree.map(lambda leaf: leaf[None], example)
        return jax.value_and_grad(loss_and_aux, has_aux=True)(params, batch, *rest, **keywords)

    if not args:
        raise ValueError(f"{function}: expected a batch as the first argument after params, got none")
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(args[0])]
    counts = {shape[:1] for shape in shapes}
    if len(counts) != 1 or counts & {(), (0,)}:
        raise ValueError(
            f"{function}: all leaves of the batch need the same number of examples along a leading axis, "
            f"got leaves of shapes {shapes}"
        )
    return shapes[0][0], one


def count_at_once(function: str, chunk: int | None, count: int) -> int:
    """`chunk`, or all of the examples where it is None; ValueError unless it divides their number."""
    if chunk is not None and count % chunk:
        raise ValueError(f"{function}: chunk must divide the batch, got chunk={chunk} for {count} examples")
    return chunk or count


def mean_or_last(stacked: jax.Array) -> jax.Array:
    """The mean over the leading axis, in float32 or wider and returned in the dtype; of integers the last entry."""
    if jnp.issubdtype(stacked.dtype, jnp.inexact):
        return jnp.mean(wide(stacked), axis=0).astype(stacked.dtype)
    return stacked[-1]
