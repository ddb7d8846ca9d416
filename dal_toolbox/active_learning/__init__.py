"""Active learning on cached features."""

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.evaluation import evaluation_on
from dal_toolbox.active_learning.loop import run_cycles
from dal_toolbox.active_learning.pool import Pool
from dal_toolbox.active_learning.records import CycleResult, append_result, read_results

__all__ = [
    "CycleResult",
    "Pool",
    "QueryContext",
    "append_result",
    "evaluation_on",
    "read_results",
    "run_cycles",
]
