"""The measuring harness, measured: arithmetic on a clock made here, donation, memory figures, files, command line."""

import io
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import report
from benchmarks.entries import catalogue
from benchmarks.harness import (
    CompileSeconds,
    Entry,
    Measurement,
    Memory,
    Peer,
    Program,
    Side,
    calls_per_sample,
    interleave,
    largest_difference,
    measure_entry,
    memory_of,
    nbytes,
    prepare,
    ratios,
    round_order,
    spread,
)
from benchmarks.train.catalogue import functions_of


class Clock:
    """Seconds that pass by one at each reading, and as the programs say."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now

    def work(self, seconds):
        self.now += seconds


def timed_entry(clock, *, ours=2.0, peer=5.0, slow_start=0.0, **options):
    """Programs that take their seconds of `clock`; the first three calls of ours take `slow_start` more."""
    calls = []

    def run_ours(x):
        clock.work(ours + (slow_start if len(calls) < 3 else 0.0))
        calls.append(True)
        return x

    def run_peer(x):
        clock.work(peer)
        return x + 0.5

    return Entry(
        name="timed/clock",
        arrays=lambda quick: (np.full(3, 8.0, np.float32),),
        ours=lambda x: Program(run_ours, (x,), jit=False),
        peer=Peer("numpy.thing", "numpy", lambda x: Program(run_peer, (x,), jit=False)),
        moved=lambda x: 1600,
        result=lambda x: x,
        **options,
    )


def test_spread_is_median_and_quartiles():
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == (3.0, 2.0, 4.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)


def test_ratios_pair_the_rounds():
    # The whole machine slows down twofold, then fourfold: the ratio stays one half, the ratio of medians would not move
    # either, but its quartiles would.
    assert ratios([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]) == (0.5, 0.5, 0.5)
    assert ratios([1.0, 2.0, 3.0], [4.0, 1.0, 2.0]) == (1.5, 0.875, 1.75)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_rounds_take_all_six_orders_of_three_and_everyone_is_first_equally_often():
    orders = [tuple(round_order(["ours", "peer", "copy"], turn)) for turn in range(6)]
    assert len(set(orders)) == 6
    assert sorted(order[0] for order in orders) == ["copy", "copy", "ours", "ours", "peer", "peer"]
    assert orders[0] == ("ours", "peer", "copy")


def test_interleave_calls_in_turn_and_divides_by_the_calls():
    clock, log = Clock(), []

    def run(name, seconds, calls):
        log.append((name, calls))
        clock.work(seconds * calls)

    runs = {"a": partial(run, "a", 3.0), "b": partial(run, "b", 7.0)}
    samples = interleave(runs, rounds=3, calls=4, before_round=lambda turn: log.append(turn), clock=clock)
    # Between two readings one second passes by itself: (4 * 3 + 1) / 4.
    assert samples == {"a": [3.25] * 3, "b": [7.25] * 3}
    assert log == [0, ("a", 4), ("b", 4), 1, ("a", 4), ("b", 4), 2, ("a", 4), ("b", 4)]


def test_calls_fill_the_shortest_sample():
    assert calls_per_sample({"a": [3e-4, 5e-4], "b": [1.0]}, minimum=1e-3) == 4
    assert calls_per_sample({"a": [1.0]}, minimum=1e-3) == 1
    assert calls_per_sample({"a": [0.0]}, minimum=1e-3) == 1000


def test_a_measurement_reports_the_clock():
    clock = Clock()
    result = measure_entry(timed_entry(clock, goal=0.5, slow_start=1e6), repeats=4, clock=clock)
    assert result.calls == 1
    assert result.ours.samples == (3.0,) * 4, "the slow calls at the start are not among them"
    assert result.peer.seconds == (6.0, 6.0, 6.0)
    assert result.copy.seconds.median == 1.0
    assert result.ratio == (0.5, 0.5, 0.5)
    assert result.times_copy.median == 3.0
    assert result.goal_met is True
    assert result.gigabytes_per_second == pytest.approx(1600 / 3.0 / 1e9, rel=1e-12)
    assert result.copy_gigabytes_per_second == pytest.approx(1600 / 1e9, rel=1e-12)
    assert result.difference == pytest.approx(0.5 / 8.5, rel=1e-12)


def test_a_goal_is_missed_by_a_hair_and_not_judged_on_tiny_arrays():
    clock = Clock()
    assert measure_entry(timed_entry(clock, goal=0.49), repeats=1, clock=clock).goal_met is False
    assert measure_entry(timed_entry(clock, goal=0.49), repeats=1, quick=True, clock=clock).goal_met is None
    assert measure_entry(timed_entry(clock), repeats=1, clock=clock).goal_met is None


def test_a_goal_is_for_the_median():
    sides = Side((1.0, 2.0, 3.0)), Side((1.0, 1.0, 1.0)), Side((1.0, 1.0, 1.0))
    entry = timed_entry(Clock(), goal=1.9)
    assert Measurement(entry, *sides, 8, 1).goal_met is False
    assert Measurement(replace(entry, goal=2.0), *sides, 8, 1).goal_met is True


@pytest.mark.parametrize(("temp", "met"), [(0, True), (9, True), (10, False)])
def test_temporaries_are_judged_against_the_arguments(temp, met):
    entry = Entry("x/y", lambda quick: (), lambda: Program(lambda: 0), lambda: 8, temp_free=True)
    side = Side((1.0,), CompileSeconds(1.0, 2.0, 3.0), Memory(1000, 1000, 1000, temp))
    assert Measurement(entry, side, None, Side((1.0,)), 8, 1).temp_goal_met is met
    assert side.compile_seconds.total == 6.0


def test_a_peer_that_is_not_installed_is_left_out():
    clock = Clock()
    entry = timed_entry(clock)
    entry = replace(entry, peer=Peer("nobody.thing", "no-such-distribution", entry.peer.program))
    result = measure_entry(entry, repeats=2, clock=clock)
    assert result.peer is None
    assert result.ratio is None
    assert result.times_copy.median == 3.0
    assert "not installed" in screen([result])


def momentum_step(carry, gradient):
    position, velocity = carry
    velocity = 0.5 * velocity + gradient
    return position - 0.25 * velocity, velocity


def test_donated_calls_give_the_values_of_undonated_ones():
    start = (jnp.arange(64.0), jnp.ones(64))
    gradient = jnp.linspace(-1.0, 1.0, 64)
    run = prepare(Program(momentum_step, (gradient,), carry=start))
    first = run.carry
    run(1)
    assert all(leaf.is_deleted() for leaf in first), "the first carry was given away"
    run(4)
    run.move()  # one more call, from another place
    expected = start
    for _ in range(6):
        expected = momentum_step(expected, gradient)
    np.testing.assert_array_equal(run.carry[0], expected[0])
    np.testing.assert_array_equal(run.carry[1], expected[1])
    np.testing.assert_array_equal(start[0], np.arange(64.0))  # the caller's arrays outlive it


def test_two_programs_may_share_their_arrays():
    start, gradient = (jnp.zeros(16), jnp.zeros(16)), jnp.ones(16)
    entry = Entry(
        name="momentum/16",
        arrays=lambda quick: (start, gradient),
        ours=lambda start, gradient: Program(momentum_step, (gradient,), carry=start),
        peer=Peer("jax", "jax", lambda start, gradient: Program(momentum_step, (gradient,), carry=start)),
        moved=lambda start, gradient: 5 * nbytes(gradient),
        temp_free=True,
        result=lambda carry: carry[0],
    )
    result = measure_entry(entry, repeats=2)
    assert result.moved == 5 * 16 * 4
    assert result.difference == 0.0
    assert result.ours.memory == Memory(argument=192, output=result.ours.memory.output, alias=128, temp=0)
    assert result.temp_goal_met is True
    assert all(seconds > 0 for seconds in result.ours.compile_seconds)


def test_memory_figures_of_known_programs():
    x = jnp.ones((16, 16), jnp.float32)  # 1024 bytes
    product = prepare(Program(lambda x: (x @ x) @ x, (x,)))
    assert product.memory == Memory(argument=1024, output=1024, alias=0, temp=1024)
    in_place = prepare(Program(lambda x: 2 * x, carry=x))
    assert in_place.memory == Memory(argument=1024, output=1024, alias=1024, temp=0)


def test_a_backend_without_memory_figures_gives_none():
    class Silent:
        def memory_analysis(self):
            return None

    class Unable:
        def memory_analysis(self):
            raise NotImplementedError

    assert memory_of(Silent()) is None
    assert memory_of(Unable()) is None


def test_the_stages_of_compilation_are_timed_apart():
    seconds = prepare(Program(lambda x: x + 1, (jnp.ones(3),)), clock=Clock()).compile_seconds
    assert seconds == (1.0, 1.0, 1.0)


def test_difference_is_relative_to_the_leaf():
    one, other = [jnp.array([1.0, 100.0]), jnp.zeros(0)], [jnp.array([2.0, 100.0]), jnp.zeros(0)]
    assert largest_difference(one, other) == pytest.approx(0.01, rel=1e-6)
    assert largest_difference([], []) == 0.0


def screen(measurements, failures=None):
    output = io.StringIO()
    Console(width=200, file=output).print(report.table(measurements, failures or {}))
    return output.getvalue()


def test_the_table_shows_names_ratio_goal_and_failures():
    clock = Clock()
    shown = screen(
        [measure_entry(timed_entry(clock, goal=0.4), repeats=3, clock=clock)], {"bad/one": "ValueError: [x]"}
    )
    row = next(line for line in shown.splitlines() if "timed/clock" in line)
    assert "3e+03" in row
    assert "6e+03" in row
    assert "0.50 [0.50–0.50]" in row
    assert "≤ 0.4 missed" in row
    assert f"numpy.thing {np.__version__}" in row
    assert "differs by 0.06" in row
    assert "ValueError: [x]" in shown


def test_bytes_for_people():
    assert [report.format_bytes(count) for count in (0, 68, 1280, 83886080, 2 * 10**9)] == [
        "0",
        "68 B",
        "1.28 kB",
        "83.9 MB",
        "2 GB",
    ]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "numbers.json"
    report.write_json(path, {"a": [1.0, math.nan]})
    assert json.loads(path.read_text()) == {"a": [1.0, None]}
    with pytest.raises(TypeError):
        report.write_json(path, {"a": 1, "b": object()})
    assert json.loads(path.read_text()) == {"a": [1.0, None]}, "the old file stands"
    assert list(tmp_path.iterdir()) == [path], "and nothing lies beside it"


def test_the_command_writes_the_documented_json(tmp_path, capsys):
    path = tmp_path / "numbers.json"
    assert command.main(["--quick", "--repeats", "2", "lion/one-leaf", "--json", str(path)]) == 0
    content = json.loads(path.read_text())
    assert set(content) == {"schema", "time", "machine", "settings", "entries", "failures"}
    assert content["schema"] == 1
    assert content["settings"] == {"repeats": 2, "quick": True}
    assert content["failures"] == {}
    assert set(content["machine"]) == {
        *("jax", "jaxlib", "optax", "numpy", "python", "platform"),
        *("backend", "device_kind", "devices", "cores", "load_average"),
    }
    assert content["machine"]["jax"] == jax.__version__
    (entry,) = content["entries"]
    assert set(entry) == {
        *("name", "peer_name", "peer_version", "ours", "peer", "copy", "ratio", "times_copy", "moved_bytes"),
        *("gigabytes_per_second", "copy_gigabytes_per_second", "calls_per_sample", "difference"),
        *("goal", "goal_met", "temp_goal_met"),
    }
    assert entry["name"] == "lion/one-leaf"
    assert entry["moved_bytes"] == 5 * 64 * 32 * 4
    assert entry["difference"] < 1e-6
    for side in ("ours", "peer", "copy"):
        assert len(entry[side]["samples"]) == 2
        assert entry[side]["seconds"]["median"] == pytest.approx(np.median(entry[side]["samples"]), rel=1e-12)
        assert set(entry[side]["memory_bytes"]) == {"argument", "output", "alias", "temp"}
        assert set(entry[side]["compile_seconds"]) == {"trace", "lower", "compile", "total"}
    pairs = zip(entry["ours"]["samples"], entry["peer"]["samples"], strict=True)
    assert entry["ratio"]["median"] == pytest.approx(np.median([a / b for a, b in pairs]), rel=1e-12)
    assert entry["copy"]["memory_bytes"]["alias"] == entry["moved_bytes"] // 2
    assert "lion/one-leaf" in capsys.readouterr().out


def test_a_broken_benchmark_costs_only_itself(monkeypatch, tmp_path, capsys):
    def broken(quick):
        raise RuntimeError("no such array")

    clock = Clock()
    good = timed_entry(clock)
    bad = replace(good, name="bad/one", arrays=broken)
    monkeypatch.setattr(command, "catalogue", lambda: {"topic": (bad, good)})
    path = tmp_path / "numbers.json"
    assert command.main(["--json", str(path), "--repeats", "1"]) == 1
    content = json.loads(path.read_text())
    assert content["failures"] == {"bad/one": "RuntimeError: no such array"}
    assert [entry["name"] for entry in content["entries"]] == ["timed/clock"]
    shown = capsys.readouterr().out
    assert "no such array" in shown
    assert "timed/clock" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ademamx"], "no benchmark 'ademamx'; did you mean 'ademamix'?"),
        (["lion/one-leav"], "no benchmark 'lion/one-leav'; did you mean 'lion/one-leaf'?"),
        (["lion", "§§§"], "no benchmark '§§§'; --list shows them all"),
        (["--repeats", "0"], "argument --repeats: expected a positive integer, got '0'"),
        (["--repeats", "many"], "argument --repeats: expected a positive integer, got 'many'"),
        (["--json", "/nowhere/at/all.json"], "--json /nowhere/at/all.json: there is no folder /nowhere/at"),
        (["--json", "/"], "--json /: is a folder"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.err == f"python -m benchmarks: {message}\n"
    assert captured.out == ""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["lion"], ["lion/one-leaf", "lion/20x1024x1024", "lion/1000x32x32"]),
        (["lion/one-leaf", "adamw/one-leaf"], ["adamw/one-leaf", "lion/one-leaf"]),
        (["ad?mw/one-leaf", "adem*/one-leaf"], ["adamw/one-leaf", "ademamix/one-leaf"]),
    ],
)
def test_names_choose_by_kind_in_full_and_by_pattern(names, expected, capsys):
    assert command.main(["--list", *names]) == 0
    assert capsys.readouterr().out.split() == expected


def test_the_module_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--list", "optimizers"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [entry.name for entry in catalogue()["optimizers"]]


ENTRIES = [entry for entries in catalogue().values() for entry in entries]


# Neither optimizers nor wrappers of one: steps of a chain, estimators that another optimizer calls, what only records.
PARTS = {
    *("add_lobster_decay", "add_norm_decay", "chain", "clip_by_global_norm", "gauss_newton_bartlett_estimator"),
    *("hutchinson_estimator_diag_hessian", "mup_scale", "record_gradient_norms", "record_norms"),
    "selective_weight_decay",
}


def measured(entry):
    """The names in what an entry measures, but for what stands in brackets: `cautious(adam)` is cautious."""
    return set(re.findall(r"\w+", re.sub(r"\(.*\)", "", entry.name.partition("/")[0])))


def test_every_optimizer_is_in_the_table():
    names = {name for name in functions_of("optimizer") if not name.startswith("scale_by_")}
    assert names >= PARTS, "a part that is no more"
    assert names - PARTS - set().union(*map(measured, ENTRIES)) == set(), "an optimizer without a benchmark"


def test_the_names_of_an_entry_are_those_outside_brackets():
    (entry,) = (entry for entry in ENTRIES if entry.name == "cautious(adam)/20x1024x1024")
    assert measured(entry) == {"cautious"}
    assert measured(replace(entry, name="mars+adamw/x")) == {"mars", "adamw"}


def test_names_are_unique():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_benchmark_builds_and_keeps_the_kind_of_its_carry(entry):
    arrays = entry.arrays(True)
    assert entry.moved(*arrays) > 0
    ours = entry.ours(*arrays)
    operands = ours.arguments if ours.carry is None else (ours.carry, *ours.arguments)
    output = jax.eval_shape(ours.function, *operands)
    if ours.carry is not None:
        kinds = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (output, ours.carry))
        assert kinds[0] == kinds[1]
