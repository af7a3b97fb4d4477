"""Transformations that ask the train step for more than the gradient find the minima of Optax's four test problems.

A case file lists them as `TRAINED`: name, a function that makes the transformation, and keywords of `make_train_step`
that feed it. What needs the gradient alone is in `OPTAX_SUITE`, and Optax's own suite runs it on the same problems.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contracts.cases import every

import optimizers

STEPS = 30_000


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def distance(target):
    return lambda x: sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(target)))


VECTOR, MATRIX = jnp.array([1.0, -1.0, 1.0]), jnp.array([[3.0, -2.0], [1.0, 4.0]])
MIXED = (jnp.array([1.0, -1.0, 2.0]), jnp.array([[1.0, 0.0], [-1.0, 1.0]]))
PROBLEMS = {
    "parabola": (distance(VECTOR), jnp.array([-1.0, 10.0, 1.0]), VECTOR),
    "rosenbrock": (rosenbrock, jnp.zeros(2), jnp.ones(2)),
    "matrix": (distance(MATRIX), jnp.zeros((2, 2)), MATRIX),
    "mixed": (distance(MIXED), (jnp.zeros(3), jnp.zeros((2, 2))), MIXED),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(("make", "keywords"), [pytest.param(*case[1:], id=case[0]) for case in every("TRAINED")])
def test_finds_the_minimum(make, keywords, problem):
    """30,000 steps under scan, to the tolerance of Optax's suite."""
    loss_fn, start, minimum = PROBLEMS[problem]
    tx = make()
    step = optimizers.make_train_step(lambda params, batch, key: (loss_fn(params), {}), tx, donate=False, **keywords)
    state = optimizers.TrainState.create(params=start, tx=tx)
    state, _ = jax.jit(lambda state: jax.lax.scan(lambda s, _: (step(s, None)[0], None), state, length=STEPS))(state)
    for found, true in zip(jax.tree.leaves(state.params), jax.tree.leaves(minimum)):
        np.testing.assert_allclose(found, true, rtol=3e-2, atol=3e-2)
