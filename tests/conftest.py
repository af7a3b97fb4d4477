"""How XLA runs the tests, set before JAX starts.

Eight virtual CPU devices, so that sharded runs are ordinary tests. A test spends its time on compiling, not on running.
So machine code is neither optimised nor made in parts: fusion, aliasing and buffers, which tests assert, are decided
before that and stay the same (`TEST_OPTIMISED=1` compiles as users do). Where XLA still has its older emitters, which
make the code of a fusion in a third of the time, they make what tests run; what tests look into (`lower().compile()`)
is made as users have it, and so is everything on a newer JAX. And a program that an earlier test has compiled is taken
from a folder, which goes with the run. Each worker has its own: JAX writes the files in place, so that another process
could read a half of one.
"""

import gc
import itertools
import os
import shutil
import tempfile
from importlib.metadata import version

os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        *(
            []
            if os.environ.get("TEST_OPTIMISED")
            else [
                "--xla_backend_optimization_level=0",
                "--xla_llvm_disable_expensive_passes=true",
                "--xla_cpu_parallel_codegen_split_count=1",
                *(["--xla_cpu_use_fusion_emitters=false"] if version("jaxlib").startswith("0.10.") else []),
            ]
        ),
    ]
).strip()

import jax
import pytest

_programs = tempfile.mkdtemp(prefix="compiled-programs-")
jax.config.update("jax_compilation_cache_dir", _programs)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

if "--xla_cpu_use_fusion_emitters=false" in os.environ["XLA_FLAGS"]:
    _compile = jax.stages.Lowered.compile

    def _compile_as_users_do(lowered, compiler_options=None, **keywords):
        return _compile(lowered, {"xla_cpu_use_fusion_emitters": True, **(compiler_options or {})}, **keywords)

    jax.stages.Lowered.compile = _compile_as_users_do


def pytest_collection_finish():
    """What is there when the tests start is there to the end: no collection of garbage walks over it."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    shutil.rmtree(_programs, ignore_errors=True)


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
