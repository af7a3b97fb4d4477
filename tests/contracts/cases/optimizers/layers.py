"""Cases of the layers with a backward pass of their own."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import Fault
from contracts.function_checks import Function

import optimizers

Generator = np.random.Generator


def normal(generator: Generator, *shape: int) -> np.ndarray:
    return generator.normal(size=shape).astype(np.float32)


def random_key(generator: Generator) -> jax.Array:
    return jax.random.key(generator.integers(1000))


def draw_dense(generator: Generator) -> dict[str, Any]:
    return {"x": normal(generator, 2, 4, 3), "w": normal(generator, 3, 5), "b": normal(generator, 5)}


def draw_direct(generator: Generator) -> dict[str, Any]:
    hidden = (normal(generator, 4, 2, 3), normal(generator, 4, 5))
    feedback = (normal(generator, 2, 6), normal(generator, 2, 5))
    return {"output": normal(generator, 4, 2), "hidden": hidden, "feedback": feedback}


def draw_pair(generator: Generator) -> dict[str, Any]:
    return {"a": normal(generator, 2, 4, 3), "b": normal(generator, 2, 4, 5)}


def draw_gradients(generator: Generator) -> Mapping[str, Any]:
    return {name: {"w": normal(generator, 3, 2), "b": normal(generator, 2)} for name in ("gradient", "other")}


def whole(x: jax.Array) -> jax.Array:
    return jnp.ones(x.shape, jnp.int32)


def as_schedule(function: Any, arguments: Mapping[str, Any]) -> jax.Array:
    arguments = dict(arguments)
    count = arguments.pop("count")
    return function(**arguments)(count)


DENSE_FAULTS = (
    Fault({"x": whole}, TypeError),
    Fault({"x": "a string"}, TypeError),
    Fault({"x": np.float32(1.0)}, ValueError),
    Fault({"w": lambda w: w[1:]}, ValueError),
    Fault({"w": lambda w: w[0]}, ValueError),
    Fault({"b": lambda b: b[1:]}, ValueError),
)
SKETCH_FAULTS = (
    Fault({"sketch": "sparse"}, ValueError),
    Fault({"fraction": None, "sketch_size": None}, ValueError),
    Fault({"fraction": 0.5, "sketch_size": 2}, ValueError),
    Fault({"fraction": None, "sketch_size": 9}, ValueError, words=("sketch_size",)),
    Fault({"fraction": None, "sketch_size": 0}, ValueError, words=("sketch_size",)),
    Fault({"fraction": None, "sketch_size": 1.5}, TypeError, words=("sketch_size",)),
)
PAIR_FAULTS = (Fault({"a": whole}, TypeError), Fault({"b": lambda b: b[:1]}, ValueError))
SKETCH: dict[str, Any] = {"refused": {"fraction": (0.0, 1.5)}, "numbers": ("fraction",)}


def sketched(sketch: str, products: bool, **size: Any) -> list[Function]:
    """A case of the layer with one sketch, and of the two other functions where `products` says so."""
    static = {"sketch": sketch, **size}
    general = SKETCH if "fraction" in size else {}
    faults = SKETCH_FAULTS if "fraction" in size else SKETCH_FAULTS[:1]
    elsewhere = ("sketch_size",) if "fraction" in size else ("fraction",)
    layer = [
        Function(
            name=f"randomized_dense[{sketch}]",
            function=optimizers.randomized_dense,
            traced=lambda generator: {**draw_dense(generator), "key": random_key(generator)},
            static=static,
            elsewhere=elsewhere,
            shape=(2, 4, 5),
            differentiable=("x", "w", "b"),
            faults=(*DENSE_FAULTS, *faults),
            **general,
        )
    ]
    matmul = [
        Function(
            name=f"randomized_matmul[{sketch}]",
            function=optimizers.randomized_matmul,
            traced=lambda generator: {**draw_pair(generator), "key": random_key(generator)},
            static=static,
            elsewhere=elsewhere,
            shape=(3, 5),
            differentiable=("a", "b"),
            faults=(*PAIR_FAULTS, *faults),
            **general,
        ),
        Function(
            name=f"randomized_matmul_variance[{sketch}]",
            function=optimizers.randomized_matmul_variance,
            traced=draw_pair,
            static=static,
            elsewhere=elsewhere,
            faults=(*PAIR_FAULTS, *faults),
            **general,
        ),
    ]
    return [*layer, *(matmul if products else [])]


FUNCTIONS = [
    Function(
        name="feedback_alignment_dense",
        function=optimizers.feedback_alignment_dense,
        traced=lambda generator: {**draw_dense(generator), "feedback": normal(generator, 5, 3)},
        shape=(2, 4, 5),
        differentiable=("x", "w", "feedback", "b"),
        faults=(*DENSE_FAULTS, Fault({"feedback": lambda matrix: matrix.T}, ValueError)),
    ),
    Function(
        name="product_feedback_dense",
        function=optimizers.product_feedback_dense,
        traced=lambda generator: {
            **draw_dense(generator),
            "fixed": normal(generator, 5, 7),
            "learned": normal(generator, 7, 3),
        },
        shape=(2, 4, 5),
        differentiable=("x", "w", "fixed", "learned", "b"),
        faults=(
            *DENSE_FAULTS,
            Fault({"fixed": lambda matrix: matrix[1:]}, ValueError),
            Fault({"learned": lambda matrix: matrix[1:]}, ValueError),
        ),
    ),
    Function(
        name="direct_feedback",
        function=optimizers.direct_feedback,
        traced=draw_direct,
        shape=(4, 2),
        differentiable=("output", "hidden", "feedback"),
        faults=(
            Fault({"output": np.float32(1.0)}, ValueError),
            Fault({"output": whole}, TypeError),
            Fault({"hidden": lambda hidden: hidden[1]}, TypeError),
            Fault({"hidden": lambda hidden: tuple(h[1:] for h in hidden)}, ValueError),
            Fault({"feedback": lambda matrices: matrices[:1]}, ValueError),
            Fault({"feedback": lambda matrices: matrices[::-1]}, ValueError),
            Fault({"feedback": jnp.ones((2, 5))}, ValueError),
        ),
    ),
    Function(
        name="direct_feedback[shared]",
        function=optimizers.direct_feedback,
        traced=lambda generator: {**draw_direct(generator), "feedback": normal(generator, 2, 6)},
        shape=(4, 2),
        differentiable=("output", "hidden", "feedback"),
    ),
    Function(
        name="feedback_matrices",
        function=optimizers.feedback_matrices,
        traced=lambda generator: {"key": random_key(generator)},
        static={"widths": (6, 5), "output_dim": 2, "shared": False},
        shapes=((2, 6), (2, 5)),
        faults=(
            Fault({"widths": ()}, ValueError),
            Fault({"widths": (3, 0)}, ValueError),
            Fault({"output_dim": 1.5}, TypeError),
        ),
    ),
    Function(
        name="feedback_matrices[shared]",
        function=optimizers.feedback_matrices,
        traced=lambda generator: {"key": random_key(generator)},
        static={"widths": (5, 6), "output_dim": 2, "shared": True},
        shape=(2, 6),
    ),
    Function(
        name="product_feedback_init",
        function=optimizers.product_feedback_init,
        traced=lambda generator: {"key": random_key(generator)},
        static={"in_features": 3, "out_features": 2, "expansion": 5},
        shapes=((2, 10), (10, 3)),
        faults=tuple(Fault({name: 0}, ValueError) for name in ("in_features", "out_features", "expansion")),
    ),
    Function(
        name="alignment_cosine",
        function=optimizers.alignment_cosine,
        traced=draw_gradients,
        static={"per_leaf": False},
        faults=(
            Fault({"other": {"w": jnp.ones((3, 2))}}, ValueError),
            Fault({"other": lambda tree: {**tree, "b": jnp.ones(3)}}, ValueError),
        ),
    ),
    Function(
        name="alignment_cosine[per_leaf]",
        function=optimizers.alignment_cosine,
        traced=draw_gradients,
        static={"per_leaf": True},
        shapes=((), ()),
    ),
    *sketched("gaussian", True, fraction=0.5),
    *sketched("rademacher", False, sketch_size=3),
    *sketched("row_sample", False, sketch_size=3),
    *sketched("dct", True, sketch_size=3),
    Function(
        name="straight_through",
        function=optimizers.straight_through,
        traced=lambda generator: {
            "forward_value": np.arange(6).reshape(2, 3),
            "surrogate": normal(generator, 2, 3),
        },
        shape=(2, 3),
        differentiable=("surrogate",),
        faults=(Fault({"surrogate": whole}, TypeError), Fault({"forward_value": lambda x: x[:1]}, ValueError)),
    ),
    Function(
        name="reverse_gradient",
        function=optimizers.reverse_gradient,
        traced=lambda generator: {"x": normal(generator, 2, 3), "scale": np.float32(generator.uniform())},
        shape=(2, 3),
        differentiable=("x",),
        refused={"scale": (-0.1,)},
        numbers=("scale",),
        faults=(Fault({"x": whole}, TypeError),),
    ),
    Function(
        name="reste",
        function=optimizers.reste,
        traced=lambda generator: {
            "x": normal(generator, 2, 3),
            "o": np.float32(generator.uniform(1.0, 3.0)),
            "t": np.float32(generator.uniform(1.0, 2.0)),
            "m": np.float32(generator.uniform(0.1, 0.2)),
        },
        shape=(2, 3),
        differentiable=("x",),
        refused={"o": (0.9,), "t": (-0.1,), "m": (0.0,)},
        numbers=("o", "t", "m"),
        faults=(Fault({"x": whole}, TypeError),),
    ),
    Function(
        name="reste_schedule",
        function=optimizers.reste_schedule,
        traced=lambda generator: {"count": np.int32(generator.integers(0, 20))},
        static={"total_steps": 10, "o_end": 3.0},
        use=as_schedule,
        refused={"o_end": (0.9,)},
        numbers=("o_end",),
        faults=(Fault({"total_steps": 0}, ValueError), Fault({"total_steps": 1.5}, TypeError)),
    ),
    Function(
        name="gumbel_topk",
        function=optimizers.gumbel_topk,
        traced=lambda generator: {
            "key": random_key(generator),
            "logits": normal(generator, 2, 5),
            "tau": np.float32(generator.uniform(0.5, 2.0)),
        },
        static={"k": 2},
        shape=(2, 5),
        differentiable=("logits",),
        refused={"tau": (0.0, -1.0)},
        numbers=("tau",),
        faults=(
            Fault({"logits": whole}, TypeError),
            Fault({"logits": np.float32(1.0)}, ValueError),
            Fault({"k": 0}, ValueError),
            Fault({"k": 6}, ValueError),
            Fault({"k": 1.5}, TypeError),
        ),
    ),
    *(
        Function(
            name="gumbel_subsample_mask" + ("" if exclude else "[with replacement]"),
            function=optimizers.gumbel_subsample_mask,
            traced=lambda generator: {
                "key": random_key(generator),
                "logits": normal(generator, 2, 3, 5),
                "tau": np.float32(generator.uniform(0.5, 2.0)),
            },
            static={"exclude": exclude},
            shape=(2, 3, 5),
            differentiable=("logits",),
            refused={"tau": (0.0, -1.0)},
            numbers=("tau",),
            faults=(
                Fault({"logits": whole}, TypeError),
                Fault({"logits": np.ones(3, np.float32)}, ValueError),
                Fault({"logits": np.ones((3, 2), np.float32), "exclude": True}, ValueError, words=("logits",)),
            ),
        )
        for exclude in (True, False)
    ),
    Function(
        name="subsample_entropy_penalty",
        function=optimizers.subsample_entropy_penalty,
        traced=lambda generator: {"logits": normal(generator, 2, 3, 5)},
        shape=(2,),
        differentiable=("logits",),
        keeps_dtype=False,
        faults=(Fault({"logits": whole}, TypeError), Fault({"logits": np.ones(3, np.float32)}, ValueError)),
    ),
]
