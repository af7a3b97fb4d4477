"""The peers' arrays."""

import pathlib

import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "layers.npz"


@pytest.fixture(scope="session")
def golden():
    """A function from a case's name to its arrays."""
    with np.load(GOLDEN) as file:
        arrays = {name: file[name] for name in file.files}
    return lambda case: {n.removeprefix(f"{case}/"): x for n, x in arrays.items() if n.startswith(f"{case}/")}
