"""The exact gradient of a loss that couples all examples of a batch, in the memory of a part of the batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_positive_integer
from optimizers._trees import PyTree, wide
from optimizers.gradients._microbatches import fold_keys, microbatch, strided
from optimizers.gradients.backprop import LossFn, ValueAndGrad


def grad_cache(encode_fn: Callable[..., PyTree], chunks: int) -> Callable[..., ValueAndGrad]:
    r"""GradCache: the exact gradient of a batch-coupled loss, with the encoder run on one chunk after the other.

    $$
    L = \ell\left(\theta, r_1, \dots, r_n\right), \quad r_i = f(\theta, B_i), \quad
    u_i = \frac{\partial \ell}{\partial r_i}, \qquad
    \nabla L = \frac{\partial \ell}{\partial \theta}
        + \sum_{i=1}^{n} \left(\frac{\partial r_i}{\partial \theta}\right)^{\!\top} u_i
    $$

    Contrastive and redundancy-reduction losses compare every example with every other, so that `accumulate` changes
    them. Here the representations $r$ of the whole batch are computed first, chunk by chunk and without a trace; the
    loss is differentiated at them; and each chunk is encoded again and pulled back from its cached gradient $u_i$.
    The memory is that of one chunk's activations, the representations and the loss. Gradients are summed in float32 or
    wider. Costs two forward passes and one backward pass of the encoder, and one of each of the loss.

    Args:
        encode_fn: `encode_fn(params, batch, *args, **kwargs)`, called with the arguments of the loss, giving the
            representations of a batch: a pytree (two towers: a pair) whose leaves have the examples along their
            leading axis. An example's representation must not depend on the other examples. Leaves that are not
            floating (labels) are passed on as they are.
        chunks: number of chunks `n`; must divide the batch. Chunk `i` takes examples `i, i + n, i + 2n, ...`, so a
            batch split over devices along its leading axis stays where it is.

    Returns:
        A gradient rule for `loss_fn(params, representations, *args, **kwargs)`, called once with the representations
        of all examples, in the order of the batch. The first argument after `params` is the batch, which `encode_fn`
        receives in chunks and `loss_fn` never sees (but for optimizers that evaluate the loss themselves, as line
        searches do: they are not for this rule); the typed PRNG keys that `encode_fn` receives are folded with the
        number of the chunk, the same in both passes.

    Raises:
        TypeError: if `encode_fn` is no function, or `chunks` no integer.
        ValueError: if `chunks` is less than 1, there is no batch, a leaf's leading axis is not divisible by it, or a
            representation has not the examples along its leading axis.

    Examples:
        The variance of the batch's codes, which no chunk knows:

        >>> import jax.numpy as jnp
        >>> rule = grad_cache(lambda w, batch: w * batch, chunks=2)
        >>> value, gradient = rule(lambda w, codes: jnp.var(codes))(2.0, jnp.array([1.0, 2.0, 3.0, 4.0]))
        >>> print(value, gradient)
        5.0 5.0

    Source:
        Luyu Gao, Yunyi Zhang, Jiawei Han, Jamie Callan, "Scaling Deep Contrastive Learning Batch Size under Memory
        Limited Setup", 2021.
    """
    check_callable("grad_cache", "encode_fn", encode_fn, "(params, batch, *args, **kwargs) -> representations")
    chunks = check_positive_integer("grad_cache", "chunks", chunks)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def exact(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            del step
            if not args:
                raise ValueError("grad_cache: expected a batch as the first argument after params, got none")
            params = jax.tree.map(jnp.asarray, params)
            batch, *rest = args
            parts = strided("grad_cache", "chunks", batch, chunks)

            def encode(p: PyTree, index: jax.Array) -> PyTree:
                here, keywords = fold_keys((rest, kwargs), index) if chunks > 1 else (rest, kwargs)
                return encode_fn(p, microbatch(parts, index), *here, **keywords)

            numbers = jnp.arange(chunks)
            representations = jax.lax.map(lambda index: encode(params, index), numbers)
            sizes = {leaf.shape[0] for leaf in jax.tree.leaves(parts)}
            codes, rebuild = _differentiable(jax.tree.map(lambda r: _in_order(r, sizes), representations))

            def loss_of(p: PyTree, codes: list[jax.Array]) -> Any:
                return loss_fn(p, rebuild(codes), *rest, **kwargs)

            outcome, (direct, cached) = jax.value_and_grad(loss_of, (0, 1), has_aux)(params, codes)
            cached = strided("grad_cache", "chunks", cached, chunks)

            def linearised(p: PyTree, index: jax.Array) -> jax.Array:
                """Its gradient is the chunk's share of the gradient of the loss."""
                codes, _ = _differentiable(encode(p, index))
                products = [jnp.sum(wide(u) * wide(r)) for u, r in zip(microbatch(cached, index), codes)]
                return sum(products, start=jnp.zeros(()))

            def body(total: PyTree, index: jax.Array) -> tuple[PyTree, None]:
                share = jax.grad(linearised)(params, index)
                return jax.tree.map(lambda t, g: t + wide(g), total, share), None

            total, _ = jax.lax.scan(body, jax.tree.map(wide, direct), numbers)
            return outcome, jax.tree.map(lambda p, t: t.astype(p.dtype), params, total)

        return exact

    return rule


def _in_order(leaf: jax.Array, sizes: set[int]) -> jax.Array:
    """Representations `[n, B / n, ...]` of the chunks as `[B, ...]`, in the order of the batch."""
    if leaf.ndim < 2 or leaf.shape[1] not in sizes:
        raise ValueError(
            "grad_cache: encode_fn must return representations with the examples along their leading axis, "
            f"got a leaf of shape {leaf.shape[1:]} for a chunk of {sorted(sizes)}"
        )
    return jnp.moveaxis(leaf, 0, 1).reshape(-1, *leaf.shape[2:])


def _differentiable(tree: PyTree) -> tuple[list[jax.Array], Callable[[list[jax.Array]], PyTree]]:
    """The floating leaves, and the function that puts others in their place."""
    leaves, structure = jax.tree.flatten(tree)
    floating = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def rebuild(codes: list[jax.Array]) -> PyTree:
        replaced = iter(codes)
        return jax.tree.unflatten(structure, [next(replaced) if f else leaf for f, leaf in zip(floating, leaves)])

    return [leaf for f, leaf in zip(floating, leaves) if f], rebuild
