"""What the contract checks of every kind share: closeness, named errors, jaxprs, exports and docstrings."""

import doctest
import inspect
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

PLATFORMS = ("cpu", "cuda", "tpu")
LOW_PRECISION = (jnp.float16, jnp.bfloat16)


@dataclass(frozen=True, eq=False)
class Fault:
    """A call that must be refused: `changes` replaces arguments (a function gets the good value), `words` must be said.

    Every change names the argument it spoils, and that name must be in the message unless `words` says otherwise.
    """

    changes: Mapping[str, Any]
    error: type[Exception] | tuple[type[Exception], ...] = (ValueError, TypeError)
    words: tuple[str, ...] | None = None

    def apply(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        changed = {
            name: change(arguments[name]) if inspect.isfunction(change) and name in arguments else change
            for name, change in self.changes.items()
        }
        return {**arguments, **changed}

    def check(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        """Call with the fault; the error must be of the right type and name the function and the argument."""
        name = function.__name__
        try:
            call(function, self.apply(arguments))
        except self.error as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"{name}: {self} raised {type(error).__name__}, not {self.error}: {error}") from error
        else:
            raise AssertionError(f"{name}: {self} was accepted")
        for word in (name, *(tuple(self.changes) if self.words is None else self.words)):
            assert word in message, f"{name}: {self} gave an error without {word!r}: {message}"

    def __str__(self) -> str:
        return f"Fault({', '.join(self.changes)})"


def call(function: Callable[..., Any], arguments: Mapping[str, Any], **keywords: Any) -> Any:
    """`function` with named arguments: by position where the signature allows it, by keyword elsewhere."""
    parameters = inspect.signature(function).parameters
    keywords = {**arguments, **keywords}
    positional = []
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY or name not in keywords:
            break
        positional.append(keywords.pop(name))
    return function(*positional, **keywords)


def same(actual: Any, expected: Any, message: str = "", *, ulps: float = 32) -> None:
    """Equal structure, and every leaf within `ulps` roundings of its dtype, relative to the leaf's largest entry."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected), f"{message}: structures differ"
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
        assert jnp.shape(a) == jnp.shape(e), f"{message}: shape {jnp.shape(a)} instead of {jnp.shape(e)}"
        a, e = (x if isinstance(x, jax.Array) else jnp.asarray(x) for x in (a, e))
        assert a.dtype == e.dtype, f"{message}: dtype {a.dtype} instead of {e.dtype}"
        rounding = ulps * float(jnp.finfo(a.dtype).eps) if jnp.issubdtype(a.dtype, jnp.inexact) else 0.0
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        largest = np.max(np.abs(e), initial=0.0, where=np.isfinite(e))
        np.testing.assert_allclose(a, e, rtol=rounding, atol=rounding * largest, err_msg=message)


def all_finite(tree: Any, message: str) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            finite = np.isfinite(np.asarray(leaf, np.float64))
            assert finite.all(), f"{message}: not finite at {jax.tree_util.keystr(path)}: {leaf}"


def primitives(jaxpr: Any) -> Iterator[str]:
    """The names of all primitives of a jaxpr, those of inner jaxprs included."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for parameter in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            if hasattr(parameter, "eqns") or hasattr(parameter, "jaxpr"):
                yield from primitives(parameter)


def check_stays_on_device(function: Callable[..., Any], *arguments: Any) -> None:
    """No host callback (pure, io or debug) anywhere in the jaxpr."""
    names = set(primitives(jax.make_jaxpr(function)(*arguments)))
    called = {name for name in names if "callback" in name or name in {"infeed", "outfeed", "debug_print"}}
    assert not called, f"host callback: {called}"


def check_lowers_everywhere(function: Callable[..., Any], *arguments: Any) -> None:
    """`jax.export` for CPU, CUDA and TPU succeeds on this machine, which has only one of them."""
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
    assert exported.platforms == PLATFORMS


def check_documented(function: Callable[..., Any], *, raises: bool, returns: bool = True, source: bool) -> None:
    """A docstring with every parameter under Args, Returns, Raises, a doctest that prints a number, and the source."""
    text = inspect.getdoc(function) or ""
    name = function.__name__
    sections = dict(re.findall(r"^(\w+):\n((?:^[ ]+.*\n?|^\n)*)", text, flags=re.MULTILINE))
    parameters = inspect.signature(function).parameters
    if parameters:
        assert "Args" in sections, f"{name}: no Args in the docstring"
    for parameter in parameters:
        described = re.search(
            rf"^\s+\*{{0,2}}(?:[\w*]+, )*\*{{0,2}}{parameter}\b.*:", sections["Args"], flags=re.MULTILINE
        )
        assert described, f"{name}: Args does not describe {parameter}"
    assert not returns or "Returns" in sections, f"{name}: no Returns in the docstring"
    assert not raises or "Raises" in sections, f"{name}: no Raises in the docstring"
    examples = doctest.DocTestParser().get_examples(text)
    assert any(re.search(r"\d", example.want) for example in examples), f"{name}: no doctest that prints a number"
    assert not source or re.search(r"\b(?:19|20)\d\d\b", text), f"{name}: no source with its year in the docstring"


def check_parameters_are_known(function: Callable[..., Any], known: set[str]) -> None:
    """Every parameter of the signature is exercised by the case, so that a new keyword cannot arrive untested."""
    parameters = set(inspect.signature(function).parameters)
    missing, absent = parameters - known, known - parameters
    assert not missing, f"{function.__name__}: the case does not exercise {sorted(missing)}"
    assert not absent, f"{function.__name__}: the case names parameters that do not exist: {sorted(absent)}"


def pairs(
    cases: Any,
    checks: Mapping[Callable[..., None], Callable[[Any], bool]],
    *,
    once: Collection[Callable[..., None]] = (),
    inner: Collection[Callable[..., None]] | None = None,
    newest: Collection[Callable[..., None]] | None = None,
) -> list[Any]:
    """The test parameters: every case with every check that applies.

    Checks in `once` run on one case of a function alone, whatever options its other cases set. Where `scale_by_x` is
    inside `x`, which has a case, only the checks in `inner` run on it. `CONTRACTS=newest`, for a second version of JAX,
    leaves one case a function, of the two only `x`, and the checks in `newest`.
    """
    cases = list(cases)
    aliases = {f"scale_by_{case.name}" for case in cases}
    functions = {name.partition("[")[0] for name in aliases}
    inside = {case for case in cases if case.name in aliases}
    first = set({getattr(case, "function", case): case for case in reversed(cases)}.values()) - inside
    if os.environ.get("CONTRACTS") == "newest":
        cases = [case for case in cases if case in first and case.name.partition("[")[0] not in functions]
        checks = {check: applies for check, applies in checks.items() if newest is None or check in newest}
    return [
        pytest.param(check, case, id=f"{case.name}-{check.__name__.removeprefix('check_')}")
        for case in cases
        for check, applies in checks.items()
        if applies(case)
        and (check not in once or case in first)
        and (inner is None or case not in inside or check in inner)
    ]
