"""A trunk that the tasks share, with a head each: `per_task(shared=)` and `shared_only`, against torchjd."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import TrainState, adamw, make_train_step, mean_tasks, per_task, shared_only, upgrad

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "trunk_heads.npz")
PATHS = ["trunk/w", "trunk/b", "left/w", "left/b", "right/w", "right/b"]
BATCH = {name: GOLDEN[name] for name in "xyz"}
BATCH32 = {name: x.astype(np.float32) for name, x in BATCH.items()}


def shared(path):
    return path.startswith("trunk/")


def nested(arrays):
    return {top: {leaf: jnp.asarray(arrays[f"{top}/{leaf}"]) for leaf in "wb"} for top in ("trunk", "left", "right")}


def losses_of(params, batch):
    features = jnp.tanh(batch["x"] @ params["trunk"]["w"] + params["trunk"]["b"])

    def squares(head, target):
        return jnp.mean(jnp.square(features @ params[head]["w"] + params[head]["b"] - batch[target]))

    return jnp.stack([squares("left", "y"), squares("right", "z")])


@pytest.mark.parametrize("sequential", [False, True])
def test_gradients_and_aggregate_equal_torchjd(sequential):
    with jax.enable_x64(True):
        value_and_grad = jax.jit(per_task(sequential=sequential, shared=shared)(losses_of))
        losses, gradient = value_and_grad(nested(GOLDEN), BATCH)
        np.testing.assert_allclose(losses, GOLDEN["losses"], rtol=1e-12)
        expected = nested({p: GOLDEN[f"{'jacobian' if shared(p) else 'gradient'}/{p}"] for p in PATHS})
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-11), gradient, expected)
        tx = shared_only(upgrad(), shared)
        aggregate = tx.update(gradient, tx.init(nested(GOLDEN)))[0]
        expected = nested({p: GOLDEN[f"gradient/{p}"] for p in PATHS})
        # torchjd's solver stops at about 1e-7 of the largest entry.
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-6), aggregate, expected)


def test_with_the_mean_it_is_the_gradient_of_the_mean_in_the_trunk_and_of_the_sum_in_the_heads():
    with jax.enable_x64(True):
        params = nested(GOLDEN)
        tx = shared_only(mean_tasks(), shared)
        gradient = tx.update(per_task(shared=shared)(losses_of)(params, BATCH)[1], tx.init(params))[0]
        of_sum = jax.grad(lambda p: jnp.sum(losses_of(p, BATCH)))(params)
        np.testing.assert_allclose(gradient["trunk"]["w"], of_sum["trunk"]["w"] / 2, rtol=1e-12)
        for head in ("left", "right"):
            np.testing.assert_allclose(gradient[head]["w"], of_sum[head]["w"], rtol=1e-12)


def test_paths_go_through_every_kind_of_node_and_aux_and_none_pass():
    seen = []
    params = {"trunk": [jnp.ones(2), None], "heads": (jnp.ones(()), optax.EmptyState())}

    def losses(p, batch):
        return jnp.stack([jnp.sum(p["trunk"][0]) * p["heads"][0], jnp.sum(p["trunk"][0] ** 2)]), {"n": 3}

    rule = per_task(shared=lambda path: seen.append(path) or path == "trunk/0")
    (_, aux), gradient = rule(losses, has_aux=True)(params, None)
    assert (sorted(seen), aux) == (["heads/0", "trunk/0"], {"n": 3})
    assert gradient["trunk"][0].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert gradient["heads"][0] == 2.0
    assert jax.tree.structure(gradient) == jax.tree.structure(params)


@pytest.mark.parametrize("sequential", [False, True])
def test_no_head_is_stacked_and_the_forward_pass_runs_once(sequential):
    calls, width, tasks = [], 512, 16

    def losses(params, batch):
        calls.append(1)
        hidden = jnp.tanh(batch @ params["trunk"])
        return jnp.stack([jnp.mean(jnp.tanh(hidden @ head)) for head in params["heads"]])

    float32 = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    params = {"trunk": float32(4, 8), "heads": [float32(8, width)] * tasks}
    rule = per_task(sequential=sequential, shared=lambda path: path == "trunk")(losses)
    traced = jax.jit(rule).trace(params, float32(1, 4))
    assert len(calls) == 1
    memory = traced.lower().compile().memory_analysis()
    # Results and scratch memory, in units of all heads: a stack would hold 16 of them.
    held = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / (4 * 8 * width * tasks)
    assert held < 6
    # Outside of jit, which drops what is not used, as well.
    if sequential:
        scans = [e for e in jax.make_jaxpr(rule)(params, float32(1, 4)).eqns if e.primitive.name == "scan"]
        assert [[v.aval.shape for v in scan.outvars] for scan in scans] == [[(tasks, 4, 8)]]


def test_the_train_step_takes_both_halves():
    tx = optax.chain(shared_only(upgrad(), shared), adamw(1e-2))
    state = TrainState.create(params=jax.tree.map(jnp.float32, nested(GOLDEN)), tx=tx)
    step = make_train_step(lambda p, b, key: losses_of(p, b), tx, gradient=per_task(shared=shared), has_aux=False)
    state, metrics = jax.jit(lambda s: jax.lax.scan(lambda s, _: step(s, BATCH32), s, length=50))(state)
    assert (metrics["loss"][-1] < 0.5 * metrics["loss"][0]).all()
    assert state.skipped == 0


def test_a_predicate_that_holds_for_nothing_is_named():
    with pytest.raises(ValueError, match="per_task: expected shared to hold for a parameter, it holds for none"):
        per_task(shared=lambda path: path.startswith("Trunk/"))(losses_of)(nested(GOLDEN), BATCH)
