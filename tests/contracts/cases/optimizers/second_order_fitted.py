"""Cases of preconditioned SGD, of its fits, of M-FAC, and of first layers trained through their pre-activations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.optimizer_checks import Transformation

import optimizers

Generator = np.random.Generator


def quadratic_gradient(params: Any) -> dict[str, Any]:
    """The gradient function of a loss with mixed curvature, as a train step gives it."""
    del params

    def loss(params: Any) -> jax.Array:
        return sum(
            (jnp.sum((1.0 + 0.1 * k) * x**2 - 0.1 * x**3) for k, x in enumerate(jax.tree.leaves(params))), start=0.0
        )

    return {"grad_fn": jax.grad(loss)}


PSGD: dict[str, Any] = {
    "hyperparameters": {
        "b1": 0.9,
        "preconditioner_lr": 0.2,
        "preconditioner_init_scale": 0.5,
        "lipschitz_decay": 0.8,
        "damping": 1e-6,
        "max_rms": 1.5,
        "max_amplitude": 3.0,
    },
    "refused": {
        "b1": (-0.1, 1.0),
        "preconditioner_lr": (-0.1, 1.5),
        "preconditioner_update_probability": (-0.1, 1.1),
        "preconditioner_init_scale": (0.0,),
        "lipschitz_decay": (-0.1, 1.0),
        "damping": (-1.0,),
        "max_rms": (0.0,),
        "max_amplitude": (0.0,),
    },
    "schedules": ("preconditioner_update_probability",),
    "dtypes": ("mu_dtype",),
    "moments": 1,
    "elementwise": False,
    "faults": (
        Fault({"mu_dtype": jnp.int32}, TypeError),
        Fault({"mode": "fisher"}, ValueError),
        Fault({"whiten_momentum": True, "b1": None}, ValueError),
    ),
}
KRON: dict[str, Any] = {
    **PSGD,
    "switches": {"geometry": "Q0.5EQ1.5"},
    "elsewhere": ("mode", "whiten_momentum", "key", "max_size_triangular", "max_skew_triangular"),
    "faults": (
        *PSGD["faults"],
        Fault({"geometry": "QEP"}, ValueError),
        Fault({"max_size_triangular": -1}, ValueError),
        Fault({"max_skew_triangular": -1.0}, ValueError),
    ),
}


# Checks of hyperparameters run a trajectory for each of them: all of them in one case, three in the others.
FIXED = {name: value for name, value in PSGD["hyperparameters"].items() if name != "preconditioner_lr"}


def alias(settings: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """The settings with a learning rate and weight decay, and further arguments."""
    rate = {"learning_rate": 0.1, "weight_decay": 0.01}
    arguments = {**rate, **FIXED, "preconditioner_update_probability": 1.0, **arguments}
    return {
        **settings,
        "elsewhere": tuple(n for n in settings["elsewhere"] if n not in arguments),
        "arguments": arguments,
        "hyperparameters": {**rate, "preconditioner_lr": 0.2},
        "schedules": tuple(rate),
        "refused": {**settings["refused"], **dict.fromkeys(rate, (-0.001,))},
    }


GLOBAL: dict[str, Any] = {**PSGD, "elsewhere": ("whiten_momentum", "key"), "extra": quadratic_gradient}
MFAC: dict[str, Any] = {
    "hyperparameters": {"damping": 0.1},
    "refused": {"damping": (0.0, -1.0)},
    "elementwise": False,
    "faults": (Fault({"num_grads": 0}, ValueError), Fault({"num_grads": 1.5}, TypeError)),
}

TRANSFORMATIONS = [
    Transformation(
        name="scale_by_psgd_kron",
        function=optimizers.scale_by_psgd_kron,
        arguments={
            "mode": "whitening",
            "preconditioner_update_probability": 0.7,
            "key": 3,
            "max_size_triangular": 8,
            "max_skew_triangular": 2.0,
            "whiten_momentum": True,
        },
        **{**KRON, "elsewhere": ()},
    ),
    Transformation(
        name="psgd_kron",
        function=optimizers.psgd_kron,
        extra=quadratic_gradient,
        **alias(
            KRON,
            mode="newton",
            key=1,
            max_size_triangular=16,
            max_skew_triangular=2.0,
            whiten_momentum=False,
        ),
    ),
    Transformation(
        name="psgd_lra",
        function=optimizers.psgd_lra,
        **{
            **alias(GLOBAL, rank=2, mode="whitening", key=1, whiten_momentum=True),
            "faults": (*PSGD["faults"], Fault({"rank": -1}, ValueError), Fault({"rank": 1.5}, TypeError)),
        },
    ),
    Transformation(
        name="psgd_xmat",
        function=optimizers.psgd_xmat,
        **alias(GLOBAL, mode="newton", key=1, whiten_momentum=False),
    ),
    Transformation(
        name="psgd_dense",
        function=optimizers.psgd_dense,
        **{
            **alias(GLOBAL, mode="newton", key=1, whiten_momentum=False),
            "switches": {"group": "general"},
            "faults": (*PSGD["faults"], Fault({"group": "orthogonal"}, ValueError)),
        },
    ),
    Transformation(
        name="scale_by_optimal_input_gain",
        function=optimizers.scale_by_optimal_input_gain,
        hyperparameters={"damping": 0.1},
        refused={"damping": (-0.1,)},
        extra=quadratic_gradient,
        elementwise=False,
    ),
    Transformation(
        name="scale_by_mfac", function=optimizers.scale_by_mfac, arguments={"num_grads": 3}, statistics=3, **MFAC
    ),
    Transformation(
        name="mfac",
        function=optimizers.mfac,
        arguments={"num_grads": 3, "learning_rate": 0.1, "weight_decay": 0.01},
        **{
            **MFAC,
            "hyperparameters": {"damping": 0.1, "momentum": 0.8, "learning_rate": 0.1, "weight_decay": 0.01},
            "schedules": ("learning_rate", "weight_decay"),
            "refused": {
                **MFAC["refused"],
                "momentum": (-0.1, 1.0),
                "learning_rate": (-0.1,),
                "weight_decay": (-0.1,),
            },
            "moments": 1,
        },
        statistics=3,
    ),
]


# Whitening makes steps of the learning rate's size: it falls to 0, or they circle the minimum.
def kron(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """Without the limits of shape, which cannot be injected."""
    return optimizers.psgd_kron(learning_rate)


OPTAX_SUITE = [
    ("psgd_kron", kron, {"learning_rate": 1e-3}),
    ("psgd_lra", optimizers.psgd_lra, {"learning_rate": 1e-3, "rank": 1}),
    ("mfac", optimizers.mfac, {"learning_rate": 1e-2, "num_grads": 4, "damping": 1.0}),
]

TRAINED = [
    ("psgd_kron[newton]", lambda: optimizers.psgd_kron(1e-2, mode="newton", max_skew_triangular=2.0), {}),
    ("psgd_xmat", lambda: optimizers.psgd_xmat(1e-2), {}),
    ("psgd_dense", lambda: optimizers.psgd_dense(1e-2), {}),
]


def normal(generator: Generator, *shape: int) -> np.ndarray:
    return generator.normal(size=shape).astype(np.float32)


def positive(generator: Generator, *shape: int) -> np.ndarray:
    return generator.uniform(0.5, 2.0, size=shape).astype(np.float32)


def triangular(generator: Generator, n: int) -> np.ndarray:
    return np.triu(0.3 * normal(generator, n, n), 1) + np.diag(positive(generator, n))


def definite(generator: Generator) -> np.ndarray:
    q = triangular(generator, 4)
    return q.T @ q


def lra(generator: Generator) -> tuple[np.ndarray, ...]:
    return 0.3 * normal(generator, 4, 2), 0.3 * normal(generator, 4, 2), positive(generator, 4)


def cross(generator: Generator) -> tuple[np.ndarray, ...]:
    return 2 + positive(generator, 5), np.array([0.5, 0.2, 0.0, 0.3, 0.1], np.float32)


def pair(generator: Generator, *shape: int) -> dict[str, Any]:
    return {"v": normal(generator, *shape), "h": normal(generator, *shape)}


STEP: dict[str, Any] = {
    "static": {"mu": 0.2},
    "refused": {"mu": (-0.1, 2.1)},
    "numbers": ("mu",),
}
PAIR_FAULTS = (
    Fault({"h": lambda h: h[:1]}, ValueError),
    Fault({"v": lambda v: v.astype(jnp.int32)}, TypeError),
    Fault({"q": "factors"}, (ValueError, TypeError)),
)


def step(function: str, q: Any, shape: tuple[int, ...], result: Any, **keywords: Any) -> Function:
    """A case of one step of a fit, from what draws Q."""
    settings = {**STEP, "static": {**STEP["static"], **keywords.pop("static", {})}}
    return Function(
        name=keywords.pop("name", function),
        function=getattr(optimizers, function),
        traced=lambda generator: {"q": q(generator), **pair(generator, *shape)},
        shapes=result,
        faults=(*PAIR_FAULTS, *keywords.pop("faults", ())),
        **settings,
        **keywords,
    )


def applied(name: str, q: Any, shape: tuple[int, ...]) -> Function:
    """A case of a preconditioner applied."""
    return Function(
        name=name,
        function=getattr(optimizers, name),
        traced=lambda generator: {"q": q(generator), "g": normal(generator, *shape)},
        shape=shape,
        faults=(Fault({"g": lambda g: g[:1]}, ValueError, ()), Fault({"q": "factors"}, (ValueError, TypeError))),
    )


def kron(generator: Generator) -> tuple[np.ndarray, ...]:
    return triangular(generator, 3), positive(generator, 2), triangular(generator, 2)


FUNCTIONS = [
    Function(
        name="preconditioner_probability_schedule",
        function=optimizers.preconditioner_probability_schedule,
        traced=lambda generator: {"count": np.int32(generator.integers(0, 3000))},
        static={"max_prob": 0.9, "min_prob": 0.1, "decay": 0.01, "flat_start": 100},
        use=lambda function, arguments: function(*(x for n, x in arguments.items() if n != "count"))(
            arguments["count"]
        ),
        refused={"max_prob": (-0.1, 1.1), "min_prob": (-0.1, 1.1), "decay": (-1.0,)},
        numbers=("max_prob", "min_prob", "decay"),
        faults=(Fault({"flat_start": 0}, ValueError), Fault({"flat_start": 1.5}, TypeError)),
    ),
    Function(
        name="hessian_fitting_loss",
        function=optimizers.hessian_fitting_loss,
        traced=lambda generator: {"p": definite(generator), **pair(generator, 3, 4)},
        shape=(3,),
        faults=(Fault({"p": lambda p: p[:3]}, ValueError), Fault({"h": lambda h: h[:1]}, ValueError)),
        differentiable=("p", "v", "h"),
        keeps_dtype=False,
    ),
    step(
        "update_dense_q",
        lambda generator: triangular(generator, 4),
        (4,),
        ((4, 4),),
        static={"group": "triangular"},
        faults=(Fault({"group": "lower"}, ValueError),),
    ),
    step(
        "update_dense_q",
        lambda generator: triangular(generator, 4),
        (4,),
        ((4, 4),),
        static={"group": "general"},
        name="update_dense_q[general]",
    ),
    step("update_diag_q", lambda generator: positive(generator, 2, 3), (2, 3), ((2, 3),)),
    step(
        "update_kron_q",
        kron,
        (3, 2, 2),
        ((3, 3), (2,), (2, 2)),
        static={"geometry": "EQ"},
        faults=(Fault({"geometry": "QEP"}, ValueError),),
    ),
    step(
        "update_kron_q",
        kron,
        (3, 2, 2),
        ((3, 3), (2,), (2, 2)),
        static={"geometry": "Q0.5EQ1.5"},
        name="update_kron_q[Q0.5EQ1.5]",
    ),
    step("update_lra_q", lra, (4,), ((4, 2), (4, 2), (4,)), static={"update_u": False}),
    step("update_xmat_q", cross, (5,), ((5,), (5,))),
    applied("precond_grad_dense", lambda generator: triangular(generator, 4), (4,)),
    applied("precond_grad_diag", lambda generator: positive(generator, 3), (3,)),
    applied("precond_grad_kron", kron, (3, 2, 2)),
    applied("precond_grad_lra", lra, (4,)),
    applied("precond_grad_xmat", cross, (5,)),
    Function(
        name="empirical_fisher_ihvp",
        function=optimizers.empirical_fisher_ihvp,
        traced=lambda generator: {"grads": normal(generator, 3, 4), "x": normal(generator, 4)},
        static={"damping": 0.1},
        shape=(4,),
        refused={"damping": (0.0, -1.0)},
        numbers=("damping",),
        faults=(Fault({"x": lambda x: x[:1]}, ValueError), Fault({"grads": lambda g: g[0]}, ValueError)),
    ),
    Function(
        name="empirical_fisher_inverse_diag",
        function=optimizers.empirical_fisher_inverse_diag,
        traced=lambda generator: {"grads": normal(generator, 3, 4)},
        static={"damping": 0.1},
        shape=(4,),
        refused={"damping": (0.0, -1.0)},
        numbers=("damping",),
        faults=(Fault({"grads": lambda g: g[0]}, ValueError),),
    ),
    Function(
        name="optimal_input_gains",
        function=optimizers.optimal_input_gains,
        traced=lambda generator: {"kernel": normal(generator, 3, 2)},
        static={"damping": 0.1, "loss_fn": lambda kernel: jnp.mean(jnp.tanh(kernel + 0.5) ** 2)},
        shape=(3,),
        refused={"damping": (-1.0,)},
        numbers=("damping",),
        faults=(Fault({"loss_fn": 1.0}, TypeError), Fault({"kernel": lambda kernel: kernel[0]}, ValueError)),
    ),
    Function(
        name="hidden_weight_optimization_direction",
        function=optimizers.hidden_weight_optimization_direction,
        traced=lambda generator: {"grad": normal(generator, 3, 2), "x": normal(generator, 6, 3)},
        static={"damping": 0.1},
        shape=(3, 2),
        refused={"damping": (-1.0,)},
        numbers=("damping",),
        faults=(Fault({"grad": lambda grad: grad[1:]}, ValueError), Fault({"x": lambda x: x[0]}, ValueError)),
    ),
    Function(
        name="tract_linear",
        function=optimizers.tract_linear,
        traced=lambda generator: {
            "x": normal(generator, 2, 4, 3),
            "w": normal(generator, 3, 5),
            "b": normal(generator, 5),
        },
        static={"lam": 0.2},
        shape=(2, 4, 5),
        differentiable=("x", "w", "b"),
        refused={"lam": (0.0, -1.0)},
        numbers=("lam",),
        faults=(Fault({"w": lambda w: w[1:]}, ValueError), Fault({"b": lambda b: b[1:]}, ValueError)),
    ),
    Function(
        name="tract_conv",
        function=optimizers.tract_conv,
        traced=lambda generator: {
            "x": normal(generator, 2, 5, 6, 3),
            "w": normal(generator, 2, 3, 3, 4),
            "b": normal(generator, 4),
        },
        static={"lam": 0.2, "strides": (2, 1), "padding": "VALID"},
        shape=(2, 2, 4, 4),
        differentiable=("x", "w", "b"),
        refused={"lam": (0.0, -1.0)},
        numbers=("lam",),
        faults=(
            Fault({"x": lambda x: x[0]}, ValueError),
            Fault({"w": lambda w: w[:, :, 1:]}, ValueError),
            Fault({"b": lambda b: b[1:]}, ValueError),
            Fault({"strides": (0, 1)}, ValueError),
            Fault({"strides": (1.5, 1)}, TypeError),
        ),
    ),
    Function(
        name="tract_precondition",
        function=optimizers.tract_precondition,
        traced=lambda generator: {"grad_w": normal(generator, 3, 5), "x": normal(generator, 2, 4, 3)},
        static={"lam": 0.2},
        shape=(3, 5),
        refused={"lam": (0.0, -1.0)},
        numbers=("lam",),
        faults=(Fault({"grad_w": lambda g: g[1:]}, ValueError),),
    ),
]
