"""Summaries as text: for a terminal, as Markdown and as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from dal_toolbox.analysis.names import for_markdown, for_terminal, shown
from dal_toolbox.analysis.report import Row, Summary, verdict
from dal_toolbox.analysis.scales import Scale, scale_of

SMALLEST_P = 0.001  # smaller ones are not told apart


def to_table(summary: Summary, width: int = 80) -> Table:
    """One line for each strategy; where that does not fit, columns and spreads are left out.

    Args:
        summary: What to show.
        width: Characters of a line.
    """
    console = Console(width=10 * width)
    for final, spread in ((True, True), (False, True), (False, False)):
        table = _terminal_table(summary, final=final, spread=spread)
        if Measurement.get(console, console.options, table).maximum <= width:
            break
    return table


def to_markdown(
    summaries: Sequence[Summary], pictures: Mapping[str, str], notes: Sequence[str]
) -> str:
    """All summaries as one document.

    Args:
        summaries: Of one metric and baseline.
        pictures: File with the learning curves of each setting.
        notes: What the runs disclose.
    """
    first = summaries[0]
    lines = [f"# {for_markdown(_title(first))}", "", _legend(first), ""]
    for summary in summaries:
        if summary.setting:
            lines += [f"## {for_markdown(summary.setting)}", ""]
        columns = _columns(summary, digits=1, seeds=True)
        lines += [_line(for_markdown(heading) for heading in columns)]
        lines += [_line(["---", *["---:"] * (len(columns) - 1)])]
        for row in zip(*columns.values(), strict=True):
            lines += [_line([for_markdown(row[0]), *row[1:]])]
        lines += ["", f"{for_markdown(verdict(summary))}.", ""]
        lines += [f"![Learning curves]({pictures[summary.setting]})", ""]
    if notes:
        lines += ["## Notes of the runs", "", *(f"- {for_markdown(note)}" for note in notes), ""]
    return "\n".join(lines)


def to_csv(summaries: Sequence[Summary]) -> str:
    """All rows, with their setting, to six digits; an accuracy is a share here, not percent."""
    text = io.StringIO()
    names = ["setting", *(field.name for field in fields(Row))]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for summary in summaries:
        for row in summary.rows:
            cells = {"setting": summary.setting, **asdict(row)}
            writer.writerow({key: _csv_cell(value) for key, value in cells.items()})
    return text.getvalue()


def _terminal_table(summary: Summary, *, final: bool, spread: bool) -> Table:
    seeds = any(row.pairs not in (None, row.seeds) for row in summary.rows) or " " in summary.seeds
    count = "" if seeds else f", {summary.seeds} seed{'' if summary.seeds == '1' else 's'}"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    setting = f": {summary.setting}" if summary.setting else ""
    table.title = for_terminal(f"{_title(summary)}{count}{setting}")
    columns = _columns(summary, digits=0, seeds=seeds, final=final, spread=spread)
    for heading in columns:
        justify = "right" if table.columns else "left"
        table.add_column(for_terminal(heading), justify=justify)  # type: ignore[arg-type]
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(for_terminal, row))
    return table


def _title(summary: Summary) -> str:
    unit = scale_of(summary.metric).unit
    return f"Test {summary.metric}" + (f" in{unit}" if unit else "")


def _legend(summary: Summary) -> str:
    better = "less" if scale_of(summary.metric).sign < 0 else "more"
    baseline = for_markdown(summary.baseline)
    return (
        f"Mean ± standard deviation over seeds; {better} is better. The area is the mean height of "
        f"the learning curve. Its difference to {baseline} is paired by seed, positive where the "
        f"strategy is better, and has a 95 % confidence interval; p: paired t-test, corrected by "
        "Holm for the strategies of the table."
    )


def _columns(
    summary: Summary, digits: int, *, seeds: bool, final: bool = True, spread: bool = True
) -> dict[str, list[str]]:
    """Heading and cells of each column."""
    rows, scale = summary.rows, scale_of(summary.metric)

    def with_spread(mean: float, std: float | None) -> str:
        shown_std = f" ± {scale.text(std, digits)}" if spread and std is not None else ""
        return scale.text(mean, digits) + shown_std

    columns = {"strategy": [row.strategy for row in rows]}
    if seeds:
        columns["seeds"] = [_seeds(row) for row in rows]
    if final:
        heading = f"at {rows[0].num_labels} labels"
        columns[heading] = [with_spread(row.final_mean, row.final_std) for row in rows]
    columns["area"] = [with_spread(row.area_mean, row.area_std) for row in rows]
    if any(row.difference is not None for row in rows):
        sides = ("area", summary.baseline)[:: scale.sign]
        columns[f"{sides[0]} - {sides[1]} [95 %]"] = [_interval(scale, digits, row) for row in rows]
    if any(row.p is not None for row in rows):
        columns["p"] = [_p(row.p) for row in rows]
    return columns


def _seeds(row: Row) -> str:
    return str(row.seeds) + (f", {row.pairs} paired" if row.pairs not in (None, row.seeds) else "")


def _interval(scale: Scale, digits: int, row: Row) -> str:
    if row.difference is None:
        return ""
    text = scale.signed(row.difference, digits)
    if row.low is None or row.high is None:
        return text
    return f"{text} [{scale.signed(row.low, digits)}, {scale.signed(row.high, digits)}]"


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return f"<{SMALLEST_P}" if p < SMALLEST_P else f"{p:.2g}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else shown(value)
