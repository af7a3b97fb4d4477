"""Updates added to parameters in 16 bits without a bias, and without a state."""

from typing import Any

import jax
import jax.numpy as jnp

from optimizers._keys import is_key
from optimizers._rounding import store
from optimizers._trees import PyTree, wide


def apply_updates_stochastic_rounding(params: PyTree, updates: PyTree, step: jax.Array | int) -> PyTree:
    r"""`optax.apply_updates` whose sums are rounded up or down at random, with the expectation of the exact sum.

    $$\Pr[\theta' = \lceil s \rceil] = \frac{s - \lfloor s \rfloor}{\lceil s \rceil - \lfloor s \rfloor}, \qquad
    s = \theta + u, \qquad \mathbb E\, \theta' = s$$

    with the two neighbours of the sum among the numbers of 16 bits. Rounding to nearest drops every update smaller than
    half the spacing, 1/256 of a bfloat16; here it counts with its probability, and what many steps add up to is right
    up to the noise of a random walk. Nothing is stored: the noise is a hash of element and step. Leaves of 32 bits and
    more are added as ever. In a train step: `make_train_step(..., apply_updates=apply_updates_stochastic_rounding)`.

    Args:
        params: Parameters, a pytree.
        updates: Updates of the same structure, None where a parameter stays; best in float32, since those of 16 bits
            are rounded to nearest already, by a relative 1/512.
        step: What the noise depends on: the number of the step, or a typed PRNG key.

    Returns:
        The new parameters, in their dtypes.

    Examples:
        >>> import jax.numpy as jnp
        >>> w, update = jnp.ones(10_000, jnp.bfloat16), jnp.full(10_000, 1e-3)
        >>> print(f"{jnp.mean(apply_updates_stochastic_rounding(w, update, 0), dtype=jnp.float32):.4f}")
        1.0010

    Source:
        S. Gupta et al., "Deep Learning with Limited Numerical Precision", 2015; P. Zamirai et al., "Revisiting
        BFloat16 Training", 2020.
    """
    seed = jax.random.bits(step) if is_key(step) else jnp.asarray(step)

    def leaf(number: int, p: Any, u: Any) -> Any:
        if u is None or p is None:
            return p
        p = jnp.asarray(p)
        return store(wide(p) + jnp.asarray(u).astype(wide(p).dtype), p.dtype, seed, number)

    treedef: Any  # opaque to the type checker
    leaves, treedef = jax.tree.flatten(params, is_leaf=lambda x: x is None)
    steps = treedef.flatten_up_to(updates)
    return treedef.unflatten([leaf(number, *each) for number, each in enumerate(zip(leaves, steps, strict=True))])
