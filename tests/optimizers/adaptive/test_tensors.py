"""Transformations that take numbers of a whole tensor: Optax's and pytorch-optimizer's trajectories, and limits."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import compiled_step, gradients, run, start

from optimizers import (
    adafactor,
    adam_mini,
    adamw,
    came,
    fadam,
    gravity,
    lamb,
    lars,
    scale_by_adam,
    scale_by_adam_mini,
    scale_by_came,
    scale_by_fadam,
    scale_by_stable_adam,
    stable_adamw,
)

STEPS = 30


def RATE(count):
    """In the widest float: a float32 schedule may differ by a rounding between two programs."""
    return 1e-2 * (1 - 0.5 * jnp.asarray(count, float) / STEPS)


DECAY = lambda count: 0.1 * (1 - jnp.asarray(count, float) / STEPS)  # in the widest float, as RATE
MASK = {"matrix": True, "vector": False, "scalar": False, "empty": True}


def first_update(tx, gradient, params=None):
    gradient = jnp.asarray(gradient)
    return tx.update(gradient, tx.init(gradient), gradient if params is None else jnp.asarray(params))[0]


LARS = {"weight_decay_mask": MASK, "trust_ratio_mask": MASK, "eps": 1e-3}
SAME_AS_OPTAX = {
    "lamb": (lamb(1e-2, weight_decay=0.1), optax.lamb(1e-2, weight_decay=0.1)),
    "lamb_scheduled": (
        lamb(RATE, 0.8, 0.95, 1e-3, 1e-4, DECAY, MASK),
        optax.lamb(RATE, 0.8, 0.95, 1e-3, 1e-4, DECAY, MASK),
    ),
    "lars": (lars(1e-1, 0.1), optax.lars(1e-1, 0.1)),
    "lars_nesterov": (lars(RATE, 0.1, nesterov=True, **LARS), optax.lars(RATE, 0.1, nesterov=True, **LARS)),
}


@pytest.mark.parametrize("name", SAME_AS_OPTAX)
def test_trajectory_equals_optax(name):
    ours, peer = SAME_AS_OPTAX[name]
    with jax.enable_x64(True):
        (path, _), (expected, _) = (run(tx, start(), gradients(steps=STEPS)) for tx in (ours, peer))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), path, expected)


FACTOR = {"min_dim_size_to_factor": 2}
ADAFACTOR = {
    "defaults": (1e-2, FACTOR),
    "momentum": (
        RATE,
        {**FACTOR, "momentum": 0.9, "weight_decay_rate": 0.01, "weight_decay_mask": MASK, "decay_rate": 0.7},
    ),
    "plain": (None, {"multiply_by_parameter_scale": False, "clipping_threshold": None, "eps": 1e-3}),
    "whole": (1e-2, {**FACTOR, "factored": False, "clipping_threshold": 0.5}),
}


@pytest.mark.parametrize("name", ADAFACTOR)
def test_adafactor_equals_optax(name):
    rate, settings = ADAFACTOR[name]
    batch = np.random.default_rng(3).normal(size=(STEPS + 1, 3, 2, 4))
    leaves = lambda tree, more: {k: x for k, x in tree.items() if k != "empty"} | {"batch": more}
    settings = {k: leaves(v, True) if k == "weight_decay_mask" else v for k, v in settings.items()}
    with jax.enable_x64(True):
        args = leaves(start(), batch[0]), leaves(gradients(steps=STEPS), batch[1:])
        (path, _), (expected, _) = (run(make(rate, **settings), *args) for make in (adafactor, optax.adafactor))
        # Optax forms 1 - t**-0.8 in float32, whatever the parameters' dtype: the tolerance is Optax's.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6), path, expected)


def test_adafactor_is_the_papers_algorithm():
    """Algorithm 4 in NumPy, float64, for a matrix whose rows are the longer axis."""
    grads, x = np.random.default_rng(0).normal(size=(STEPS, 3, 5)), np.ones((3, 5))
    rows, columns = np.zeros(3), np.zeros(5)
    rms = lambda a: np.sqrt(np.mean(a * a))
    with jax.enable_x64(True):
        path, _ = run(adafactor(0.1, eps=1e-3, clipping_threshold=0.9, **FACTOR), x, grads, pull=0.0)
    for t, g in enumerate(grads, start=1):
        b = 1 - t**-0.8
        rows = b * rows + (1 - b) * (g * g + 1e-3).mean(1)
        columns = b * columns + (1 - b) * (g * g + 1e-3).mean(0)
        u = g / np.sqrt(np.outer(rows, columns) / rows.mean())
        x = x - 0.1 * max(1e-3, rms(x)) * u / max(1, rms(u) / 0.9)
    np.testing.assert_allclose(path[-1], x, rtol=1e-12)


def test_floors_where_there_is_nothing_to_measure():
    """Adafactor's steps from zero weights are 1e-3 long; FAdam's decay without gradients is θ over its own RMS."""
    zero, ones = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    np.testing.assert_allclose(first_update(adafactor(0.5), ones, zero), -0.5e-3, rtol=1e-5)
    params = np.array([3.0, -1.0, 5.0, 1.0], np.float32)
    np.testing.assert_allclose(first_update(fadam(1.0), 0 * params, params), -0.1 * params / 3, rtol=1e-5)


@pytest.fixture(scope="module")
def golden():
    return np.load(pathlib.Path(__file__).parents[2] / "golden" / "tensors.npz")


def tree_of(golden, kind):
    return {name.partition("/")[2]: golden[name] for name in golden.files if name.partition("/")[0] == kind}


FROM_TORCH = {
    "fadam": fadam(1e-2, b2=0.99, weight_decay=0.1),
    "fadam_p": fadam(1e-2, eps=1e-2, eps_rms=0.1, p=0.3, clip=0.5, weight_decay=0.0),
    "stable_adamw": stable_adamw(1e-2, 0.8, 0.9, weight_decay=0.1),
    "stable_adamw_no_decay": stable_adamw(1e-2, eps=1e-3, weight_decay=0.0),
    "came": came(1e-3, 0.9, 0.99, 0.999, weight_decay=0.1),
    "came_no_decay": came(1e-3, clipping_threshold=0.5, eps_instability=1e-4),
}


@pytest.mark.parametrize("name", FROM_TORCH)
def test_trajectory_equals_pytorch_optimizer(golden, name):  # tests/golden/tensors.py wrote it
    with jax.enable_x64(True):
        path, _ = run(FROM_TORCH[name], tree_of(golden, "start"), tree_of(golden, "gradients"))
        for leaf, expected in tree_of(golden, name).items():
            found = path[leaf][golden["kept_steps"]]
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12, err_msg=leaf)


def test_gravity_equals_pytorch_optimizer_one_step_on(golden):
    """From the same velocity; the peer counts steps from 1, the authors and ours from 0."""

    def late(params):
        state = gravity(0.1).init(params)
        return (state[0]._replace(count=state[0].count + 1, velocity=tree_of(golden, "velocity")), *state[1:])

    with jax.enable_x64(True):
        tx = optax.GradientTransformation(late, gravity(0.1).update)
        path, _ = run(tx, tree_of(golden, "start"), tree_of(golden, "gradients"))
        for leaf, expected in tree_of(golden, "gravity").items():
            np.testing.assert_allclose(path[leaf][golden["kept_steps"]], expected, rtol=1e-10, atol=1e-12)


def test_adam_mini_equals_pytorch_optimizer(golden):
    """Elements, heads (torch's rows come first) and whole tensors as blocks."""
    axes = {"embed": (0, 1), "q_proj": (0,), "mlp": ()}
    heads = lambda tree: {**tree, "q_proj": tree["q_proj"].reshape(*tree["q_proj"].shape[:-2], 2, 2, 4)}
    tx = adam_mini(1e-2, b2=0.99, weight_decay=0.1, block_axes=lambda path, shape: axes[path])
    with jax.enable_x64(True):
        path, _ = run(tx, heads(tree_of(golden, "named_start")), heads(tree_of(golden, "named_gradients")))
        for leaf, expected in heads(tree_of(golden, "adam_mini")).items():
            # The peer's moments are float32, also for float64 parameters.
            np.testing.assert_allclose(path[leaf][golden["kept_steps"]], expected, rtol=1e-5, atol=1e-6, err_msg=leaf)


GRADIENT = np.array([[3.0, -1e-2], [70.0, 0.5]], np.float32)


@pytest.mark.parametrize("tx", [stable_adamw(1e-2, weight_decay=0.0), fadam(1e-1, weight_decay=0.0)])
def test_first_step_is_the_sign_of_the_gradient(tx):
    """FAdam's average starts at zero and is not corrected: a tenth of its rate."""
    np.testing.assert_allclose(first_update(tx, GRADIENT), -1e-2 * np.sign(GRADIENT), rtol=1e-5)


@pytest.mark.parametrize("make", [stable_adamw, adam_mini])
def test_calm_gradients_give_adamw(make):
    """Gradients of constant size never surprise, and a block of equal sizes is one element."""
    signs = np.sign(np.random.default_rng(0).normal(size=(STEPS, 4, 3)))
    with jax.enable_x64(True):
        settings = {"b2": 0.99, "weight_decay": 0.1}
        (path, _), (expected, _) = (run(f(1e-2, **settings), np.ones((4, 3)), signs, pull=0.0) for f in (make, adamw))
        np.testing.assert_allclose(path, expected, rtol=1e-12)


def test_stable_adam_divides_a_burst_by_its_size():
    """One gradient 100 times its history: ν̂ and RMS worked by hand."""
    quiet = jnp.full(4, 0.01)
    tx = scale_by_stable_adam(eps=0.0)
    _, state = tx.update(quiet, tx.init(quiet))
    update, _ = tx.update(100 * quiet, state)
    nu, mu = (0.01 * 0.99 * 1e-4 + 0.01) / (1 - 0.99**2), (0.09 * 0.01 + 0.1) / 0.19
    np.testing.assert_allclose(update, mu / np.sqrt(nu) / np.sqrt(1 / nu), rtol=1e-5)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)])
def test_adam_mini_averages_over_the_other_axes(axes):
    other = tuple({0, 1} - set(axes))
    expected = GRADIENT / np.sqrt(np.mean(GRADIENT**2, axis=other, keepdims=True))
    tx = scale_by_adam_mini(block_axes=lambda path, shape: axes)
    np.testing.assert_allclose(first_update(tx, GRADIENT), expected, rtol=1e-5)
    assert tx.init(jnp.ones((3, 5))).nu.shape == tuple(n if k in axes else 1 for k, n in enumerate((3, 5)))
    if axes == (0, 1):
        np.testing.assert_allclose(expected, first_update(scale_by_adam(), GRADIENT), rtol=1e-5)


def test_adam_mini_blocks_are_chosen_by_path():
    params = {"embed": {"table": jnp.ones((7, 3))}, "kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}
    by_default = scale_by_adam_mini().init(params).nu
    assert [x.shape for x in jax.tree.leaves(by_default)] == [(1,), (1, 3), (1, 4)]
    chosen = scale_by_adam_mini(block_axes=lambda path, shape: (0,) if path.startswith("embed/") else ()).init(params)
    assert [x.shape for x in jax.tree.leaves(chosen.nu)] == [(1,), (7, 1), (1, 1)]
    with pytest.raises(ValueError, match="^scale_by_adam_mini: block_axes must name axes of bias"):
        scale_by_adam_mini(block_axes=lambda path, shape: (1,)).init(params)


def test_lamb_and_lars_move_by_a_part_of_the_norm():
    params = np.array([3.0, -4.0], np.float32)
    for gradient in (np.array([0.1, 7.0], np.float32), np.array([1e3, 2.0], np.float32)):
        assert np.linalg.norm(first_update(lamb(0.1), gradient, params)) == pytest.approx(0.5, rel=1e-5)
        assert np.linalg.norm(first_update(lars(1.0), gradient, params)) == pytest.approx(0.005, rel=1e-5)
    zero = np.zeros(2, np.float32)
    np.testing.assert_allclose(first_update(lamb(0.1), params, zero), [-0.1, 0.1], rtol=1e-4)  # a ratio of 1
    np.testing.assert_allclose(first_update(lars(0.1), params, zero), -0.1 * params, rtol=1e-6)


@pytest.mark.parametrize("tx", [scale_by_fadam(eps=0.0), scale_by_came(), adafactor(1.0), scale_by_stable_adam(eps=0)])
def test_updates_do_not_depend_on_the_scale_of_the_loss(tx):
    grads = np.random.default_rng(0).normal(size=(STEPS, 4, 3)).astype(np.float32)
    (path, _), (scaled, _) = (run(tx, np.ones((4, 3), np.float32), c * grads, pull=0.0) for c in (1.0, 2.0**10))
    np.testing.assert_allclose(scaled, path, rtol=1e-4, atol=1e-5)


def test_came_of_squares_of_rank_one_is_exact():
    """u is the sign, its residual (1 - m)² constant; the update is m over the root of that average."""
    sizes = np.outer([1.0, 2.0, 3.0], [0.5, 4.0])
    with jax.enable_x64(True):
        tx = scale_by_came(0.9, 0.0, 0.0, 0.0, 0.0)
        updates, state = [], tx.init(sizes)
        for _ in range(3):
            update, state = tx.update(jnp.asarray(sizes), state)
            updates.append(update)
    m = 1 - 0.9 ** np.arange(1, 4)
    np.testing.assert_allclose(updates, (m / (1 - m))[:, None, None] * np.ones((3, 3, 2)), rtol=1e-12)


def test_gravity_of_no_velocity_is_the_papers_formula():
    """ζ at the largest gradient is g / (1 + g⁴); β̂ is 1/2, then (β + 1) / 3."""
    g = np.array([2.0, -0.5])
    zeta = g / (1 + (2 * g) ** 2)
    assert zeta[0] == pytest.approx(2 / 17)
    with jax.enable_x64(True):
        tx = gravity(0.1, alpha=0.0, beta=0.9)
        first, state = tx.update(jnp.asarray(g), tx.init(jnp.zeros(2)))
        second, _ = tx.update(jnp.zeros(2), state)
    np.testing.assert_allclose(first, -0.1 * zeta / 2, rtol=1e-12)
    np.testing.assert_allclose(second, -0.1 * zeta / 2 * 1.9 / 3, rtol=1e-12)


def test_gravity_starts_with_steps_of_length_alpha():
    tx, zero = gravity(0.1, alpha=0.05, key=1), jnp.zeros((64, 64))
    velocity = 0.1 * tx.init(zero)[0].velocity
    assert np.std(velocity) == pytest.approx(0.05, rel=0.05)  # 4096 draws: a standard error of 1.1 %
    other = gravity(0.1, alpha=0.05, key=2).init(zero)[0].velocity
    assert not np.array_equal(0.1 * other, velocity)
    two = tx.init({"a": zero, "b": zero})[0].velocity
    assert not np.array_equal(two["a"], two["b"])


def test_gravity_finds_a_minimum_of_small_gradients():
    """Its damping ignores gradients far above 1, so Optax's problems, which start at 200, are not for it."""
    target = jnp.array([0.3, -0.2, 0.1])
    tx = gravity(0.1, alpha=0.001)

    @jax.jit
    def descend(x):
        def step(carry, _):
            x, state = carry
            update, state = tx.update(x - target, state, x)
            return (x + update, state), None

        return jax.lax.scan(step, (x, tx.init(x)), length=2000)[0][0]

    np.testing.assert_allclose(descend(jnp.zeros(3)), target, atol=1e-4)


LEAVES = {"a": jnp.ones((64, 128)), "b": jnp.ones((96, 64)), "c": jnp.ones((4096,)), "d": jnp.ones(())}
NORM_FIRST = {
    "stable_adamw": stable_adamw(1e-3),
    "lamb": lamb(1e-3, weight_decay=0.1),
    "lars": lars(1e-3, 0.1),
    "fadam": fadam(1e-3),
    "adafactor": adafactor(1e-3, **FACTOR),
    "came": came(1e-3, weight_decay=0.1),
    "adam_mini": adam_mini(1e-3),
    "gravity": gravity(1e-3),
}


@pytest.mark.parametrize("name", NORM_FIRST)
def test_a_norm_of_a_matrix_needs_no_array_of_its_size(name):
    """What it is the norm of is computed twice; rows, columns and scalars are written down.

    So is, where the squares of a vector are kept whole, the constant that is added to them.
    """
    executable, donated = compiled_step(NORM_FIRST[name], LEAVES)
    memory = executable.memory_analysis()
    assert memory.temp_size_in_bytes < LEAVES["b"].nbytes
    assert memory.alias_size_in_bytes == sum(x.nbytes for x in donated)


@pytest.mark.parametrize("make", [stable_adamw, lamb, lars, fadam, adam_mini, came, adafactor])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_small_gradients_of_low_precision(make, dtype):
    """Squares of 1e-4 are below float16's range, norms of 3e4 above it."""
    params = jnp.full((4, 3), 2.0, dtype)
    for size in (1e-4, 3e4):
        update = first_update(make(1e-2), jnp.full((4, 3), size, dtype), params)
        assert update.dtype == dtype
        assert np.all(np.isfinite(np.asarray(update, np.float32)))
        assert np.all(np.asarray(update, np.float32) < 0)


def test_parameters_are_asked_for():
    for make in (stable_adamw, lamb, lars, fadam, adafactor):
        tx = make(1e-2)
        with pytest.raises(ValueError, match=f"^{make.__name__}: update needs params"):
            tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
