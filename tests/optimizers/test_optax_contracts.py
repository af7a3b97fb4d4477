"""Optax's own contract suite, which ships in its wheel, over our transformations.

The suite is read from the installed package, its tables of optimizers and its factory lookup replaced by ours, the
lists `OPTAX_SUITE` of the case files; every test from `class ContribTest` on is Optax's, word for word.
"""

import functools
import importlib.util
import inspect
import pathlib

import optax
import pytest
from contracts.cases import every

# Third-party test code: its deprecations are not ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MARKER = "class ContribTest("
NAMES = ("_MAIN_OPTIMIZERS_UNDER_TEST", "_ALL_OPTIMIZERS_UNDER_TEST", "_get_opt_factory")


def injectable(factory, arguments):
    """The factory, whose counts and other static arguments `inject_hyperparams` must not see, and the floats for it."""
    floats = {name: value for name, value in arguments.items() if isinstance(value, float)}
    fixed = {name: value for name, value in arguments.items() if name not in floats}
    signature = inspect.signature(factory)
    shown = signature.replace(
        parameters=[
            parameter
            for name, parameter in signature.parameters.items()
            if name not in fixed and (isinstance(parameter.default, bool) or not isinstance(parameter.default, int))
        ]
    )

    @functools.wraps(factory)
    def made(*args, **kwargs):
        return factory(**shown.bind(*args, **kwargs).arguments, **fixed)

    made.__signature__ = shown
    return made, floats


FACTORIES = {name: injectable(factory, arguments) for name, factory, arguments in every("OPTAX_SUITE")}


def _contrib_test():
    contrib = importlib.util.find_spec("optax.contrib")
    path = pathlib.Path(contrib.submodule_search_locations[0]) / "_common_test.py"
    head, found, body = path.read_text(encoding="utf-8").partition(MARKER)
    missing = [name for name in NAMES if name not in head]
    if not found or missing:
        raise RuntimeError(f"optax {optax.__version__}: {path} has no {MARKER!r} or lacks {missing}")
    namespace = {"__name__": __name__, "__file__": str(path)}
    exec(compile(head, str(path), "exec"), namespace)
    under_test = tuple(
        {"opt_name": name, "opt_kwargs": arguments, "wrapper_name": None, "wrapper_kwargs": None}
        for name, (_, arguments) in FACTORIES.items()
    )
    namespace.update(dict.fromkeys(NAMES[:2], under_test), _get_opt_factory=lambda name: FACTORIES[name][0])
    exec(compile(MARKER + body, str(path), "exec"), namespace)
    return namespace["ContribTest"]


ContribTest = _contrib_test()


def test_the_suite_is_whole():
    """Eight tests in Optax 0.2.8, each generated for every one of our factories."""
    names = [name for name in dir(ContribTest) if name.startswith("test_")]
    assert len(names) >= 16 * len(FACTORIES)
