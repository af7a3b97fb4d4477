"""The maximal update parametrisation: hyperparameters tuned at one width that hold at every other.

Every leaf of the model is of one of four kinds, told from the shapes of two models that differ in width alone; with n the
growth of its width (fan-in's, where both axes grow), the rules of Adam and of SGD are

| kind | grows along | initial values | Adam's rate | SGD's rate |
|---|---|---|---|---|
| input, bias, gain | the outputs alone | unchanged | 1 | n |
| hidden | inputs and outputs | 1/√n | 1/n | n of outputs / n of inputs |
| output | the inputs alone | 1/√n, and the layer's output times 1/√n | see `mup_multipliers` | |
| fixed | nothing | unchanged | 1 | 1 |
"""
