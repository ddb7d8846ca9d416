"""Initial selections: what is labeled before the first query."""

from dal_toolbox.active_learning.initial.base import INITIAL, InitialSelection

__all__ = ["INITIAL", "InitialSelection"]
