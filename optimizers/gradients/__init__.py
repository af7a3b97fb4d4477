"""How to differentiate: drop-ins for `jax.value_and_grad`.

A gradient rule is a function `rule(loss_fn, has_aux=False)` that returns
`value_and_grad(params, *args, step=None, **kwargs)`, which gives `(value, gradient)` or `((value, aux), gradient)`
exactly as `jax.value_and_grad(loss_fn, has_aux=has_aux)` would. `step` is read by schedules only; every other argument
reaches `loss_fn` untouched. A rule that draws random numbers takes them from the first typed PRNG key among those
arguments, which is where `make_train_step` puts its own. Rules compose by taking another rule as `inner`:
`sam(0.05, inner=accumulate(4))`.

Some rules want to see more of the loss than one number. Those of single examples (`robust_weight_perturbation`,
`esam`) take a `loss_fn` that returns one loss an example, `[B]`, and give the mean as the value; those of two terms
(`smooth_domain_adversarial`, `ignite`) one that returns the vector of both, which is the value.
Which activations are kept for the backward pass is the loss's own choice: `jax.checkpoint` inside it works under every
rule.

The sharpness-aware rules share one idea, written once in `_perturbation.py`: a perturbation of the parameters before
the gradient. The parameters that the caller holds are never perturbed.

| file | rules |
|---|---|
| `stateful.py` | `StatefulRule`: what a rule is that remembers something from one step to the next |
| `backprop.py` | `backprop`: `jax.value_and_grad` itself, with this signature |
| `accumulation.py` | `accumulate`: the batch in microbatches, one after the other |
| `grad_cache.py` | `grad_cache`: losses that couple the whole batch, with the encoder run in chunks |
| `tasks.py` | `per_task`: one gradient a task, stacked, for the aggregators |
| `balancing.py` | `famo`, `dwa`, `random_loss_weighting`: one gradient of tasks weighed by the course of their losses |
| `examples.py` | `per_example`: one gradient an example, stacked |
| `jacobian_descent.py` | `jacobian_descent`: several losses weighted by the Gramian of gradients that are not kept |
| `private.py` | `private_gradient`: clipped gradients of examples, and noise; `privacy_epsilon`: what they reveal |
| `sharpness.py` | `sam`, `gsam`, `fisher_sam`: the gradient at the worst point of a ball, and what follows from it |
| `sharpness_memory.py` | `looksam`: SAM's gradient now and then, and its direction between |
| | `friendly_sam`: up the gradient less its moving average |
| `sharpness_parts.py` | `esam`: some of the parameters and examples |
| | `smooth_domain_adversarial`: one of two losses |
| `adversarial.py` | `adversarial_weight_perturbation`: a ball a layer |
| | `robust_weight_perturbation`: the same against the examples that are fitted too well |
| | `adversarial_model_perturbation`: several steps to the worst point |
| `gradient_norm.py` | `gradient_norm_regularization`: a penalty on the norm of the gradient |
| | `gam`: a low loss, and small gradients all around |
| `target_surrogate.py` | `target_surrogate_descent`: many steps on a bound of the loss in the model's outputs |
| `teacher.py` | `mean_teacher`: the loss is given the moving average of the parameters |
| `surrogate.py` | `ignite`: a loss under a bound, as on a surrogate's sharpness, `surrogate_sharpness` |
| `forward.py` | `forward_gradient`, `guided_forward_gradient`: slopes along directions, and no backward pass |
| `differences.py` | `spsa`: forward passes alone, at mirrored random points (evolution strategies) |
| | `local_perturbation`: the same for many outputs, each of which credits its own parameters |
"""

from optimizers.gradients.accumulation import accumulate
from optimizers.gradients.adversarial import (
    adversarial_model_perturbation,
    adversarial_weight_perturbation,
    robust_weight_perturbation,
)
from optimizers.gradients.backprop import GradientRule, backprop
from optimizers.gradients.balancing import dwa, famo, random_loss_weighting
from optimizers.gradients.differences import local_perturbation, spsa
from optimizers.gradients.examples import per_example
from optimizers.gradients.forward import forward_gradient, guided_forward_gradient
from optimizers.gradients.grad_cache import grad_cache
from optimizers.gradients.gradient_norm import gam, gradient_norm_regularization
from optimizers.gradients.jacobian_descent import jacobian_descent
from optimizers.gradients.private import privacy_epsilon, private_gradient
from optimizers.gradients.sharpness import fisher_sam, gsam, sam
from optimizers.gradients.sharpness_memory import friendly_sam, looksam
from optimizers.gradients.sharpness_parts import esam, smooth_domain_adversarial
from optimizers.gradients.stateful import StatefulRule
from optimizers.gradients.surrogate import ignite, surrogate_sharpness
from optimizers.gradients.target_surrogate import target_surrogate, target_surrogate_descent
from optimizers.gradients.tasks import per_task
from optimizers.gradients.teacher import mean_teacher

__all__ = [
    "GradientRule",
    "StatefulRule",
    "accumulate",
    "adversarial_model_perturbation",
    "adversarial_weight_perturbation",
    "backprop",
    "dwa",
    "esam",
    "famo",
    "fisher_sam",
    "forward_gradient",
    "friendly_sam",
    "gam",
    "grad_cache",
    "gradient_norm_regularization",
    "gsam",
    "guided_forward_gradient",
    "ignite",
    "jacobian_descent",
    "local_perturbation",
    "looksam",
    "mean_teacher",
    "per_example",
    "per_task",
    "privacy_epsilon",
    "private_gradient",
    "random_loss_weighting",
    "robust_weight_perturbation",
    "sam",
    "smooth_domain_adversarial",
    "spsa",
    "surrogate_sharpness",
    "target_surrogate",
    "target_surrogate_descent",
]
