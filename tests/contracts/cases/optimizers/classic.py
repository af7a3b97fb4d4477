"""Cases of coordinate descent, fractional minimisation, compressed messages and target-based surrogates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contracts.common import Fault, call
from contracts.function_checks import Function, Type
from contracts.gradient_checks import GradientRule
from contracts.optimizer_checks import Transformation

import optimizers

DESCENT = {
    "arguments": {"learning_rate": 0.1},
    "hyperparameters": {"learning_rate": 0.1},
    "schedules": ("learning_rate",),
    "refused": {"learning_rate": (-0.1,)},
    "faults": (Fault({"blocks": 0}, ValueError), Fault({"blocks": 1.5}, TypeError)),
}
TRANSFORMATIONS = [
    Transformation(
        name="greedy_block_descent",
        function=optimizers.greedy_block_descent,
        switches={"blocks": 2},
        elsewhere=("lipschitz",),
        **DESCENT,
    ),
    Transformation(
        name="greedy_block_descent[lipschitz]",
        function=optimizers.greedy_block_descent,
        elsewhere=("blocks",),
        **{
            **DESCENT,
            "arguments": {"learning_rate": 0.1, "lipschitz": lambda tree: jax.tree.map(lambda x: 2.0, tree)},
            "faults": (Fault({"lipschitz": {"kernel": 0.0}}, ValueError),),
        },
    ),
]
OPTAX_SUITE = [
    ("greedy_block_descent", optimizers.greedy_block_descent, {"learning_rate": 1e-3, "blocks": 2}),
]

BLOCKS = jnp.array([[0, 1], [2, 3]])
HESSIAN = jnp.stack([2.0 * jnp.eye(2), jnp.array([[3.0, 1.0], [1.0, 2.0]])])


def vectors(*names):
    return lambda generator: {name: generator.normal(size=4).astype(np.float32) for name in names}


def ranked(case):
    """A function under a rule that needs a bound."""
    function, rule, bound, value = case
    more = {"l1": 0.0, "value_fn": lambda x: jnp.sum(x**2)} if function is optimizers.block_coordinate_step else {}
    if rule != "gsq" and more:
        more = {"l1": 0.1}
    others = {"lipschitz", "diagonal", "hessian", "l1", "value_fn"} - {bound, *more}
    known = ("params", "grad") if function is optimizers.block_coordinate_step else ("grad",)
    elsewhere = others if function is optimizers.block_coordinate_step else others - {"l1", "value_fn"}
    return Function(
        name=f"{function.__name__}[{rule}]",
        function=function,
        traced=vectors(*known),
        static={"blocks": BLOCKS, "rule": rule, bound: value, **more},
        elsewhere=tuple(elsewhere),
        shape=(4,) if more else (2,),
        refused={"l1": (-0.1,)} if more.get("l1") else {},
        faults=(
            Fault({"rule": "greedy"}, ValueError),
            Fault({"blocks": jnp.ones((2, 2))}, ValueError),
            Fault({bound: None}, ValueError),
            Fault({bound: jnp.ones((3, 3))}, ValueError),
            *((Fault({"l1": 0.1}, ValueError), Fault({"value_fn": 1.0}, TypeError)) if more and rule == "gsq" else ()),
        ),
    )


def quadratic(x):
    return 0.5 * jnp.sum(x * x * jnp.arange(1.0, 1.0 + len(x)))


def half_square(x):
    return 0.5 * x @ x


def pull(z):
    """Operators of two workers, of mean 2 z."""
    return jnp.stack([z - 1.0, 3.0 * z + 1.0])


def solved(function, arguments):
    """A few steps of a method."""
    settings = {name: value for name, value in arguments.items() if name not in ("z", "key")}
    init, step = call(function, settings)
    state = init(arguments["z"])
    for _ in range(2):
        state = step(state, arguments["key"])
    return state.z


METHOD = {
    "traced": lambda generator: {
        "z": generator.normal(size=3).astype(np.float32),
        "key": jax.random.key(generator.integers(100)),
    },
    "use": solved,
    "shape": (3,),
    "refused": {"learning_rate": (-0.1,), "tau": (-0.1, 1.0)},
    "numbers": ("learning_rate", "tau"),
    "faults": (
        Fault({"operator_fn": 1.0}, TypeError),
        Fault({"worker_compressor": None}, TypeError),
        Fault({"prox_fn": "clip"}, TypeError),
    ),
}
K_FAULTS = (Fault({"k": 0}, ValueError), Fault({"k": 5}, ValueError), Fault({"k": 1.5}, TypeError))
STEPS = {"operator_fn": pull, "learning_rate": 0.1, "tau": 0.5, "prox_fn": lambda z, step_size: jnp.clip(z, -2.0, 2.0)}
RATIO = {
    "traced": lambda generator: {"x0": (1.0 + generator.random(3)).astype(np.float32)},
    "shapes": ((3,), (4,)),
    "refused": {"lipschitz": (-1.0,), "l1": (-0.1,), "theta": (-0.1,)},
    "numbers": ("theta",),
    "faults": (
        Fault({"f": None}, TypeError),
        Fault({"g": None}, TypeError),
        Fault({"mode": "both"}, ValueError),
        Fault({"order": "greedy"}, ValueError),
        Fault({"num_steps": 0}, ValueError),
        Fault({"x0": jnp.ones((2, 2))}, ValueError),
        Fault({"lipschitz": jnp.ones(2)}, ValueError),
    ),
}
FUNCTIONS = [
    *map(
        ranked,
        [
            (function, rule, bound, value)
            for function in (optimizers.greedy_block_scores, optimizers.block_coordinate_step)
            for rule, bound, value in (
                ("gsl", "lipschitz", jnp.array([1.0, 4.0])),
                ("gsd", "diagonal", jnp.arange(1.0, 5.0)),
                ("gsq", "hessian", HESSIAN),
            )
        ],
    ),
    Function(
        name="fractional_coordinate_descent",
        function=optimizers.fractional_coordinate_descent,
        static={
            "f": quadratic,
            "g": half_square,
            "lipschitz": 3.0,
            "l1": 0.1,
            "theta": 1e-3,
            "mode": "fcd",
            "order": "cyclic",
            "num_steps": 4,
        },
        elsewhere=("key",),
        **RATIO,
    ),
    Function(
        name="fractional_coordinate_descent[random, pcd]",
        function=optimizers.fractional_coordinate_descent,
        static={
            "f": quadratic,
            "g": half_square,
            "lipschitz": 3.0,
            "mode": "pcd",
            "order": "random",
            "num_steps": 4,
            "key": jax.random.key(0),
        },
        elsewhere=("l1", "theta"),
        **{**RATIO, "faults": (Fault({"key": None}, ValueError),)},
    ),
    Function(
        name="rand_k",
        function=optimizers.rand_k,
        traced=lambda generator: {
            "x": generator.normal(size=(2, 2)).astype(np.float32),
            "key": jax.random.key(generator.integers(100)),
        },
        static={"k": 2},
        shape=(2, 2),
        differentiable=("x",),
        faults=K_FAULTS,
    ),
    Function(
        name="top_k",
        function=optimizers.top_k,
        traced=lambda generator: {"x": generator.normal(size=(2, 2)).astype(np.float32)},
        static={"k": 2},
        shape=(2, 2),
        differentiable=("x",),
        faults=K_FAULTS,
    ),
    Function(
        name="masha1",
        function=optimizers.masha1,
        static={
            **STEPS,
            "worker_compressor": lambda x, key: optimizers.rand_k(x, key, 1),
            "server_compressor": lambda x, key: optimizers.rand_k(x, key, 2),
        },
        **METHOD,
    ),
    Function(
        name="masha2",
        function=optimizers.masha2,
        static={
            **STEPS,
            "worker_compressor": lambda x: optimizers.top_k(x, 1),
            "server_compressor": lambda x: optimizers.top_k(x, 2),
        },
        **METHOD,
    ),
    Function(
        name="target_surrogate",
        function=optimizers.target_surrogate,
        traced=vectors("outputs", "anchor", "gradients"),
        static={"eta": 0.5},
        differentiable=("outputs",),
        keeps_dtype=False,
        refused={"eta": (0.0, -1.0)},
        numbers=("eta",),
        faults=(Fault({"anchor": jnp.ones(3)}, ValueError),),
    ),
]
TYPES = [
    Type(name="MashaMethod", type=optimizers.MashaMethod),
    Type(name="MashaState", type=optimizers.MashaState),
]
RULES = [
    GradientRule(
        name="target_surrogate_descent",
        function=optimizers.target_surrogate_descent,
        arguments={
            "outputs_fn": lambda params, *args, **kwargs: params,
            "eta": 0.5,
            "inner_optimizer": optax.sgd(0.1),
            "inner_steps": 2,
        },
        hyperparameters={"eta": 0.5},
        refused={"eta": (0.0, -1.0)},
        faults=(
            Fault({"outputs_fn": None}, TypeError),
            Fault({"inner_optimizer": 0.1}, TypeError),
            Fault({"inner_steps": 0}, ValueError),
        ),
    ),
]


def signal(generator, *names):
    """A signal, sensing vectors, and what is measured of it."""
    sensing, z = generator.normal(size=(12, 4)), generator.normal(size=4)
    drawn = {"z": z, "sensing": sensing, "magnitudes": np.abs(sensing @ z)}
    return {name: drawn[name].astype(np.float32) for name in names}


def margins(generator):
    return {"margins": generator.normal(size=4).astype(np.float32), "where": np.array([True, True, False, True])}


SPARSITY_FAULTS = (Fault({"sparsity": 0}, ValueError), Fault({"sparsity": 1.5}, TypeError))
MARGIN_FAULTS = (Fault({"margins": jnp.ones((2, 2))}, ValueError), Fault({"where": jnp.ones(3, bool)}, ValueError))
FUNCTIONS += [
    Function(
        name="hard_threshold",
        function=optimizers.hard_threshold,
        traced=vectors("x"),
        static={"sparsity": 2},
        shape=(4,),
        differentiable=("x",),
        faults=SPARSITY_FAULTS,
    ),
    Function(
        name="spectral_init_sparse",
        function=optimizers.spectral_init_sparse,
        traced=lambda generator: signal(generator, "sensing", "magnitudes"),
        static={"sparsity": 2},
        shape=(4,),
        faults=(*SPARSITY_FAULTS, Fault({"magnitudes": jnp.ones(3)}, ValueError)),
    ),
    Function(
        name="sparse_phase_newton_step",
        function=optimizers.sparse_phase_newton_step,
        traced=lambda generator: signal(generator, "z", "sensing", "magnitudes"),
        static={"sparsity": 2, "eta": 0.9, "ridge": 1e-6},
        shape=(4,),
        refused={"eta": (0.0,), "ridge": (-1.0,)},
        numbers=("eta", "ridge"),
        faults=(*SPARSITY_FAULTS, Fault({"z": jnp.ones(3)}, ValueError)),
    ),
    Function(
        name="normalized_logistic_weights",
        function=optimizers.normalized_logistic_weights,
        traced=margins,
        shape=(4,),
        faults=MARGIN_FAULTS,
    ),
    Function(
        name="normalized_logistic_surrogate",
        function=optimizers.normalized_logistic_surrogate,
        traced=margins,
        differentiable=("margins",),
        keeps_dtype=False,
        faults=MARGIN_FAULTS,
    ),
    Function(
        name="batch_perceptron_step",
        function=optimizers.batch_perceptron_step,
        traced=lambda generator: {
            "params": generator.normal(size=3).astype(np.float32),
            "features": generator.normal(size=(4, 3)).astype(np.float32),
            "labels": np.sign(generator.normal(size=4)).astype(np.float32),
        },
        static={"normalized": True},
        shape=(3,),
        faults=(Fault({"labels": jnp.ones(3)}, ValueError),),
    ),
]
