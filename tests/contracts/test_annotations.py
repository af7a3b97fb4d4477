"""The jaxtyping annotations of public functions are true of every example case."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CASES = [f"contracts.cases.{path.parent.name}.{path.stem}" for path in sorted((HERE / "cases").glob("o*/[a-z]*.py"))]
LYING_PACKAGE = """
import jax
from jaxtyping import Array, Float

def lying_loss(values: Float[Array, "batch"]) -> Float[Array, "batch"]:
    return values.mean()
"""
LYING_CASES = """
import lying
from contracts.objective_checks import Objective

CASES = [
    Objective(
        name="lying_loss",
        function=lying.lying_loss,
        arguments=lambda generator, batch: {"values": generator.normal(size=batch)},
        differentiable=("values",),
    )
]
"""


def run_annotated(packages, *modules, paths=()):
    program = f"import sys; sys.path[:0] = {[str(p) for p in (ROOT, HERE.parent, *paths)]}; "
    program += f"from contracts.annotated import main; main({packages}, {list(modules)})"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)


def test_annotations_are_true():
    done = run_annotated(["objectives", "optimizers"], *CASES)
    assert done.returncode == 0, done.stderr
    assert "cases keep to their annotations" in done.stdout


def test_a_false_annotation_is_found(tmp_path):
    (tmp_path / "lying.py").write_text(LYING_PACKAGE)
    (tmp_path / "lying_cases.py").write_text(LYING_CASES)
    done = run_annotated(["lying"], "lying_cases", paths=(tmp_path,))
    assert done.returncode != 0
    assert "return value of lying.lying_loss" in done.stderr
