"""Mean average precision: a loop over detections, limits, padding, faults and shards."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from objectives import mean_average_precision

CLASSES = 3
COCO = np.arange(50, 100, 5) / 100


def overlap(a, b, crowd):
    """Intersection over union of two boxes, or over the first box."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    meeting = np.prod(sides) if (sides > 0).all() else 0.0
    area = np.prod(a[2:] - a[:2])
    return meeting / (area if crowd else area + np.prod(b[2:] - b[:2]) - meeting)


def average_precision(data, threshold, matching, levels, most):
    """For every class, detections one after the other, as the definitions say."""
    result = []
    for kind in range(CLASSES):
        ranked, total = [], 0
        for image in range(len(data["boxes"])):
            true = np.flatnonzero(data["true_where"][image] & (data["true_classes"][image] == kind))
            free = set(true)
            total += (~data["ignored"][image][true]).sum()
            mine = np.flatnonzero(data["where"][image] & (data["classes"][image] == kind))
            for one in mine[np.argsort(-data["scores"][image][mine], kind="stable")][:most]:
                box, ignored = data["boxes"][image, one], data["ignored"][image]
                ious = {t: overlap(box, data["true_boxes"][image, t], matching == "coco" and ignored[t]) for t in true}
                if matching == "voc":
                    best = max(true, key=ious.get, default=None)
                    best = best if best is not None and ious[best] >= threshold else None
                    verdict = False if best is None else None if ignored[best] else best in free
                else:
                    near = [t for t in free if ious[t] >= threshold]
                    best = max((t for t in near if not ignored[t]), key=ious.get, default=None)
                    verdict = True if best is not None else None if near else False
                if verdict:
                    free.discard(best)
                if verdict is not None:
                    ranked.append((-data["scores"][image, one], verdict))
        hits = np.array([hit for _, hit in sorted(ranked, key=lambda pair: pair[0])], bool)
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        wanted = range(total) if levels is None else (-(-n * total // levels) - 1 for n in range(levels + 1))
        reached = np.flatnonzero(hits)
        best = [precision[reached[max(n, 0)] :].max() if max(n, 0) < len(reached) else 0 for n in wanted]
        result.append(np.mean(best) if total else np.nan)
    return np.array(result)


def detections(seed, images, objects, found):
    """Detections near objects; the last class has none, some objects need not be found, some places are padding."""
    generator = np.random.default_rng(seed)
    corners = generator.integers(0, 40, (images, objects, 2))
    truth = np.concatenate([corners, corners + generator.integers(4, 20, (images, objects, 2))], axis=-1)
    true_classes = generator.integers(0, CLASSES - 1, (images, objects))
    of = generator.integers(0, objects, (images, found))
    near = np.take_along_axis(truth, of[..., None], axis=1) + generator.integers(-2, 3, (images, found, 4))
    right = generator.random(of.shape) < 0.8
    data = {
        "boxes": np.sort(near.reshape(images, found, 2, 2), axis=2).reshape(images, found, 4),
        "scores": generator.integers(0, 30, of.shape) / 32,
        "classes": np.where(right, np.take_along_axis(true_classes, of, 1), CLASSES - 1),
        "true_boxes": truth,
        "true_classes": true_classes,
        "ignored": generator.random((images, objects)) < 0.2,
        "where": generator.random((images, found)) < 0.9,
        "true_where": generator.random((images, objects)) < 0.8,
    }
    return {n: x.astype(np.float32) if n in ("boxes", "scores", "true_boxes") else x for n, x in data.items()}


@functools.partial(jax.jit, static_argnames=("matching", "interpolation", "max_detections", "average"))
def measure(data, iou_thresholds=COCO, **options):
    return mean_average_precision(**data, iou_thresholds=iou_thresholds, num_classes=CLASSES, **options)


@pytest.mark.parametrize("matching", ["coco", "voc"])
@pytest.mark.parametrize(("interpolation", "levels"), [("101-point", 100), ("11-point", 10), ("all-point", None)])
def test_equals_a_loop_over_detections(matching, interpolation, levels):
    limits = np.array([0.3, 0.5, 0.75])
    for seed in range(4):
        data = detections(seed, 6, 5, 8)
        options = {"matching": matching, "interpolation": interpolation, "max_detections": 3, "average": "none"}
        expected = np.stack([average_precision(data, t, matching, levels, 3) for t in limits], axis=1)
        np.testing.assert_allclose(measure(data, limits, **options), expected, rtol=1e-6, err_msg=f"seed {seed}")
        mean = measure(data, limits, **{**options, "average": "macro"})
        np.testing.assert_allclose(mean, np.nanmean(expected), rtol=1e-6)


def test_what_is_found_and_what_is_not():
    data = detections(0, 6, 5, 8)
    truth = {**data, "ignored": np.zeros((6, 5), bool)}
    perfect = {
        **truth,
        "boxes": data["true_boxes"],
        "classes": data["true_classes"],
        "scores": data["scores"][:, :5],
        "where": data["true_where"],
    }
    assert measure(perfect) == 1
    assert measure({**truth, "where": np.zeros((6, 8), bool)}) == 0
    assert measure({**truth, "true_where": np.zeros((6, 5), bool)}) == 0
    each = np.asarray(measure(truth, average="none"))
    np.testing.assert_array_equal(np.isnan(each), [[False] * 10, [False] * 10, [True] * 10])
    # in a crowd all but the surest detections of each image are lost, unless they count for nothing
    assert measure({**perfect, "ignored": np.ones((6, 5), bool)}) == 0


def test_padding_and_the_order_of_images_change_nothing():
    data = detections(1, 6, 5, 8)
    data["scores"] = np.random.default_rng(0).permutation(48).reshape(6, 8).astype(np.float32)  # none are equal
    plain = measure(data, average="none")
    turned = {name: x[::-1] for name, x in data.items()}
    np.testing.assert_array_equal(measure(turned, average="none"), plain)
    junk = {"boxes": np.nan, "scores": np.nan, "true_boxes": np.nan, "classes": -7, "true_classes": 99}
    filling = {**junk, "ignored": False, "where": False, "true_where": False}
    padded = {
        name: np.pad(x, ((0, 0), (0, 2)) + ((0, 0),) * (x.ndim - 2), constant_values=filling[name])
        for name, x in data.items()
    }
    np.testing.assert_array_equal(measure(padded, average="none"), plain)


def test_many_images_are_matched_in_groups():
    data = detections(2, 70, 2, 3)
    expected = [average_precision(data, 0.5, "coco", 100, 100)]
    np.testing.assert_allclose(measure(data, np.array([0.5]), average="none").T, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": (1, 2), "value": [3.0, 0.0, 1.0, 2.0]},
        {"true_boxes": (1, 2), "value": np.nan},
        {"scores": (1, 2), "value": np.nan},
        {"classes": (1, 2), "value": CLASSES},
        {"true_classes": (1, 2), "value": -1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_fault_spoils_the_value_unless_masked(change):
    (name, place), value = next(iter(change.items())), change["value"]
    data = detections(3, 6, 5, 8)
    data["where"][place] = data["true_where"][place] = True
    data[name] = data[name].copy()
    data[name][place] = value
    assert np.isnan(measure(data))
    data["where"][place] = data["true_where"][place] = False
    assert np.isfinite(measure(data))


@pytest.mark.parametrize("average", ["macro", "none"])
def test_shards_equal_all_images(average):
    data = detections(4, 8, 4, 5)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.shard_map(
        lambda data: mean_average_precision(**data, num_classes=CLASSES, average=average, axis_name="data"),
        mesh=mesh,
        in_specs=(PartitionSpec("data"),),
        out_specs=PartitionSpec(),
    )
    np.testing.assert_array_equal(jax.jit(sharded)(jax.tree.map(jnp.asarray, data)), measure(data, average=average))


def test_what_must_be_found_comes_before_a_crowd_around_it():
    truth = jnp.array([[[0.0, 0, 20, 20], [0, 0, 10, 10]]])
    boxes = jnp.array([[[0.0, 0, 10, 9], [5, 5, 9, 9]]])  # both inside the crowd, the first near the object too
    kind, crowd = jnp.zeros((1, 2), jnp.int32), jnp.array([[True, False]])
    for order in ([0, 1], [1, 0]):
        sides = {"true_boxes": truth[:, jnp.array(order)], "ignored": crowd[:, jnp.array(order)]}
        for scores in ([[0.9, 0.8]], [[0.8, 0.9]]):
            data = {"boxes": boxes, "scores": jnp.array(scores), "classes": kind, "true_classes": kind, **sides}
            assert measure(data, np.array([0.5])) == 1
