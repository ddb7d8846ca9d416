"""Writes docs/strategies.md from the registry, the docstrings and the committed timings.

python docs/make_strategies.py
"""

import json
from pathlib import Path

from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.analysis.strategy_table import GROUPS, StrategyRow, strategy_rows, to_markdown

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "strategies.md"
TIMINGS = ROOT / "benchmarks" / "results" / "selection.json"

INTRODUCTION = """\
# Query strategies

<!-- Written by `python docs/make_strategies.py`; edit the docstrings instead. -->

Choose one with `strategy=<name>`; every argument in its docstring is a key of the config:
`strategy=typiclust strategy.max_clusters=100`.

**Needs** says what the picks depend on: the *features* of the pool, the *predictions* of the classifier, draws from its
*posterior* (`classifier=laplace`, `ensemble` or `mc_dropout`), or whatever its *members* need. **Without labels**: at
cold start a strategy works, or draws at random and says so in the log. **Cost** is that of a query in N items of the pool,
L labeled ones, d features, C classes, B (or n) picks and M posterior draws. {measured}
"""
TITLES = {
    "random": "Random choice",
    "uncertainty": "Uncertainty: predictions alone",
    "coverage": "Coverage: features alone, no label needed",
    "hybrid": "Hybrids: predictions and features",
    "combination": "Combinations of other strategies",
}


def main() -> None:
    temporary = PAGE.with_suffix(".tmp")
    temporary.write_text(page())
    temporary.replace(PAGE)


def page() -> str:
    """The whole document."""
    rows = strategy_rows(own_strategies())
    seconds, setting = timings()
    parts = [INTRODUCTION.format(measured=setting)]
    for group in GROUPS:
        members = [row for row in rows if row.group == group]
        parts.append(section(TITLES[group], members, seconds))
    return "\n".join(parts)


def own_strategies() -> list[str]:
    """The registered strategies of this package: an installed plugin does not change the page."""
    return [name for name in STRATEGIES if STRATEGIES[name].__module__.startswith("dal_toolbox.")]


def section(title: str, rows: list[StrategyRow], seconds: dict[str, float | None]) -> str:
    return f"## {title}\n\n{to_markdown(rows, seconds)}"


def timings() -> tuple[dict[str, float | None], str]:
    """Seconds by strategy, and the sentence that says how they were measured."""
    if not TIMINGS.exists():
        return {}, "**Seconds** were not measured yet."
    measured = json.loads(TIMINGS.read_text())["results"].get("table")
    if measured is None:
        return {}, "**Seconds** were not measured yet."
    options = measured["options"]
    sentence = (
        f"**Seconds** of a query: median of {options['repeats']} at N = {options['n']:,}, "
        f"d = {options['dim']}, C = {options['classes'][0]}, B = {options['batch']}, "
        f"L = {options['labeled']} on {options['threads']} threads of {measured['facts']['cpu']} "
        f"(`{measured['facts']['command']}`)."
    )
    return {row["strategy"]: row["seconds"] for row in measured["rows"]}, sentence


if __name__ == "__main__":
    main()
