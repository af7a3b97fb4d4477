"""Golden epsilons of opacus' accountants for runs of DP-SGD: `python tests/golden/privacy.py`."""

import pathlib
from importlib.metadata import version

import numpy as np
from opacus.accountants import PRVAccountant, RDPAccountant

HERE = pathlib.Path(__file__)
# noise multiplier, sample rate, steps, delta
RUNS = ((4.0, 0.01, 10_000, 1e-5), (1.1, 256 / 60_000, 3_515, 1e-5), (1.0, 0.1, 20, 1e-6), (0.7, 0.02, 200, 1e-5))


def main() -> None:
    """Write privacy.npz beside this file."""
    arrays = {"peer": np.array(f"opacus {version('opacus')}"), "runs": np.array(RUNS)}
    for name, accountant in (("rdp", RDPAccountant), ("prv", PRVAccountant)):
        epsilons = []
        for noise_multiplier, sample_rate, steps, delta in RUNS:
            spent = accountant()
            spent.history = [(noise_multiplier, sample_rate, steps)]
            epsilons.append(spent.get_epsilon(delta))
        arrays[name] = np.array(epsilons)
        print(name, epsilons)
    np.savez_compressed(HERE.with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
