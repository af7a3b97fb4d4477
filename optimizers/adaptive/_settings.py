"""What the members of the room prepare alike."""

from collections.abc import Callable
from typing import Any

from optimizers._moments import MU_DTYPES, NU_DTYPES, check_moment_dtype, first_moment, second_moment
from optimizers._trees import PyTree


def two_moments(function: str, mu_dtype: Any, nu_dtype: Any) -> dict[str, Callable[[PyTree], PyTree]]:
    """How the first moment `mu` and the second moment `nu` begin, their dtypes checked."""
    return {
        "mu": first_moment(check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)),
        "nu": second_moment(check_moment_dtype(function, "nu_dtype", nu_dtype, NU_DTYPES)),
    }
