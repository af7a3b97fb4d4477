"""Every optimizer that has no topic of its own, one line and one tree each (matrix methods: also many small leaves).

Beside Optax where it has the method, else beside pytorch-optimizer; where neither has it, beside Optax's AdamW: what it
costs against the usual choice. PyTorch updates in place and is called as its users call it, `optimizer.step()`.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optimizers
from benchmarks.entries._torch import leaves_of, optimizer_peer
from benchmarks.entries.matrix import every_matrix
from benchmarks.entries.optimizers import parameters_and_gradients, update_program
from benchmarks.harness import Entry, Peer, nbytes

Build = Callable[[], optax.GradientTransformation]

LARGE, MATRICES, MANY, SMALL = "20x1024x1024", "20x256x256", "1000x32x32", "1x32x32"
RATE, DECAY = 1e-3, 1e-2


def entry(
    name: str,
    ours: Build,
    peer: Peer,
    *,
    words: float,
    tree: str = LARGE,
    goal: float | None = None,
    norm_first: bool = False,
    same: bool = True,
    arrays: Callable[[bool], tuple[Any, Any]] | None = None,
) -> Entry:
    """One line of the table.

    `words` counts what an ideal update reads and writes for each parameter. An elementwise update of a large tree
    (`norm_first` False) should need no temporary; `same` says whether the peer's first step has our numbers.
    """
    return Entry(
        name=f"{name}/{tree}",
        arrays=arrays or parameters_and_gradients(tree),
        ours=update_program(ours),
        peer=peer,
        moved=lambda params, gradients: int(words * nbytes(params)),
        goal=goal,
        temp_free=tree == LARGE and not norm_first,
        result=(lambda output: leaves_of(output[0] if isinstance(output, tuple) else output)) if same else None,
    )


def of_optax(name: str, build: Build) -> Peer:
    """A transformation of Optax."""
    return Peer(f"optax.{name}", "optax", update_program(build))


def beside_adamw(name: str, ours: Build, *, words: float, **settings: Any) -> Entry:
    """A line for what no peer has."""
    return entry(name, ours, ADAMW, words=words, same=False, **settings)


def of_matrices(
    name: str,
    ours: Build,
    peer: Peer,
    *,
    words: float,
    goal: float | None = None,
    same: bool = False,
    peer_of_many: Peer | None = None,
) -> list[Entry]:
    """Two lines for a matrix method: matrices of some size, and so many leaves that compiling is the question."""
    return [
        entry(name, ours, peer, words=words, tree=MATRICES, goal=goal, same=same),
        entry(name, ours, peer_of_many or peer, words=words, tree=MANY, goal=None if peer_of_many else goal, same=same),
    ]


ADAMW = of_optax("adamw", lambda: optax.adamw(RATE, weight_decay=DECAY))


def loss_fn(params: Any) -> jax.Array:
    """A loss whose curvature costs next to nothing, so that what is timed is the method."""
    return sum((jnp.sum(0.5 * x**2 + 0.1 * x**4) for x in jax.tree.leaves(params)), jnp.float32(0.0))


def as_in_train_step(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """`tx` given what `make_train_step` gives, of `loss_fn` of the parameters themselves."""
    extra = {
        "value": jnp.float32(1.0),
        "value_fn": loss_fn,
        "grad_fn": jax.grad(loss_fn),
        "gnvp_fn": lambda params, vector: optimizers.gauss_newton_vector_product(lambda p: p, loss_fn, params, vector),
        "gnb_fn": lambda params, key: jax.tree.map(jnp.square, params),
    }
    with_extra = optax.with_extra_args_support(tx)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        moved, state = with_extra.update(updates, state, params, **extra)
        return moved, state

    return optax.GradientTransformation(tx.init, update)


def in_train_step(build: Build) -> optax.GradientTransformation:
    """What `build` makes, given the same."""
    return as_in_train_step(build())


def half_as_wide(params: Any) -> Any:
    """The base of a maximal update parametrisation, its matrices half as wide."""
    return jax.tree.map(lambda p: jax.ShapeDtypeStruct((p.shape[0] // 2, *p.shape[1:]), p.dtype), params)


def two_tasks(quick: bool) -> tuple[Any, Any]:
    """The large tree with gradients `[2, ...]` of two losses."""
    params, gradients = parameters_and_gradients(LARGE)(quick)
    return params, [jnp.stack([g, p]) for g, p in zip(gradients, params, strict=True)]


def of_mean(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """`tx` for the mean of the gradients of two losses."""
    mean = optax.stateless(lambda updates, _: jax.tree.map(lambda g: g.mean(axis=0), updates))
    return optax.GradientTransformation(
        tx.init, lambda g, s, p=None: tx.update(mean.update(g, optax.EmptyState())[0], s, p)
    )


ADAMW_OF_MEAN = of_optax("adamw of the mean gradient", lambda: of_mean(optax.adamw(RATE, weight_decay=DECAY)))


def bfloat16(quick: bool) -> tuple[Any, Any]:
    """The large tree in half precision."""
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16), parameters_and_gradients(LARGE)(quick))


def mini_peer() -> Peer:
    """Adam-mini, which wants a model: one block a parameter, as ours has with one row block."""

    def make(tensors: list[Any]) -> Any:
        model = import_module("torch").nn.ParameterList(tensors)
        return import_module("pytorch_optimizer").AdamMini(model, lr=RATE, weight_decay=DECAY)

    return optimizer_peer("AdamMini", make)


def muon_peer(name: str, *, overwrites: bool = False, **settings: Any) -> Peer:
    """A relative of Muon, which is told in groups which parameters are matrices."""

    def make(tensors: list[Any]) -> Any:
        return getattr(import_module("pytorch_optimizer"), name)([{"params": tensors, "use_muon": True, **settings}])

    return optimizer_peer(name, make, overwrites=overwrites)


def orthograd_peer() -> Peer:
    """OrthoGrad around PyTorch's AdamW."""

    def make(tensors: list[Any]) -> Any:
        inner = import_module("torch").optim.AdamW(tensors, lr=RATE, weight_decay=DECAY)
        return import_module("pytorch_optimizer").OrthoGrad(inner)

    return optimizer_peer("OrthoGrad(AdamW)", make, overwrites=True)


def adamw() -> optax.GradientTransformation:
    """What wrappers are measured around."""
    return optimizers.adamw(RATE, weight_decay=DECAY)


def cautious_adam() -> optax.GradientTransformation:
    """C-AdamW: the mask around the momentum, decay and learning rate behind it."""
    adam = optimizers.cautious(optimizers.scale_by_adam())
    return optax.chain(adam, optax.add_decayed_weights(DECAY), optax.scale_by_learning_rate(RATE))


FLAT = optimizers.euclidean()

# Words: gradient, parameter and moments are read, parameter and moments written; factored moments count nothing.
ELEMENTWISE = [
    entry("adam", lambda: optimizers.adam(RATE), of_optax("adam", lambda: optax.adam(RATE)), words=7, goal=1.05),
    entry(
        "adamax", lambda: optimizers.adamax(RATE), of_optax("adamax", lambda: optax.adamax(RATE)), words=7, goal=1.05
    ),
    entry(
        "sgdw",
        lambda: optimizers.sgdw(RATE, weight_decay=DECAY),
        of_optax(
            "trace with decay",
            lambda: optax.chain(optax.trace(0.9), optax.add_decayed_weights(DECAY), optax.scale_by_learning_rate(RATE)),
        ),
        words=5,
        goal=1.05,
    ),
    entry(
        "lion_k",
        lambda: optimizers.lion_k(1e-4, weight_decay=DECAY),
        of_optax("lion", lambda: optax.lion(1e-4, weight_decay=DECAY)),
        words=5,
        goal=0.5,
    ),
    entry(
        "schedule_free(sgd)",
        lambda: optimizers.schedule_free(optax.sgd(RATE), RATE),
        of_optax("contrib.schedule_free(sgd)", lambda: optax.contrib.schedule_free(optax.sgd(RATE), RATE)),
        words=5,
        goal=1.05,
    ),
    entry(
        "schedule_free_sgd",
        lambda: optimizers.schedule_free_sgd(RATE),
        of_optax("contrib.schedule_free_sgd", lambda: optax.contrib.schedule_free_sgd(RATE)),
        words=5,
        goal=1.05,
    ),
    entry(
        "riemannian_adagrad-flat",
        lambda: optimizers.riemannian_adagrad(RATE, FLAT),
        of_optax("adagrad", lambda: optax.adagrad(RATE)),
        words=5,
        goal=1.05,
    ),
    entry(
        "riemannian_amsgrad-flat",
        lambda: optimizers.riemannian_amsgrad(RATE, FLAT),
        of_optax("amsgrad", lambda: optax.amsgrad(RATE)),
        words=9,
        goal=1.05,
    ),
    entry("diffgrad", lambda: optimizers.diffgrad(RATE), optimizer_peer("DiffGrad", lr=RATE), words=9, goal=1.0),
    entry(
        "gravity", lambda: optimizers.gravity(RATE), optimizer_peer("Gravity", lr=RATE), words=5, goal=1.0, same=False
    ),
    entry(
        "adahessian",
        lambda: optimizers.adahessian(RATE, spatial_averaging=False, hessian_diagonal_fn=optax.identity()),
        optimizer_peer("AdaHessian", lr=RATE, eps=1e-4, hessian=True),
        words=7,
        goal=1.0,
    ),
    entry(
        "sophia_g",
        lambda: as_in_train_step(optimizers.sophia_g(RATE, update_interval=1)),
        optimizer_peer("SophiaH", lr=RATE, weight_decay=0.2, hessian=True),
        words=7,
        goal=1.0,
        same=False,
        norm_first=True,
    ),
    entry(
        "grams(adam)",
        lambda: optimizers.grams(optimizers.adam(RATE)),
        optimizer_peer("Grams", lr=RATE),
        words=7,
        goal=1.0,
        same=False,
    ),
    beside_adamw("adamnc", lambda: optimizers.adamnc(RATE), words=7),
    beside_adamw("adamomentum", lambda: optimizers.adamomentum(RATE, weight_decay=DECAY), words=7),
    beside_adamw("mup_adam", lambda: optimizers.mup_adam(RATE, half_as_wide), words=7),
    beside_adamw("mup_adamw", lambda: optimizers.mup_adamw(RATE, half_as_wide, weight_decay=DECAY), words=7),
    beside_adamw("adamw+parameter_average", lambda: optax.chain(adamw(), optimizers.parameter_average()), words=9),
    beside_adamw("mirror_descent", lambda: optimizers.mirror_descent(RATE, potential="hypentropy"), words=3),
]

# A norm, a count of signs or another sum over a tensor comes before its first element.
NORM_FIRST = [
    entry(
        "fadam",
        lambda: optimizers.fadam(RATE, weight_decay=DECAY),
        optimizer_peer("FAdam", lr=RATE, weight_decay=DECAY),
        words=9,
        goal=1.0,
        norm_first=True,
    ),
    entry(
        "stable_adamw",
        lambda: optimizers.stable_adamw(RATE, weight_decay=DECAY),
        optimizer_peer("StableAdamW", lr=RATE, weight_decay=DECAY),
        words=9,
        goal=1.0,
        norm_first=True,
    ),
    entry(
        "came",
        lambda: optimizers.came(RATE, weight_decay=DECAY),
        optimizer_peer("CAME", lr=RATE, weight_decay=DECAY),
        words=7,
        goal=1.0,
        norm_first=True,
    ),
    entry(
        "adam_mini",
        lambda: optimizers.adam_mini(RATE, weight_decay=DECAY),
        mini_peer(),
        words=6,
        goal=1.0,
        norm_first=True,
        same=False,  # there a leaf is one block, here each of its rows
    ),
    entry(
        "mars+adamw",
        lambda: optax.chain(optimizers.mars(), adamw()),
        optimizer_peer("MARS", lr=RATE, weight_decay=DECAY),
        words=11,
        goal=1.0,
        norm_first=True,
    ),
    entry(
        "orthograd+adamw",
        lambda: optax.chain(optimizers.orthograd(rescale=True), adamw()),
        orthograd_peer(),
        words=9,
        goal=1.0,
        norm_first=True,
    ),
    entry(
        "grokfast_ema+adamw",
        lambda: optax.chain(optimizers.grokfast_ema(), adamw()),
        optimizer_peer("GrokFastAdamW", overwrites=True, lr=RATE, weight_decay=DECAY),
        words=9,
        goal=1.0,
        norm_first=True,
        same=False,
    ),
    entry(
        "clip_coordinatewise+adamw",
        lambda: optax.chain(optimizers.clip_coordinatewise(1.0), adamw()),
        of_optax("clip+adamw", lambda: optax.chain(optax.clip(1.0), optax.adamw(RATE, weight_decay=DECAY))),
        words=7,
        goal=1.05,
    ),
    entry(
        "prodigy_sign",
        lambda: optimizers.prodigy_sign(),
        of_optax("contrib.prodigy", lambda: optax.contrib.prodigy()),
        words=9,
        goal=1.0,
        norm_first=True,
        same=False,
    ),
    entry(
        "distillation_oriented_trainer",
        lambda: optimizers.distillation_oriented_trainer(RATE),
        ADAMW_OF_MEAN,
        words=8,
        same=False,
        norm_first=True,
        arrays=two_tasks,
    ),
    entry(
        "multi_adam",
        lambda: optimizers.multi_adam(RATE, 2),
        ADAMW_OF_MEAN,
        words=12,
        same=False,
        norm_first=True,
        arrays=two_tasks,
    ),
    beside_adamw("cautious(adam)", cautious_adam, words=8, norm_first=True),
    beside_adamw("beta_normalized_sgd", lambda: optimizers.beta_normalized_sgd(RATE), words=4, norm_first=True),
    beside_adamw("greedy_block_descent", lambda: optimizers.greedy_block_descent(RATE), words=4, norm_first=True),
    beside_adamw(
        "grokfast_ma+adamw", lambda: optax.chain(optimizers.grokfast_ma(10), adamw()), words=10, tree=MATRICES
    ),
    entry(
        "with_kahan_summation(adamw)",
        lambda: optimizers.with_kahan_summation(adamw()),
        ADAMW,
        words=13,  # of two bytes: float32 moments and their compensation, parameter and gradient in half precision
        same=False,
        norm_first=True,
        arrays=bfloat16,
    ),
    entry(
        "with_master_weights(adamw)",
        lambda: optimizers.with_master_weights(adamw()),
        ADAMW,
        words=14,
        same=False,
        norm_first=True,
        arrays=bfloat16,
    ),
    beside_adamw(
        "generalized_implicit_ftrl",
        lambda: as_in_train_step(optimizers.generalized_implicit_ftrl(RATE)),
        words=6,
        norm_first=True,
    ),
    beside_adamw(
        "normalized_spider",
        lambda: as_in_train_step(optimizers.normalized_spider(RATE, 10)),
        words=10,
        norm_first=True,
    ),
]

# What the curvature costs besides the products with it, of which `loss_fn` makes the cheapest.
CURVATURE = [
    beside_adamw(name, partial(in_train_step, tx), words=words, tree=tree)
    for name, tx, words, tree in (
        ("oasis", lambda: optimizers.oasis(), 7, LARGE),
        ("sania", lambda: optimizers.sania(), 5, LARGE),
        ("natural_gradient", lambda: optimizers.natural_gradient(RATE), 3, MATRICES),
        (
            "thermodynamic_natural_gradient",
            lambda: optimizers.thermodynamic_natural_gradient(RATE, rank=8),
            3,
            MATRICES,
        ),
        ("saddle_free_newton", lambda: optimizers.saddle_free_newton(RATE, rank=8), 3, MATRICES),
        ("gradient_normalized_newton", lambda: optimizers.gradient_normalized_newton(), 3, SMALL),
        ("psgd_lra", lambda: optimizers.psgd_lra(RATE), 45, MATRICES),
        ("psgd_xmat", lambda: optimizers.psgd_xmat(RATE), 9, MATRICES),
        ("psgd_dense", lambda: optimizers.psgd_dense(RATE), 2 * 32 * 32, SMALL),
    )
]

# Words: the statistics of rows and columns of a square matrix are as large as the matrix.
MATRIX = [
    *of_matrices(
        "adamuon",
        lambda: optimizers.adamuon(RATE, muon_weight_dimension_numbers=every_matrix),
        muon_peer("AdaMuon", lr=RATE),
        words=7,
        goal=1.0,
    ),
    *of_matrices(
        "normuon",
        lambda: optimizers.normuon(RATE, muon_weight_dimension_numbers=every_matrix),
        muon_peer("NorMuon", lr=RATE, overwrites=True),
        words=5,
        goal=1.0,
    ),
    *of_matrices(
        "shampoo",
        lambda: optimizers.shampoo(RATE, momentum=0.0),
        optimizer_peer("Shampoo", lr=RATE),
        words=11,
        goal=1.0,
        same=True,
    ),
    *of_matrices(
        "soap", lambda: optimizers.soap(RATE), optimizer_peer("SOAP", lr=RATE, weight_decay=0.0), words=15, goal=1.0
    ),
    *of_matrices(
        "psgd_kron",
        lambda: optimizers.psgd_kron(RATE),
        optimizer_peer("Kron", lr=RATE, pre_conditioner_update_probability=1.0),
        words=9,
        goal=1.0,
        peer_of_many=ADAMW,  # Kron takes half a minute for one step of a thousand leaves
    ),
    *of_matrices("steepest_descent", lambda: optimizers.steepest_descent(RATE), ADAMW, words=3),
    *of_matrices("scaled_gd", lambda: optimizers.scaled_gd(RATE, damping=0.1), ADAMW, words=3),
    # Words: 32 gradients are kept, and read twice.
    *of_matrices("mfac", lambda: optimizers.mfac(RATE, num_grads=32), ADAMW, words=69),
]

ENTRIES = [*ELEMENTWISE, *NORM_FIRST, *CURVATURE, *MATRIX]
