"""The code in README.md and docs/ runs as it is written."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_code_runs(page, capsys):
    namespace = {}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), namespace)
        printed = capsys.readouterr().out.split("\n")
        for line, expected in zip(printed, re.findall(r"print\(.*\)  # (.*)", block)):
            assert float(line) == pytest.approx(float(expected), rel=1e-3)
    if page.name == "README.md":
        assert namespace["state"].params.shape == (3,)
        assert len(blocks(page)[0].splitlines()) <= 30


def test_readme_loop_learns(capsys):
    exec(compile(blocks(ROOT / "README.md")[0], "README.md", "exec"), {})
    accuracy, skipped = re.match(
        r"loss [\d.]+, accuracy ([\d.]+), skipped steps (\d+)", capsys.readouterr().out
    ).groups()
    assert float(accuracy) >= 0.97
    assert skipped == "0"
