"""The systems of the five seed documents, each run at reduced size and checked.

python experiments/seeds/main.py [--only 000 003] [--keep FOLDER]
"""

import argparse
import tempfile
import time
from pathlib import Path

import byol_folder
import cifar_transfer
import simclr
import stl10
import utkface
from checks import Check, System
from rich.table import Table
from rich.text import Text

from dal_toolbox.progress import console

SYSTEMS = {
    "000": ("000 UTKFace + CoAtNet", utkface.show),
    "001": ("001 SSL main", simclr.show),
    "002": ("002 CIFAR transfer", cifar_transfer.show),
    "003": ("003 BYOL on a folder", byol_folder.show),
    "004": ("004 STL-10", stl10.show),
}


def main() -> None:
    """Runs what is asked for and prints the table; exit status 1 if a line is not ok."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NUMBER"
    )
    parser.add_argument(
        "--keep", type=Path, help="folder for data and runs; by default they are deleted"
    )
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        checks = [check for number in options.only for check in run(number, work)]
    console.print(to_table(checks))
    good, seconds = sum(check.ok for check in checks), time.perf_counter() - start
    console.print(f"{good} of {len(checks)} ok, {seconds:.0f} s")
    raise SystemExit(not all(check.ok for check in checks))


def run(number: str, work: Path) -> list[Check]:
    """The checks of one system; a main that fails is a line that is not ok."""
    name, show = SYSTEMS[number]
    system = System(name, (work / number).resolve())
    try:
        show(system)
    except RuntimeError as error:
        console.print(str(error), markup=False)
        system.checks.append(Check(name, "runs to its end", str(error).split("\n")[0], False))
    return system.checks


def to_table(checks: list[Check]) -> Table:
    """One row a check."""
    table = Table(title="Seed documents")
    for heading in ("document", "feature", "shown by", "ok"):
        table.add_column(heading)
    for i, check in enumerate(checks):
        if i and checks[i - 1].document != check.document:
            table.add_section()
        ok = "ok" if check.ok else Text("NO", style="red")
        table.add_row(check.document, check.feature, check.shown_by, ok)
    return table


if __name__ == "__main__":
    main()
