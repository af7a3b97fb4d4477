"""Sorting and ranking that can be differentiated: what JAX's ranking library, rax, does not have.

Pointwise, pairwise and listwise losses of scores (softmax, ListMLE, LambdaLoss weights) are in rax and work in any
train step here. Rooms:

- `networks`: sorting networks with soft or error-free swaps, and supervision by order alone
- `relaxations`: NeuralSort, Sinkhorn's scaling, NeuralNDCG
- `projections`: soft ranks and soft sorting by projection onto the permutahedron
- `retrieval`: smooth average precision and recall at k
- `pairs`: positives above negatives over all pairs of a batch (Mann–Whitney, the AUC's loss)
"""

from objectives.ranking.networks import diffsort_loss, error_free_sorting_loss, soft_swap, sorting_network
from objectives.ranking.pairs import mann_whitney_loss
from objectives.ranking.projections import soft_rank, soft_sort
from objectives.ranking.relaxations import neural_ndcg_loss, neural_sort, sinkhorn
from objectives.ranking.retrieval import recall_at_k_surrogate, smooth_ap_loss

__all__ = [
    "diffsort_loss",
    "error_free_sorting_loss",
    "mann_whitney_loss",
    "neural_ndcg_loss",
    "neural_sort",
    "recall_at_k_surrogate",
    "sinkhorn",
    "smooth_ap_loss",
    "soft_rank",
    "soft_sort",
    "soft_swap",
    "sorting_network",
]
