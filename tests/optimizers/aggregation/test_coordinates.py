"""GradDrop, the trimmed mean and the loss balancer: torchjd's golden updates, moments, and EnCodec's rule in NumPy."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import optimizers
from optimizers.aggregation.graddrop import _pick_sign

FOLDER = pathlib.Path(__file__).parents[2] / "golden"
GOLDEN = np.load(FOLDER / "aggregation_coordinate.npz")  # torchjd 0.18.0
JACOBIANS = np.load(FOLDER / "aggregation.npz")


def identity(purity):
    return purity


# --- GradDrop


@pytest.mark.parametrize("case", ["example", "conflicting_3x5", "random_10x40"])
def test_graddrop_equals_torchjd_with_the_same_draws(case):
    gradients, draws = JACOBIANS[f"{case}/jacobian"], GOLDEN[f"graddrop/{case}/draws"]
    none, some = np.zeros(len(gradients)), np.linspace(0.0, 1.0, len(gradients))
    with jax.enable_x64(True):
        for name, leaks, transform in (
            ("plain", none, identity),
            ("leaking", some, identity),
            ("squared", none, jnp.square),
        ):
            found = _pick_sign(jnp.asarray(gradients), jnp.asarray(draws), jnp.asarray(leaks), transform)
            np.testing.assert_allclose(found, GOLDEN[f"graddrop/{case}/{name}"], rtol=1e-12, err_msg=name)


def test_graddrop_has_the_mean_and_the_variance_of_the_closed_form():
    """Mean the sum, variance S+ S-, and with a leak l for all tasks variance (1 - l)^2 S+ S-; to 5 standard errors."""
    gradients = jnp.asarray(JACOBIANS["conflicting_3x5/jacobian"], jnp.float32)
    up, down = np.maximum(gradients, 0).sum(axis=0), np.maximum(-gradients, 0).sum(axis=0)

    def draw(seed, leak):
        tx = optimizers.graddrop(seed, leak=leak)
        return tx.update(gradients, tx.init(gradients[0]))[0]

    for leak in (0.0, 0.6):
        drawn = np.asarray(jax.jit(jax.vmap(lambda seed, leak=leak: draw(seed, [leak] * 3)))(jnp.arange(4000)))
        variance = (1 - leak) ** 2 * up * down
        share = up / (up + down)
        assert (np.abs(drawn.mean(axis=0) - (up - down)) <= 5 * np.sqrt(variance / 4000) + 1e-5).all()
        spread = (1 - leak) ** 4 * (up + down) ** 4 * share * (1 - share) * (1 - 4 * share * (1 - share))
        assert (np.abs(drawn.var(axis=0) - variance) <= 5 * np.sqrt(spread / 4000) + 2e-3 * variance).all()


def test_graddrop_draws_do_not_depend_on_the_sharding_and_differ_between_leaves_and_updates():
    tx = optimizers.graddrop(5)
    step = jax.jit(tx.update)
    gradients = np.stack([np.ones((32, 4)), -np.ones((32, 4))]).astype(np.float32)
    tree = {"a": jnp.asarray(gradients), "b": jnp.asarray(gradients)}
    first, state = step(tree, tx.init(None))
    second, _ = step(tree, state)
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    for spec in (PartitionSpec(None, "x"), PartitionSpec(None, "y", "x"), PartitionSpec("y", "x")):
        sharded, _ = step(jax.device_put(tree, NamedSharding(mesh, spec)), tx.init(None))
        jax.tree.map(np.testing.assert_array_equal, sharded, first)
    for a, b in ((first["a"], first["b"]), (first["a"], second["a"])):
        assert 30 < np.sum(np.asarray(a) != np.asarray(b)) < 98  # of 128, 64 on average


def test_graddrop_keeps_unanimous_signs_at_any_size():
    gradients = jnp.asarray([[3e38, -3e38, 1e-30, -1e-30, 0.0]] * 1 + [[0.0] * 5], jnp.float32)
    tx = optimizers.graddrop()
    np.testing.assert_array_equal(tx.update(gradients, tx.init(None))[0], gradients[0])
    conflict = jnp.asarray([[3e38], [-3e38], [3e38], [-3e38]], jnp.float32)
    draws = jnp.asarray([0.4], jnp.float32)
    np.testing.assert_array_equal(_pick_sign(conflict[:2], draws, jnp.zeros(2), identity), [np.float32(3e38)])
    assert np.isinf(_pick_sign(conflict, draws, jnp.zeros(4), identity)).all()  # the sum itself overflows


@pytest.mark.parametrize("make", [optimizers.graddrop, lambda: optimizers.trimmed_mean(0.1)])
def test_complex_gradients_have_no_sign_and_no_order(make):
    with pytest.raises(TypeError, match=r"^\w+: expected real gradients, \['w'\] has dtype complex64"):
        make().update({"w": jnp.ones((2, 3), jnp.complex64)}, make().init(None))


# --- the trimmed mean


@pytest.mark.parametrize("case", [key for key in GOLDEN.files if key.startswith("trimmed_mean/")])
def test_trimmed_mean_equals_torchjd(case):
    _, name, left_out = case.split("/")
    with jax.enable_x64(True):
        gradients = jnp.asarray(JACOBIANS[f"{name}/jacobian"])
        tx = optimizers.trimmed_mean(int(left_out) / len(gradients))
        np.testing.assert_allclose(tx.update(gradients, tx.init(None))[0], GOLDEN[case], rtol=1e-12)


def test_trimmed_mean_goes_from_the_mean_to_the_median():
    gradients = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    aggregate = jax.jit(lambda trim: optimizers.trimmed_mean(trim).update(gradients, ())[0])
    np.testing.assert_allclose(aggregate(0.0), gradients.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(aggregate(0.499), np.median(gradients, axis=0), rtol=1e-5)
    for left_out in range(10):  # a multiple of 1/20, however it is rounded
        kept = np.sort(gradients, axis=0)[left_out : 20 - left_out]
        np.testing.assert_allclose(aggregate(left_out / 20), kept.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_trimmed_mean_stands_broken_workers_up_to_its_share():
    honest = 1.0 + 0.1 * np.random.default_rng(1).standard_normal((8, 50))
    gradients = jnp.asarray(np.concatenate([honest, [[1e6] * 50, [-1e9] * 50]]), jnp.float32)
    robust, _ = optimizers.trimmed_mean(0.2).update(gradients, ())
    assert np.abs(robust - 1.0).max() < 0.2
    assert np.abs(optimizers.trimmed_mean(0.05).update(gradients, ())[0]).min() > 1e3


# --- the loss balancer


def encodec(gradients, weights, total_norm, ema_decay, eps, state):
    """The rule of the authors' Balancer, from `[T, B, N]` in float64."""
    norms = np.sqrt((gradients**2).sum(axis=2)).mean(axis=1)
    state["total"] = state["total"] * ema_decay + norms
    state["fix"] = state["fix"] * ema_decay + 1
    scales = weights / weights.sum() * total_norm / (eps + state["total"] / state["fix"])
    return np.tensordot(scales, gradients, 1)


def test_loss_balancer_equals_encodecs_rule_over_several_updates():
    generator, weights, state = np.random.default_rng(2), np.array([0.1, 1.0, 3.0]), {"total": 0.0, "fix": 0.0}
    tx = optimizers.loss_balancer(weights, total_norm=2.0, ema_decay=0.9, eps=1e-12)
    with jax.enable_x64(True):
        step = jax.jit(tx.update)
        own = jax.tree.map(lambda x: x.astype(float), tx.init(None))
        for scale in (1.0, 10.0, 0.1, 3.0):
            gradients = generator.standard_normal((3, 4, 6)) * scale
            tree = {
                "audio": jnp.asarray(gradients[..., :4].reshape(3, 4, 2, 2)),
                "rest": jnp.asarray(gradients[..., 4:]),
            }
            updates, own = step(tree, own)
            expected = encodec(gradients, weights, 2.0, 0.9, 1e-12, state)
            np.testing.assert_allclose(updates["audio"].reshape(4, 4), expected[:, :4], rtol=1e-6)  # weights in float32
            np.testing.assert_allclose(updates["rest"], expected[:, 4:], rtol=1e-6)


def test_loss_balancer_brings_losses_of_any_scale_into_balance():
    def losses(x):
        return jnp.stack([jnp.mean(jnp.abs(x - 1.0)), 100.0 * jnp.mean(jnp.abs(x + 1.0))])

    gradients = jax.jacobian(losses)(jnp.zeros(4))
    np.testing.assert_allclose(gradients.sum(axis=0), 99 / 4)
    equal, third = optimizers.loss_balancer([1.0, 1.0]), optimizers.loss_balancer([1.0, 2.0], total_norm=6.0)
    np.testing.assert_array_equal(equal.update(gradients, equal.init(None))[0], np.zeros(4))
    # Items of one number: their mean norm is 1 after scaling, 6 (2/3 - 1/3) in sum.
    np.testing.assert_allclose(third.update(gradients, third.init(None))[0], 2.0, rtol=1e-6)


def test_loss_balancer_averages_all_updates_at_decay_1():
    tx = optimizers.loss_balancer([1.0], ema_decay=1.0)
    state = tx.init(None)
    for norm, average in ((1.0, 1.0), (3.0, 2.0), (8.0, 4.0)):
        updates, state = tx.update(jnp.full((1, 5, 1), norm), state)
        np.testing.assert_allclose(updates, norm / average, rtol=1e-6)


def test_loss_balancer_gives_zero_for_zero_and_nan_for_overflow():
    tx = optimizers.loss_balancer([1.0, 1.0], eps=0.0)
    zeros = jnp.zeros((2, 3, 2))
    updates, state = tx.update(zeros.at[0].set(2.0), tx.init(None))
    np.testing.assert_allclose(updates, 0.5 / np.sqrt(2), rtol=1e-6)
    assert np.isfinite(tx.update(zeros.at[1].set(1.0), state)[0]).all()
    np.testing.assert_array_equal(tx.update(jnp.zeros((2, 0, 2)), tx.init(None))[0], np.zeros((0, 2)))
    assert np.isnan(tx.update(zeros.at[1, 0].set(1e20), tx.init(None))[0]).all()


def test_loss_balancer_wants_one_batch_axis():
    tx = optimizers.loss_balancer([1.0, 1.0])
    for tree in (jnp.ones(2), {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 4))}):
        with pytest.raises(ValueError, match=r"^loss_balancer: every leaf needs the same batch axis"):
            tx.update(tree, tx.init(None))
    with pytest.raises(ValueError, match=r"^loss_balancer: tasks is 2, but the gradients are stacked for 3"):
        tx.update(jnp.ones((3, 4)), tx.init(None))
