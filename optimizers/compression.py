"""Compressed messages between workers, and extragradient steps that exchange nothing else.

A variational inequality asks for the z* at which an operator F vanishes: the gradient of a minimisation, or (∇_x f,
-∇_y f) of a saddle point, the mean of M workers' operators. Both methods are one step around a snapshot w, whose
operators everybody knows,

    z̄ = tau z + (1 - tau) w,    z½ = z̄ - γ F(w),    z⁺ = z½ - message(γ, F_m(z½) - F_m(w)),

and differ in the message: unbiased compression of the differences, or contractive compression with error feedback.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._trees import PyTree

Operator = Callable[[PyTree], PyTree]
Message = Callable[[Any, PyTree, PyTree, jax.Array], tuple[PyTree, PyTree]]


class MashaState(NamedTuple):
    """Where the method stands.

    Attributes:
        count: number of steps made, int32 `[]`.
        z: the point.
        snapshot: the point w whose operators were exchanged in full.
        operators: the workers' operators at the snapshot, leaves `[M, ...]`.
        errors: what compression has kept back so far, of the workers (leaves `[M, ...]`) and of the server (`[...]`);
            None where compression is unbiased.
    """

    count: jax.Array  # type: ignore[assignment]  # a method of tuples
    z: PyTree
    snapshot: PyTree
    operators: PyTree
    errors: Any


class MashaMethod(NamedTuple):
    """A pair of pure functions: `init(z) -> MashaState` and `step(state, key) -> MashaState`."""

    init: Callable[[PyTree], MashaState]
    step: Callable[[MashaState, jax.Array], MashaState]


def _check_k(function: str, x: jax.Array, k: int) -> int:
    k = check_positive_integer(function, "k", k)
    if k > x.size:
        raise ValueError(f"{function}: k must be at most the number of entries, {x.size}, got {k}")
    return k


def _kept(x: jax.Array, scores: jax.Array, k: int) -> jax.Array:
    flat = x.ravel()
    chosen = lax.top_k(scores, k)[1]
    return jnp.zeros_like(flat).at[chosen].set(flat[chosen]).reshape(x.shape)


def rand_k(x: jax.Array, key: jax.Array, k: int) -> jax.Array:
    r"""Rand-k: k entries drawn without replacement, scaled so that the expectation is the whole.

    $$Q(x)_i = \frac{d}{k}\, x_i \, [i \in S], \quad |S| = k, \qquad \mathbb{E}\, Q(x) = x, \qquad
    \mathbb{E} \lVert Q(x) - x \rVert^2 = \left(\frac{d}{k} - 1\right) \lVert x \rVert^2$$

    Args:
        x: the message, of any shape, with d entries.
        key: a typed PRNG key.
        k: number of entries kept, from 1 to d.

    Returns:
        The compressed message, of the shape and dtype of `x`; d - k entries are 0.

    Raises:
        ValueError: `k` is below 1 or above d.
        TypeError: `k` is no integer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> message = rand_k(jnp.ones(8), jax.random.key(0), k=2)
        >>> print(jnp.sum(message == 4.0), jnp.sum(message))
        2 8.0

    Source:
        A. Beznosikov, P. Richtárik, M. Diskin, M. Ryabinin, A. Gasnikov, "Distributed Methods with Compressed
        Communication for Solving Variational Inequalities, with Theoretical Guarantees", 2022.
    """
    x = jnp.asarray(x)
    k = _check_k("rand_k", x, k)
    return _kept(x, jax.random.uniform(key, (x.size,)), k) * jnp.asarray(x.size / k, x.dtype)


def top_k(x: jax.Array, k: int) -> jax.Array:
    r"""Top-k: the k entries of largest magnitude, the others 0.

    $$\lVert C(x) - x \rVert^2 \le \left(1 - \frac{k}{d}\right) \lVert x \rVert^2$$

    It is contractive, not unbiased: what it leaves out has to be remembered and sent later (error feedback).

    Args:
        x: the message, of any shape, with d entries.
        k: number of entries kept, from 1 to d. Of equal magnitudes the first are kept.

    Returns:
        The compressed message, of the shape and dtype of `x`.

    Raises:
        ValueError: `k` is below 1 or above d.
        TypeError: `k` is no integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(top_k(jnp.array([1.0, -3.0, 2.0]), k=2))
        [ 0. -3.  2.]

    Source:
        A. Beznosikov, P. Richtárik, M. Diskin, M. Ryabinin, A. Gasnikov, "Distributed Methods with Compressed
        Communication for Solving Variational Inequalities, with Theoretical Guarantees", 2022.
    """
    x = jnp.asarray(x)
    return _kept(x, jnp.abs(x).ravel(), _check_k("top_k", x, k))


def _mean(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.mean(x, axis=0), tree)


def _method(
    operator_fn: Operator,
    learning_rate: Any,
    tau: Any,
    prox_fn: Callable[[PyTree, Any], PyTree] | None,
    init_errors: Callable[[PyTree], Any],
    message: Message,
) -> MashaMethod:
    """The family: the step of the module's docstring, with a message of its own."""

    def prox(z: PyTree) -> PyTree:
        return z if prox_fn is None else prox_fn(z, learning_rate)

    def init(z: PyTree) -> MashaState:
        z = jax.tree.map(jnp.asarray, z)
        operators = operator_fn(z)
        return MashaState(jnp.zeros([], jnp.int32), z, z, operators, init_errors(operators))

    def step(state: MashaState, key: jax.Array) -> MashaState:
        coin, rest = jax.random.split(key)
        towards = jax.tree.map(
            lambda z, w, f: tau * z + (1 - tau) * w - learning_rate * f,
            state.z,
            state.snapshot,
            _mean(state.operators),
        )
        half = prox(towards)
        differences = jax.tree.map(jnp.subtract, operator_fn(half), state.operators)
        sent, errors = message(learning_rate, differences, state.errors, rest)
        new = prox(jax.tree.map(jnp.subtract, towards, sent))
        renew = jax.random.bernoulli(coin, 1 - tau)
        snapshot = jax.tree.map(lambda a, b: jnp.where(renew, a, b), new, state.snapshot)
        operators = lax.cond(renew, lambda: operator_fn(new), lambda: state.operators)
        return MashaState(state.count + 1, new, snapshot, operators, errors)

    return MashaMethod(init, step)


def _check(function: str, operator_fn: Any, learning_rate: Any, tau: Any, prox_fn: Any, **compressors: Any) -> None:
    check_callable(function, "operator_fn", operator_fn, "(z) -> operators [M, ...]")
    check_range(function, "learning_rate", learning_rate, 0.0)
    check_range(function, "tau", tau, 0.0, 1.0, open_high=True)
    if prox_fn is not None:
        check_callable(function, "prox_fn", prox_fn, "(z, step_size) -> z")
    for name, compressor in compressors.items():
        if compressor is not None:
            check_callable(function, name, compressor, "of a message")


def masha1(
    operator_fn: Operator,
    *,
    learning_rate: Any,
    tau: Any,
    worker_compressor: Callable[[jax.Array, jax.Array], jax.Array],
    server_compressor: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    prox_fn: Callable[[PyTree, Any], PyTree] | None = None,
) -> MashaMethod:
    r"""MASHA1: variance-reduced extragradient whose workers and server send unbiased compressions.

    $$
    \bar z = \tau z + (1 - \tau) w, \quad z_{1/2} = \bar z - \gamma F(w), \quad
    z^+ = z_{1/2} - \gamma\, Q_{srv}\Bigl(\frac1M \sum_m Q_m\bigl(F_m(z_{1/2}) - F_m(w)\bigr)\Bigr)
    $$

    and with probability 1 - tau the snapshot becomes $w^+ = z^+$ and the operators are exchanged in full. With no
    compression and tau = 0 this is the extragradient method. With `prox_fn`, both steps end in it.

    Args:
        operator_fn: `operator_fn(z)`, the workers' operators, leaves `[M, ...]` over the leaves `[...]` of z. To run
            the workers on M devices, shard that axis.
        learning_rate: step size γ, at least 0.
        tau: weight of the point against the snapshot and probability of keeping the latter, in [0, 1): near 1 where
            messages are compressed much (1 - k / d for `rand_k`).
        worker_compressor: `worker_compressor(x, key) -> x`, unbiased, such as `rand_k`; applied to each leaf of each
            worker with a key of its own.
        server_compressor: the same for the server's message to the workers; None sends it whole.
        prox_fn: `prox_fn(z, step_size)`, a proximal map or a projection onto the feasible set; None for none.

    Returns:
        `init(z)` and `step(state, key)`, pure functions for `jax.jit` and `jax.lax.scan`.

    Raises:
        ValueError: `learning_rate` or `tau` is out of range.
        TypeError: a function is none.

    Examples:
        The saddle point of x y, from (1, 1), by two workers:

        >>> import jax, jax.numpy as jnp
        >>> operators = lambda z: jnp.stack([jnp.array([2 * z[1], 0.0]), jnp.array([0.0, -2 * z[0]])])
        >>> half = lambda x, key: rand_k(x, key, k=1)
        >>> init, step = masha1(operators, learning_rate=0.3, tau=0.5, worker_compressor=half)
        >>> keys = jax.random.split(jax.random.key(0), 300)
        >>> state, _ = jax.lax.scan(lambda s, key: (step(s, key), None), init(jnp.ones(2)), keys)
        >>> print(bool(jnp.linalg.norm(state.z) < 0.01))
        True
        >>> print(state.count)
        300

    Source:
        A. Beznosikov, P. Richtárik, M. Diskin, M. Ryabinin, A. Gasnikov, "Distributed Methods with Compressed
        Communication for Solving Variational Inequalities, with Theoretical Guarantees", 2022. The snapshot is renewed
        at $z^+$, as by A. Alacaoglu, Y. Malitsky, "Stochastic Variance Reduction for Variational Inequality Methods",
        2022, whose method this is without compression.
    """
    _check(
        "masha1",
        operator_fn,
        learning_rate,
        tau,
        prox_fn,
        worker_compressor=worker_compressor,
        server_compressor=server_compressor,
    )
    check_callable("masha1", "worker_compressor", worker_compressor, "(x, key) -> x")

    def message(step_size: Any, differences: PyTree, errors: Any, key: jax.Array) -> tuple[PyTree, Any]:
        del errors

        def leaf(number: int, x: jax.Array) -> jax.Array:
            keys = jax.random.split(jax.random.fold_in(key, number), len(x) + 1)
            mean = jnp.mean(jax.vmap(worker_compressor)(x, keys[1:]), axis=0)
            return step_size * (mean if server_compressor is None else server_compressor(mean, keys[0]))

        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(differences)
        return treedef.unflatten([leaf(number, x) for number, x in enumerate(leaves)]), None

    return _method(operator_fn, learning_rate, tau, prox_fn, lambda operators: None, message)


def masha2(
    operator_fn: Operator,
    *,
    learning_rate: Any,
    tau: Any,
    worker_compressor: Callable[[jax.Array], jax.Array],
    server_compressor: Callable[[jax.Array], jax.Array] | None = None,
    prox_fn: Callable[[PyTree, Any], PyTree] | None = None,
) -> MashaMethod:
    r"""MASHA2: the step of `masha1` with contractive compression, whose errors are sent later.

    $$
    c_m = C_m\bigl(e_m + \gamma (F_m(z_{1/2}) - F_m(w))\bigr), \quad
    e_m^+ = e_m + \gamma (F_m(z_{1/2}) - F_m(w)) - c_m, \quad
    z^+ = z_{1/2} - C_{srv}\Bigl(e + \frac1M \sum_m c_m\Bigr)
    $$

    with the server's own error e fed back likewise. Everything else is as in `masha1`.

    Args:
        operator_fn: `operator_fn(z)`, the workers' operators, leaves `[M, ...]` over the leaves `[...]` of z.
        learning_rate: step size γ, at least 0.
        tau: weight of the point against the snapshot and probability of keeping the latter, in [0, 1).
        worker_compressor: `worker_compressor(x) -> x`, contractive, such as `top_k`; applied to each leaf of each
            worker.
        server_compressor: the same for the server's message to the workers; None sends it whole.
        prox_fn: `prox_fn(z, step_size)`, a proximal map or a projection onto the feasible set; None for none.

    Returns:
        `init(z)` and `step(state, key)`, pure functions for `jax.jit` and `jax.lax.scan`; the key decides when the
        snapshot is renewed.

    Raises:
        ValueError: `learning_rate` or `tau` is out of range.
        TypeError: a function is none.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> operators = lambda z: jnp.stack([z - 1.0, 3.0 * z + 1.0])  # mean 2 z
        >>> init, step = masha2(operators, learning_rate=0.1, tau=0.5, worker_compressor=lambda x: top_k(x, 1))
        >>> keys = jax.random.split(jax.random.key(0), 200)
        >>> state, _ = jax.lax.scan(lambda s, key: (step(s, key), None), init(jnp.ones(3)), keys)
        >>> print(bool(jnp.linalg.norm(state.z) < 1e-3))
        True
        >>> print(state.count)
        200

    Source:
        A. Beznosikov, P. Richtárik, M. Diskin, M. Ryabinin, A. Gasnikov, "Distributed Methods with Compressed
        Communication for Solving Variational Inequalities, with Theoretical Guarantees", 2022.
    """
    _check(
        "masha2",
        operator_fn,
        learning_rate,
        tau,
        prox_fn,
        worker_compressor=worker_compressor,
        server_compressor=server_compressor,
    )
    check_callable("masha2", "worker_compressor", worker_compressor, "(x) -> x")

    def message(step_size: Any, differences: PyTree, errors: Any, key: jax.Array) -> tuple[PyTree, Any]:
        del key
        workers = jax.tree.map(lambda e, x: e + step_size * x, errors[0], differences)
        sent = jax.tree.map(jax.vmap(worker_compressor), workers)
        kept_back = jax.tree.map(jnp.subtract, workers, sent)
        if server_compressor is None:
            return _mean(sent), (kept_back, errors[1])
        total = jax.tree.map(jnp.add, errors[1], _mean(sent))
        answer = jax.tree.map(server_compressor, total)
        return answer, (kept_back, jax.tree.map(jnp.subtract, total, answer))

    def init_errors(operators: PyTree) -> Any:
        return jax.tree.map(jnp.zeros_like, (operators, _mean(operators)))

    return _method(operator_fn, learning_rate, tau, prox_fn, init_errors, message)
