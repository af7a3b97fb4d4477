"""Layers with a backward pass of their own: plain functions of arrays, usable in any Flax module.

Parameters, matrices and keys are arguments; the module that calls a layer holds them. Leading axes are a batch of any
rank. Gradients have the dtypes of what they are gradients of, as those of the plain layer would.

| file | layers |
|---|---|
| `feedback.py` | errors sent back by other matrices than the transposed weights: `direct_feedback`, and on top of it |
| | `feedback_alignment_dense`, `product_feedback_dense` |
| | their matrices: `feedback_matrices`, `product_feedback_init`; how well they do: `alignment_cosine` |
| `randomized.py` | less memory: `randomized_dense` saves a random sketch of its input; |
| | `randomized_matmul`, `randomized_matmul_variance` |
| `straight_through.py` | the value of one function, the derivative of another: `straight_through`, `reste`, |
| | `reste_schedule`, `reverse_gradient` |
| `sampling.py` | hard samples with soft gradients: `gumbel_topk`, `gumbel_subsample_mask`, |
| | `subsample_entropy_penalty` |
| `mixing.py` | candidate operations of an architecture search, added up: `max_w_mix` |
| `tract.py` | first layers trained through their pre-activations: `tract_linear`, `tract_conv`, |
| | `tract_precondition` |
| `likelihood_ratio.py` | noise at the output of a module, and the gradient from what it did to the loss: |
| | `likelihood_ratio_noise`, `likelihood_ratio_linear`, `likelihood_ratio_surrogate` |
"""

from optimizers.layers.feedback import (
    alignment_cosine,
    direct_feedback,
    feedback_alignment_dense,
    feedback_matrices,
    product_feedback_dense,
    product_feedback_init,
)
from optimizers.layers.likelihood_ratio import (
    likelihood_ratio_linear,
    likelihood_ratio_noise,
    likelihood_ratio_surrogate,
)
from optimizers.layers.mixing import max_w_mix
from optimizers.layers.randomized import randomized_dense, randomized_matmul, randomized_matmul_variance
from optimizers.layers.sampling import gumbel_subsample_mask, gumbel_topk, subsample_entropy_penalty
from optimizers.layers.straight_through import reste, reste_schedule, reverse_gradient, straight_through
from optimizers.layers.tract import tract_conv, tract_linear, tract_precondition

__all__ = [
    "alignment_cosine",
    "direct_feedback",
    "feedback_alignment_dense",
    "feedback_matrices",
    "gumbel_subsample_mask",
    "gumbel_topk",
    "likelihood_ratio_linear",
    "likelihood_ratio_noise",
    "likelihood_ratio_surrogate",
    "max_w_mix",
    "product_feedback_dense",
    "product_feedback_init",
    "randomized_dense",
    "randomized_matmul",
    "randomized_matmul_variance",
    "reste",
    "reste_schedule",
    "reverse_gradient",
    "straight_through",
    "subsample_entropy_penalty",
    "tract_conv",
    "tract_linear",
    "tract_precondition",
]
