"""What every query strategy does, needs and costs, read from the registry."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning import Pool, QueryContext
from dal_toolbox.active_learning.strategies import STRATEGIES, QueryStrategy
from dal_toolbox.active_learning.strategies.base import random_query
from dal_toolbox.seeding import generator

FEATURES, PREDICTIONS, POSTERIOR, MEMBERS = "features", "predictions", "posterior", "members"
GROUPS = ("random", "uncertainty", "coverage", "hybrid", "combination")

# Of those whose docstring gives none.
COSTS = {
    "ensemble": "the sum of its members",
    "random": "O(N)",
    "refine": "num_levels · num_batches queries of its members on subsets",
    "tailor": "the sum of its members",
}

_AUTHORS = r"[A-Z][\w-]+(?: et al\.| & [A-Z][\w-]+)?"
_CITATION = re.compile(rf"({_AUTHORS}),? \(?(\d{{4}}), (https?://\S+?)(?=[.,;:)]*(?:\s|$))")
_COST = re.compile(r"O\((?:[^()]|\([^()]*\))*\)[^.,;:]*")


@dataclass(frozen=True)
class StrategyRow:
    """One line of the table.

    Attributes:
        name: In the registry.
        summary: First sentence of the class's docstring.
        authors: With year, empty where nobody is cited.
        link: To the paper.
        needs: What picks depend on: features, predictions, posterior, members.
        cold_start: What it does without a label: ``works``, ``random`` or ``as its members``.
        cost: In N items, L labeled ones, d features, C classes, B picks, M posterior draws.
    """

    name: str
    summary: str
    authors: str
    link: str
    needs: tuple[str, ...]
    cold_start: str
    cost: str

    @property
    def group(self) -> str:
        return group_of(self.needs)


def strategy_rows(names: Iterable[str] | None = None) -> list[StrategyRow]:
    """A row for every strategy, in order of group and name."""
    rows = [_row(name) for name in (STRATEGIES if names is None else names)]
    return sorted(rows, key=lambda row: (GROUPS.index(row.group), row.name))


def group_of(needs: tuple[str, ...]) -> str:
    """The kind of a strategy; ``hybrid`` where features and predictions count.

    >>> group_of(("features", "predictions"))
    'hybrid'
    """
    if MEMBERS in needs:
        return "combination"
    uncertain = PREDICTIONS in needs or POSTERIOR in needs
    if FEATURES in needs:
        return "hybrid" if uncertain else "coverage"
    return "uncertainty" if uncertain else "random"


def to_markdown(rows: Iterable[StrategyRow], seconds: Mapping[str, float | None]) -> str:
    """The rows as a Markdown table; ``seconds`` of a query by name, where they were measured."""
    heading = ("strategy", "what it does", "paper", "needs", "without labels", "cost", "seconds")
    lines = [_line(heading), _line([*["---"] * 6, "---:"])]
    for row in rows:
        paper = f"[{row.authors}]({row.link})" if row.link else row.authors
        needs, measured = ", ".join(row.needs), seconds.get(row.name)
        cells = (f"`{row.name}`", row.summary, paper, needs, row.cold_start, row.cost)
        lines.append(_line([*cells, "" if measured is None else f"{measured:.2g}"]))
    return "\n".join(lines) + "\n"


def _row(name: str) -> StrategyRow:
    factory = STRATEGIES[name]
    own, module = _documentation(factory)
    needs = needs_of(factory)
    authors, link = citation(module.partition("\n\n")[0]) or citation(own) or ("", "")
    cold = "as its members" if MEMBERS in needs else cold_start(factory)
    cost = COSTS.get(name) or cost_of(own) or cost_of(module)
    return StrategyRow(name, summary_of(own), authors, link, needs, cold, cost)


def needs_of(factory: Callable[..., QueryStrategy]) -> tuple[str, ...]:
    """What picks depend on; ``members`` if the strategy is made of others."""
    if any(name.endswith("options") for name in inspect.signature(factory).parameters):
        return (MEMBERS,)
    return tuple(sorted(factory().needs))


def summary_of(docstring: str) -> str:
    """The first sentence: up to a blank line, or a period before a capital letter.

    >>> summary_of("Clusters 1.5 M items. Takes the rest.")
    'Clusters 1.5 M items'
    """
    first = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"\.(?= [A-Z]|$)", first)[0].rstrip(":")


def citation(docstring: str) -> tuple[str, str] | None:
    """Authors with year, and the link after them.

    >>> citation("BADGE (Ash et al., 2020, https://arxiv.org/abs/1906.03671).")
    ('Ash et al., 2020', 'https://arxiv.org/abs/1906.03671')
    """
    found = _CITATION.search(" ".join(docstring.split()))
    return (f"{found[1]}, {found[2]}", found[3]) if found else None


def cost_of(docstring: str) -> str:
    """What stands after every O(…), joined; empty where there is none.

    >>> cost_of("Draws. O(N (C + d)) time at most, O(N C) memory.")
    'O(N (C + d)) time at most; O(N C) memory'
    """
    return "; ".join(found.strip() for found in _COST.findall(" ".join(docstring.split())))


def cold_start(factory: Callable[[], QueryStrategy]) -> str:
    """``random`` where the strategy picks what random choice would, else ``works``."""
    picks = factory().query(_cold_context(), 9)
    if factory is STRATEGIES["random"]:
        return "works"
    return "random" if np.array_equal(picks, random_query(_cold_context(), 9)) else "works"


def _cold_context() -> QueryContext:
    values = generator(0, "strategy table").normal(size=(40, 4)).astype(np.float32)
    labels: Tensor = torch.empty(0, dtype=torch.int64)
    return QueryContext(
        features=torch.from_numpy(values),
        pool=Pool(len(values)),
        labels=labels,
        num_classes=3,
        rng=generator(0, "query"),
    )


def _documentation(factory: Callable[..., QueryStrategy]) -> tuple[str, str]:
    module = inspect.getmodule(factory)
    return inspect.getdoc(factory) or "", (module and inspect.getdoc(module)) or ""


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", r"\|").replace("``", "`") for cell in cells)
    return "| " + " | ".join(escaped) + " |"
