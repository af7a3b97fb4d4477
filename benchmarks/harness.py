"""Measure a function of ours beside a peer's and beside a copy: same process, same arrays, turn by turn.

An `Entry` says what to compare; `measure_entry` returns a `Measurement` with everything that is shown or saved:
seconds (median and quartiles), ratios taken round by round, compile seconds, the compiler's memory figures, and
the bytes per second reached beside those of a copy. `benchmarks/README.md` explains how to read the numbers.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Clock = Callable[[], float]

MIN_SAMPLE_SECONDS = 2e-3
MAX_CALLS = 1000
PLACES = 5


@dataclass(frozen=True)
class Program:
    """One contender: `carry = function(carry, *arguments)`, or `function(*arguments)` where nothing is carried.

    Attributes:
        function: A JAX function; it is compiled once by the harness.
        arguments: Arrays that stay as they are and that ours and the peer may share.
        carry: Pytree of arrays that the function replaces, such as `(params, opt_state)`. The harness copies it,
            donates it to every call, and hands each call what the last one returned.
        jit: False for a peer that is not JAX; the function is then called as it is and must wait for its own result,
            and nothing is copied or donated.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    carry: Any = None
    jit: bool = True


class Peer(NamedTuple):
    """The other side: the name shown, the distribution that must be installed, and its program from the arrays."""

    name: str
    distribution: str
    program: Callable[..., Program]

    @property
    def version(self) -> str | None:
        """The installed version, or None where the peer is not installed."""
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return None


@dataclass(frozen=True)
class Entry:
    """What to compare.

    Attributes:
        name: `what/shape`, as in `lion/20x1024x1024`.
        arrays: `arrays(quick)` builds the arrays that both sides get; tiny ones where `quick`.
        ours: Our program from the arrays.
        moved: The bytes that an ideal implementation reads plus writes, from the arrays: each word once.
        peer: What to compare with; None shows absolute numbers and the copy alone.
        goal: The ratio ours / peer that we want to stay under or meet. It is reported and never fails.
        temp_free: Whether ours should need no temporary to speak of (less than 1 % of the argument bytes).
        result: What to compare in the two programs' first output, to show that both compute the same thing.
    """

    name: str
    arrays: Callable[[bool], tuple[Any, ...]]
    ours: Callable[..., Program]
    moved: Callable[..., int]
    peer: Peer | None = None
    goal: float | None = None
    temp_free: bool = False
    result: Callable[[Any], Any] | None = None


class CompileSeconds(NamedTuple):
    """Seconds to trace, to lower to StableHLO, and to compile, each from cold caches."""

    trace: float
    lower: float
    compile: float

    @property
    def total(self) -> float:
        """All three."""
        return self.trace + self.lower + self.compile


class Memory(NamedTuple):
    """Bytes of one executable as the compiler reports them; `alias` counts outputs written into donated arguments."""

    argument: int
    output: int
    alias: int
    temp: int


class Spread(NamedTuple):
    """Median with the first and third quartile."""

    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class Side:
    """What was measured of one program; `samples` are the seconds per call, one a round."""

    samples: tuple[float, ...]
    compile_seconds: CompileSeconds | None = None
    memory: Memory | None = None

    @property
    def seconds(self) -> Spread:
        """Seconds per call."""
        return spread(self.samples)


@dataclass(frozen=True)
class Measurement:
    """All numbers of one entry."""

    entry: Entry
    ours: Side
    peer: Side | None
    copy: Side
    moved: int
    calls: int
    difference: float | None = None

    @property
    def ratio(self) -> Spread | None:
        """Ours / peer, round by round."""
        return None if self.peer is None else ratios(self.ours.samples, self.peer.samples)

    @property
    def times_copy(self) -> Spread:
        """Ours / copy, round by round."""
        return ratios(self.ours.samples, self.copy.samples)

    @property
    def gigabytes_per_second(self) -> float:
        """Effective rate of ours: the bytes an ideal implementation moves, over the seconds ours took."""
        return self.moved / self.ours.seconds.median / 1e9

    @property
    def copy_gigabytes_per_second(self) -> float:
        """Rate of the copy in the same run."""
        return self.moved / self.copy.seconds.median / 1e9

    @property
    def goal_met(self) -> bool | None:
        """Whether the median ratio meets the entry's goal; None without a goal or a peer."""
        if self.entry.goal is None or self.ratio is None:
            return None
        return self.ratio.median <= self.entry.goal

    @property
    def temp_goal_met(self) -> bool | None:
        """Whether ours needs no temporary to speak of; None where that was not asked or is not known."""
        if not self.entry.temp_free or self.ours.memory is None:
            return None
        return self.ours.memory.temp < 0.01 * self.ours.memory.argument


@dataclass
class Run:
    """A program made ready: compiled, its carry copied, each call donating the carry of the last one."""

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    carry: Any = None
    compile_seconds: CompileSeconds | None = None
    memory: Memory | None = None
    output: Any = field(default=None, repr=False)

    def __call__(self, calls: int = 1) -> None:
        """Call `calls` times, one after the other, and wait for the last result."""
        for _ in range(calls):
            if self.carry is None:
                self.output = None  # let go of the last result first, as a loop would
                self.output = self.call(*self.arguments)
            else:
                self.carry = self.output = self.call(self.carry, *self.arguments)
        jax.block_until_ready(self.output)

    def move(self) -> None:
        """Copy the carry to a new place in memory and call once, unmeasured, to make that place warm."""
        if isinstance(self.call, jax.stages.Compiled):
            self.carry = _fresh(self.carry)
        self()


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of the values."""
    q1, median, q3 = np.quantile(np.asarray(values, np.float64), [0.25, 0.5, 0.75])
    return Spread(float(median), float(q1), float(q3))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Median and quartiles of the ratios taken pair by pair, so that what slows a whole round cancels."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)])


def round_order(names: Sequence[str], turn: int) -> list[str]:
    """The order of one round: rotated by one each round and reversed every other.

    Everybody comes first equally often and, with three names, follows each other name equally often.
    """
    start = turn % len(names)
    order = [*names[start:], *names[:start]]
    return order[::-1] if turn % 2 else order


def interleave(
    runs: Mapping[str, Callable[[int], None]],
    *,
    rounds: int,
    calls: int = 1,
    before_round: Callable[[int], None] | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds per call of every run, one sample a round, the runs taking turns within each round."""
    names = list(runs)
    samples: dict[str, list[float]] = {name: [] for name in names}
    with _no_garbage_collection():
        for turn in range(rounds):
            if before_round is not None:
                before_round(turn)
            for name in round_order(names, turn):
                start = clock()
                runs[name](calls)
                samples[name].append((clock() - start) / calls)
    return samples


def calls_per_sample(samples: Mapping[str, Sequence[float]], minimum: float = MIN_SAMPLE_SECONDS) -> int:
    """Calls to time together, so that the fastest run still fills `minimum` seconds."""
    fastest = min(min(values) for values in samples.values())
    return MAX_CALLS if fastest * MAX_CALLS <= minimum else max(1, math.ceil(minimum / fastest))


def prepare(program: Program, clock: Clock = time.perf_counter) -> Run:
    """Compile a program from cold caches, timing each stage, and copy its carry so that it can be donated."""
    if not program.jit:
        return Run(program.function, program.arguments, program.carry)
    carry = _fresh(program.carry)
    operands = program.arguments if carry is None else (carry, *program.arguments)
    jitted = jax.jit(program.function, donate_argnums=() if carry is None else (0,))
    jax.clear_caches()  # else whoever comes second finds the inner functions already traced
    started = clock()
    traced = jitted.trace(*operands)
    was_traced = clock()
    lowered = traced.lower()
    was_lowered = clock()
    compiled = lowered.compile()
    seconds = CompileSeconds(was_traced - started, was_lowered - was_traced, clock() - was_lowered)
    return Run(compiled, program.arguments, carry, seconds, memory_of(compiled))


def memory_of(compiled: jax.stages.Compiled) -> Memory | None:
    """The compiler's memory figures, or None on a backend that has none."""
    try:
        analysis = compiled.memory_analysis()
    except (NotImplementedError, jax.errors.JaxRuntimeError):
        return None
    if analysis is None:
        return None
    return Memory(
        argument=analysis.argument_size_in_bytes,
        output=analysis.output_size_in_bytes,
        alias=analysis.alias_size_in_bytes,
        temp=analysis.temp_size_in_bytes,
    )


def copy_program(moved: int) -> Program:
    """The leanest program that moves `moved` bytes: one pass in place, half of them read and half written.

    It is one flat donated array times a number known only at run time. XLA's own copy runs on one core on CPU, and a
    copy to another place reads the lines it overwrites; neither is a limit for an update in place, and this is.
    """
    words = jnp.array(np.ones(max(1, moved // 8), np.float32))
    return Program(lambda carry, one: carry * one, (jnp.float32(1.0),), words)


def largest_difference(ours: Any, peer: Any) -> float:
    """Largest difference between two pytrees, leaf by leaf, relative to the largest entry of the leaf."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(peer), strict=True)
    return max((_relative_difference(one, other) for one, other in pairs), default=0.0)


def measure_entry(
    entry: Entry, *, repeats: int, quick: bool = False, warmup: int = 2, clock: Clock = time.perf_counter
) -> Measurement:
    """Measure one entry.

    Args:
        entry: What to compare.
        repeats: Rounds that count; each times ours, the peer and the copy once.
        quick: Whether to take the entry's tiny arrays and leave its goals aside.
        warmup: Rounds before those, which do not count and set how many calls make one sample.
        clock: Seconds from any fixed point; another one makes the harness testable.

    Returns:
        The measurement; its `peer` is None where the entry names none or it is not installed.
    """
    if quick:  # tiny arrays say nothing about a goal
        entry = replace(entry, goal=None, temp_free=False)
    arrays = jax.block_until_ready(entry.arrays(quick))
    moved = entry.moved(*arrays)
    programs = {"ours": entry.ours(*arrays), "copy": copy_program(moved)}
    if entry.peer is not None and entry.peer.version is not None:
        programs["peer"] = entry.peer.program(*arrays)
    _wake_compiler()
    runs = {name: prepare(program, clock) for name, program in programs.items()}
    del programs, arrays
    for run in runs.values():
        run()
    difference = None
    if entry.result is not None and "peer" in runs:
        difference = largest_difference(entry.result(runs["ours"].output), entry.result(runs["peer"].output))
    calls = calls_per_sample(interleave(runs, rounds=max(1, warmup), clock=clock))
    samples = interleave(runs, rounds=repeats, calls=calls, before_round=_mover(runs, repeats), clock=clock)
    sides = {name: Side(tuple(samples[name]), run.compile_seconds, run.memory) for name, run in runs.items()}
    return Measurement(entry, sides["ours"], sides.get("peer"), sides["copy"], moved, calls, difference)


def nbytes(tree: Any) -> int:
    """Bytes of all arrays of a pytree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _mover(runs: Mapping[str, Run], rounds: int) -> Callable[[int], None]:
    """Where arrays happen to lie makes one of two equal programs faster; so they move `PLACES` times in the rounds."""
    period = math.ceil(rounds / PLACES)

    def before_round(turn: int) -> None:
        if turn and turn % period == 0:
            for name in round_order(list(runs), turn // period):
                runs[name].move()

    return before_round


def _fresh(carry: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), carry)


def _relative_difference(ours: Any, peer: Any) -> float:
    one, other = np.asarray(ours, np.float64), np.asarray(peer, np.float64)
    if one.size == 0:
        return 0.0
    return float(np.max(np.abs(one - other)) / max(np.max(np.abs(other)), np.finfo(np.float32).tiny))


def _wake_compiler() -> None:
    """Compile something, so that the first program measured does not pay for starting the compiler."""
    jax.block_until_ready(jax.jit(lambda x: x + 1)(np.float32(0)))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
