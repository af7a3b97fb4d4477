"""`'ademamix(1e-3, alpha=5)'` to the object it names: literals and calls of public names, by `ast`, never `eval`."""

import ast
import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from benchmarks.train import catalogue
from benchmarks.train.catalogue import Functions, is_rule, nearest
from benchmarks.train.errors import UsageError, one_line
from optimizers import StatefulRule

ARTICLES = {"objective": "an objective", "optimizer": "an optimizer", "gradient": "a gradient rule"}
ARTICLES |= {"aggregate": "an aggregator", "schedule": "a schedule"}
# What may stand inside an expression of each kind, beside the kind itself.
WITHIN = {"optimizer": ("aggregate", "schedule"), "gradient": ("schedule",), "aggregate": ("schedule",)}
# The library whose functions take part under their full name.
LIBRARIES = {"optimizer": "optax", "schedule": "optax", "objective": "rax"}

LearningRate = Callable[[str], Any]


class Scope(NamedTuple):
    """What an expression may name."""

    kind: str
    functions: Functions
    learning_rate: LearningRate | None

    @property
    def option(self) -> str:
        """The option that the expression was given to, for messages."""
        return "--learning-rate" if self.kind == "schedule" else f"--{self.kind}"


def split(text: str, option: str) -> list[str]:
    """The expressions in `'adamw, lion(1e-3)'`, each in its canonical spelling."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{option}: cannot read {text!r}: {getattr(error, 'msg', one_line(error))}") from None
    parts = tree.elts if isinstance(tree, ast.Tuple) else [tree]
    if not parts:
        raise UsageError(f"{option}: nothing given")
    return [ast.unparse(part) for part in parts]


def names_in(text: str) -> set[str]:
    """Every name in an expression."""
    return {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}


def objective(text: str) -> "functools.partial[jax.Array]":
    """The objective that an expression names, with its keywords bound."""
    scope = _scope("objective")
    node = ast.parse(text, mode="eval").body
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    function = _resolve(call.func, scope)
    if call.args:
        raise UsageError(f"--objective: {text}: the task gives the arrays; set hyperparameters by keyword")
    keywords = _keywords(call, scope)
    name = ast.unparse(call.func)
    known = catalogue.keywords_of(function, "objective")
    for keyword in keywords:
        if keyword not in known:
            raise _unknown_keyword(scope, name, keyword, list(known))
    given = {*keywords, *catalogue.required_facts(function)}
    missing = [key for key, p in known.items() if p.default is p.empty and key not in given]
    if missing:
        raise UsageError(f"--objective: {name}() needs {', '.join(missing)}")
    return functools.partial(function, **keywords)


def gradient_rule(text: str) -> Callable[..., Any] | StatefulRule:
    """The gradient rule that an expression names."""
    return _build(text, _scope("gradient"), lambda value: callable(value) or isinstance(value, StatefulRule))


def aggregator(text: str) -> optax.GradientTransformation:
    """The aggregator that an expression names."""
    return _build(text, _scope("aggregate"), _is_transformation)


def optimizer(text: str, learning_rate: LearningRate) -> optax.GradientTransformation:
    """The optimizer that an expression names; `learning_rate(name)` fills in the learning rates that it leaves out."""
    return _build(text, _scope("optimizer", learning_rate), _is_transformation)


def number_or_schedule(text: str) -> Any:
    """The number or the Optax schedule that an expression gives."""
    return _build(text, _scope("schedule"), lambda value: callable(value) or _is_number(value))


def _scope(kind: str, learning_rate: LearningRate | None = None) -> Scope:
    functions: Functions = {}
    for inner in (*WITHIN.get(kind, ()), kind):
        functions = functions | catalogue.functions_of(inner)
    return Scope(kind, functions, learning_rate)


def _build(text: str, scope: Scope, accepts: Callable[[Any], bool]) -> Any:
    value = _evaluate(ast.parse(text, mode="eval").body, scope)
    if not accepts(value):
        raise UsageError(f"{scope.option}: {text} is not {ARTICLES[scope.kind]}")
    return value


def _is_transformation(value: Any) -> bool:
    return isinstance(value, optax.GradientTransformation)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _evaluate(node: ast.expr, scope: Scope) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            value = _evaluate(operand, scope)
            if not _is_number(value):
                raise UsageError(f"{scope.option}: {ast.unparse(node)}: a sign needs a number")
            return -value if isinstance(node.op, ast.USub) else value
        case ast.Tuple(elts=parts):
            return tuple(_evaluate(part, scope) for part in parts)
        case ast.List(elts=parts):
            return [_evaluate(part, scope) for part in parts]
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_evaluate(k, scope): _evaluate(v, scope) for k, v in zip(keys, values) if k is not None}
        case ast.Name() | ast.Attribute():
            function = _resolve(node, scope)
            return function if is_rule(function) else _call(node, function, [], {}, scope)
        case ast.Call(func=func, args=args):
            function = _resolve(func, scope)
            if is_rule(function):
                raise UsageError(f"{scope.option}: {ast.unparse(func)} is a rule itself; write it without parentheses")
            return _call(func, function, [_evaluate(arg, scope) for arg in args], _keywords(node, scope), scope)
        case _:
            raise UsageError(f"{scope.option}: {ast.unparse(node)!r} is neither a literal nor a call of a public name")


def _keywords(call: ast.Call, scope: Scope) -> dict[str, Any]:
    if any(keyword.arg is None for keyword in call.keywords):
        raise UsageError(f"{scope.option}: {ast.unparse(call)}: write the keywords out")
    return {str(keyword.arg): _evaluate(keyword.value, scope) for keyword in call.keywords}


def _resolve(node: ast.expr, scope: Scope) -> Callable[..., Any]:
    name = ast.unparse(node)
    library = LIBRARIES.get(scope.kind)
    if library and name.startswith(f"{library}."):
        return _from_library(library, name, scope)
    if name in scope.functions:
        return scope.functions[name]
    other = catalogue.kind_of(name)
    if other and other not in (scope.kind, "schedule"):
        raise UsageError(f"{scope.option}: {name} is {ARTICLES[other]}; give it with --{other}")
    own = catalogue.functions_of(scope.kind)
    what = ARTICLES[scope.kind].split(" ", 1)[1]
    raise UsageError(f"{scope.option}: no {what} named {name!r}{nearest(name, own)} (--list shows all)")


def _from_library(library: str, name: str, scope: Scope) -> Callable[..., Any]:
    module: Any = importlib.import_module(library)
    value: Any = module
    for part in name.split(".")[1:]:
        public = {key: v for key, v in vars(value).items() if not key.startswith("_")}
        if part not in public:
            raise UsageError(f"{scope.option}: {library} has no {name!r}{nearest(part, public)}")
        value = public[part]
        if not (inspect.isfunction(value) or value is optax.contrib):
            break
    if not inspect.isfunction(value):
        raise UsageError(f"{scope.option}: {name!r} is no function of {library}")
    return value


def _call(node: ast.expr, function: Callable[..., Any], args: list, kwargs: dict[str, Any], scope: Scope) -> Any:
    name = ast.unparse(node)
    signature = inspect.signature(function)
    _check_binding(name, signature, args, kwargs, scope)
    wants = "learning_rate" in signature.parameters and scope.learning_rate is not None
    if wants and "learning_rate" not in signature.bind_partial(*args, **kwargs).arguments:
        assert scope.learning_rate is not None
        kwargs = kwargs | {"learning_rate": scope.learning_rate(name)}
    missing = [
        p.name
        for p in signature.parameters.values()
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and p.name not in signature.bind_partial(*args, **kwargs).arguments
    ]
    if missing:
        raise UsageError(f"{scope.option}: {name}() needs {', '.join(missing)}")
    try:
        return function(*args, **kwargs)
    except Exception as error:
        raise UsageError(f"{scope.option}: {name}: {one_line(error)}") from None


def _check_binding(name: str, signature: inspect.Signature, args: list, kwargs: dict, scope: Scope) -> None:
    parameters = signature.parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for keyword in kwargs:
        if keyword not in parameters and not takes_any:
            raise _unknown_keyword(scope, name, keyword, list(parameters))
    try:
        signature.bind_partial(*args, **kwargs)
    except TypeError as error:
        raise UsageError(f"{scope.option}: {name}(): {one_line(error)}") from None


def _unknown_keyword(scope: Scope, name: str, keyword: str, known: list[str]) -> UsageError:
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    return UsageError(f"{scope.option}: {name}() has no keyword {keyword!r}{nearest(keyword, known)} ({takes})")
