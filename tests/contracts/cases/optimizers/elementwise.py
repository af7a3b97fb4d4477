"""Cases of the elementwise relatives of Adam, of Lion-K, of mirror descent and of the trainer with two momenta."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contracts.aggregator_checks import Aggregator
from contracts.cases.optimizers.transformations import LION, alias
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.optimizer_checks import Transformation

import optimizers

DTYPE_FAULTS = (Fault({"mu_dtype": jnp.int32}, TypeError), Fault({"nu_dtype": jnp.float16}, TypeError))


def adaptive(moments: int = 2, **hyperparameters: float) -> dict[str, Any]:
    """The settings of a relative of Adam with these decays and epsilons."""
    refused = {name: (-1e-8,) if "eps" in name else (-0.1, 1.0) for name in hyperparameters}
    return {
        "hyperparameters": hyperparameters,
        "refused": refused,
        "dtypes": ("mu_dtype", "nu_dtype"),
        "moments": moments,
        "faults": DTYPE_FAULTS,
    }


AMSGRAD = adaptive(3, b1=0.9, b2=0.95, eps=1e-3, eps_root=1e-4)
BELIEF = adaptive(b1=0.9, b2=0.95, eps=1e-3, eps_root=1e-4)
ADAMOMENTUM = adaptive(b1=0.9, b2=0.95, eps=1e-3)
ADOPT = adaptive(b1=0.9, b2=0.95, eps=1e-3)
ADOPT["faults"] = (*DTYPE_FAULTS, Fault({"clip_value_fn": 1.0}, TypeError))
# ACProp and diffGrad read what their step replaces: with parameters to write to that costs nothing, but where the
# gradient's own buffer has to hold the update, the two change places.
ACPROP = {**adaptive(b1=0.9, b2=0.95, eps=1e-3, eps_root=1e-4), "exchanges": True}
DIFFGRAD = {**adaptive(3, b1=0.9, b2=0.95, eps=1e-3), "exchanges": True}
ADAN = adaptive(4, b1=0.98, b2=0.92, b3=0.95, eps=1e-3, eps_root=1e-4)
UNCORRECTED = {"bias_correction_mu": False, "bias_correction_nu": False}
CLIPPING = {"nesterov": True, "use_clipping": False, "clip_value_fn": lambda count: 0.5 + 0.0 * count}
LION_K = {
    **LION,
    "hyperparameters": {**LION["hyperparameters"], "p": 1.5, "width": 0.5},
    "refused": {**LION["refused"], "p": (0.9,), "width": (0.0, -1.0)},
    "faults": (*LION["faults"], Fault({"kappa": "l3"}, ValueError), Fault({"kappa": 1.0}, ValueError)),
    "switches": {"kappa": "huber"},
}


def lion_k_cases() -> list[Transformation]:
    """Every convex function, as direction; those that couple a row or the tree have to read it first."""

    def cube(c: jax.Array) -> jax.Array:
        return c**3

    return [
        Transformation(
            name=f"scale_by_lion_k[kappa={getattr(kappa, '__name__', kappa)}]",
            function=optimizers.scale_by_lion_k,
            arguments={"kappa": kappa},
            **{**LION_K, "switches": {}, "elementwise": kappa not in ("l2", "lp", "group_l2")},
        )
        for kappa in ("l2", "lp", "group_l2", "entropy", "relu_l1", cube)
    ]


def kd_grads(params: Any) -> dict[str, Any]:
    """Distillation gradients of matrices alone, so that decay and mask show in the other leaves."""
    return {"kd_grads": jax.tree.map(lambda p: 0.5 * p if jnp.ndim(p) == 2 else 0.0 * p, params)}


MIRROR: dict[str, Any] = {
    "function": optimizers.mirror_descent,
    "schedules": ("learning_rate",),
    "faults": (Fault({"potential": "entropy"}, ValueError),),
}

TRANSFORMATIONS = [
    Transformation(name="scale_by_amsgrad", function=optimizers.scale_by_amsgrad, switches=UNCORRECTED, **AMSGRAD),
    Transformation(name="amsgrad", function=optimizers.amsgrad, switches=UNCORRECTED, **alias(AMSGRAD)),
    Transformation(
        name="adamnc",
        function=optimizers.adamnc,
        **alias(adaptive(b1=0.9, eps=1e-3), schedules=("b1",)),
    ),
    Transformation(name="scale_by_belief", function=optimizers.scale_by_belief, switches={"nesterov": True}, **BELIEF),
    Transformation(name="adabelief", function=optimizers.adabelief, switches={"nesterov": True}, **alias(BELIEF)),
    Transformation(name="scale_by_adamomentum", function=optimizers.scale_by_adamomentum, **ADAMOMENTUM),
    Transformation(name="adamomentum", function=optimizers.adamomentum, **alias(ADAMOMENTUM, decay=True)),
    Transformation(name="scale_by_adopt", function=optimizers.scale_by_adopt, switches=CLIPPING, **ADOPT),
    Transformation(name="adopt", function=optimizers.adopt, switches=CLIPPING, **alias(ADOPT)),
    Transformation(name="scale_by_acprop", function=optimizers.scale_by_acprop, **ACPROP),
    Transformation(name="acprop", function=optimizers.acprop, **alias(ACPROP, decay=True)),
    Transformation(name="scale_by_adan", function=optimizers.scale_by_adan, **ADAN),
    Transformation(name="adan", function=optimizers.adan, **alias(ADAN, decay=True)),
    Transformation(name="scale_by_diffgrad", function=optimizers.scale_by_diffgrad, **DIFFGRAD),
    Transformation(name="diffgrad", function=optimizers.diffgrad, **alias(DIFFGRAD)),
    Transformation(name="scale_by_lion_k", function=optimizers.scale_by_lion_k, **LION_K),
    *lion_k_cases(),
    Transformation(name="lion_k", function=optimizers.lion_k, **alias(LION_K, decay=True)),
    Transformation(
        name="signum",
        function=optimizers.signum,
        **alias(
            {
                "hyperparameters": {"beta": 0.9},
                "refused": {"beta": (-0.1, 1.0)},
                "dtypes": ("accumulator_dtype",),
                "moments": 1,
                "faults": (Fault({"accumulator_dtype": jnp.int32}, TypeError),),
            },
            decay=True,
        ),
    ),
    Transformation(
        name="distillation_oriented_trainer",
        function=optimizers.distillation_oriented_trainer,
        extra=kd_grads,
        **alias(
            {
                "hyperparameters": {"momentum": 0.8, "delta": 0.075},
                "refused": {"momentum": (-0.1, 1.0), "delta": (-0.1, 0.2, 0.95)},
                "dtypes": ("accumulator_dtype",),
                "moments": 2,
                "faults": (Fault({"accumulator_dtype": jnp.int32}, TypeError),),
            },
            decay=True,
        ),
    ),
    Transformation(
        name="mirror_descent",
        **MIRROR,
        arguments={"learning_rate": 0.1},
        hyperparameters={"learning_rate": 0.1},
        switches={"potential": "hypentropy"},
        refused={"learning_rate": (-0.001,), "p": (1.0, 0.5), "beta": (0.0,)},
        elsewhere=("p", "beta"),
    ),
    *(
        Transformation(
            name=f"mirror_descent[potential={potential}]",
            **MIRROR,
            arguments={"learning_rate": 0.1, "potential": potential},
            hyperparameters={"learning_rate": 0.1, "p": 2.5, "beta": 0.5},
            refused={"p": (1.0,), "beta": (0.0, -1.0)},
        )
        for potential in ("p_norm", "negentropy", "hypentropy")
    ),
]

MULTI_ADAM: dict[str, Any] = {
    "sized": lambda tasks: {"groups": tasks},
    "hyperparameters": {"b1": 0.4, "b2": 0.45, "eps": 1e-3},
    "refused": {"b1": (-0.1, 1.0), "b2": (-0.1, 1.0), "eps": (-1e-8,)},
    "switches": {"group_weights": [0.2, 0.3, 0.5], "mu_dtype": jnp.bfloat16, "nu_dtype": jnp.bfloat16},
    "agreed": None,
    "alone": None,  # Adam's direction
    "faults": (
        Fault({"groups": 0}, ValueError),
        Fault({"groups": 1.5}, TypeError),
        Fault({"group_weights": [1.0]}, ValueError),
        Fault({"group_weights": [0.5, 0.6, -0.1]}, ValueError),
        Fault({"mu_dtype": jnp.int32}, TypeError),
    ),
}
AGGREGATORS = [
    Aggregator(name="scale_by_multi_adam", function=optimizers.scale_by_multi_adam, **MULTI_ADAM),
    Aggregator(
        name="multi_adam",
        function=optimizers.multi_adam,
        arguments={"learning_rate": 0.1},
        **{
            **MULTI_ADAM,
            "hyperparameters": {"learning_rate": 0.1, **MULTI_ADAM["hyperparameters"]},
            "refused": {"learning_rate": (-0.001,), **MULTI_ADAM["refused"]},
        },
    ),
]

FUNCTIONS = [
    Function(
        name=f"dual_weight_change[potential={potential}]",
        function=optimizers.dual_weight_change,
        traced=lambda generator: {
            "before": np.float32(generator.uniform(0.5, 1.0, 4)),
            "after": np.float32(generator.uniform(0.5, 1.0, 4)),
            "p": np.float32(2.5),
            "beta": np.float32(0.5),
        },
        static={"potential": potential},
        shape=(4,),
        refused={"p": (1.0,), "beta": (0.0,)},
        numbers=("p", "beta"),
        faults=(Fault({"potential": "entropy"}, ValueError),),
    )
    for potential in ("euclidean", "p_norm", "negentropy", "hypentropy")
]


def halved(learning_rate: optax.ScalarOrSchedule, delta=0.075):
    """Two momenta, each with half of the gradient."""
    halve = optax.stateless(lambda updates, params: jax.tree.map(lambda g: jnp.stack([0.5 * g, 0.5 * g]), updates))
    return optax.chain(halve, optimizers.distillation_oriented_trainer(learning_rate, delta=delta))


def both_groups(learning_rate: optax.ScalarOrSchedule, eps=1e-8):
    """MultiAdam of two groups with the same gradient."""
    twice = optax.stateless(lambda updates, params: jax.tree.map(lambda g: jnp.stack([g, g]), updates))
    return optax.chain(twice, optimizers.multi_adam(learning_rate, 2, eps=eps))


OPTAX_SUITE = [
    ("amsgrad", optimizers.amsgrad, {"learning_rate": 1e-2}),
    ("adamnc", optimizers.adamnc, {"learning_rate": 1e-1}),
    ("adabelief", optimizers.adabelief, {"learning_rate": 1e-2}),
    ("adamomentum", optimizers.adamomentum, {"learning_rate": 1e-2}),
    ("adopt", optimizers.adopt, {"learning_rate": 1e-2}),
    ("acprop", optimizers.acprop, {"learning_rate": 1e-3}),
    ("adan", optimizers.adan, {"learning_rate": 1e-2}),
    ("diffgrad", optimizers.diffgrad, {"learning_rate": 1e-2}),
    ("multi_adam", both_groups, {"learning_rate": 1e-2}),
    ("lion_k", optimizers.lion_k, {"learning_rate": 1e-3}),
    ("signum", optimizers.signum, {"learning_rate": 1e-3}),
    ("distillation_oriented_trainer", halved, {"learning_rate": 1e-3}),
    ("mirror_descent", optimizers.mirror_descent, {"learning_rate": 1e-3, "potential": "hypentropy"}),
]
