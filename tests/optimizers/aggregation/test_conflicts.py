"""The share of conflicting pairs, against a loop over the pairs."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import conflict_rate, gramian


@pytest.mark.parametrize("tasks", [2, 3, 7])
def test_it_counts_the_pairs(tasks):
    tree = {"w": np.random.default_rng(tasks).normal(size=(tasks, 3)).astype(np.float32)}
    pairs = [np.dot(a, b) < 0 for a, b in itertools.combinations(tree["w"], 2)]
    assert sum(pairs) > 0 or tasks == 2
    np.testing.assert_allclose(conflict_rate(gramian(tree)), np.mean(pairs), rtol=1e-6)


def test_opposite_orthogonal_equal_and_single_tasks():
    rate = lambda *rows: float(conflict_rate(gramian(jnp.array(rows))))
    assert rate([1.0, 0.0], [-1.0, 0.0]) == 1.0
    assert rate([1.0, 0.0], [0.0, 1.0]) == 0.0
    assert rate([1.0, 0.0], [1.0, 0.0]) == 0.0
    assert rate([0.0, 0.0], [0.0, 0.0]) == 0.0
    assert rate([1.0, 0.0]) == 0.0


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_gramian_that_is_not_finite_has_no_rate(bad):
    assert jnp.isnan(conflict_rate(jnp.array([[1.0, bad], [bad, 1.0]])))
