"""Data parallel on eight virtual devices, and on two processes: the trajectory of one device."""

import os
import pathlib
import socket
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from optimizers import TrainState, make_train_step, sam

ROOT = pathlib.Path(__file__).parents[3]


def problem():
    random = np.random.default_rng(0)
    params = {name: jnp.asarray(random.normal(size=(8, 8)) / 4, jnp.float32) for name in ("a", "b")}
    batches = random.normal(size=(6, 16, 8)).astype(np.float32)

    def loss_fn(params, batch, key):
        hidden = jnp.tanh(batch @ params["a"])
        hidden = hidden * jax.random.bernoulli(key, 0.9, hidden.shape)
        return jnp.mean((hidden @ params["b"] - batch) ** 2), {"activity": jnp.mean(jnp.abs(hidden))}

    return params, batches, loss_fn


def trajectory(mesh=None, **options):
    params, batches, loss_fn = problem()
    tx = optax.adamw(1e-2)
    step = make_train_step(loss_fn, tx, gradient=sam(0.05), mesh=mesh, **options)
    state, losses = TrainState.create(params=params, tx=tx, key=0, mesh=mesh), []
    for batch in batches:
        state, metrics = step(state, batch)
        losses.append(metrics["loss"])
    return state, np.asarray(losses)


@pytest.mark.parametrize("shape", [(8,), (4, 2)], ids=["8", "4x2"])
@pytest.mark.parametrize("microbatches", [1, 2])
def test_eight_devices_equal_one(shape, microbatches, compiled):
    expected, losses = trajectory(microbatches=microbatches)
    names = ("data", "more")[: len(shape)]
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(shape), names)
    compiled.clear()
    state, got = trajectory(mesh=mesh, microbatches=microbatches)
    assert compiled.count("jit(step)") == 1
    np.testing.assert_allclose(got, losses, rtol=2e-6)
    # Adam divides by the root of tiny second moments, which magnifies the rounding of sums taken in another order.
    chex.assert_trees_all_close(jax.device_get(state.params), jax.device_get(expected.params), rtol=1e-4, atol=1e-6)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))


def test_sharded_parameters_stay_sharded_and_give_sharded_moments(compiled):
    expected, losses = trajectory()
    compiled.clear()
    mesh = Mesh(np.array(jax.devices()[:8]), ("fsdp",))
    rows = NamedSharding(mesh, PartitionSpec("fsdp"))
    params, batches, loss_fn = problem()
    tx = optax.adamw(1e-2)
    state = TrainState.create(params=jax.device_put(params, rows), tx=tx, key=0, mesh=mesh)
    sharding = jax.tree.map(lambda leaf: leaf.sharding, state)
    step = make_train_step(loss_fn, tx, gradient=sam(0.05), mesh=mesh, state_sharding=sharding)
    got = []
    for batch in batches:
        state, metrics = step(state, batch)
        got.append(metrics["loss"])
    np.testing.assert_allclose(got, losses, rtol=2e-6)
    chex.assert_trees_all_close(jax.device_get(state.params), jax.device_get(expected.params), rtol=1e-4, atol=1e-6)
    for leaf in (state.params["a"], state.opt_state[0].mu["a"], state.opt_state[0].nu["b"]):
        assert leaf.sharding.is_equivalent_to(rows, 2)
        assert leaf.addressable_shards[0].data.shape == (1, 8)
    assert compiled.count("jit(step)") == 1


WORKER = """
import sys
import jax
import numpy as np

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))

import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from optimizers import TrainState, make_train_step, sam
from optimizers_training_test_distributed import problem

params, batches, loss_fn = problem()
mesh = Mesh(np.array(jax.devices()), ("data",))
assert jax.process_count() == 2 and len(jax.devices()) == 2
tx = optax.adamw(1e-2)
step = make_train_step(loss_fn, tx, gradient=sam(0.05), mesh=mesh)
state = TrainState.create(params=params, tx=tx, key=0, mesh=mesh)
split = NamedSharding(mesh, PartitionSpec("data"))
mine = slice(8 * jax.process_index(), 8 * jax.process_index() + 8)
for batch in batches:
    state, metrics = step(state, jax.make_array_from_process_local_data(split, batch[mine]))
    print("loss", float(metrics["loss"]))
for name in sorted(state.params):
    print(name, *np.asarray(state.params[name].addressable_data(0)).ravel().tolist())
"""


def test_two_processes_equal_one(tmp_path):
    (tmp_path / "optimizers_training_test_distributed.py").write_text(pathlib.Path(__file__).read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
        "JAX_PLATFORMS": "cpu",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, address, str(index)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    state, losses = trajectory()
    for out, _ in outputs:
        lines = [line.split() for line in out.splitlines()]
        got = {name: np.array([float(x) for line in lines if line[0] == name for x in line[1:]]) for name in "ab"}
        np.testing.assert_allclose([float(line[1]) for line in lines if line[0] == "loss"], losses, rtol=2e-6)
        for name, values in got.items():
            np.testing.assert_allclose(values, np.ravel(state.params[name]), rtol=1e-4, atol=1e-6)
