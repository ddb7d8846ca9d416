"""Query strategies."""

from dal_toolbox.active_learning.strategies.base import (
    STRATEGIES,
    QueryStrategy,
    ScoreStrategy,
    check_needs,
)

__all__ = ["STRATEGIES", "QueryStrategy", "ScoreStrategy", "check_needs"]
