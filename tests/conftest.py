"""How XLA runs the tests, set before JAX starts.

Eight virtual CPU devices, so that sharded runs are ordinary tests. And machine code that is not optimised: a test
spends its time on compiling, not on running. Fusion, aliasing and buffers, which tests assert, are decided before that
and stay the same. `TEST_OPTIMISED=1` compiles as users do.
"""

import os

os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        *(
            []
            if os.environ.get("TEST_OPTIMISED")
            else ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
        ),
    ]
).strip()

import itertools

import jax
import pytest

_compiled: list[str] = []


def _record(event, duration, *, fun_name="", **details):
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(fun_name)


jax.monitoring.register_event_duration_secs_listener(_record)


@pytest.fixture
def compiled():
    """The names of the functions that XLA compiles from here on, one entry a compilation."""
    _compiled.clear()
    return _compiled


_finished = itertools.count(1)


def pytest_runtest_teardown():
    """Thousands of tests' compiled programs fill the memory of a small machine: forget them now and then."""
    if next(_finished) % 1000 == 0:
        jax.clear_caches()
