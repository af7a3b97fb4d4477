"""Products with the curvature of the loss, from what the train step feeds to a transformation."""

from collections.abc import Callable

import jax

from optimizers._trees import PyTree


def hessian_vector_product(grad_fn: Callable[[PyTree], PyTree], params: PyTree, vector: PyTree) -> PyTree:
    """The Hessian at `params` times `vector`, a forward derivative of the gradient: the extra argument `grad_fn`."""
    product: PyTree = jax.jvp(grad_fn, (params,), (vector,))[1]
    return product
