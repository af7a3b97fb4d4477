"""Training updates of Adam's relatives, ours beside Optax's."""

import optax

from benchmarks.entries.optimizers import entries

# Words: gradient, parameter and moments are read; parameter and moments are written.
ENTRIES = [
    *entries("amsgrad", lambda package: package.amsgrad(1e-3), words=9, goal=1.05),
    *entries("adabelief", lambda package: package.adabelief(1e-3), words=7, goal=0.7),
    *entries("adopt", lambda package: package.adopt(1e-3), words=7, goal=0.9, peer=optax.contrib),
    *entries("acprop", lambda package: package.acprop(1e-3), words=7, goal=0.8, peer=optax.contrib),
    # Optax weighs the differences by 1 - b2 and not by b2: the same work, other numbers from the second step on.
    *entries("adan", lambda package: package.adan(1e-3), words=11, goal=0.9),
    *entries("signum", lambda package: package.signum(1e-4), words=5, goal=1.05),
]
