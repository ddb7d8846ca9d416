"""Settings of the whole suite."""

import os

# Two threads at most, before torch starts its pool: the suite runs beside other work.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: F401  before faiss, whichever test imports it first
