"""Feedback alignment: errors sent backward through matrices that are not the transposed weights.

One function has a backward pass of its own, `direct_feedback`: the forward pass is the identity, and the error that
arrives also goes, through a matrix, to activations elsewhere. The layers are that function behind a dense layer whose
own way back is cut.

A feedback matrix maps the error of what it starts from to that of where it ends, `[outputs, inputs]`: `w.T` would be
backpropagation.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer
from optimizers._trees import PyTree, wide
from optimizers.layers._inputs import add_bias, check_shape, dense_inputs, describe, floating


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _send(widths: tuple[int, ...], output: Array, hidden: tuple[Array, ...], feedback: Any) -> Array:
    """`output`, whose error also goes to `hidden` `[..., width]`: by a matrix each, or by columns of a single one."""
    del widths, hidden, feedback
    return output


def _send_forward(
    widths: tuple[int, ...], output: Array, hidden: tuple[Array, ...], feedback: Any
) -> tuple[Array, Any]:
    del widths, hidden
    return output, feedback


def _send_backward(widths: tuple[int, ...], feedback: Any, error: Array) -> tuple[Array, tuple[Array, ...], None]:
    if isinstance(feedback, tuple):
        sent = [error @ matrix for matrix in feedback]
    else:
        sent = [error @ feedback] * len(widths)
    return error, tuple(each[..., :width].astype(error.dtype) for each, width in zip(sent, widths)), None


_send.defvjp(_send_forward, _send_backward)


def direct_feedback(
    output: Float[Array, "*batch outputs"],
    hidden: Sequence[Float[Array, "..."]],
    feedback: Sequence[Float[Array, "outputs _"]] | Float[Array, "outputs _"],
) -> Float[Array, "*batch outputs"]:
    r"""Direct feedback alignment: the error at the output goes straight to every hidden activation.

    The forward pass returns `output`. In the backward pass the error e of the output goes on to `output` as it is, and
    to each hidden activation by a fixed random matrix, in place of the layers between them:

    $$
    \frac{\partial L}{\partial h_l} := e\, B_l, \qquad e = \frac{\partial L}{\partial\, \mathrm{output}}
    $$

    What each layer does with the error that it receives is left to JAX, so `delta_l = (e B_l) f'(a_l)`. Nothing may
    flow back between layers besides: a layer's input is `jax.lax.stop_gradient` of the activation before it. Cost of
    the backward pass: one product of matrices a layer, all independent of one another.

    Args:
        output: Output of the network `[..., outputs]`, before the loss.
        hidden: Activations, each `[..., features]` with the leading axes of `output`; several axes of features count as
            one, flattened.
        feedback: Matrices `[outputs, features]`, one for each activation, or a single one for all, of which each takes
            as many columns as it has features (`feedback_matrices`). Their gradient is 0.

    Returns:
        `output`.

    Raises:
        TypeError: An array is not floating point, or `hidden` a single one.
        ValueError: Shapes or the numbers of activations and matrices do not match.

    Examples:
        A network of three layers. The last layer's gradient is that of backpropagation; with the transposed products
        of the weights as matrices, and linear layers, so would be the others:

        >>> import jax, jax.numpy as jnp
        >>> def predict(params, feedback, x):
        ...     h1 = jax.nn.tanh(x @ params["w1"])
        ...     h2 = jax.nn.tanh(jax.lax.stop_gradient(h1) @ params["w2"])
        ...     logits = jax.lax.stop_gradient(h2) @ params["w3"]
        ...     return direct_feedback(logits, (h1, h2), feedback)
        >>> keys = jax.random.split(jax.random.key(0), 5)
        >>> shapes = {"w1": (4, 16), "w2": (16, 16), "w3": (16, 2)}
        >>> params = {n: jax.random.normal(k, s) / s[0] ** 0.5 for k, (n, s) in zip(keys, shapes.items())}
        >>> feedback = feedback_matrices(keys[3], (16, 16), 2)
        >>> x, y = jax.random.normal(keys[4], (8, 4)), jnp.ones((8, 2))
        >>> loss = lambda params: jnp.mean((predict(params, feedback, x) - y) ** 2)
        >>> gradient, before = jax.jit(jax.grad(loss)), loss(params)
        >>> for _ in range(100):
        ...     params = jax.tree.map(lambda p, g: p - 0.2 * g, params, gradient(params))
        >>> print(f"{before:.1f} {loss(params):.1f}")
        1.1 0.0

    Source:
        Nøkland, "Direct Feedback Alignment Provides Learning in Deep Neural Networks", 2016; Launay, Poli, Krzakala,
        "Principled Training of Neural Networks with Direct Feedback Alignment", 2019.
    """
    name = "direct_feedback"
    output = floating(name, "output", output, 1)
    if not isinstance(hidden, Sequence):
        raise TypeError(f"{name}: hidden must be a sequence of activations, got {type(hidden).__name__}")
    hidden = [floating(name, "hidden", activation, output.ndim - 1) for activation in hidden]
    batch, shared = output.shape[:-1], not isinstance(feedback, Sequence)
    for activation in hidden:
        if activation.shape[: len(batch)] != batch:
            raise ValueError(f"{name}: hidden must have the leading axes {list(batch)}, got {describe(activation)}")
    widths = tuple(math.prod(activation.shape[len(batch) :]) for activation in hidden)
    if shared:
        feedback = floating(name, "feedback", feedback)
        if feedback.ndim != 2 or feedback.shape[0] != output.shape[-1] or feedback.shape[1] < max(widths, default=0):
            expected = f"[{output.shape[-1]}, {max(widths, default=0)} or more]"
            raise ValueError(f"{name}: feedback must have shape {expected}, got {describe(feedback)}")
    else:
        feedback = tuple(floating(name, "feedback", matrix) for matrix in feedback)
        if len(feedback) != len(hidden):
            raise ValueError(f"{name}: feedback must hold one matrix for each of {len(hidden)}, got {len(feedback)}")
        for matrix, width in zip(feedback, widths):
            check_shape(name, "feedback", matrix, (output.shape[-1], width))
    flat = [h.reshape(*batch, width).astype(output.dtype) for h, width in zip(hidden, widths)]
    return _send(widths, output, tuple(flat), feedback)


def feedback_alignment_dense(
    x: Float[Array, "*batch inputs"],
    w: Float[Array, "inputs outputs"],
    feedback: Float[Array, "outputs inputs"],
    b: Float[Array, " outputs"] | None = None,
) -> Float[Array, "*batch outputs"]:
    r"""A dense layer whose error goes back through a fixed random matrix instead of the transposed weights.

    $$
    y = x w + b, \qquad dx := dy\, B, \quad dw = x^\top dy, \quad db = \textstyle\sum dy, \quad dB := 0
    $$

    The weights come to agree with the matrix, so that the errors it sends become useful. With `feedback=w.T` it is
    backpropagation. Cost: that of the dense layer.

    Args:
        x: Inputs `[..., inputs]`.
        w: Weights `[inputs, outputs]`.
        feedback: The matrix B `[outputs, inputs]`, as from `feedback_matrices(key, [inputs], outputs)[0]`.
        b: Bias `[outputs]`; none by default.

    Returns:
        Outputs `[..., outputs]`, in the dtype of `x @ w + b`; gradients in the dtypes of their arguments.

    Raises:
        TypeError: An array is not floating point.
        ValueError: Shapes do not match.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, w, feedback = jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]), jnp.array([[0.5, -0.5]])
        >>> print(feedback_alignment_dense(x, w, feedback))
        [[11.]]
        >>> print(jax.grad(lambda x: feedback_alignment_dense(x, w, feedback).sum())(x))
        [[ 0.5 -0.5]]

    Source:
        Lillicrap, Cownden, Tweed, Akerman, "Random synaptic feedback weights support error backpropagation for deep
        learning", 2016.
    """
    name = "feedback_alignment_dense"
    x, w, b = dense_inputs(name, x, w, b)
    feedback = floating(name, "feedback", feedback)
    check_shape(name, "feedback", feedback, w.shape[::-1])
    return direct_feedback(add_bias(lax.stop_gradient(x) @ w, b), (x,), (feedback,))


def product_feedback_dense(
    x: Float[Array, "*batch inputs"],
    w: Float[Array, "inputs outputs"],
    fixed: Float[Array, "outputs middle"],
    learned: Float[Array, "middle inputs"],
    b: Float[Array, " outputs"] | None = None,
) -> Float[Array, "*batch outputs"]:
    r"""A dense layer whose error goes back through a product of a fixed and a learned matrix.

    $$
    y = x w + b, \qquad dx := dy\, B R, \quad dw = x^\top dy, \quad db = \textstyle\sum dy, \quad dR := (dy\, B)^\top x,
    \quad dB := 0
    $$

    As `B dR = B B^T dw^T` and `B B^T` is near the identity, `B R` follows `w^T`: give R the optimizer, learning rate
    and weight decay of w, and the decay forgets where they began. No pair of layers needs synapses in both directions.
    With an orthogonal B and `R = B^T w^T` it is backpropagation, and stays so under gradient descent; with B the
    identity it is the rule of Kolen and Pollack. Cost: two more products than a dense layer, in the backward pass.

    Args:
        x: Inputs `[..., inputs]`.
        w: Weights `[inputs, outputs]`.
        fixed: B `[outputs, middle]`, whose gradient is 0; see `product_feedback_init`.
        learned: R `[middle, inputs]`, a parameter like `w`.
        b: Bias `[outputs]`; none by default.

    Returns:
        Outputs `[..., outputs]`, in the dtype of `x @ w + b`; gradients in the dtypes of their arguments.

    Raises:
        TypeError: An array is not floating point.
        ValueError: Shapes do not match.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, w, fixed, learned = jnp.array([[1.0]]), jnp.array([[3.0]]), jnp.array([[2.0]]), jnp.array([[0.25]])
        >>> gradients = jax.grad(lambda *args: product_feedback_dense(*args).sum(), (0, 1, 2, 3))(x, w, fixed, learned)
        >>> [round(float(g.sum()), 2) for g in gradients]
        [0.5, 1.0, 0.0, 2.0]

    Source:
        Ji-An, Benna, "Deep Learning without Weight Symmetry", 2024.
    """
    name = "product_feedback_dense"
    x, w, b = dense_inputs(name, x, w, b)
    fixed, learned = floating(name, "fixed", fixed), floating(name, "learned", learned)
    if fixed.ndim != 2 or fixed.shape[0] != w.shape[1]:
        raise ValueError(f"{name}: fixed must have shape [{w.shape[1]}, middle], got {describe(fixed)}")
    check_shape(name, "learned", learned, (fixed.shape[1], w.shape[0]))
    # Only the error of x R^T is wanted, dy B, and what JAX makes of it; its value is dead code under jit.
    return direct_feedback(add_bias(lax.stop_gradient(x) @ w, b), (x @ learned.T,), (fixed,))


def feedback_matrices(
    key: Array, widths: Sequence[int], output_dim: int, *, shared: bool = False
) -> tuple[Float[Array, "outputs _"], ...] | Float[Array, "outputs _"]:
    r"""Random feedback matrices, which keep the size of the errors that they send.

    $$
    B_l \sim \mathcal{U}\!\left( -d_l^{-1/2},\; d_l^{-1/2} \right)^{o \times d_l}, \qquad
    \mathbb{E} \lVert e B_l \rVert^2 = \tfrac13 \lVert e \rVert^2
    $$

    Args:
        key: PRNG key.
        widths: Features d of each hidden activation.
        output_dim: Features o of the network's output.
        shared: Whether one matrix, of the largest width, serves all activations: less memory, and one product in the
            backward pass, of which each takes the columns that it needs.

    Returns:
        A tuple of matrices `[output_dim, width]`, or with `shared` a single one `[output_dim, max(widths)]`; both are
        what `direct_feedback` takes. float32.

    Raises:
        TypeError: A width is no integer.
        ValueError: There is none, or one is less than 1.

    Examples:
        >>> import jax
        >>> [matrix.shape for matrix in feedback_matrices(jax.random.key(0), (64, 32), 10)]
        [(10, 64), (10, 32)]
        >>> feedback_matrices(jax.random.key(0), (64, 32), 10, shared=True).shape
        (10, 64)

    Source:
        Launay, Poli, Krzakala, "Principled Training of Neural Networks with Direct Feedback Alignment", 2019, and its
        authors' TinyDFA.
    """
    name = "feedback_matrices"
    outputs = check_positive_integer(name, "output_dim", output_dim)
    widths = [check_positive_integer(name, "widths", width) for width in widths]
    if not widths:
        raise ValueError(f"{name}: widths must hold at least one width, got none")

    def matrix(key: Array, width: int) -> Array:
        return jax.random.uniform(key, (outputs, width), jnp.float32, -1.0, 1.0) / math.sqrt(width)

    if shared:
        return matrix(key, max(widths))
    return tuple(map(matrix, jax.random.split(key, len(widths)), widths))


def product_feedback_init(
    key: Array, in_features: int, out_features: int, *, expansion: int = 4
) -> tuple[Float[Array, "outputs middle"], Float[Array, "middle inputs"]]:
    r"""Random matrices for `product_feedback_dense`.

    $$
    \operatorname{Var} B_{ij} = \frac1m, \quad \mathbb{E}\, B B^\top = I, \qquad
    \operatorname{Var} R_{ij} = \frac{2}{n + m}, \qquad m = \mathrm{expansion} \cdot o
    $$

    both uniform, R as Glorot has it.

    Args:
        key: PRNG key.
        in_features: Inputs n of the layer.
        out_features: Outputs o of the layer.
        expansion: How many times as many features as outputs there are between the matrices; the more, the nearer is
            `B B^T` to the identity, off by `expansion ** -0.5`.

    Returns:
        B `[out_features, middle]`, which is fixed, and R `[middle, in_features]`, which is learned; float32.

    Raises:
        TypeError: A number of features is no integer.
        ValueError: It is less than 1.

    Examples:
        >>> import jax
        >>> fixed, learned = product_feedback_init(jax.random.key(0), 5, 3, expansion=2)
        >>> fixed.shape, learned.shape
        ((3, 6), (6, 5))

    Source:
        Ji-An, Benna, "Deep Learning without Weight Symmetry", 2024, and its authors' code.
    """
    name = "product_feedback_init"
    inputs = check_positive_integer(name, "in_features", in_features)
    outputs = check_positive_integer(name, "out_features", out_features)
    middle = outputs * check_positive_integer(name, "expansion", expansion)
    for_fixed, for_learned = jax.random.split(key)
    fixed = jax.nn.initializers.variance_scaling(1.0, "fan_out", "uniform")(for_fixed, (outputs, middle))
    return fixed, jax.nn.initializers.glorot_uniform()(for_learned, (middle, inputs))


def alignment_cosine(gradient: PyTree, other: PyTree, *, per_leaf: bool = False) -> PyTree:
    r"""The cosine of the angle between two gradients, as a diagnostic of feedback alignment.

    $$
    \cos\theta = \frac{\langle g, g' \rangle}{\lVert g \rVert\, \lVert g' \rVert}
    $$

    Near 0 before training, as the matrices are random; above 0 means that the update descends. Narrow layers align
    worse.

    Args:
        gradient: A gradient, by feedback alignment, say.
        other: Another of the same structure, by backpropagation.
        per_leaf: Whether every leaf has its own cosine; by default all leaves are one vector.

    Returns:
        The cosine, float32 (float64 for float64 leaves), or a tree of them; 0 where a gradient vanishes.

    Raises:
        ValueError: The gradients differ in structure or shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> g = {"w": jnp.array([1.0, 1.0]), "b": jnp.array([2.0])}
        >>> h = {"w": jnp.array([0.0, 3.0]), "b": jnp.array([-1.0])}
        >>> {name: round(float(cosine), 4) for name, cosine in alignment_cosine(g, h, per_leaf=True).items()}
        {'b': -1.0, 'w': 0.7071}
        >>> print(f"{alignment_cosine(g, h):.4f}")
        0.1291

    Source:
        Launay, Poli, Krzakala, "Principled Training of Neural Networks with Direct Feedback Alignment", 2019.
    """
    expected, got = str(jax.tree.structure(gradient)), str(jax.tree.structure(other))
    if got != expected:
        raise ValueError(f"alignment_cosine: other must have the structure of gradient, {expected}, got {got}")
    gradient, other = jax.tree.map(jnp.asarray, gradient), jax.tree.map(jnp.asarray, other)
    for g, h in zip(jax.tree.leaves(gradient), jax.tree.leaves(other)):
        check_shape("alignment_cosine", "other", h, g.shape)
    if per_leaf:
        return jax.tree.map(lambda g, h: _cosine([g], [h]), gradient, other)
    return _cosine(jax.tree.leaves(gradient), jax.tree.leaves(other))


def _cosine(gradient: list[Array], other: list[Array]) -> Array:
    zero = jnp.zeros((), jnp.float32)

    def scaled(leaves: list[Array]) -> tuple[list[Array], Array]:
        """The leaves over their largest entry, whose squares neither overflow nor vanish, and their norm."""
        leaves = [wide(leaf) for leaf in leaves]
        peaks = [jnp.max(jnp.abs(leaf), initial=0.0) for leaf in leaves]
        largest = jnp.max(jnp.stack(peaks)) if peaks else zero
        leaves = [leaf / jnp.where(largest == 0, 1, largest) for leaf in leaves]
        return leaves, jnp.sqrt(sum((jnp.sum(leaf * leaf) for leaf in leaves), start=zero))

    (g, g_norm), (h, h_norm) = scaled(gradient), scaled(other)
    norms = g_norm * h_norm
    return sum((jnp.sum(a * b) for a, b in zip(g, h)), start=zero) / jnp.where(norms == 0, 1, norms)
