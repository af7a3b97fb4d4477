"""Functions broken on purpose, one file a kind: `SPECIMENS` lists checks, cases they refuse and the reasons they give.

A specimen is a real case whose function is wrapped so that it breaks one contract; the wrapper keeps name, signature
and docstring. This file holds what the kinds share.
"""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np


def find(cases, name):
    return next(case for case in cases if case.name == name)


def broken(case, wrapper, field="function"):
    """The case with its function replaced by `wrapper(original, *args, **kwargs)` under the original's name."""
    original = getattr(case, field)

    @functools.wraps(original)
    def function(*args, **kwargs):
        return wrapper(original, *args, **kwargs)

    return dataclasses.replace(case, **{field: function})


def with_extra_keyword(case, field="function"):
    original = getattr(case, field)
    damaged = broken(case, lambda f, *args, **kwargs: f(*args, **kwargs), field)
    signature = inspect.signature(original)
    added = inspect.Parameter("novelty", inspect.Parameter.KEYWORD_ONLY, default=1.0)
    getattr(damaged, field).__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])
    return damaged


def undocumented(case, field="function"):
    damaged = broken(case, lambda f, *args, **kwargs: f(*args, **kwargs), field)
    getattr(damaged, field).__doc__ = "Computes it.\n\nArgs:\n    all: of them.\n"
    return damaged


def on_host(x):
    """The same numbers by way of the host: fails under vmap, and is no device code."""
    return jax.lax.stop_gradient(
        jax.pure_callback(lambda v: np.asarray(v), jax.ShapeDtypeStruct(x.shape, x.dtype), jax.lax.stop_gradient(x))
    )


def on_cpu_alone(x):
    return jax.lax.platform_dependent(x, cpu=lambda v: v + 1)


def talkative(x):
    jax.debug.print("{}", jnp.sum(x))
    return x


def unnamed(f, *args, **kwargs):
    try:
        return f(*args, **kwargs)
    except (ValueError, TypeError) as error:
        raise type(error)("bad argument") from None


def permissive(f, *args, **kwargs):
    try:
        return f(*args, **kwargs)
    except (ValueError, TypeError):
        return jnp.zeros(4)
