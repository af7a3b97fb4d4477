"""Cases of the curvature's products and of the transformations that use them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.function_checks import Function, Type
from contracts.optimizer_checks import Transformation

import optimizers
from optimizers._trees import wide


def loss_fn(params: Any) -> jax.Array:
    """Convex, with a diagonal Hessian, in float32 or wider."""
    return sum((jnp.sum(0.5 * wide(x) ** 2 + 0.1 * wide(x) ** 4) for x in jax.tree.leaves(params)), jnp.float32(0.0))


def sampled_losses(outputs: Any, key: jax.Array) -> jax.Array:
    """Squared errors of labels of unit variance, three to an output."""
    leaves = jax.tree.leaves(outputs)
    if not leaves:
        return jnp.zeros(1)
    noise = [jax.random.normal(jax.random.fold_in(key, n), (3, *x.shape)) for n, x in enumerate(leaves)]
    errors = [0.5 * (wide(x) - jax.lax.stop_gradient(wide(x)) - z) ** 2 for x, z in zip(leaves, noise, strict=True)]
    return sum(e.reshape(3, -1).sum(1) for e in errors)


def from_step(params: Any) -> dict[str, Any]:
    """What the train step passes, of an ordinary loss; its gradient keeps the dtypes of the parameters."""
    return {
        "value": loss_fn(params),
        "value_fn": loss_fn,
        "grad_fn": jax.grad(loss_fn),
        "gnvp_fn": lambda p, v: optimizers.gauss_newton_vector_product(lambda p: p, loss_fn, p, v),
        "gnb_fn": lambda p, key: optimizers.gauss_newton_bartlett_diagonal(lambda p: p, sampled_losses, p, key),
    }


FAULTS = (
    Fault({"mu_dtype": jnp.int32}, TypeError),
    Fault({"update_interval": 0}, ValueError),
    Fault({"update_interval": 1.5}, TypeError),
)
ADAHESSIAN: dict[str, Any] = {
    "hyperparameters": {"b1": 0.9, "b2": 0.95, "eps": 1e-3, "hessian_power": 0.8},
    "refused": {"b1": (-0.1, 1.0), "b2": (-0.1, 1.0), "eps": (-1e-8,), "hessian_power": (-0.1, 1.1)},
    "switches": {
        "update_interval": 2,
        "spatial_averaging": False,
        "hessian_diagonal_fn": optimizers.gauss_newton_bartlett_estimator(),
    },
    "dtypes": ("mu_dtype",),
    "faults": FAULTS,
    "moments": 2,
    "extra": from_step,
    # Random signs and products are made where they are needed; the moments themselves need no temporary.
    "elementwise": False,
}
SOPHIA: dict[str, Any] = {
    "hyperparameters": {"b1": 0.9, "b2": 0.95, "eps": 1e-3, "gamma": 0.5, "clip_threshold": 0.8},
    "refused": {
        "b1": (-0.1, 1.0),
        "b2": (-0.1, 1.0),
        "eps": (-1e-8,),
        "gamma": (-0.1,),
        "clip_threshold": (-0.1,),
    },
    "switches": {"update_interval": 2, "hessian_diagonal_fn": optimizers.gauss_newton_bartlett_estimator()},
    "dtypes": ("mu_dtype",),
    "faults": FAULTS,
    "moments": 2,
    "extra": from_step,
    "elementwise": False,
}


def everything(params: Any) -> Any:
    """A mask that leaves nothing out."""
    return jax.tree.map(lambda _: True, params)


def alias(settings: dict[str, Any], **switches: Any) -> dict[str, Any]:
    """The settings of `scale_by_x` as those of `x(learning_rate, ...)` with weight decay."""
    rate = {"learning_rate": 0.1, "weight_decay": 0.01}
    return {
        **settings,
        "arguments": rate,
        "hyperparameters": {**rate, **settings["hyperparameters"]},
        "schedules": tuple(rate),
        "refused": {**settings["refused"], **dict.fromkeys(rate, (-0.001,))},
        "switches": {**settings["switches"], **switches},
    }


RATE: dict[str, Any] = {"arguments": {"learning_rate": 0.1}, "schedules": ("learning_rate",), "extra": from_step}

TRANSFORMATIONS = [
    Transformation(
        name="hutchinson_estimator_diag_hessian",
        function=optimizers.hutchinson_estimator_diag_hessian,
        switches={"random_seed": 1, "samples": 2, "distribution": "normal"},
        faults=(
            Fault({"samples": 0}, ValueError),
            Fault({"samples": 1.5}, TypeError),
            Fault({"distribution": "uniform"}, ValueError),
        ),
        extra=from_step,
        elementwise=False,
        reads_gradient=False,
    ),
    Transformation(
        name="gauss_newton_bartlett_estimator",
        function=optimizers.gauss_newton_bartlett_estimator,
        switches={"random_seed": 1},
        extra=from_step,
        elementwise=False,
        reads_gradient=False,
    ),
    Transformation(name="scale_by_adahessian", function=optimizers.scale_by_adahessian, **ADAHESSIAN),
    Transformation(name="adahessian", function=optimizers.adahessian, **alias(ADAHESSIAN)),
    Transformation(
        name="scale_by_sophia",
        function=optimizers.scale_by_sophia,
        **{**SOPHIA, "switches": {**SOPHIA["switches"], "debias": False, "hessian_first": True}},
    ),
    Transformation(name="sophia", function=optimizers.sophia, **alias(SOPHIA, weight_decay_mask=everything)),
    Transformation(
        name="sophia_g",
        function=optimizers.sophia_g,
        **alias({**SOPHIA, "switches": {"update_interval": 2, "random_seed": 1}}, weight_decay_mask=everything),
    ),
    Transformation(
        name="oasis",
        function=optimizers.oasis,
        arguments={"learning_rate": 0.1, "warmup_samples": 2},
        hyperparameters={"learning_rate": 0.1, "b2": 0.9, "alpha": 1e-2},
        refused={"learning_rate": (0.0,), "b2": (-0.1, 1.0), "alpha": (0.0,)},
        switches={"adaptive": False, "random_seed": 1},
        faults=(Fault({"warmup_samples": 0}, ValueError), Fault({"warmup_samples": 1.5}, TypeError)),
        moments=2,
        extra=from_step,
        elementwise=False,
    ),
    *(
        Transformation(
            name=f"sania[{precond}]",
            function=optimizers.sania,
            arguments={"precond": precond},
            hyperparameters={"b2": 0.9, "eps": 1e-3, "f_min": -1.0},
            refused={"b2": (-0.1, 1.0), "eps": (-0.1,)},
            switches={"constraint": "linear", "random_seed": 1},
            faults=(Fault({"precond": "adam"}, ValueError), Fault({"constraint": "cubic"}, ValueError)),
            moments=0 if precond == "identity" else 1,
            extra=from_step,
            elementwise=False,
        )
        for precond in ("adam_sqr", "adagrad_sqr", "hutchinson", "identity")
    ),
    Transformation(
        name="saddle_free_newton",
        function=optimizers.saddle_free_newton,
        **RATE,
        hyperparameters={"learning_rate": 0.1, "damping": 0.1},
        refused={"learning_rate": (-0.001,), "damping": (-0.1,)},
        switches={"rank": 2},
        faults=(Fault({"rank": 0}, ValueError), Fault({"rank": 1.5}, TypeError)),
        elementwise=False,
    ),
    Transformation(
        # The checks' gradients are not those of the loss: the search ends in rounding, so its floats are not compared.
        name="gradient_normalized_newton",
        function=optimizers.gradient_normalized_newton,
        arguments={"gamma": 1.0, "gamma_min": 1e-3},
        refused={"gamma": (0.0,), "gamma_min": (0.0,)},
        switches={"max_backtracks": 3, "curvature": "gauss_newton"},
        elsewhere=("adaptive",),
        faults=(
            Fault({"max_backtracks": 0}, ValueError),
            Fault({"max_backtracks": 1.5}, TypeError),
            Fault({"curvature": "fisher"}, ValueError),
        ),
        extra=from_step,
        elementwise=False,
    ),
    Transformation(
        name="gradient_normalized_newton[adaptive=False]",
        function=optimizers.gradient_normalized_newton,
        arguments={"adaptive": False},
        hyperparameters={"gamma": 1.0, "gamma_min": 1e-3},
        elsewhere=("max_backtracks", "curvature"),
        extra=from_step,
        elementwise=False,
    ),
    Transformation(
        name="natural_gradient",
        function=optimizers.natural_gradient,
        **RATE,
        hyperparameters={"learning_rate": 0.1, "damping": 0.1, "tol": 1e-7},
        refused={"learning_rate": (-0.001,), "damping": (-0.1,), "tol": (-0.1,)},
        switches={"iterations": 3, "curvature": "hessian"},
        faults=(
            Fault({"iterations": 0}, ValueError),
            Fault({"iterations": 1.5}, TypeError),
            Fault({"curvature": "fisher"}, ValueError),
        ),
        elementwise=False,
    ),
    Transformation(
        name="thermodynamic_natural_gradient",
        function=optimizers.thermodynamic_natural_gradient,
        arguments={"learning_rate": 0.1, "momentum": 0.5},
        schedules=("learning_rate",),
        hyperparameters={"learning_rate": 0.1, "time": 1.0, "damping": 0.1, "momentum": 0.5},
        refused={"learning_rate": (-0.001,), "time": (-0.1,), "damping": (-0.1,), "momentum": (-0.1,)},
        switches={"rank": 2, "curvature": "hessian", "random_seed": 1},
        elsewhere=("dt", "noise"),
        faults=(
            Fault({"rank": 0}, ValueError),
            Fault({"rank": 1.5}, TypeError),
            Fault({"curvature": "fisher"}, ValueError),
            Fault({"noise": 0.1}, ValueError),
            Fault({"rank": 2, "dt": 0.1}, ValueError),
        ),
        moments=1,
        extra=from_step,
        elementwise=False,
    ),
    Transformation(
        name="thermodynamic_natural_gradient[dt]",
        function=optimizers.thermodynamic_natural_gradient,
        arguments={"learning_rate": 0.1, "noise": 1e-3, "dt": 0.2},
        hyperparameters={"learning_rate": 0.1, "time": 1.0, "damping": 0.1, "noise": 1e-3, "dt": 0.2},
        refused={"noise": (-0.1,), "dt": (0.0,)},
        switches={"random_seed": 1, "curvature": "hessian"},
        elsewhere=("rank", "momentum"),
        extra=from_step,
        elementwise=False,
    ),
]

# Sophia-G and the natural gradients need a loss in two parts: they have convergence tests of their own.
TRAINED = [
    ("adahessian", lambda: optimizers.adahessian(0.1), {}),
    ("sophia", lambda: optimizers.sophia(1e-3, weight_decay=0.0), {}),
    ("oasis", lambda: optimizers.oasis(), {}),
    ("sania[hutchinson]", lambda: optimizers.sania("hutchinson", eps=1e-3), {}),
    ("saddle_free_newton", lambda: optimizers.saddle_free_newton(0.1), {}),
    ("saddle_free_newton[rank]", lambda: optimizers.saddle_free_newton(0.1, rank=2), {}),
    ("gradient_normalized_newton", lambda: optimizers.gradient_normalized_newton(), {}),
    ("natural_gradient[hessian]", lambda: optimizers.natural_gradient(0.1, curvature="hessian"), {}),
]

MATRIX = np.diag([1.0, 2.0, 3.0, 4.0]).astype(np.float32) + 0.5


def draw(generator: np.random.Generator, *names: str) -> dict[str, Any]:
    shapes = {"params": (4,), "vector": (4,), "tree": (4,), "g": (4,), "x0": (4,), "grad": (4,)}
    drawn: dict[str, Any] = {name: np.float32(generator.normal(size=shapes[name])) for name in names if name in shapes}
    if "key" in names:
        drawn["key"] = jax.random.key(generator.integers(1000))
    return drawn


def outputs_fn(params: Any) -> jax.Array:
    return jnp.tanh(jnp.asarray(MATRIX) @ params)


def multiply(vector: Any) -> jax.Array:
    return jnp.asarray(MATRIX) @ vector


PROBES: dict[str, Any] = {
    "traced": lambda generator: draw(generator, "params", "key"),
    "faults": (
        Fault({"samples": 0}, ValueError),
        Fault({"samples": 1.5}, TypeError),
        Fault({"distribution": "uniform"}, ValueError),
    ),
}

FUNCTIONS = [
    Function(
        name="hessian_vector_product",
        function=optimizers.hessian_vector_product,
        traced=lambda generator: draw(generator, "params", "vector"),
        static={"grad_fn": jax.grad(loss_fn)},
        shape=(4,),
    ),
    Function(
        name="gauss_newton_vector_product",
        function=optimizers.gauss_newton_vector_product,
        traced=lambda generator: draw(generator, "params", "vector"),
        static={"outputs_fn": outputs_fn, "loss_of_outputs": loss_fn},
        shape=(4,),
    ),
    Function(
        name="gauss_newton_bartlett_diagonal",
        function=optimizers.gauss_newton_bartlett_diagonal,
        traced=lambda generator: draw(generator, "params", "key"),
        static={"outputs_fn": outputs_fn, "sampled_losses": sampled_losses},
        shape=(4,),
    ),
    Function(
        name="rademacher_like",
        function=optimizers.rademacher_like,
        traced=lambda generator: draw(generator, "tree", "key"),
        shape=(4,),
        source=False,
    ),
    *(
        Function(
            name=f"{function.__name__}[{distribution}]",
            function=function,
            static={"product": multiply, "samples": samples, "distribution": distribution},
            shape=shape,
            **PROBES,
        )
        for function, shape in ((optimizers.hutchinson_diagonal, (4,)), (optimizers.hutchinson_trace, ()))
        for samples, distribution in ((1, "rademacher"), (3, "normal"))
    ),
    Function(
        name="saddle_free_direction",
        function=optimizers.saddle_free_direction,
        traced=lambda generator: {
            **draw(generator, "grad"),
            "hessian": MATRIX - 2.0,
            "damping": np.float32(generator.uniform(0.1, 1.0)),
        },
        shape=(4,),
        refused={"damping": (-0.1,)},
        numbers=("damping",),
        faults=(Fault({"grad": jnp.ones(3)}, ValueError), Fault({"hessian": jnp.ones((4, 3))}, ValueError)),
    ),
    Function(
        name="gradient_regularized_newton_direction",
        function=optimizers.gradient_regularized_newton_direction,
        traced=lambda generator: {
            **draw(generator, "grad"),
            "hessian": MATRIX,
            "metric": np.eye(4, dtype=np.float32) + 0.1,
            "lam": np.float32(generator.uniform(0.1, 1.0)),
        },
        shape=(4,),
        refused={"lam": (-0.1,)},
        numbers=("lam",),
        faults=(
            Fault({"grad": jnp.ones(3)}, ValueError),
            Fault({"hessian": jnp.ones((4, 3))}, ValueError),
            Fault({"metric": jnp.ones((3, 3))}, ValueError),
        ),
    ),
    Function(
        name="ou_relax",
        function=optimizers.ou_relax,
        traced=lambda generator: {
            **draw(generator, "g", "x0", "key"),
            "t": np.float32(generator.uniform(0.5, 1.0)),
            "dt": np.float32(0.03),
            "noise": np.float32(generator.uniform(0.0, 0.1)),
        },
        static={"matvec": multiply},
        shape=(4,),
        refused={"t": (-0.1,), "dt": (0.0,), "noise": (-0.1,)},
        numbers=("t", "dt", "noise"),
    ),
]

TYPES = [Type(name="GaussNewton", type=optimizers.GaussNewton)]
