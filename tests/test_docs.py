"""The catalogue names every public name, and nothing that is not there."""

import pathlib
import re

import objectives
import optimizers

CATALOGUE = (pathlib.Path(__file__).parents[1] / "docs" / "catalogue.md").read_text()


def test_catalogue_is_complete_and_true():
    named = {
        name
        for row in re.findall(r"^\|[^|]*\|([^|]*)\|", CATALOGUE, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(objectives.__all__) | set(optimizers.__all__)
