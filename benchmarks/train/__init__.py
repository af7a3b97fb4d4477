"""The main job: train small models on real data with any public name of `objectives` and `optimizers`.

    python -m benchmarks.train                                        # AdamW, AdEMAMix, Lion and SAM on digits
    python -m benchmarks.train --optimizer 'ademamix(1e-3, alpha=8)' --objective 'poly_loss(epsilon=1.0)'
    python -m benchmarks.train --task multitask --aggregate none,pcgrad,upgrad
    python -m benchmarks.train --task censored_diabetes               # the losses of a family on data that it is for
    python -m benchmarks.train --list

| file | what |
|---|---|
| `cli.py` | the command line: options, checks, exit codes |
| `expressions.py`, `catalogue.py` | `'sam(0.05)'` to an object, without `eval`; which names there are |
| `plan.py` | from options to the entries that are compared |
| `tasks/` | data, model, loss and test metrics; its `__init__` has the list |
| `program.py` | one entry, compiled: all its seeds in one `vmap`, a chunk of steps per call |
| `run.py` | the loop over entries and chunks |
| `checkpoint.py`, `files.py` | the run's folder: Orbax checkpoints, resuming, atomic files |
| `report.py` | progress bar, table, curves |
"""
