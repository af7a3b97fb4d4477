"""Linear heads without their logits: the same losses of whole logits, torch, memory, shards, and the edges."""

import functools
import pathlib
import re

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from jax.test_util import check_grads

import objectives
from objectives import (
    linear_arcface_loss,
    linear_cosface_loss,
    linear_cross_entropy,
    linear_focal_loss,
    linear_margin_softmax_loss,
    linear_poly_loss,
    linear_softmax_loss,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "vocabulary.npz")
GOLDEN_CASES = {
    "mean": (linear_cross_entropy, {"reduction": "mean"}),
    "none_smoothed": (linear_cross_entropy, {"label_smoothing": 0.1}),
    "sum_soft_smoothed": (linear_cross_entropy, {"label_smoothing": 0.1, "reduction": "sum"}),
    "mean_ignored": (linear_cross_entropy, {"reduction": "mean"}),
    "mean_capped": (linear_cross_entropy, {"reduction": "mean", "soft_cap": 3.0, "z_penalty": 1e-2}),
    "arcface": (linear_arcface_loss, {}),
    "cosface": (linear_cosface_loss, {}),
}
# Neither divides 7 rows or 11 classes: a chunk is padded, and the last two tiles overlap.
CHUNKS = {"row_chunk": 3, "class_chunk": 4}
N, D, V = 7, 5, 11
RNG = np.random.default_rng(0)
X, W, B = 1.5 * RNG.normal(size=(N, D)), RNG.normal(size=(V, D)), RNG.normal(size=V)
IDS, SOFT = RNG.integers(0, V, N), RNG.dirichlet(np.ones(V), size=N)
PARTLY = 0.7 * SOFT * (SOFT > 0.05)  # not normalised, with classes that are impossible
FACTORS = 0.5 + RNG.random(N)
WHERE = np.array([True, False, True, True, False, True, True])


def dense(loss, soft_cap=None, z_penalty=0.0):
    """The loss of the whole table of logits."""

    def function(features, weights, labels, bias):
        logits = features @ weights.T + bias
        if soft_cap is not None:
            logits = soft_cap * jnp.tanh(logits / soft_cap)
        return loss(logits, labels) + z_penalty * jax.nn.logsumexp(logits, axis=-1) ** 2

    return function


def generalized(log_p, q=0.7):
    return -jnp.expm1(q * log_p) / q


def generalized_dense(logits, labels):
    labels = labels if labels.ndim == 2 else jax.nn.one_hot(labels, V, dtype=logits.dtype)
    return jnp.sum(labels * generalized(jax.nn.log_softmax(logits)), axis=-1)


PAIRS = {
    "cross-entropy": (linear_cross_entropy, {}, dense(objectives.softmax_cross_entropy)),
    "all options": (
        linear_cross_entropy,
        {"label_smoothing": 0.2, "soft_cap": 2.0, "z_penalty": 0.1},
        dense(functools.partial(objectives.softmax_cross_entropy, label_smoothing=0.2), 2.0, 0.1),
    ),
    "poly": (linear_poly_loss, {"epsilon": 1.5}, dense(functools.partial(objectives.poly_loss, epsilon=1.5))),
    "focal": (
        linear_focal_loss,
        {"gamma": 1.5, "z_penalty": 0.1},
        dense(functools.partial(objectives.focal_loss, gamma=1.5), z_penalty=0.1),
    ),
    "any": (linear_softmax_loss, {"penalty": generalized}, dense(generalized_dense)),
}
MARGINS = {
    "arcface": (linear_arcface_loss, {"scale": 8.0}, functools.partial(objectives.arcface_loss, scale=8.0)),
    "cosface": (
        linear_cosface_loss,
        {"scale": 8.0, "margin": 0.2},
        functools.partial(objectives.margin_softmax_loss, margin=lambda c: c - 0.2, scale=8.0),
    ),
    "any margin": (
        linear_margin_softmax_loss,
        {"scale": 8.0, "margin": lambda c: 0.8 * c},
        functools.partial(objectives.margin_softmax_loss, margin=lambda c: 0.8 * c, scale=8.0),
    ),
}


def value_and_gradients(function, *inputs):
    """Losses, and the gradient of their sum by the inputs, in float64 and jitted."""
    with jax.enable_x64(True):

        def total(*inputs):
            losses = function(*inputs)
            return jnp.sum(losses), losses

        which = tuple(range(len(inputs)))
        (_, losses), gradients = jax.jit(jax.value_and_grad(total, which, has_aux=True))(*map(jnp.asarray, inputs))
        return [np.asarray(losses), *map(np.asarray, gradients)]


def assert_close(ours, theirs, rtol=1e-11):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_equals_torch(case):
    function, keywords = GOLDEN_CASES[case]
    parts = {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}
    names = [name for name in ("features", "weights", "bias") if name in parts]
    labels = parts["labels"]
    if case == "mean_ignored":
        keywords = {**keywords, "where": labels != -100}

    def ours(*inputs):
        given = dict(zip(names, inputs))
        return function(given.pop("features"), given.pop("weights"), labels, **given, **CHUNKS, **keywords)

    got = value_and_gradients(ours, *(parts[name] for name in names))
    assert_close(got, [parts["loss"], *(parts[f"grad_{name}"] for name in names)])


COMPARED = [
    *((case, IDS, reduction) for case in PAIRS for reduction in ("none", "mean")),
    *((case, SOFT, "mean") for case in PAIRS),
    *((case, PARTLY, "sum") for case in ("all options", "focal")),
]
COMPARED_NAMES = [
    f"{case}-{'ids' if y is IDS else 'soft' if y is SOFT else 'unnormalised'}-{r}" for case, y, r in COMPARED
]


@pytest.mark.parametrize(("case", "labels", "reduction"), COMPARED, ids=COMPARED_NAMES)
def test_equals_the_loss_of_whole_logits(case, labels, reduction):
    """Per example and reduced, with weights and a mask, in both orientations: values and all gradients."""
    linear, keywords, reference = PAIRS[case]

    def ours(features, weights, bias, factors):
        options = {**keywords, **CHUNKS, "bias": bias, "example_weights": factors, "where": jnp.asarray(WHERE)}
        if reduction == "none":
            return linear(features, weights, labels, **options)
        return linear(features, weights.T, labels, reduction=reduction, class_axis=1, **options)

    def theirs(features, weights, bias, factors):
        losses = jnp.where(WHERE, factors * reference(features, weights, jnp.asarray(labels), bias), 0)
        total = {"none": 1, "sum": 1, "mean": jnp.sum(jnp.where(WHERE, factors, 0))}[reduction]
        return (losses if reduction == "none" else losses.sum()) / total

    inputs = (X, W, B, FACTORS)
    assert_close(value_and_gradients(ours, *inputs), value_and_gradients(theirs, *inputs))


def test_equals_the_margin_loss_of_whole_cosines():
    """Every member with features of its own, so that each has its gradient."""

    def ours(x, w):
        options = {"reduction": "sum", **CHUNKS}
        members = [(linear, keywords) for linear, keywords, _ in MARGINS.values()]
        return jnp.stack([jnp.sum(f(x[i], w[i], IDS, **options, **k)) for i, (f, k) in enumerate(members)])

    def theirs(x, w):
        references = [reference for *_, reference in MARGINS.values()]
        return jnp.stack([jnp.sum(f(x[i], w[i], IDS)) for i, f in enumerate(references)])

    inputs = np.stack([X, X[::-1], 2 * X]), np.stack([W, -W, W[::-1]])
    assert_close(value_and_gradients(ours, *inputs), value_and_gradients(theirs, *inputs))


def test_hyperparameters_and_probabilities_have_gradients():
    """Of every number that may be traced, those that functions close over included."""

    def ours(smoothing, cap, z, q, s, m, labels):
        keywords = {"bias": B, "soft_cap": cap, "z_penalty": z, **CHUNKS}
        total = {"reduction": "sum"}
        return (
            linear_cross_entropy(X, W, labels, label_smoothing=smoothing, **keywords, **total)
            + linear_softmax_loss(X, W, IDS, penalty=lambda log_p: generalized(log_p, q), **keywords).sum()
            + linear_arcface_loss(X, W, IDS, scale=s, margin=m, **CHUNKS).sum()
            + linear_margin_softmax_loss(X, W, IDS, scale=s, margin=lambda c: c - m, **total)
        )

    def theirs(smoothing, cap, z, q, s, m, labels):
        logits = cap * jnp.tanh((X @ W.T + B) / cap)
        smoothed = objectives.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
        penalties = generalized(jnp.take_along_axis(jax.nn.log_softmax(logits), IDS[:, None], axis=-1)[:, 0], q)
        return (
            jnp.sum(smoothed + penalties + 2 * z * jax.nn.logsumexp(logits, axis=-1) ** 2)
            + objectives.arcface_loss(X, W, IDS, scale=s, margin=m).sum()
            + objectives.margin_softmax_loss(X, W, IDS, scale=s, margin=lambda c: c - m).sum()
        )

    inputs = (0.1, 3.0, 0.05, 0.7, 6.0, 0.3, SOFT)
    assert_close(value_and_gradients(ours, *inputs), value_and_gradients(theirs, *inputs))


def test_derivatives():
    """First and second ones, in reverse mode, against finite differences."""
    options = {"reduction": "sum", "soft_cap": 3.0, **CHUNKS}
    with jax.enable_x64(True):

        def loss(x, w):
            return jnp.sin(linear_cross_entropy(x, w, IDS, **options))

        check_grads(
            jax.jit(loss), (jnp.asarray(X), jnp.asarray(W)), order=2, modes=("rev",), rtol=1e-5, atol=1e-5, eps=1e-5
        )


def test_confident_examples_keep_their_digits():
    """The loss of p = 1 - 1e-12, which is the difference of two logits to no digit at all."""
    features, weights = np.array([[28.0, 0.0]], np.float32), np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    wanted = float(mpmath.log1p(mpmath.exp(-28)))
    loss = linear_cross_entropy(features, weights, np.array([0]))
    np.testing.assert_allclose(loss, wanted, rtol=4e-7)
    np.testing.assert_array_equal(linear_cross_entropy(1e4 * features, weights, np.array([0])), 0.0)
    np.testing.assert_allclose(linear_cross_entropy(1e4 * features, weights, np.array([1])), 2.8e5, rtol=1e-6)


def test_classes_switched_off():
    """A bias of -inf takes a class out, capped or not; its id costs inf; masked rows do not notice."""
    bias = jnp.asarray(np.where(np.arange(V) % 4 == 0, -np.inf, B), jnp.float32)
    on, x, w = np.arange(V) % 4 != 0, X.astype(np.float32), W.astype(np.float32)
    ids = jnp.asarray([1, 2, 3, 5, 6, 7, 9])
    for cap in (None, 2.0):
        logits = x @ w.T + B.astype(np.float32)
        logits = jnp.where(on, logits if cap is None else cap * jnp.tanh(logits / cap), -jnp.inf)
        compute = jax.jit(lambda ids, cap=cap: linear_cross_entropy(x, w, ids, bias=bias, soft_cap=cap, **CHUNKS))
        np.testing.assert_allclose(compute(ids), objectives.softmax_cross_entropy(logits, ids), rtol=2e-6)
        np.testing.assert_array_equal(compute(4 * (ids % 3)), np.inf)

    def loss(x, w, bias, reduction):
        options = {"bias": bias, "where": WHERE, "reduction": reduction}
        labels = jnp.where(WHERE, ids, 0)
        total = linear_cross_entropy(x, w, labels, **options) + linear_focal_loss(x, w, labels, gamma=1.5, **options)
        return jnp.sum(total)

    spoilt = np.where(WHERE[:, None], x, np.nan)
    for reduction in ("none", "mean"):
        for gradient in jax.jit(jax.grad(loss, (0, 1, 2)), static_argnums=3)(spoilt, w, bias, reduction):
            assert np.all(np.isfinite(gradient))


def test_any_float64_input_makes_it_float64():
    with jax.enable_x64(True):
        x, w = jnp.asarray(X, jnp.float32), jnp.asarray(W, jnp.bfloat16)
        assert linear_cross_entropy(x, w, IDS, soft_cap=2.0).dtype == jnp.float32
        loss = functools.partial(linear_cross_entropy, labels=IDS, reduction="sum", soft_cap=2.0)
        value, (by_x, by_b) = jax.value_and_grad(lambda x, b: loss(x, w, bias=b), (0, 1))(x, jnp.asarray(B))
        assert (value.dtype, by_x.dtype, by_b.dtype) == (jnp.float64, jnp.float32, jnp.float64)


def test_ids_out_of_range_are_nan():
    ids = jnp.asarray([0, V, -1, 3, 2**31 - 1, 4, V - 1])
    losses, pull = jax.vjp(lambda x: linear_cross_entropy(x, W.astype(np.float32), ids), X.astype(np.float32))
    bad = np.asarray((ids < 0) | (ids >= V))
    np.testing.assert_array_equal(np.isnan(losses), bad)
    np.testing.assert_array_equal(np.isnan(pull(jnp.ones(N))[0]).all(axis=1), bad)
    assert np.isnan(linear_cross_entropy(X, W, ids, reduction="mean"))
    assert np.isfinite(linear_cross_entropy(X, W, ids, reduction="mean", where=~bad))


def temporaries(function, *shapes):
    compiled = jax.jit(function).lower(*(jax.ShapeDtypeStruct(*shape) for shape in shapes)).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("class_axis", [0, 1])
def test_no_table_of_logits(dtype, class_axis):
    """Temporaries of value and gradients: a chunk, some tiles, and in half precision the weights' float32 gradient."""
    rows, width, classes, chunk, tile = 1024, 32, 16384, 64, 1024
    weights = (width, classes) if class_axis else (classes, width)
    shapes = (((rows, width), dtype), (weights, dtype), ((rows,), jnp.int32))
    bound = 4 * (chunk * classes + 3 * tile * (chunk + width) + 3 * rows * width)
    bound += 4 * width * classes if dtype == jnp.bfloat16 else 0
    for reduction in ("mean", "none"):

        def loss(x, w, y, reduction=reduction):
            options = {"row_chunk": chunk, "class_chunk": tile, "class_axis": class_axis, "label_smoothing": 0.1}
            losses = linear_cross_entropy(x, w, y, reduction=reduction, **options)
            return jnp.mean(losses**2) if reduction == "none" else losses

        used = temporaries(jax.value_and_grad(loss, (0, 1)), *shapes)
        assert used <= bound < 4 * rows * classes / 4, f"{reduction}: {used} bytes"


def test_no_gradient_of_probabilities_unless_asked():
    """A table of labels is given; no other of its size is made for a gradient that nobody takes."""
    rows, width, classes = 1024, 16, 4096

    def loss(x, w, y):
        return linear_cross_entropy(x, w, y, reduction="mean", row_chunk=32, class_chunk=512)

    used = temporaries(
        jax.value_and_grad(loss, (0, 1)),
        ((rows, width), jnp.float32),
        ((classes, width), jnp.float32),
        ((rows, classes), jnp.float32),
    )
    assert used < 4 * rows * classes / 2


def test_matrix_products():
    """Reduced: three products with the weights for value and gradients; per example: four. None is hidden elsewhere."""
    x, w, y = jnp.ones((8, 4)), jnp.ones((16, 4)), jnp.zeros(8, jnp.int32)

    def products(reduction):
        def loss(x, w):
            return linear_cross_entropy(x, w, y, reduction=reduction, row_chunk=8, class_chunk=16).sum()

        lowered = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(x, w).as_text()
        return lowered.count("stablehlo.dot_general")

    assert (products("sum"), products("mean"), products("none")) == (3, 3, 4)


MESH = (2, 4), ("data", "classes")


def sharded(function, labels, *, bias=True, **keywords):
    """`function` on a mesh: rows over `data`, classes over `classes`."""
    mesh = jax.make_mesh(*MESH, axis_types=(jax.sharding.AxisType.Auto,) * 2)
    rows, classes = PartitionSpec("data"), PartitionSpec("classes")
    table = PartitionSpec("data", "classes") if np.ndim(labels) == 2 else rows
    reduced = keywords.get("reduction", "none") != "none"
    keywords |= {"vocabulary_axis": "classes", "axis_name": "data" if reduced else None}

    def local(features, weights, bias_, labels, factors, where):
        given = {"bias": bias_} if bias else {}
        return function(features, weights, labels, example_weights=factors, where=where, **given, **keywords)

    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(rows, classes, classes, table, rows, rows),
        out_specs=PartitionSpec() if reduced else rows,
    )


ROWS_8, CLASSES_16 = 8, 16
SPLIT = {
    "x": RNG.normal(size=(ROWS_8, D)),
    "w": RNG.normal(size=(CLASSES_16, D)),
    "b": RNG.normal(size=CLASSES_16),
    "factors": 0.5 + RNG.random(ROWS_8),
    "ids": np.array([0, 3, 5, 15, 4, 8, 11, 2]),
    "soft": RNG.dirichlet(np.ones(CLASSES_16), size=ROWS_8),
    "where": np.arange(ROWS_8) % 3 != 1,
}
SHARDED = {
    "mean": (linear_cross_entropy, "ids", {"reduction": "mean", "label_smoothing": 0.1, "soft_cap": 3.0}),
    "per example": (linear_cross_entropy, "ids", {"z_penalty": 0.1}),
    "soft": (linear_focal_loss, "soft", {"reduction": "sum", "z_penalty": 0.1, "soft_cap": 3.0}),
    "margin": (linear_arcface_loss, "ids", {"reduction": "mean"}),
}


@pytest.mark.parametrize("case", SHARDED)
def test_shards_of_classes_and_rows_equal_the_whole(case):
    """Values and gradients by features, weights, bias and the examples' weights; hyperparameters that are traced."""
    function, labels, keywords = SHARDED[case]
    bias, labels, where = function is not linear_arcface_loss, SPLIT[labels], SPLIT["where"]
    chunks = {"row_chunk": 3, "class_chunk": 3}

    def whole(x, w, b, factors):
        given = {"bias": b} if bias else {}
        return function(x, w, labels, example_weights=factors, where=where, **given, **keywords)

    def split(x, w, b, factors):
        apart = sharded(function, labels, bias=bias, **keywords, **chunks)
        return apart(x, w, b, jnp.asarray(labels), factors, jnp.asarray(where))

    inputs = [SPLIT[name] for name in ("x", "w", "b", "factors")]
    assert_close(value_and_gradients(split, *inputs), value_and_gradients(whole, *inputs))


def test_traced_hyperparameters_inside_shards():
    """Their gradients are summed over all shards once."""

    def split(smoothing, cap, z):
        keywords = {"label_smoothing": smoothing, "soft_cap": cap, "z_penalty": z, "reduction": "mean"}
        apart = sharded(linear_cross_entropy, SPLIT["ids"], **keywords)
        arrays = [jnp.asarray(SPLIT[name]) for name in ("x", "w", "b", "ids", "factors", "where")]
        return apart(*arrays)

    def whole(smoothing, cap, z):
        keywords = {"label_smoothing": smoothing, "soft_cap": cap, "z_penalty": z, "reduction": "mean"}
        keywords |= {"bias": SPLIT["b"], "example_weights": SPLIT["factors"], "where": SPLIT["where"]}
        return linear_cross_entropy(SPLIT["x"], SPLIT["w"], SPLIT["ids"], **keywords)

    assert_close(value_and_gradients(split, 0.1, 3.0, 0.1), value_and_gradients(whole, 0.1, 3.0, 0.1))


def test_only_statistics_travel():
    """Devices exchange numbers of rows, and the gradients of features and, over the data, of their own weights."""
    mesh = jax.make_mesh(*MESH, axis_types=(jax.sharding.AxisType.Auto,) * 2)
    rows, width, classes = 64, 8, 1024
    split = jax.shard_map(
        functools.partial(
            linear_cross_entropy, reduction="mean", axis_name="data", vocabulary_axis="classes", row_chunk=32
        ),
        mesh=mesh,
        in_specs=(PartitionSpec("data"), PartitionSpec("classes"), PartitionSpec("data")),
        out_specs=PartitionSpec(),
    )
    shapes = (((rows, width), jnp.float32), ((classes, width), jnp.float32), ((rows,), jnp.int32))
    lowered = jax.jit(jax.value_and_grad(split, (0, 1))).lower(*(jax.ShapeDtypeStruct(*shape) for shape in shapes))
    text = lowered.compile().as_text()
    assert "all-reduce" in text
    assert not re.search(r"all-gather|all-to-all|collective-permute|reduce-scatter", text)
    moved = {
        dims
        for shape in re.findall(r"= (.*) all-reduce(?:-start)?\(", text)
        for dims in re.findall(r"f32\[([\d,]*)\]", shape)
    }
    features, weights = f"{rows // 2},{width}", f"{classes // 4},{width}"
    assert moved - {"", "32"} == {features, weights}


def test_weights_that_are_not_split_are_refused():
    mesh = jax.make_mesh(*MESH, axis_types=(jax.sharding.AxisType.Auto,) * 2)
    whole = PartitionSpec()
    split = jax.shard_map(
        lambda x, w, y: linear_cross_entropy(x, w, y, vocabulary_axis="classes"),
        mesh=mesh,
        in_specs=(whole, whole, whole),
        out_specs=whole,
    )
    with pytest.raises(ValueError, match="linear_cross_entropy: weights must be split over vocabulary_axis"):
        split(X, W, IDS)


def test_rows_sharded_under_jit():
    """No `shard_map`: the compiler spreads every chunk over the rows' devices."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x = jax.device_put(jnp.asarray(SPLIT["x"], jnp.float32), jax.sharding.NamedSharding(mesh, PartitionSpec("data")))
    loss = functools.partial(linear_cross_entropy, labels=jnp.asarray(SPLIT["ids"]), reduction="mean", row_chunk=4)
    compute = jax.jit(jax.value_and_grad(loss))
    together = compute(x, jnp.asarray(SPLIT["w"], jnp.float32))
    alone = compute(SPLIT["x"].astype(np.float32), SPLIT["w"].astype(np.float32))
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-6)
    np.testing.assert_allclose(together[1], alone[1], rtol=1e-5, atol=1e-7)
