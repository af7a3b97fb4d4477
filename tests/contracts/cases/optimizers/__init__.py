"""Cases of the optimizers, a file a family."""
