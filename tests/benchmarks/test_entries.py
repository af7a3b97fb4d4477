"""What the entries are made of: PyTorch's side, on a stand-in for it, and ours."""

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.entries import _torch, aliases, losses
from benchmarks.harness import measure_entry, prepare


class Tensor(np.ndarray):
    """An array with the methods of a tensor that are called."""

    grad = None

    def clone(self):
        return self.copy()

    def copy_(self, other):
        self[...] = other


class Descent:
    """Gradient descent that leaves nothing of the gradient."""

    def __init__(self, tensors, log):
        self.tensors, self.log = tensors, log

    def step(self, hessian=None):
        self.log.append([np.array(h) for h in hessian] if hessian else None)
        for x in self.tensors:
            x -= 0.5 * x.grad
            x.grad[...] = 0.0


@pytest.fixture
def torch(monkeypatch):
    fake = SimpleNamespace(
        from_numpy=lambda array: array.view(Tensor),
        nn=SimpleNamespace(Parameter=lambda tensor: tensor),
        no_grad=nullcontext,
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake


@pytest.mark.parametrize(("overwrites", "expected"), [(True, [-1.5, 3.0]), (False, [-0.5, 1.0])])
def test_an_optimizer_that_overwrites_its_gradient_gets_it_again(torch, overwrites, expected):
    log = []
    params, gradients = [jnp.zeros(2)], [jnp.array([1.0, -2.0])]
    program = _torch.update_program(lambda tensors: Descent(tensors, log), overwrites=overwrites, hessian=True)
    run = prepare(program(params, gradients))
    for _ in range(3):
        run()
    np.testing.assert_array_equal(_torch.leaves_of(run.output)[0], expected)
    np.testing.assert_array_equal(params[0], [0.0, 0.0], "ours start from the same")
    np.testing.assert_array_equal(log[0][0], [1.0, -2.0])


def test_ids_are_wide_for_torch(torch):
    assert _torch.tensor(jnp.array([1, 2], jnp.int32)).dtype == np.int64
    assert _torch.tensor(jnp.ones(2)).dtype == np.float32


def test_what_stands_beside_an_optimizer_is_named():
    assert aliases.ADAMW.name == "optax.adamw"
    names = {entry.name.partition("/")[0]: entry.peer.name for entry in aliases.ENTRIES}
    assert names["adamnc"] == "optax.adamw"
    assert names["diffgrad"] == "pytorch_optimizer.DiffGrad"
    assert names["orthograd+adamw"].endswith("with a copy of the gradient, which it overwrites")


def test_the_gradients_of_two_losses_have_a_mean():
    tx = aliases.of_mean(optax.sgd(1.0))
    params, stacked = jnp.zeros(2), jnp.array([[1.0, 2.0], [3.0, 4.0]])
    updates, _ = tx.update(stacked, tx.init(params), params)
    np.testing.assert_array_equal(updates, [-2.0, -3.0])


@pytest.mark.parametrize("name", ["sgdw/20x1024x1024", "riemannian_adagrad-flat/20x1024x1024"])
def test_an_optimizer_agrees_with_its_peer(name):
    (entry,) = (entry for entry in aliases.ENTRIES if entry.name == name)
    assert measure_entry(entry, repeats=1, quick=True, warmup=1).difference < 1e-6


def test_a_loss_agrees_with_its_peer():
    (entry,) = (entry for entry in losses.ENTRIES if entry.name.startswith("sigmoid-focal"))
    assert measure_entry(entry, repeats=1, quick=True, warmup=1).difference < 1e-6
