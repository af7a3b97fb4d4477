"""Overlap losses: set counts in float64, optax, metric properties, masks, a batch split over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads
from programs import all_compiled

import objectives

o = all_compiled(objectives)


RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(4, 3, 2, 3))
IDS = RNG.integers(0, 3, size=(4, 3, 2))
IDS[0] = IDS[0] % 2  # class 2 is absent from an image
ONE_HOT = np.eye(3)[IDS]
SOFT = RNG.dirichlet(np.ones(3), size=(4, 3, 2))
PROBABILITIES = RNG.dirichlet(np.ones(3), size=(4, 3, 2))
LOSSES = [o.dice_loss, o.jaccard_metric_loss, o.dice_semimetric_loss]
KEPT = RNG.uniform(size=(4, 3, 2)) > 0.4


def index_loss(p, t, axes, overlap, alpha, beta, smooth):
    tp = overlap(p, t).sum(axes)
    return 1 - (tp + smooth) / (tp + alpha * (p.sum(axes) - tp) + beta * (t.sum(axes) - tp) + smooth)


def test_closed_forms():
    p, s = PROBABILITIES, {"apply_softmax": False, "smooth": 0.3}
    with jax.enable_x64(True):
        for t in (ONE_HOT, SOFT):
            image = index_loss(p, t, (1, 2), np.multiply, 0.2, 0.9, 0.3).mean(-1)
            np.testing.assert_allclose(o.dice_loss(p, t, alpha=0.2, beta=0.9, **s), image, rtol=1e-12)
            whole = index_loss(p, t, (0, 1, 2), np.minimum, 1, 1, 0.3)
            np.testing.assert_allclose(o.jaccard_metric_loss(p, t, **s), whole.mean(), rtol=1e-12)
            np.testing.assert_allclose(
                o.jaccard_metric_loss(p, t, ignore_background=True, **s), whole[1:].mean(), rtol=1e-12
            )
            halved = index_loss(p, t, (1, 2), np.minimum, 0.5, 0.5, 0.3).mean(-1)
            got = o.dice_semimetric_loss(p, t, per="image", classes="all", **s)
            np.testing.assert_allclose(got, halved, rtol=1e-12)
        present = (ONE_HOT > 0).any((1, 2))
        image = index_loss(p, ONE_HOT, (1, 2), np.multiply, 0.5, 0.5, 0.3)
        got = o.dice_loss(p, IDS, classes="present", **s)
        np.testing.assert_allclose(got, np.where(present, image, 0).sum(-1) / present.sum(-1), rtol=1e-12)
        assert not present.all()


@pytest.mark.parametrize("keywords", [{}, {"alpha": 0.3, "beta": 0.7, "smooth": 0.1}, {"ignore_background": True}])
@pytest.mark.parametrize("t", [ONE_HOT, SOFT], ids=["hard", "soft"])
def test_dice_equals_optax(keywords, t):
    with jax.enable_x64(True):
        weights = np.array([0.5, 1.0, 2.0])
        ours = jax.value_and_grad(lambda x: o.dice_loss(x, t, class_weights=weights, **keywords).sum())(LOGITS)
        theirs = jax.value_and_grad(lambda x: optax.losses.dice_loss(x, t, class_weights=weights, **keywords).sum())(
            LOGITS
        )
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-10, atol=1e-15)


def test_binary_equals_optax():
    with jax.enable_x64(True):
        x, t = LOGITS[..., :1], (IDS > 0).astype(float)
        wanted = optax.losses.dice_loss(x, t[..., None])
        for labels in (t, t > 0, t.astype(int), t[..., None]):
            np.testing.assert_allclose(o.dice_loss(x, labels), wanted, rtol=1e-12)
        assert np.isnan(o.dice_loss(x, IDS)).any()  # 2 is no foreground


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("per", ["image", "dataset"])
def test_ids_and_one_hot_labels_agree(loss, per):
    with jax.enable_x64(True):
        ids = jax.value_and_grad(lambda x: loss(x, IDS, per=per).sum())(LOGITS)
        one_hot = jax.value_and_grad(lambda x: loss(x, ONE_HOT, per=per).sum())(LOGITS)
        np.testing.assert_allclose(ids[0], one_hot[0], rtol=1e-14)
        np.testing.assert_allclose(ids[1], one_hot[1], rtol=1e-10, atol=1e-16)


def test_only_the_overlap_losses_vanish_at_equal_soft_labels():
    for loss in (o.jaccard_metric_loss, o.dice_semimetric_loss):
        np.testing.assert_allclose(loss(SOFT, SOFT, apply_softmax=False), 0, atol=1e-6)
    half = np.full((1, 4, 2), 0.5)
    np.testing.assert_allclose(o.dice_loss(half, half, apply_softmax=False, smooth=0.0), 0.5, rtol=1e-6)


def test_jaccard_metric_loss_is_a_metric():
    with jax.enable_x64(True):

        def distance(a, b):
            return o.jaccard_metric_loss(a, b, apply_softmax=False, smooth=0.0, per="image", classes="all")

        a, b, c = RNG.uniform(size=(3, 500, 5, 1))
        np.testing.assert_allclose(distance(a, b), distance(b, a), rtol=1e-14)
        assert (distance(a, c) <= distance(a, b) + distance(b, c) + 1e-14).all()
        assert (distance(a, b) > 0).all()
        np.testing.assert_array_equal(distance(a, a), 0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("labels", [IDS, SOFT], ids=["ids", "soft"])
def test_masked_pixels_count_nowhere(loss, labels):
    def run(x, y, where):
        return jax.value_and_grad(lambda x: loss(x, y, where=where, per="dataset", classes="all"))(x)

    with jax.enable_x64(True):
        integer = labels is IDS
        mask = KEPT if integer else KEPT[..., None]
        value, gradient = run(
            np.where(KEPT[..., None], LOGITS, np.nan), np.where(mask, labels, -100 if integer else np.nan), KEPT
        )
        kept = run(LOGITS[KEPT][:, None], labels[KEPT][:, None], None)
        np.testing.assert_allclose(value, kept[0], rtol=1e-12)
        np.testing.assert_allclose(gradient[KEPT], kept[1][:, 0], rtol=1e-10, atol=1e-16)
        np.testing.assert_array_equal(gradient[~KEPT], 0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_nothing_to_count_costs_nothing(loss, smooth):
    x = jnp.asarray(LOGITS, jnp.float32)
    images = np.array([True, False, True, True])
    value, gradient = jax.value_and_grad(lambda x: loss(x, IDS, where=images, per="image", smooth=smooth).sum())(
        x.at[1].set(jnp.inf)
    )
    np.testing.assert_allclose(value, loss(x, IDS, per="image", smooth=smooth)[images].sum(), rtol=1e-6)
    np.testing.assert_array_equal(gradient[1], 0)
    for per in ("image", "dataset"):
        value, gradient = jax.value_and_grad(
            lambda x, per=per: loss(x, IDS, where=np.zeros(4, bool), per=per, smooth=smooth).sum()
        )(jnp.full_like(x, jnp.nan))
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
        assert loss(x[:0], IDS[:0], per=per, smooth=smooth).sum() == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_saturated_logits_and_empty_classes(loss, dtype):
    for scale in (1e4, -1e4, 0.0):
        for labels in (jnp.asarray(IDS), jnp.zeros_like(IDS), jnp.asarray(SOFT, dtype)):
            value, gradient = jax.value_and_grad(lambda x, y=labels: loss(x, y, smooth=0.0).sum())(
                jnp.asarray(scale * np.sign(LOGITS), dtype)
            )
            assert value.dtype == jnp.float32
            assert np.isfinite(value)
            assert np.isfinite(np.asarray(gradient, np.float32)).all()
    perfect = jnp.asarray(1e4 * (2 * ONE_HOT - 1), dtype)
    np.testing.assert_allclose(loss(perfect, IDS), 0, atol=1e-6)


def test_a_bad_id_is_nan_for_its_image():
    bad = IDS.copy()
    bad[2, 1, 1] = 3
    assert np.isnan(o.dice_loss(LOGITS, bad)).tolist() == [False, False, True, False]
    assert np.isnan(o.jaccard_metric_loss(LOGITS, bad))
    assert np.isfinite(o.jaccard_metric_loss(LOGITS, bad, where=bad < 3))


@pytest.mark.parametrize("loss", LOSSES)
def test_split_over_devices_value_and_gradient_are_those_of_the_global_batch(loss):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def shard_loss(x, y, kept):
        return loss(x, y, where=kept, per="dataset", classes="present", axis_name="data")

    with jax.enable_x64(True):
        wanted = jax.value_and_grad(lambda x: loss(x, IDS, where=KEPT, per="dataset", classes="present"))(LOGITS)
        specs = {"mesh": mesh, "in_specs": (P("data"),) * 3}
        outside = jax.value_and_grad(jax.shard_map(shard_loss, out_specs=P(), **specs))
        inside = jax.shard_map(jax.value_and_grad(shard_loss), out_specs=(P(), P("data")), **specs)
        for run in (outside, inside):
            got = jax.jit(run)(LOGITS, IDS, KEPT)
            np.testing.assert_allclose(got[0], wanted[0], rtol=1e-12)
            np.testing.assert_allclose(got[1], wanted[1], rtol=1e-9, atol=1e-15)


def test_gradients_by_labels_and_hyperparameters():
    with jax.enable_x64(True):
        losses = jax.jit(lambda x, s: [loss(x, IDS, smooth=s) for loss in LOSSES])
        check_grads(losses, (LOGITS, jnp.asarray(0.5)), 1, ("rev",), rtol=1e-5, atol=1e-5)
        of_soft = jax.jit(lambda x, y, a: o.dice_loss(x, y, alpha=a))
        check_grads(of_soft, (LOGITS, SOFT, jnp.asarray(0.3)), 1, ("rev",), rtol=1e-5, atol=1e-5)


def test_errors():
    for call, error, message in [
        (lambda: o.dice_loss(LOGITS, IDS[:3]), ValueError, r"dice_loss: labels must be class ids \[4, 3, 2\] or"),
        (lambda: o.dice_loss(LOGITS[0, 0, 0], IDS), ValueError, r"predictions must have shape \[B, \*space, C\], got"),
        (
            lambda: o.dice_loss(LOGITS, IDS, where=KEPT[0]),
            ValueError,
            r"where must have shape \[4, 3, 2\], got bool\[3, 2\]",
        ),
        (lambda: o.dice_loss(LOGITS, IDS, per="batch"), ValueError, r"per must be 'image' or 'dataset', got 'batch'"),
        (
            lambda: o.dice_loss(LOGITS, IDS, classes="some"),
            ValueError,
            r"classes must be 'all' or 'present', got 'some'",
        ),
        (lambda: o.dice_loss(LOGITS, IDS, axis_name="data"), ValueError, r'dice_loss: axis_name needs per="dataset"'),
        (lambda: o.dice_loss(LOGITS, IDS, smooth=-1.0), ValueError, r"smooth must lie in \[0, inf\], got -1.0"),
        (
            lambda: o.jaccard_metric_loss(IDS, IDS),
            TypeError,
            r"jaccard_metric_loss: predictions must be floating point",
        ),
        (lambda: o.dice_loss(LOGITS, IDS * 1.0), TypeError, r"labels of shape \[4, 3, 2\] must be integer class ids"),
    ]:
        with pytest.raises(error, match=message):
            call()
