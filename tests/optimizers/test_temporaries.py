"""What a step holds beside its arguments, as the compiler counts it: nothing, in the chains that people write."""

import jax
import jax.numpy as jnp
import optax
import pytest
from trajectories import compiled_step

from optimizers import (
    adamw,
    cautious,
    clip_by_global_norm,
    lion,
    momo_adam,
    multi_adam,
    orthograd,
    sania,
    scale_by_adam,
)

LEAVES = {name: jnp.ones((64, 64)) for name in "abcd"}
TREE = sum(x.nbytes for x in LEAVES.values())
SCALARS = 6144  # and the blocks of XLA's sums; less than half a leaf
HALF = {name: name in "ab" for name in LEAVES}
RATE = optax.cosine_decay_schedule(1e-3, 10)


def temporaries(tx):
    """Bytes of the temporaries of a step that donates parameters and state."""
    return compiled_step(tx, LEAVES)[0].memory_analysis().temp_size_in_bytes


def valued(tx):
    """The transformation with a loss, as the train step gives it."""
    return optax.GradientTransformation(tx.init, lambda g, s, p: tx.update(g, s, p, value=jnp.float32(1.0)))


CHAINS = {
    "clip_decay_mask_schedule": optax.chain(clip_by_global_norm(1.0), adamw(RATE, weight_decay=0.1, mask=HALF)),
    "masked": optax.masked(adamw(1e-3), HALF),
    "partition": optax.partition({True: adamw(1e-3), False: lion(1e-4)}, HALF),
    "frozen": optax.chain(adamw(1e-3), optax.masked(optax.set_to_zero(), HALF)),
    "clipped_elements": optax.chain(optax.clip(1.0), adamw(1e-3)),
    "orthograd": optax.chain(orthograd(rescale=True), adamw(1e-3)),
    "momo_adam": valued(momo_adam()),
    "sania": valued(sania()),
}


@pytest.mark.parametrize("name", CHAINS)
def test_usual_chains_need_no_temporary(name):
    assert temporaries(CHAINS[name]) <= SCALARS


# Both choose between whole trees.
TREES = {
    "apply_if_finite": (lambda tx: optax.apply_if_finite(tx, 3), 1),
    "multi_steps": (lambda tx: optax.MultiSteps(tx, 4), 3),
}


@pytest.mark.parametrize("name", TREES)
def test_what_chooses_between_trees_holds_them_as_around_optax(name):
    wrap, trees = TREES[name]
    for tx in (adamw(1e-3), optax.adamw(1e-3)):
        assert abs(temporaries(wrap(tx)) - trees * TREE) <= SCALARS


def test_cautious_holds_the_directions_that_it_masks():
    """The agreement is counted before the first word is written."""
    tx = optax.chain(cautious(scale_by_adam()), optax.scale_by_learning_rate(1e-3))
    assert abs(temporaries(tx) - TREE) <= SCALARS


def test_groups_of_losses_need_no_temporary():
    tx = multi_adam(1e-3, 3)

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    grads = jax.tree.map(lambda x: jnp.stack([x] * 3), LEAVES)
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(LEAVES, tx.init(LEAVES), grads)
    assert lowered.compile().memory_analysis().temp_size_in_bytes <= SCALARS
