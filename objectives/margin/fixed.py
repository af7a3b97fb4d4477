"""Margins that are the same for every example: ArcFace, CosFace, SphereFace, and the margin of your own."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from objectives._inputs import hyperparameter
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar
from objectives.margin._equation import add_angle, descend, margin_softmax, read, shift_angle
from objectives.margin._equation import angle as angle_of


def margin_softmax_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    *,
    margin: Callable[[Array], Array],
    scale: Scalar = 64.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Scaled softmax cross-entropy of cosines, with a margin function applied to the target's cosine.

    $$
    \log\Big( 1 + \sum_{j \ne y} e^{s\, (c_j - m(c_y))} \Big), \qquad
    c_j = \max_k \Big\langle \frac{x}{\lVert x \rVert}, \frac{w_{jk}}{\lVert w_{jk} \rVert} \Big\rangle
    $$

    This is the family's one function; CosFace, for one, is `margin=lambda cosine: cosine - 0.35`, and `combined_margin`
    makes the margins of SphereFace, ArcFace and CosFace. Labels given as
    probabilities q mean the expected loss, the sum over classes y of q_y times the loss of label y, as mixing of
    examples wants it. A vector shorter than 1e-12 has no direction: its cosines are 0, with gradient 0.

    Args:
        embeddings: Embeddings x `[..., D]`, of any length.
        weights: Class weights w `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        margin: Maps target cosines to the smaller cosines that are trained, elementwise.
        scale: Inverse temperature s of the softmax, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers, `margin` not a function or
            `where` not boolean.
        ValueError: If shapes do not match or `scale` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> embeddings, weights = jnp.array([[2.0, 0.0]]), jnp.eye(2)
        >>> loss = margin_softmax_loss(embeddings, weights, jnp.array([0]), margin=lambda c: c - 0.5, scale=2.0)
        >>> print(f"{loss[0]:.4f}")
        0.3133

    Source:
        Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018;
        Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face
        Recognition", 2019.
    """
    if not callable(margin):
        raise TypeError(f"margin_softmax_loss: margin must be a function of cosines, got {type(margin).__name__}")
    return margin_softmax(read("margin_softmax_loss", embeddings, weights, labels, scale, where), margin)


def arcface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"],
    labels: ClassLabels,
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.5,
    easy_margin: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""ArcFace: softmax of cosines with an additive margin on the angle to the target class.

    $$
    -\log \frac{e^{s \cos(\theta_y + m)}}{e^{s \cos(\theta_y + m)} + \sum_{j \ne y} e^{s \cos\theta_j}}
    $$

    Where the angle plus the margin would pass π, the target logit is s (cos θ_y − m sin m), which keeps it decreasing;
    for margins above 2.33, for which it would not, it is s (cos θ_y − 1 + cos m).

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Inverse temperature s of the softmax, positive.
        margin: Margin m in radians, in [0, π].
        easy_margin: Whether the margin applies only to angles below π/2, the others being left as they are.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{arcface_loss(jnp.array([[2.0, 0.0]]), jnp.eye(2), jnp.array([0]), scale=4.0)[0]:.4f}")
        0.0294

    Source:
        Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face
        Recognition", 2019.
    """
    return _arcface("arcface_loss", embeddings, weights, labels, scale, margin, easy_margin, where, rank=2)


def subcenter_arcface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.5,
    easy_margin: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Sub-centre ArcFace: every class has K centres and the nearest one counts, which tolerates noisy labels.

    $$
    \cos\theta_j = \max_k \Big\langle \frac{x}{\lVert x \rVert}, \frac{w_{jk}}{\lVert w_{jk} \rVert} \Big\rangle
    $$

    and the loss is that of `arcface_loss`.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Sub-centres of every class `[C, K, D]`, of any length; the paper takes K = 3.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Inverse temperature of the softmax, positive.
        margin: Margin in radians, in [0, π].
        easy_margin: Whether the margin applies only to angles below π/2, the others being left as they are.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> centres = jnp.array([[[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [-1.0, 0.0]]])
        >>> print(f"{subcenter_arcface_loss(jnp.array([[2.0, 0.0]]), centres, jnp.array([0]), scale=4.0)[0]:.4f}")
        0.0294

    Source:
        Deng, Guo, Liu, Gong, Zafeiriou, "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces",
        2020.
    """
    return _arcface("subcenter_arcface_loss", embeddings, weights, labels, scale, margin, easy_margin, where, rank=3)


def cosface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.35,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""CosFace (additive margin softmax): softmax of cosines with a margin taken off the target's cosine.

    $$
    -\log \frac{e^{s (\cos\theta_y - m)}}{e^{s (\cos\theta_y - m)} + \sum_{j \ne y} e^{s \cos\theta_j}}
    $$

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Inverse temperature s of the softmax, positive.
        margin: Margin m, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{cosface_loss(jnp.array([[2.0, 0.0]]), jnp.eye(2), jnp.array([0]), scale=4.0)[0]:.4f}")
        0.0716

    Source:
        Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018.
        Wang, Cheng, Liu, Liu, "Additive Margin Softmax for Face Verification", 2018.
    """
    problem = read("cosface_loss", embeddings, weights, labels, scale, where)
    taken = hyperparameter("cosface_loss", "margin", margin, problem.scores.dtype, 0)
    return margin_softmax(problem, lambda cosine: cosine - taken)


def sphereface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    *,
    margin: Scalar = 4.0,
    scale: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""SphereFace (A-Softmax): the angle to the target class is multiplied, and the embedding keeps its length.

    $$
    -\log \frac{e^{s \lVert x \rVert \psi(m \theta_y)}}
    {e^{s \lVert x \rVert \psi(m \theta_y)} + \sum_{j \ne y} e^{s \lVert x \rVert \cos\theta_j}}, \qquad
    \psi(t) = (-1)^k \cos t - 2k, \quad k = \lfloor t / \pi \rfloor
    $$

    The paper mixes the margin in slowly, by an annealed average of cos θ and ψ; a schedule of `margin` from 1, traced,
    does the same. `sphereface_r_loss` trains without one.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        margin: Factor m of the angle, at least 1; it need not be an integer.
        scale: Factor s beside the length of the embedding, positive; 1 in the paper.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sphereface_loss(jnp.array([[2.0, 1.0]]), jnp.eye(2), jnp.array([0]), margin=2.0)[0]:.4f}")
        0.5368

    Source:
        Liu, Wen, Yu, Li, Raj, Song, "SphereFace: Deep Hypersphere Embedding for Face Recognition", 2017.
    """
    problem = read("sphereface_loss", embeddings, weights, labels, scale, where)
    factor = hyperparameter("sphereface_loss", "margin", margin, problem.scores.dtype, 1)
    problem = problem._replace(scale=problem.scale * problem.lengths[..., None])
    return margin_softmax(problem, lambda cosine: descend(factor * angle_of(cosine)))


def sphereface_r_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    *,
    scale: Scalar = 30.0,
    margin: Scalar = 1.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""SphereFace-R: a multiplied angle up to π, on the unit sphere, with the gradient of the plain cosine.

    $$
    -\log \frac{e^{s\, \eta(\theta_y)}}{e^{s\, \eta(\theta_y)} + \sum_{j \ne y} e^{s \cos\theta_j}}, \qquad
    \eta(\theta) = \cos\min(m \theta, \pi)
    $$

    This is the paper's first version with hard normalisation. The characteristic gradient is detached: the margin
    sets the probabilities, and the gradient then flows as if η were cos θ, so training is stable without annealing.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Inverse temperature s of the softmax, positive.
        margin: Factor m of the angle, at least 1.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sphereface_r_loss(jnp.array([[2.0, 1.0]]), jnp.eye(2), jnp.array([0]), scale=4.0)[0]:.4f}")
        0.2449

    Source:
        Liu, Wen, Raj, Singh, Weller, "SphereFace Revived: Unifying Hyperspherical Face Recognition", 2022.
    """
    problem = read("sphereface_r_loss", embeddings, weights, labels, scale, where)
    factor = hyperparameter("sphereface_r_loss", "margin", margin, problem.scores.dtype, 1)

    def detached(cosine: Array) -> Array:
        turned = jnp.cos(jnp.minimum(factor * angle_of(cosine), jnp.pi))
        return cosine + lax.stop_gradient(turned - cosine)

    return margin_softmax(problem, detached)


def combined_margin(*, factor: Scalar = 1.0, angle: Scalar = 0.0, cosine: Scalar = 0.0) -> Callable[[Array], Array]:
    r"""The margin function of the combined margin: SphereFace's, ArcFace's and CosFace's at once.

    $$
    m(\cos\theta) = \psi(m_1 \theta + m_2) - m_3, \qquad \psi(t) = (-1)^k \cos t - 2k, \quad k = \lfloor t / \pi \rfloor
    $$

    It decreases in the angle everywhere; ψ is the cosine up to π.

    Args:
        factor: Factor $m_1$ of the angle, positive.
        angle: Addend $m_2$ of the angle in radians, at least 0.
        cosine: What is taken off the cosine, $m_3$, at least 0.

    Returns:
        A function of cosines, elementwise, for the `margin` of `margin_softmax_loss`, `unpg_loss` and
        `partial_fc_loss`.

    Raises:
        TypeError: If a margin is no number.
        ValueError: If a margin is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{combined_margin(angle=0.5, cosine=0.2)(jnp.array(0.8)):.4f}")
        0.2144

    Source:
        Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face
        Recognition", 2019.
    """
    return _combined("combined_margin", factor, angle, cosine)


def combined_margin_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    *,
    scale: Scalar = 64.0,
    factor: Scalar = 1.0,
    angle: Scalar = 0.3,
    cosine: Scalar = 0.2,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Combined margin: a factor of the angle, an addend of the angle and one of the cosine, all at once.

    $$
    -\log \frac{e^{s\, m(\theta_y)}}{e^{s\, m(\theta_y)} + \sum_{j \ne y} e^{s \cos\theta_j}}, \qquad
    m(\theta) = \psi(m_1 \theta + m_2) - m_3
    $$

    with ψ the cosine, continued to decrease past π (see `combined_margin`); `arcface_loss` goes on differently there.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Inverse temperature s of the softmax, positive.
        factor: Factor $m_1$ of the angle, positive.
        angle: Addend $m_2$ of the angle in radians, at least 0.
        cosine: What is taken off the cosine, $m_3$, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{combined_margin_loss(jnp.array([[2.0, 0.0]]), jnp.eye(2), jnp.array([0]), scale=4.0)[0]:.4f}")
        0.0476

    Source:
        Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face
        Recognition", 2019.
    """
    problem = read("combined_margin_loss", embeddings, weights, labels, scale, where)
    return margin_softmax(problem, _combined("combined_margin_loss", factor, angle, cosine))


def _combined(function: str, factor: Scalar, angle: Scalar, cosine: Scalar) -> Callable[[Array], Array]:
    """The combined margin as a function of cosines, whose dtype the hyperparameters take."""

    def margin(cosines: Array) -> Array:
        multiplier = hyperparameter(function, "factor", factor, cosines.dtype, 0, open_low=True)
        addend = hyperparameter(function, "angle", angle, cosines.dtype, 0)
        taken = hyperparameter(function, "cosine", cosine, cosines.dtype, 0)
        return descend(multiplier * angle_of(cosines) + addend) - taken

    margin(jnp.zeros((), jnp.float32))  # a hyperparameter out of range is refused at once
    return margin


def _arcface(
    function: str,
    embeddings: ArrayLike,
    weights: ArrayLike,
    labels: ArrayLike,
    scale: Scalar,
    margin: Scalar,
    easy_margin: bool,
    where: ArrayLike | None,
    rank: int,
) -> Array:
    """The margin softmax with the additive angular margin."""
    problem = read(function, embeddings, weights, labels, scale, where, rank=rank)
    added = hyperparameter(function, "margin", margin, problem.scores.dtype, 0, jnp.pi)
    if easy_margin:
        return margin_softmax(problem, lambda cosine: jnp.where(cosine > 0, shift_angle(cosine, added), cosine))
    return margin_softmax(problem, lambda cosine: add_angle(cosine, added))
