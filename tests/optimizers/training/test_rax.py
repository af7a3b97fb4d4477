"""The losses of rax, the ranking library, in the train step."""

import jax
import jax.numpy as jnp
import pytest
import rax

from optimizers import TrainState, adam, make_train_step


@pytest.mark.parametrize(
    "loss",
    [rax.softmax_loss, rax.listmle_loss, rax.pairwise_logistic_loss],
    ids=lambda loss: loss.__name__,
)
def test_a_loss_of_rax_goes_down(loss):
    x = jax.random.normal(jax.random.key(0), (8, 5, 3))
    batch = {
        "x": x,
        "relevance": jnp.clip(jnp.round(x @ jnp.array([1.0, -1.0, 0.5]) + 2), 0, 4),
        "mask": jnp.arange(5) < jnp.array([[5], [3]] * 4),
    }

    def loss_fn(params, batch, key):
        return loss(batch["x"] @ params, batch["relevance"], where=batch["mask"]), {}

    def ndcg(params):
        return float(rax.ndcg_metric(x @ params, batch["relevance"], where=batch["mask"]))

    tx = adam(0.1)
    step = make_train_step(loss_fn, tx, donate=False)
    state = TrainState.create(params=jnp.array([-0.5, 0.5, 0.5]), tx=tx, key=jax.random.key(1))
    first = ndcg(state.params)
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0]
    assert first < 0.8
    assert ndcg(state.params) > 0.95
