"""Tables and learning curves of several active-learning runs."""

import re
from collections.abc import Iterable
from pathlib import Path

from dal_toolbox.analysis.curves import load_curves
from dal_toolbox.analysis.grouping import by_setting, with_metric
from dal_toolbox.analysis.names import for_terminal, shown
from dal_toolbox.analysis.plots import looks_of, plot_learning_curves
from dal_toolbox.analysis.report import Summary, notes, summarize, verdict
from dal_toolbox.analysis.tables import to_csv, to_markdown, to_table
from dal_toolbox.config import launch
from dal_toolbox.errors import UserError
from dal_toolbox.io import write_text
from dal_toolbox.progress import console

LEGEND = (
    "± standard deviation over seeds; area: mean height of the learning curve; [95 %] and p (t-test, "
    "corrected by Holm): paired by seed"
)


def main(config: dict, _: Path) -> None:
    """Reads every finished run below ``config["runs"]``; writes and prints what they say."""
    metric, baseline = str(config["metric"]), str(config["baseline"])
    for key in ("runs", "output_dir"):
        if not isinstance(config[key], str) or not config[key] or "\0" in config[key]:
            raise UserError(f"{key}={shown(config[key])}: name a folder")
    curves = with_metric(load_curves(Path(config["runs"])), metric)
    summaries = summarize(curves, metric, baseline)
    suffix = "" if metric == "accuracy" else f"_{_file_name(metric)}"
    folder, pictures = Path(config["output_dir"]), _pictures(summaries, suffix)
    files = {".csv": to_csv(summaries), ".md": to_markdown(summaries, pictures, notes(curves))}
    try:
        for extension, text in files.items():
            write_text(folder / f"summary{suffix}{extension}", text)
        looks = looks_of(sorted(curve.strategy for curve in curves))
        for setting, own in by_setting(curves).items():
            plot_learning_curves(own, folder / pictures[setting], metric, baseline, looks)
    except OSError as error:
        raise UserError(
            f"output_dir={shown(folder)}: {error.strerror}; choose another one"
        ) from None
    _print(summaries, notes(curves))
    names = [f"summary{suffix}.md", f"summary{suffix}.csv", *pictures.values()]
    console.print(for_terminal(f"written to {folder}: {', '.join(names)}"))


def _print(summaries: Iterable[Summary], disclosed: Iterable[str]) -> None:
    for summary in summaries:
        console.print(to_table(summary, console.width))
        console.print(for_terminal(f"{verdict(summary)}."), end="\n\n")
    console.print(for_terminal(LEGEND))
    for note in disclosed:
        console.print(for_terminal(f"note: {note}"))


def _pictures(summaries: Iterable[Summary], suffix: str) -> dict[str, str]:
    """File of each setting, named by what it differs in."""
    names: dict[str, str] = {}
    for summary in summaries:
        name = f"learning_curves{suffix}"
        if summary.setting:
            name += f"_{_file_name(summary.setting)}"
        taken = sum(other.startswith(name) for other in names.values())
        names[summary.setting] = f"{name}_{taken + 1}.png" if taken else f"{name}.png"
    return names


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:100] or "other"


if __name__ == "__main__":
    launch("report", main)
