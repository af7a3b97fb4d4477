"""Cases of the matrix transformations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.cases.optimizers.transformations import alias
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.optimizer_checks import Transformation
from optax.contrib import MuonDimensionNumbers

import optimizers

DTYPE_FAULT = Fault({"mu_dtype": jnp.int32}, TypeError)
ITERATION_FAULTS = (
    Fault({"ns_steps": 0}, ValueError),
    Fault({"ns_steps": 1.5}, TypeError),
    Fault({"ns_coeffs": "fast"}, ValueError),
    Fault({"ns_coeffs": (1.0, 2.0)}, ValueError),
)
ITERATION: dict[str, Any] = {"ns_coeffs": "dion", "ns_steps": 3}
TURNED = MuonDimensionNumbers(1, 0)


def kernels_only(params: Any) -> Any:
    """Matrices are Muon's, turned; the rest is AdamW's."""
    return jax.tree.map(lambda leaf: TURNED if jnp.ndim(leaf) == 2 else None, params)


MUON: dict[str, Any] = {
    "hyperparameters": {"beta": 0.9, "eps": 1e-6},
    "refused": {"beta": (-0.1, 1.0), "eps": (-1e-8,)},
    "dtypes": ("mu_dtype",),
    "moments": 1,
    "elementwise": False,
    "faults": (DTYPE_FAULT, *ITERATION_FAULTS, Fault({"preconditioning": "none"}, ValueError)),
    "switches": {"nesterov": False, "adaptive": True, "preconditioning": "schatten", **ITERATION},
}
ADAPTIVE: dict[str, Any] = {
    **MUON,
    "hyperparameters": {**MUON["hyperparameters"], "b2": 0.8, "rms": 0.3},
    "refused": {**MUON["refused"], "b2": (-0.1, 1.0), "rms": (-0.1,)},
    "faults": (DTYPE_FAULT, *ITERATION_FAULTS),
    "switches": ITERATION,
}
SHAMPOO: dict[str, Any] = {
    "hyperparameters": {"b2": 0.9, "eps": 1e-2},
    "refused": {"b2": (-0.1, 1.1), "eps": (-1e-8,)},
    "elementwise": False,
    "switches": {"update_every": 2, "max_dim": 3, "grafting": "sgd"},
    "faults": (
        Fault({"update_every": 0}, ValueError),
        Fault({"max_dim": 1.5}, TypeError),
        Fault({"grafting": "adam"}, ValueError),
    ),
}
MOMENTUM: dict[str, Any] = {
    **SHAMPOO,
    "hyperparameters": {**SHAMPOO["hyperparameters"], "momentum": 0.8},
    "refused": {**SHAMPOO["refused"], "momentum": (-0.1, 1.0)},
    "switches": {**SHAMPOO["switches"], "nesterov": True},
}
SOAP: dict[str, Any] = {
    "hyperparameters": {"b1": 0.9, "b2": 0.8, "shampoo_beta": 0.7, "eps": 1e-3},
    "refused": {"b1": (-0.1, 1.0), "b2": (-0.1, 1.0), "shampoo_beta": (-0.1, 1.0), "eps": (-1e-8,)},
    "dtypes": ("mu_dtype",),
    "moments": 2,
    "elementwise": False,
    "switches": {"precondition_frequency": 2, "max_precondition_dim": 3, "precondition_1d": True},
    "faults": (
        DTYPE_FAULT,
        Fault({"precondition_frequency": 0}, ValueError),
        Fault({"max_precondition_dim": 1.5}, TypeError),
    ),
}
ADAM = {"adam_b1": 0.8, "adam_b2": 0.9, "adam_weight_decay": 0.02, "adam_learning_rate": 0.2}
ADAM_REFUSED = {
    "adam_b1": (-0.1, 1.0),
    "adam_b2": (-0.1, 1.0),
    "adam_weight_decay": (-0.1,),
    "adam_learning_rate": (-0.1,),
}
LABELS = {"weight_decay_mask": lambda params: {name: name == "kernel" for name in params}}


def beside_adam(settings: dict[str, Any], switches: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The settings of `scale_by_x` as those of `x`, which leaves vectors and scalars to AdamW's two moments."""
    settings = {
        **settings,
        "hyperparameters": {**settings["hyperparameters"], **ADAM, **more},
        "refused": {**settings["refused"], **ADAM_REFUSED, **dict.fromkeys(more, (-0.1,))},
        "switches": {**settings["switches"], **switches},
    }
    return alias(settings, decay=True)


TRANSFORMATIONS = [
    Transformation(
        name="scale_by_muon",
        function=optimizers.scale_by_muon,
        elsewhere=("weight_dimension_numbers",),
        **MUON,
    ),
    Transformation(
        name="scale_by_muon[dimension numbers]",
        function=optimizers.scale_by_muon,
        arguments={"weight_dimension_numbers": lambda params: None},
        elsewhere=("mu_dtype", *MUON["switches"]),
        **{**MUON, "dtypes": (), "switches": {}},
    ),
    Transformation(
        name="muon",
        function=optimizers.muon,
        marked=5,
        **beside_adam(
            MUON,
            {"muon_weight_dimension_numbers": kernels_only, **LABELS},
            adam_eps_root=1e-4,
            consistent_rms=0.2,
        ),
    ),
    Transformation(
        name="scale_by_adamuon",
        function=optimizers.scale_by_adamuon,
        elsewhere=("weight_dimension_numbers",),
        **{**ADAPTIVE, "moments": 2, "switches": {**ITERATION, "sign": False, "nesterov": True}},
    ),
    Transformation(
        name="scale_by_adamuon[dimension numbers]",
        function=optimizers.scale_by_adamuon,
        arguments={"weight_dimension_numbers": lambda params: None, "sign": False},
        elsewhere=("mu_dtype", "nesterov", *ITERATION),
        **{**ADAPTIVE, "moments": 2, "dtypes": (), "switches": {}},
    ),
    Transformation(
        name="adamuon",
        function=optimizers.adamuon,
        **beside_adam(
            {**ADAPTIVE, "moments": 2, "switches": {**ITERATION, "sign": False, "nesterov": True}},
            {"muon_weight_dimension_numbers": kernels_only, **LABELS},
        ),
    ),
    Transformation(
        name="scale_by_normuon",
        function=optimizers.scale_by_normuon,
        elsewhere=("weight_dimension_numbers",),
        marked=6,
        **{**ADAPTIVE, "switches": {**ITERATION, "nesterov": False}},
    ),
    Transformation(
        name="scale_by_normuon[dimension numbers]",
        function=optimizers.scale_by_normuon,
        arguments={"weight_dimension_numbers": lambda params: None},
        elsewhere=("mu_dtype", "nesterov", *ITERATION),
        marked=6,
        **{**ADAPTIVE, "dtypes": (), "switches": {}},
    ),
    Transformation(
        name="normuon",
        function=optimizers.normuon,
        marked=6,
        **beside_adam(
            {**ADAPTIVE, "switches": {**ITERATION, "nesterov": False}},
            {"muon_weight_dimension_numbers": kernels_only, **LABELS},
        ),
    ),
    *(
        Transformation(
            name=f"{function.__name__}[{norm}]",
            function=function,
            **(alias(settings, decay=True) if function is optimizers.steepest_descent else settings),
        )
        for function in (optimizers.scale_by_steepest_descent, optimizers.steepest_descent)
        for norm, settings in {
            "spectral": {
                "hyperparameters": {"layer_scale": 0.5, "p": 3.0},
                "refused": {"layer_scale": (-0.1,), "p": (0.9,)},
                "elementwise": False,
                "switches": {
                    "dual_scale": False,
                    "ns_steps": None,
                    "ns_coeffs": "dion",
                    "norm_map": "lp_linf",
                },
                "faults": (
                    Fault({"ns_steps": 0}, ValueError),
                    Fault({"ns_coeffs": "fast"}, ValueError),
                    Fault({"norm_map": {"kernel": "nuclear"}}, ValueError),
                ),
            },
        }.items()
    ),
    Transformation(
        name="prodigy_sign",
        function=optimizers.prodigy_sign,
        moments=1,
        **alias({"hyperparameters": {"d0": 1e-2}, "refused": {"d0": (0.0,)}}, decay=True),
    ),
    Transformation(
        name="scale_by_scaled_gd",
        function=optimizers.scale_by_scaled_gd,
        arguments={"damping": 0.5},
        hyperparameters={"damping": 0.5},
        refused={"damping": (-0.1,)},
        elsewhere=("pairs",),
        elementwise=False,
    ),
    Transformation(
        name="scaled_gd",
        function=optimizers.scaled_gd,
        arguments={"learning_rate": 0.1, "damping": 0.5, "weight_decay": 0.01},
        hyperparameters={"learning_rate": 0.1, "damping": 0.5, "weight_decay": 0.01},
        schedules=("learning_rate", "weight_decay"),
        refused={"learning_rate": (-0.1,), "damping": (-0.1,), "weight_decay": (-0.1,)},
        switches={"pairs": {}},
        elementwise=False,
    ),
    Transformation(
        name="scale_by_shampoo",
        function=optimizers.scale_by_shampoo,
        marked=8,
        # Of directions that no gradient has had yet, roundings are divided by the root of eps.
        arguments={"eps": 1e-2},
        **SHAMPOO,
    ),
    Transformation(
        name="shampoo",
        function=optimizers.shampoo,
        marked=11,
        moments=1,
        **{**(whole := alias(MOMENTUM, decay=True)), "arguments": {**whole["arguments"], "eps": 1e-2}},
    ),
    Transformation(name="scale_by_soap", function=optimizers.scale_by_soap, marked=10, **SOAP),
    Transformation(name="soap", function=optimizers.soap, marked=10, **alias(SOAP, decay=True)),
    Transformation(
        name="scale_by_scaled_gd[pairs]",
        function=optimizers.scale_by_scaled_gd,
        arguments={"damping": 0.5, "pairs": {"kernel": "kernel"}},
        hyperparameters={"damping": 0.5},
        elementwise=False,
    ),
]

OPTAX_SUITE = [
    ("muon", optimizers.muon, {"learning_rate": 1e-2}),
    ("adamuon", optimizers.adamuon, {"learning_rate": 1e-2}),
    ("normuon", optimizers.normuon, {"learning_rate": 1e-2}),
    ("shampoo", optimizers.shampoo, {"learning_rate": 1e-1}),
    ("soap", optimizers.soap, {"learning_rate": 1e-2}),
    ("steepest_descent", optimizers.steepest_descent, {"learning_rate": 1e-3}),
]


def matrix(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"gradient": np.float32(generator.normal(size=(3, 4)))}


def layers(generator: np.random.Generator) -> dict[str, Any]:
    shapes = {"embed": (5, 4), "conv": (3, 4, 2), "head": (4, 5)}
    return {"params": {name: np.float32(generator.normal(size=shape)) for name, shape in shapes.items()}}


def axes(function: Any, arguments: Any) -> Any:
    """The last axis of the rows and the axis of the columns of every leaf, -1 for one that is no matrix."""
    numbers = function(**arguments)
    pairs = [(-1, -1) if each is None else (each[0][-1], each[1]) for each in numbers.values()]
    return jnp.asarray(pairs, jnp.float32)


FUNCTIONS = [
    Function(
        name="muon_dimension_numbers",
        function=optimizers.muon_dimension_numbers,
        traced=layers,
        use=axes,
        shape=(3, 2),
    ),
    *(
        Function(
            name=f"newton_schulz_orthogonalize[{preconditioning}]",
            function=optimizers.newton_schulz_orthogonalize,
            traced=lambda generator: {**matrix(generator), "eps": np.float32(1e-6)},
            static={"steps": 3, "coeffs": (1.5, -0.5, 0.0), "preconditioning": preconditioning},
            shape=(3, 4),
            differentiable=("gradient",),
            refused={"eps": (-1e-8,)},
            numbers=("eps",),
            faults=(
                Fault({"steps": 0}, ValueError),
                Fault({"steps": 1.5}, TypeError),
                Fault({"coeffs": "fast"}, ValueError),
                Fault({"preconditioning": "none"}, ValueError),
                Fault({"gradient": jnp.ones(3)}, ValueError),
            ),
        )
        for preconditioning in ("frobenius", "spectral", "aol", "schatten")
    ),
    *(
        Function(
            name=f"dual_norm[{norm}]",
            function=optimizers.dual_norm,
            traced=lambda generator: {**matrix(generator), "p": np.float32(generator.uniform(1.5, 3.0))},
            static={"norm": norm},
            differentiable=("gradient",),
            keeps_dtype=False,
            refused={"p": (0.9,)},
            numbers=("p",),
            faults=(Fault({"norm": "nuclear"}, ValueError), Fault({"gradient": jnp.ones(3)}, ValueError)),
        )
        for norm in ("linf", "frobenius", "spectral", "rms_rms", "l1_rms", "lp_linf")
    ),
]
