"""Writes docs/selection.md from the committed measurements of benchmarks/selection.py.

python docs/make_selection.py
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "selection.md"
RESULTS = ROOT / "benchmarks" / "results" / "selection.json"

INTRODUCTION = """\
# How fast strategies choose

<!-- Written by `python docs/make_selection.py` from `benchmarks/results/selection.json`; measure again instead. -->

Every query runs in a process of its own, after a tiny one that loads the libraries. Features are unit-norm and made from one
Gaussian for each class in 32 dimensions, with noise in all of them; the classifier is a linear head that is there already. It is
asked for predictions like any other, and its fit is not timed.
"""


def main() -> None:
    PAGE.write_text(page())


def page() -> str:
    """The whole document."""
    results = json.loads(RESULTS.read_text())["results"]
    sections = {"peers": peers, "scale": scale, "limits": limits, "growth": growth}
    parts = [write(results[name]) for name, write in sections.items() if name in results]
    return "\n".join([INTRODUCTION, *parts])


def peers(part: dict[str, Any]) -> str:
    rows = []
    for row in sorted(part["rows"], key=lambda row: (row["strategy"], row["classes"])):
        ours, peer = row["ours"], row["peer"]
        rows.append([
            f"`{row['strategy']}`", row["classes"], spread(ours), spread(peer), number(row["ratio"], 2),
            number(ours["peak_mib"]), number(peer["peak_mib"]),
            f"{row['objective']} {number(ours['objective'], 4)} / {number(peer['objective'], 4)}",
        ])  # fmt: skip
    columns = [
        "strategy",
        "C",
        "ours, s",
        "peer, s",
        "peer / ours",
        "ours, MiB",
        "peer, MiB",
        "objective, ours / peer",
    ]
    options = part["options"]
    return f"""\
## Against scikit-activeml {part["peers"]["scikit-activeml"]}

{setting(part)}, float32 in memory: median (smallest to largest) of {options["repeats"]} queries on each side, in turn; the same
features, labels and head. MiB are beyond the features. A peer that needs more than {options["memory"]:g} GiB or
{options["limit"]:g} s was ended. The objective is that of the method, more (+) or less (-) is better.
{predictions(part)}

{table(columns, rows)}"""


def predictions(part: dict[str, Any]) -> str:
    """What a query takes at least, in a sentence for each number of classes."""
    return " ".join(
        f"At C = {classes} the head alone takes {number(known['head'])} s, its draws {number(known['draws'])} s."
        for classes, known in part.get("predictions", {}).items()
    )


def scale(part: dict[str, Any]) -> str:
    rows = [
        [f"`{row['strategy']}`", seconds(row), number(row["floor_seconds"]), number(row["anonymous_mib"])]
        for row in part["rows"]
    ]  # fmt: skip
    rate, bandwidth = part["flop_per_second"] / 1e9, part["bytes_per_second"] / 1e9
    return f"""\
## At the size of ImageNet

{setting(part)}, features as memory-mapped float16, one query each. The floor is what no implementation can go below: the
operations that the definition asks for over {rate:.0f} GFLOP/s, or one pass over the features at {bandwidth:.0f} GB/s (both
as measured in the last run; rows of earlier runs have theirs, 116 to 155 GFLOP/s), whichever is longer. MiB are the largest resident memory of the process, mapped files excluded.

{table(["strategy", "s", "floor, s", "MiB"], rows)}"""


def limits(part: dict[str, Any]) -> str:
    rows = []
    for row in part["rows"]:
        whole, limited = row["whole"], row["limited"]
        rows.append([
            f"`{row['strategy']}`", f"`{row['option']}` {row['value']:,}", f"{row['part']:,}", seconds(whole), seconds(limited),
            f"{row['objective']} {number(whole['objective'], 4)} / {number(limited['objective'], 4)}",
        ])  # fmt: skip
    columns = ["strategy", "option", "here", "without, s", "with, s", "objective, without / with"]
    return f"""\
## What a part of the pool costs

In pools as large as ImageNet some strategies look at a random part of the items by default, and log it; `bait` and `refine` take less
than three minutes with the option of the table above only. {setting(part)}: the objective without and with the option, where so small a
part of this pool is taken as the option is of 1,281,167 items; mean of {part["options"]["repeats"]} seeds.

{table(columns, rows)}"""


def growth(part: dict[str, Any]) -> str:
    return f"""\
## As the pool and the batch grow

d = {part["options"]["dim"]}, C = {part["options"]["classes"][0]}, {part["options"]["threads"]} threads.
`{part["facts"]["command"]}`

![Seconds by N and by B, log-log](../benchmarks/results/selection_growth.png)
"""


def setting(part: dict[str, Any]) -> str:
    options = part["options"]
    classes = " and ".join(f"{number:,}" for number in options["classes"])
    return (
        f"`python benchmarks/selection.py {options['part']}`: N = {options['n']:,}, d = {options['dim']}, C = {classes}, "
        f"B = {options['batch']:,}, L = {options['labeled']:,}, {options['threads']} threads of {part['facts']['cpu']}"
    )


def spread(side: dict[str, Any]) -> str:
    if side["seconds"] is None:
        return seconds(side)
    low, high = min(side["all_seconds"]), max(side["all_seconds"])
    return f"{number(side['seconds'])} ({number(low)} to {number(high)})"


def seconds(side: dict[str, Any]) -> str:
    return side["failure"].partition(":")[0] if side["seconds"] is None else number(side["seconds"])


def number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def table(columns: list[str], rows: Iterable[list[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
