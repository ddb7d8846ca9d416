"""The form of a folder of images: which folders are splits, which are classes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dal_toolbox.datasets._roles import resembles_split, split_of_name
from dal_toolbox.datasets._wording import listed
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log

# Beside other folders, these may well be classes: vehicles, and valid against invalid.
MAYBE_CLASSES = ("train", "valid", "dev")


class UnclearFolder(UserError, ValueError):
    """A folder whose parts may be splits or classes."""


@dataclass(frozen=True)
class Form:
    """How paths are to be read.

    Args:
        base: The folder that holds splits or classes; ``""`` for the root.
        splits: The split of each folder in ``base``; empty where they are classes.
        unlabeled: Folders of images without labels in ``base``, beside classes.
    """

    base: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    unlabeled: frozenset[str] = frozenset()

    def split_of(self, folder: str) -> str | None:
        """The split of a folder's images; None where they are in none."""
        parts = self._parts(folder)
        if parts is None:
            return None
        if self.splits:
            return self.splits.get(parts[0]) if parts else None
        return "unlabeled" if parts and parts[0] in self.unlabeled else "train"

    def label_of(self, folder: str) -> str | None:
        """The class of a folder's images; None where they have none."""
        parts, depth = self._parts(folder), int(bool(self.splits))
        if parts is None or len(parts) <= depth or self.split_of(folder) == "unlabeled":
            return None
        return parts[depth]

    def class_folder(self, folder: str) -> str:
        """The part of a folder's path that says its class."""
        depth = len(self.base.split("/")) * bool(self.base) + bool(self.splits) + 1
        return "/".join(folder.split("/")[:depth])

    def _parts(self, folder: str) -> list[str] | None:
        """The path below ``base``; None where the folder lies elsewhere."""
        parts, base = _split(folder), _split(self.base)
        return parts[len(base) :] if parts[: len(base)] == base else None


def find_form(folders: Collection[str], base: str = "") -> Form:
    """Finds split folders at the top, or below the only folder there; else there are classes.

    Args:
        folders: Folders that hold images, relative to the root.
        base: Where to look, relative to the root.
    """
    below = _below(folders, base)
    roles = _roles(below)
    if _are_splits(below, roles):
        return Form(base, roles)
    if len(below) == 1 and not roles:
        (only,) = below
        deeper = find_form(folders, f"{base}/{only}" if base else only)
        if deeper.splits:
            return deeper
    return Form("", {}, frozenset(top for top in _below(folders, "") if _is_unlabeled(top)))


def refuse_unclear(root: Path, folders: Collection[str], form: Form) -> None:
    """Warns of what looks odd, and refuses what may as well be meant in another way.

    Raises:
        UnclearFolder: Splits may have become classes, or the reverse.
    """
    below = _below(folders, form.base)
    problem = _twice(form.splits) if form.splits else _hidden_splits(below)
    if problem:
        place = root / form.base if form.base else root
        raise UnclearFolder(
            f"root={root}: {problem} (in {place}). Wanted: train/<class>/…, test/<class>/… and, if "
            "there are, val/ and unlabeled/; or a folder for each class; or train.txt and test.txt"
        )
    names = [_tops(deeper) for top, deeper in below.items() if top not in form.unlabeled]
    if (
        not form.splits
        and len(names) > 1
        and len(names[0]) > 1
        and all(n == names[0] for n in names)
    ):
        log.warning(
            "%s are taken for classes, but hold folders of the same names (%s): is each of them "
            "a dataset, or a split?",
            listed(below),
            listed(names[0]),
        )


def _are_splits(below: Mapping[str, list[str]], roles: Mapping[str, str]) -> bool:
    found = set(roles.values())
    return "train" in found and (len(found) > 1 or len(roles) == len(below))


def _twice(splits: Mapping[str, str]) -> str | None:
    for split in sorted(set(splits.values())):
        same = [top for top, other in splits.items() if other == split]
        if len(same) > 1:
            return f"{listed(same)} are all for {split}; keep one, or put them into one folder"
    return None


def _hidden_splits(below: Mapping[str, list[str]]) -> str | None:
    """Why folders that would become classes may be splits."""
    roles = {top: role for top, role in _roles(below).items() if role != "unlabeled"}
    if roles and len(roles) == len(below):
        return f"{listed(roles)} without a folder train"
    shared = [top for top in roles if _shares_folders(top, below)]
    named = [top for top in roles if top.lower() not in MAYBE_CLASSES]
    if shared or named:
        return f"{listed(shared or named)} beside {listed(set(below) - set(shared or named))}"
    resembling = {top: role for top in below if (role := resembles_split(top))}
    if len(resembling) == len(below) > 1 and len(set(resembling.values())) > 1:
        return f"{listed(below)} look like splits; rename them to train, test and so on"
    for top, deeper in below.items():
        inner = _roles(_tops(deeper))
        if "train" in inner.values() and len(set(inner.values())) > 1:
            return f"{listed(f'{top}/{name}' for name in inner)} are splits below {listed([top])}"
    return None


def _shares_folders(top: str, below: Mapping[str, list[str]]) -> bool:
    own = set(_tops(below[top]))
    others = {name for other in below if other != top for name in (other, *_tops(below[other]))}
    return bool(own & others)


def _below(folders: Iterable[str], base: str) -> dict[str, list[str]]:
    """The folders directly in ``base``, and what lies deeper in each, relative to it."""
    prefix = f"{base}/" if base else ""
    below: dict[str, list[str]] = {}
    for folder in folders:
        if folder.startswith(prefix) and len(folder) > len(prefix):
            top, _, deeper = folder[len(prefix) :].partition("/")
            below.setdefault(top, []).append(deeper)
    return below


def _tops(folders: Iterable[str]) -> list[str]:
    return sorted({folder.split("/", 1)[0] for folder in folders if folder})


def _roles(tops: Iterable[str]) -> dict[str, str]:
    return {top: role for top in tops if (role := split_of_name(top))}


def _is_unlabeled(top: str) -> bool:
    return split_of_name(top) == "unlabeled"


def _split(path: str) -> list[str]:
    return path.split("/") if path else []
