"""Eight virtual CPU devices for every test, so that sharded runs are ordinary tests; set before JAX starts."""

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

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
