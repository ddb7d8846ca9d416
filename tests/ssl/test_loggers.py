"""Loggers by name."""

import pytest

from dal_toolbox.errors import UserError
from dal_toolbox.ssl import loggers
from dal_toolbox.ssl.loggers import make_loggers


def test_csv_needs_no_logger(tmp_path):
    assert make_loggers("csv", tmp_path) == []


def test_unknown_name_lists_the_choices(tmp_path):
    with pytest.raises(ValueError, match="name='comet': choose one of csv, tensorboard, wandb"):
        make_loggers("comet", tmp_path)


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[wandb\]'"):
        make_loggers("wandb", tmp_path)
