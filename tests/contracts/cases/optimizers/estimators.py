"""Cases of the gradient estimators without backpropagation, of cached gradients, and of the likelihood-ratio layers."""

import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.function_checks import Function
from contracts.gradient_checks import GradientRule

import optimizers


def guess(params, *args, **kwargs):
    return jax.tree.map(lambda p: 1.0 + 0.5 * p, params)


def all_errors(params, batch, *args, **kwargs):
    """Every parameter as a whole contributes to every error of the contracts' loss."""
    return jax.tree.map(lambda p: jnp.ones(batch["y"].shape, bool), params)


def encode(params, batch, *args, **kwargs):
    """The batch itself, by way of the parameters."""
    return {**batch, "x": batch["x"] + 0 * jnp.sum(params["kernel"])}


DISTRIBUTION_FAULT = Fault({"distribution": "cauchy"}, ValueError)
SAMPLES_FAULTS = (Fault({"samples": 0}, ValueError), Fault({"samples": 1.5}, TypeError), DISTRIBUTION_FAULT)
# One way of drawing a rule, for random numbers take long to compile; tests/optimizers/gradients has the others.
RULES = [
    GradientRule(
        name="forward_gradient",
        function=optimizers.forward_gradient,
        arguments={"directions": 2, "distribution": "rademacher"},
        switches={"sequential": True},
        faults=(Fault({"directions": 0}, ValueError), Fault({"directions": 1.5}, TypeError), DISTRIBUTION_FAULT),
    ),
    GradientRule(
        name="guided_forward_gradient",
        function=optimizers.guided_forward_gradient,
        arguments={"guess_fn": guess},
        switches={"normalize": False},
        faults=(Fault({"guess_fn": "downhill"}, TypeError),),
    ),
    GradientRule(
        name="spsa",
        function=optimizers.spsa,
        arguments={"sigma": 1.0, "samples": 2, "distribution": "rademacher", "sequential": True},
        hyperparameters={"sigma": 1.0},
        schedules=("sigma",),
        refused={"sigma": (-0.1, 0.0)},
        faults=SAMPLES_FAULTS,
    ),
    GradientRule(
        name="local_perturbation",
        function=optimizers.local_perturbation,
        arguments={
            "contributions": all_errors,
            "sigma": 1.0,
            "samples": 1,
            "distribution": "normal",
            "sequential": False,
        },
        hyperparameters={"sigma": 1.0},
        schedules=("sigma",),
        refused={"sigma": (-0.1, 0.0)},
        per_output=True,
        faults=SAMPLES_FAULTS,
    ),
    GradientRule(
        name="grad_cache",
        function=optimizers.grad_cache,
        arguments={"encode_fn": encode, "chunks": 2},
        faults=(
            Fault({"encode_fn": None}, TypeError),
            Fault({"chunks": 0}, ValueError),
            Fault({"chunks": 2.0}, TypeError),
        ),
    ),
]


def arrays(generator, **shapes):
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def noise(generator):
    return {"key": jax.random.key(generator.integers(1000)), "sigma": np.float32(generator.uniform(0.1, 1.0))}


ODD_BATCH = Fault({"antithetic": True}, ValueError, words=("even",))
FUNCTIONS = [
    Function(
        name="likelihood_ratio_noise",
        function=optimizers.likelihood_ratio_noise,
        traced=lambda generator: {**arrays(generator, mean=(3, 2)), **noise(generator)},
        static={"antithetic": False},
        shapes=((3, 2), (3,)),
        refused={"sigma": (-1.0, 0.0)},
        numbers=("sigma",),
        faults=(ODD_BATCH, Fault({"mean": jnp.zeros(())})),
    ),
    Function(
        name="likelihood_ratio_linear",
        function=optimizers.likelihood_ratio_linear,
        traced=lambda generator: {**arrays(generator, x=(4, 3), w=(3, 2), b=(2,)), **noise(generator)},
        static={"antithetic": True},
        shapes=((4, 2), (4,)),
        refused={"sigma": (-1.0, 0.0)},
        numbers=("sigma",),
        faults=(Fault({"x": jnp.zeros((3, 3))}, ValueError), Fault({"x": jnp.zeros(3)})),
    ),
    Function(
        name="likelihood_ratio_surrogate",
        function=optimizers.likelihood_ratio_surrogate,
        traced=lambda generator: arrays(generator, losses=(4,), log_probs=(4,), baseline=()),
        static={"antithetic": False},
        faults=(
            Fault({"losses": jnp.zeros(())}),
            Fault({"log_probs": jnp.zeros(3)}),
            Fault(
                {"losses": jnp.zeros(3), "log_probs": jnp.zeros(3), "baseline": None, "antithetic": True},
                ValueError,
                words=("losses", "even"),
            ),
        ),
    ),
]
