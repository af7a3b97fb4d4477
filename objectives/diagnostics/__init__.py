"""Diagnostics: what is measured and not minimised.

- `survival`: concordance index
"""

from objectives.diagnostics.survival import concordance_index

__all__ = ["concordance_index"]
