"""Table and learning curves of several active-learning runs."""

from pathlib import Path

from dal_toolbox.analysis.curves import load_curves
from dal_toolbox.analysis.plots import plot_learning_curves
from dal_toolbox.analysis.report import summarize, to_csv, to_table
from dal_toolbox.config import launch
from dal_toolbox.io import write_text
from dal_toolbox.progress import console


def main(config: dict, folder: Path) -> None:
    """Reads every finished run below ``config["runs"]`` and writes summary and plot."""
    metric, baseline = config["metric"], config["baseline"]
    curves = load_curves(Path(config["runs"]))
    rows = summarize(curves, metric, baseline)
    write_text(folder / "summary.csv", to_csv(rows))
    plot_learning_curves(curves, folder / "learning_curves.png", metric)
    console.print(to_table(rows, metric, baseline))
    console.print(f"{folder / 'learning_curves.png'}\n{folder / 'summary.csv'}", highlight=False)


if __name__ == "__main__":
    launch("report", main)
