"""Deep active learning on self-supervised features.

The parts stand in registries, each exported by its package: ``datasets.DATASETS``,
``encoders.ENCODERS``, ``ssl.SSL_METHODS``, ``classifiers.CLASSIFIERS``,
``active_learning.strategies.STRATEGIES``. Importing this package imports none of them.
"""

__version__ = "0.1.0"
