"""Query strategies: against scikit-activeml, at the size of ImageNet, and as N and B grow.

    python benchmarks/selection.py peers                  # N 50,000, d 512, C 10 and 100, B 100
    python benchmarks/selection.py scale                  # N 1,281,167, d 384, C 1,000, B 1,000
    python benchmarks/selection.py growth                 # N to 1,000,000, B to 10,000
    python benchmarks/selection.py limits                 # what a part of the pool costs in objective
    python benchmarks/selection.py table                  # the seconds in docs/strategies.md

Every query runs in a process of its own, after a tiny one in which libraries are loaded; one that takes
longer than --limit seconds or --memory GiB is ended and reported as such. Both sides get the same
unit-norm features, the same labels and the same linear head, whose fit is not timed. Each part is kept
under its name in benchmarks/results/selection.json; a run with --strategies replaces only their rows.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from _bench import RESULTS, facts, print_table
from _selection_data import DRAWS, make_problem, problems
from _selection_floor import Size, floor_seconds, machine
from _selection_growth import growth
from _selection_limits import limits
from _selection_report import number, repeated, summary, text
from _selection_run import Job, set_threads

from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.progress import log, track

DEFAULTS: dict[str, dict[str, Any]] = {
    "peers": {"n": 50_000, "dim": 512, "classes": [10, 100], "batch": 100, "labeled": 100,
              "repeats": 3, "limit": 120.0, "memory": 10.0},
    "scale": {"n": 1_281_167, "dim": 384, "classes": [1000], "batch": 1000, "labeled": 1000,
              "repeats": 1, "limit": 600.0, "memory": 10.0},
    "growth": {"n": 100_000, "dim": 128, "classes": [10], "batch": 100, "labeled": 100,
               "repeats": 1, "limit": 60.0, "memory": 10.0},
    "limits": {"n": 50_000, "dim": 384, "classes": [100], "batch": 100, "labeled": 100,
               "repeats": 3, "limit": 300.0, "memory": 10.0},
    "table": {"n": 10_000, "dim": 128, "classes": [10], "batch": 100, "labeled": 100,
              "repeats": 3, "limit": 120.0, "memory": 10.0},
}  # fmt: skip
# Options that spare those work that take longer than three minutes at the size of ImageNet.
FASTER = {"bait": (("max_items", 500_000),), "refine": (("num_batches", 21),)}
SETTING = ("n", "dim", "classes", "batch", "labeled", "repeats", "threads", "seed", "features")


def main() -> None:
    options = parse_arguments()
    set_threads(options.threads)
    parts = {"peers": peers_part, "scale": scale, "growth": growth,
             "limits": limits, "table": table}  # fmt: skip
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        results = parts[options.part](options, Path(work))
    write(options, results)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=DEFAULTS)
    parser.add_argument("--n", type=int, help="items of the pool")
    parser.add_argument("--dim", type=int)
    parser.add_argument("--classes", type=int, nargs="+")
    parser.add_argument("--batch", type=int, help="picks")
    parser.add_argument("--labeled", type=int)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--limit", type=float, help="seconds of a query")
    parser.add_argument("--memory", type=float, help="GiB of a process, mapped files excluded")
    parser.add_argument("--sizes", type=int, nargs="+", help="of growth, N",
                        default=[10_000, 30_000, 100_000, 300_000, 1_000_000])  # fmt: skip
    parser.add_argument("--batches", type=int, nargs="+", help="of growth, B",
                        default=[10, 100, 1000, 10_000])  # fmt: skip
    parser.add_argument("--strategies", help="names, separated by commas; all by default")
    parser.add_argument("--features", type=Path, help="folder with values.npy and targets.npy")
    parser.add_argument("--work", type=Path, help="where features are written; a temporary folder")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "selection.json")
    options = parser.parse_args()
    for name, value in DEFAULTS[options.part].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.names = options.strategies.split(",") if options.strategies else list(STRATEGIES)
    for name in options.names:
        STRATEGIES[name]  # an unknown one ends here, with a suggestion
    return options


def peers_part(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    from _selection_compare import peers  # the only part that needs the peer

    return peers(options, work)


def scale(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Every strategy once on memory-mapped half-precision features."""
    rate, bandwidth = machine(options.threads, 3000 if options.n > 10_000 else 300)
    rows: list[dict[str, Any]] = []
    for num_classes in options.classes:
        problem = make_problem(work, options.n, options.dim, num_classes, options.labeled,
                               dtype="float16", seed=options.seed)  # fmt: skip
        size = Size(options.n, options.dim, num_classes, options.batch, options.labeled, DRAWS, 2)
        for name, chosen in track(variants(options.names), f"C {num_classes}"):
            job = Job("ours", name, problem, options.batch, options.threads, options.seed, True,
                      chosen)  # fmt: skip
            outcomes = repeated(job, options)
            floor = floor_seconds(name, size, rate, bandwidth)
            anonymous = max(outcome.anonymous_mib or 0 for outcome in outcomes)
            title = " ".join([name, *(f"{key}={value}" for key, value in chosen)])
            row = {"strategy": title, "classes": num_classes, **summary(outcomes)}
            rows.append({**row, "anonymous_mib": anonymous, "floor_seconds": floor})
            log.info("%s: %s", title, text(row))
            print(f"{title}: {text(row)} s, {anonymous:.0f} MiB", flush=True)
    show_scale(options, rows, rate, bandwidth)
    return {"rows": rows, "flop_per_second": rate, "bytes_per_second": bandwidth}


def variants(names: list[str]) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
    """Every strategy with its defaults, and where these are slow with faster options."""
    return [
        (name, chosen) for name in names for chosen in ((), FASTER.get(name)) if chosen is not None
    ]


def show_scale(
    options: argparse.Namespace, rows: list[dict[str, Any]], rate: float, bandwidth: float
) -> None:
    cells = [
        [row["strategy"], str(row["classes"]), text(row), number(row["floor_seconds"]),
         number(row["anonymous_mib"]), number(row["peak_mib"])]
        for row in rows
    ]  # fmt: skip
    columns = ["strategy", "C", "s", "floor s", "process MiB", "extra MiB with mapped files"]
    size = f"N {options.n}, d {options.dim}, B {options.batch}, {options.threads} threads"
    speed = f"{rate / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s"
    print_table(f"{size}: {speed}", columns, cells)


def table(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Seconds of every strategy with the classifier of ``laplace``, refits included."""
    rows = []
    problem = next(problems(options, work))
    problem = replace(problem, real_classifier=True)
    for name in track(options.names, "table"):
        job = Job("ours", name, problem, options.batch, options.threads, options.seed)
        rows.append({"strategy": name, **summary(repeated(job, options))})
    cells = [[row["strategy"], text(row), number(row["peak_mib"])] for row in rows]
    print_table(f"N {options.n}, d {options.dim}", ["strategy", "s", "MiB"], cells)
    return {"rows": rows}


def write(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Puts this part into the file, beside the others and beside other strategies at equal sizes."""
    path: Path = options.output
    document = json.loads(path.read_text()) if path.exists() else {"results": {}}
    kept = {key: str(value) if isinstance(value, Path) else value
            for key, value in vars(options).items() if key not in ("names", "output", "work")}  # fmt: skip
    part = {**results, "options": kept, "facts": facts()}
    document["results"][options.part] = merged(document["results"].get(options.part), part)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """The new part, with the rows of strategies that only an old one of the same setting has."""
    if old is None or "rows" not in new:
        return new
    if any(old["options"].get(key) != new["options"][key] for key in SETTING):
        return new
    measured = {(row["strategy"], row.get("classes")) for row in new["rows"]}
    missing = [row for row in old["rows"] if (row["strategy"], row.get("classes")) not in measured]
    rows = sorted([*missing, *new["rows"]], key=lambda row: row["strategy"])
    return {**new, "rows": rows}


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "160")  # of a table that goes to a file
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which ends the query, too
    main()
