"""Runs of an Optax transformation for comparison: the same gradients, the same start, all steps in one scan."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

STEPS = 200


def start(dtype=np.float64):
    """Parameters of several shapes: a matrix, a vector, a scalar, an empty leaf."""
    random = np.random.default_rng(0)
    shapes = {"matrix": (3, 4), "vector": (5,), "scalar": (), "empty": (0, 2)}
    return {name: np.asarray(random.normal(size=shape), dtype) for name, shape in shapes.items()}


def gradients(dtype=np.float64, steps=STEPS):
    """Random gradients [steps, ...] of very different scales, for the parameters of `start`."""
    random = np.random.default_rng(1)

    def leaf(x):
        return np.asarray(random.normal(size=(steps, *x.shape)) * 10.0 ** random.uniform(-3, 2, x.shape), dtype)

    return jax.tree.map(leaf, start(dtype))


def run(tx, params, grads, pull=0.1):
    """The final parameters and state after steps on `grads[t] + pull * params`."""

    @jax.jit
    def scan(params, grads):
        def step(carry, grad):
            params, state = carry
            grad = jax.tree.map(lambda g, p: g + jnp.asarray(pull, p.dtype) * p, grad, params)
            updates, state = tx.update(grad, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        (_, state), path = jax.lax.scan(step, (params, tx.init(params)), grads)
        return path, state

    return scan(jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, grads))


def compiled_step(tx, params):
    """The executable of update and apply_updates with parameters and state donated, and its donated buffers' leaves."""

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    executable = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
    return executable, jax.tree.leaves((params, state))
