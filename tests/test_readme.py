"""The README's Python runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def block(marker):
    (found,) = [text for text in BLOCKS if marker in text]
    return found


def test_library_example(capsys):
    exec(compile(block("run_cycles("), "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [10, 20, 30, 40]
    assert float(lines[-1].split()[1]) > 0.7


def test_plugin_example_keeps_the_contract(tmp_path, monkeypatch):
    (tmp_path / "my_strategies.py").write_text(block('@STRATEGIES.register("sharp_margin")'))
    monkeypatch.syspath_prepend(str(tmp_path))
    exec(compile(block("check_strategy(SharpMargin)"), "README.md", "exec"), {})


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("experiments/*/main.py")), ids=lambda p: p.parent.name
)
def test_every_main_has_a_readme(path):
    assert f"experiments/{path.parent.name}" in (ROOT / "README.md").read_text()
    assert (path.parent / "README.md").exists()
