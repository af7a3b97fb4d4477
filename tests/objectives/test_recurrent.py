"""Penalties on gradients of recurrent networks against linear networks and a network differentiated in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from objectives import recurrent_flow_penalty, vanishing_gradient_regularizer

STEPS, BATCH, UNITS = 4, 2, 3


def orthogonal(seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(UNITS, UNITS)))[0]


def test_linear_networks_with_scaled_rotations():
    """Ω = 0 for an orthogonal kernel and (a - 1)² a step for a times one."""
    upstream = np.random.default_rng(1).normal(size=(STEPS, BATCH, UNITS)).astype(np.float32)
    ones = np.ones_like(upstream)
    for factor in (1.0, 0.3, 2.0):
        penalty = recurrent_flow_penalty(np.float32(factor * orthogonal()), ones, upstream)
        np.testing.assert_allclose(penalty, np.full((STEPS, BATCH), (factor - 1) ** 2), atol=2e-6)


def test_gradients_of_a_network_step_by_step():
    """The products are the network's own gradients: both sides of each ratio from one backward pass in float64."""
    random = np.random.default_rng(2)
    with jax.enable_x64(True):
        kernel, inputs = (
            jnp.asarray(random.normal(size=(UNITS, UNITS))),
            jnp.asarray(random.normal(size=(STEPS, UNITS))),
        )

        def error(shifts):
            """A function of the last state only, so that all of a state's gradient passes through the next."""
            x, states = jnp.zeros(UNITS), []
            for step in range(STEPS):
                x = jnp.tanh(x) @ kernel + inputs[step] + shifts[step]
                states.append(x)
            return jnp.sum(jnp.sin(x)), jnp.stack(states)

        flows, states = jax.grad(error, has_aux=True)(jnp.zeros((STEPS, UNITS)))
        derivatives = 1 - jnp.tanh(states) ** 2
        penalty = recurrent_flow_penalty(kernel, derivatives[:-1], flows[1:])
        norms = np.linalg.norm(np.asarray(flows), axis=-1)
    np.testing.assert_allclose(penalty, (norms[:-1] / norms[1:] - 1) ** 2, rtol=1e-10)


def test_only_the_kernel_is_differentiated():
    random = np.random.default_rng(3)
    kernel, derivatives, upstream = (
        jnp.float32(random.normal(size=shape)) for shape in ((UNITS, UNITS), (STEPS, UNITS), (STEPS, UNITS))
    )
    total = lambda *args: jnp.sum(recurrent_flow_penalty(*args))
    in_kernel, *others = jax.grad(total, argnums=(0, 1, 2))(kernel, derivatives, upstream)
    assert np.any(in_kernel)
    assert not np.any(others[0])
    assert not np.any(others[1])
    assert not np.any(jax.grad(lambda u: jnp.sum(vanishing_gradient_regularizer(upstream, u)))(derivatives))


def test_lengths_are_right_where_squares_overflow():
    products, upstream = jnp.array([[3e30, 4e30]]), jnp.array([[0.0, 1e31]])
    np.testing.assert_allclose(vanishing_gradient_regularizer(products, upstream), [0.25], rtol=1e-6)
