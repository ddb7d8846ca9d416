"""Query strategies."""

from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, ScoreStrategy

__all__ = ["STRATEGIES", "QueryStrategy", "ScoreStrategy"]
