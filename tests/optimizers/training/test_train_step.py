"""The train step: what it computes, what it skips, what it costs."""

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from optimizers import TrainState, accumulate, make_train_step, per_task, sam

BATCH = jnp.asarray(np.random.default_rng(0).normal(size=(16, 8)), jnp.float32)


def autoencoder(width=8, depth=3):
    """A bare pytree of parameters and its loss."""
    random = np.random.default_rng(1)
    params = {f"layer_{i}": jnp.asarray(random.normal(size=(width, width)) / width, jnp.float32) for i in range(depth)}

    def loss_fn(params, batch, key):
        hidden = batch
        for weights in params.values():
            hidden = jnp.tanh(hidden @ weights)
        return jnp.mean((hidden - batch) ** 2), {"activity": jnp.mean(jnp.abs(hidden))}

    return params, loss_fn


def run(step, state, steps=5, batch=BATCH):
    losses = []
    for _ in range(steps):
        state, metrics = step(state, batch)
        losses.append(metrics["loss"])
    return state, jnp.stack(losses)


def test_equals_the_loop_written_by_hand():
    params, loss_fn = autoencoder()
    tx = optax.adamw(1e-2)
    state, losses = run(make_train_step(loss_fn, tx), TrainState.create(params=params, tx=tx))

    opt_state, expected = tx.init(params), []
    for _ in range(5):
        (value, _), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, BATCH, None)
        updates, opt_state = tx.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        expected.append(value)
    chex.assert_trees_all_close((state.params, state.opt_state), (params, opt_state), rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert (state.step, state.skipped) == (5, 0)


def test_metrics_are_arrays_of_the_step():
    params, loss_fn = autoencoder()
    tx = optax.sgd(0.0)
    _, metrics = make_train_step(loss_fn, tx)(TrainState.create(params=params, tx=tx), BATCH)
    (value, aux), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, BATCH, None)
    assert set(metrics) == {"loss", "grad_norm", "skipped", "activity"}
    assert all(isinstance(value, jax.Array) for value in metrics.values())
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
    np.testing.assert_allclose(metrics["activity"], aux["activity"], rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(gradient), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"skip_nonfinite": False}, {"ema_decay": 0.9}], ids=str)
def test_compiles_once_aliases_the_state_and_holds_only_the_gradient(options):
    params, loss_fn = autoencoder(width=128, depth=4)
    tx, batch = optax.adamw(optax.cosine_decay_schedule(1e-3, 10)), jnp.ones((2, 128))
    step = make_train_step(loss_fn, tx, **options)
    state = TrainState.create(params=params, tx=tx, ema="ema_decay" in options)
    memory = step.lower(state, batch).compile().memory_analysis()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    params_bytes = sum(leaf.nbytes for leaf in params.values())
    assert memory.alias_size_in_bytes == state_bytes
    assert memory.temp_size_in_bytes < 1.05 * params_bytes  # the gradient itself, and activations

    old = jax.tree.leaves((state.params, state.opt_state))
    state, _ = run(step, state, batch=batch)
    assert step._cache_size() <= 1
    assert all(leaf.is_deleted() for leaf in old)


def test_caller_keeps_its_arrays_and_states_share_no_buffers():
    params, loss_fn = autoencoder()
    keeps_params = optax.GradientTransformation(lambda p: p, lambda g, s, p=None: (g, s))  # as schedule-free's z
    state = TrainState.create(params=params, tx=keeps_params, key=jax.random.key(0), ema=True)
    run(make_train_step(loss_fn, keeps_params, ema_decay=0.9), state)
    assert not any(leaf.is_deleted() for leaf in params.values())


def test_without_donation_the_old_state_survives():
    params, loss_fn = autoencoder()
    tx = optax.adam(1e-2)
    step, state = make_train_step(loss_fn, tx, donate=False), TrainState.create(params=params, tx=tx)
    chex.assert_trees_all_equal(run(step, state)[1], run(step, state)[1])


def test_skips_and_counts_nonfinite_steps():
    params, loss_fn = autoencoder()
    tx = optax.adam(1e-2)

    def stateful(params, batch, key, model_state):
        loss, metrics = loss_fn(params, batch, key)
        return loss, (metrics, {"mean": batch.mean()})

    step = make_train_step(stateful, tx, ema_decay=0.5, donate=False)
    state = TrainState.create(params=params, tx=tx, model_state={"mean": jnp.zeros(())}, ema=True)
    bad, metrics = step(state, BATCH.at[0, 0].set(jnp.nan))
    kept = ("params", "opt_state", "model_state", "ema_params")
    for field in kept:
        chex.assert_trees_all_equal(getattr(bad, field), getattr(state, field))
    assert (bad.step, bad.skipped, metrics["skipped"]) == (1, 1, 1)
    assert jnp.isnan(metrics["loss"])

    after, metrics = step(bad, BATCH)
    for field in kept:
        with pytest.raises(AssertionError):
            chex.assert_trees_all_equal(getattr(after, field), getattr(state, field))
    assert (after.step, after.skipped, metrics["skipped"]) == (2, 1, 1)

    eager = make_train_step(loss_fn, tx, skip_nonfinite=False)
    broken, _ = eager(TrainState.create(params=params, tx=tx), BATCH.at[0, 0].set(jnp.inf))
    assert not jnp.isfinite(broken.params["layer_0"]).all()


def test_infinite_gradient_of_a_finite_loss_is_skipped():
    step = make_train_step(lambda w, batch, key: jnp.sqrt(w), optax.sgd(0.1), has_aux=False)
    state, metrics = step(TrainState.create(params=0.0, tx=optax.sgd(0.1)), BATCH)
    assert (metrics["loss"], metrics["grad_norm"], state.params, state.skipped) == (0.0, jnp.inf, 0.0, 1)


@pytest.mark.parametrize("microbatches", [2, 8])
def test_microbatches_equal_the_full_batch(microbatches):
    params, loss_fn = autoencoder()
    tx = optax.sgd(0.5, momentum=0.9)
    expected, losses = run(make_train_step(loss_fn, tx), TrainState.create(params=params, tx=tx))
    got, got_losses = run(
        make_train_step(loss_fn, tx, microbatches=microbatches), TrainState.create(params=params, tx=tx)
    )
    chex.assert_trees_all_close(got.params, expected.params, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(got_losses, losses, rtol=1e-5)


def test_moving_average_of_parameters():
    params, loss_fn = autoencoder()
    tx = optax.sgd(0.1)
    for decay in (0.9, lambda step: 1.0 - 1.0 / (2.0 + step)):
        step = make_train_step(loss_fn, tx, ema_decay=decay)
        state, average = TrainState.create(params=params, tx=tx, ema=True), params
        for i in range(3):
            state, _ = step(state, BATCH)
            rate = decay(i) if callable(decay) else decay
            average = jax.tree.map(lambda a, p, r=rate: r * a + (1 - r) * p, average, state.params)
        chex.assert_trees_all_close(state.ema_params, average, rtol=1e-6)


def test_keys_differ_by_step_and_restart_exactly():
    def loss_fn(w, batch, key):
        return w**2, {"draw": jax.random.uniform(key)}

    tx = optax.sgd(0.1)
    step = make_train_step(loss_fn, tx, donate=False)
    draws = []
    state = TrainState.create(params=1.0, tx=tx, key=jax.random.PRNGKey(3))
    for i in range(3):
        state, metrics = step(state, BATCH)
        draws.append(float(metrics["draw"]))
        assert metrics["draw"] == jax.random.uniform(jax.random.fold_in(jax.random.key(3), i))
    assert len(set(draws)) == 3
    resumed = TrainState.create(params=1.0, tx=tx, key=3)._replace(step=jnp.int32(2))
    assert float(step(resumed, BATCH)[1]["draw"]) == draws[2]


def test_multitask_step_gives_the_vector_of_losses():
    def losses(w, batch, key):
        return jnp.stack([jnp.sum((w - 1) ** 2), jnp.sum((w + 1) ** 2)]), {}

    mean = optax.stateless(lambda updates, params: jax.tree.map(lambda g: g.mean(0), updates))
    tx = optax.chain(mean, optax.contrib.momo(0.1))  # momo needs the scalar value
    step = make_train_step(losses, tx, gradient=per_task())
    state, metrics = step(TrainState.create(params=jnp.array([3.0]), tx=tx), BATCH)
    np.testing.assert_allclose(metrics["loss"], [4.0, 16.0])
    np.testing.assert_allclose(metrics["grad_norm"], np.hypot(4.0, 8.0), rtol=1e-6)
    assert state.params < 3.0


def test_scan_and_vmap_over_the_whole_loop_equal_separate_runs():
    params, loss_fn = autoencoder()
    rates = jnp.logspace(-3, -1, 8)

    def train(rate):
        tx = optax.adamw(rate)
        step = make_train_step(loss_fn, tx)
        state = TrainState.create(params=params, tx=tx, key=0)
        state, metrics = jax.lax.scan(lambda s, _: step(s, BATCH), state, length=10)
        return state.params, metrics["loss"]

    swept = jax.jit(jax.vmap(train))(rates)
    separate = jax.tree.map(lambda *runs: jnp.stack(runs), *(jax.jit(train)(rate) for rate in rates))
    chex.assert_trees_all_close(swept, separate, rtol=2e-5, atol=1e-6)
    assert len(np.unique(np.asarray(swept[1][:, -1]))) == 8


def test_rules_compose_with_everything_at_once():
    params, loss_fn = autoencoder()
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.contrib.momo(0.1))
    step = make_train_step(loss_fn, tx, gradient=sam(0.05, inner=accumulate(2)), microbatches=2, ema_decay=0.9)
    state, losses = run(step, TrainState.create(params=params, tx=tx, ema=True), steps=20)
    assert losses[-1] < losses[0]
    assert state.skipped == 0


def test_state_survives_serialization_bit_for_bit(tmp_path):
    params, loss_fn = autoencoder()
    tx = optax.adamw(1e-2, mu_dtype=jnp.bfloat16)
    step = make_train_step(loss_fn, tx, ema_decay=0.9, donate=False)
    fresh = TrainState.create(params=params, tx=tx, key=5, ema=True)
    state, _ = run(step, fresh)
    restored = flax.serialization.from_bytes(fresh, flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(restored, state)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        reloaded = checkpointer.restore(tmp_path / "state", fresh)
    chex.assert_trees_all_equal(reloaded, state)
    chex.assert_trees_all_equal(run(step, reloaded), run(step, state))


def test_faults_are_named():
    params, loss_fn = autoencoder()
    tx = optax.sgd(0.1)
    state = TrainState.create(params=params, tx=tx)
    with pytest.raises(TypeError, match="make_train_step: tx must be an optax.GradientTransformation, got float"):
        make_train_step(loss_fn, 0.1)
    with pytest.raises(ValueError, match="TrainState.create: key must be of JAX's default PRNG"):
        TrainState.create(params=params, tx=tx, key=jax.random.key(0, impl="rbg"))
    with pytest.raises(TypeError, match="make_train_step: loss_fn must be a function"):
        make_train_step(None, tx)
    with pytest.raises(TypeError, match="make_train_step: gradient must be a function"):
        make_train_step(loss_fn, tx, gradient="sam")
    with pytest.raises(ValueError, match="make_train_step: microbatches must be at least 1, got 0"):
        make_train_step(loss_fn, tx, microbatches=0)
    with pytest.raises(ValueError, match=r"make_train_step: ema_decay must lie in \[0, 1\), got 1.0"):
        make_train_step(loss_fn, tx, ema_decay=1.0)
    with pytest.raises(ValueError, match="ema_decay and TrainState.create.*without ema_params"):
        make_train_step(loss_fn, tx, ema_decay=0.9)(state, BATCH)
    with pytest.raises(ValueError, match=r"reserved names \['loss'\]"):
        make_train_step(lambda *a: (loss_fn(*a)[0], {"loss": 0.0}), tx)(state, BATCH)
    with pytest.raises(TypeError, match=r"loss_fn must return \(loss, metrics\)"):
        make_train_step(lambda *a: loss_fn(*a)[0], tx)(state, BATCH)
    with pytest.raises(TypeError, match="loss_fn must return loss"):
        make_train_step(loss_fn, tx, has_aux=False)(state, BATCH)
    stateful = TrainState.create(params=params, tx=tx, model_state={"mean": jnp.zeros(())})
    with pytest.raises(TypeError, match=r"loss_fn must return \(loss, \(metrics, model_state\)\)"):
        make_train_step(lambda p, b, k, m: loss_fn(p, b, k), tx)(stateful, BATCH)
