"""The run folder: everything that explains a run, and what lets it be resumed."""

from dal_toolbox.runs.environment import environment
from dal_toolbox.runs.folder import PLACES, RunFolder
from dal_toolbox.runs.lock import RunLock

__all__ = ["PLACES", "RunFolder", "RunLock", "environment"]
