"""Oracles: who answers when a label is asked for."""

from dal_toolbox.active_learning.oracles.base import ORACLES, Oracle
from dal_toolbox.active_learning.oracles.journal import JournaledOracle

__all__ = ["ORACLES", "JournaledOracle", "Oracle"]
