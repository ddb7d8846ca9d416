"""The form of a folder of images: which folders are splits, which are classes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dal_toolbox.datasets._roles import resembles_split, split_of_name
from dal_toolbox.datasets._wording import listed
from dal_toolbox.errors import UserError, printable
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
        twofold: Split folders that hold nothing but one of the same name, as in ``train/train/cat``.
    """

    base: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    unlabeled: frozenset[str] = frozenset()
    twofold: frozenset[str] = frozenset()

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
        parts = self._parts(folder)
        if not parts or self.split_of(folder) == "unlabeled":
            return None
        depth = self._depth(parts[0])
        return parts[depth] if len(parts) > depth else None

    def class_folder(self, folder: str) -> str:
        """The part of a folder's path that says its class."""
        parts, above = _split(folder), len(_split(self.base))
        depth = self._depth(parts[above]) if len(parts) > above else 0
        return "/".join(parts[: above + depth + 1])

    def _depth(self, top: str) -> int:
        """How far below ``base`` the classes are."""
        return int(bool(self.splits)) + (top in self.twofold)

    def _parts(self, folder: str) -> list[str] | None:
        """The path below ``base``; None where the folder lies elsewhere."""
        parts, base = _split(folder), _split(self.base)
        return parts[len(base) :] if parts[: len(base)] == base else None


def find_form(folders: Collection[str]) -> Form:
    """Finds split folders at the top, or below the only folder there; else there are classes.

    Args:
        folders: Folders that hold images, relative to the root.
    """
    top_folders = below = _below(folders, "")
    base = ""
    while below:
        roles = _roles(below)
        if _are_splits(below, roles):
            twofold = frozenset(top for top, role in roles.items() if _is_twofold(below[top], role))
            return Form(base, roles, twofold=twofold)
        if len(below) > 1 or roles:
            break
        base = f"{base}/{min(below)}" if base else min(below)
        below = _below(folders, base)
    unlabeled = (top for top in top_folders if split_of_name(top) == "unlabeled")
    return Form(unlabeled=frozenset(unlabeled))


def refuse_unclear(root: Path, folders: Collection[str], form: Form) -> None:
    """Refuses folders that may be meant in another way, and warns of those that look odd.

    Raises:
        UnclearFolder: Splits would become classes, or a split is there twice.
    """
    below = _below(folders, form.base)
    problem = _twice(form.splits) if form.splits else _hidden_splits(below)
    if problem:
        place = root / form.base if form.base else root
        raise UnclearFolder(
            f"root={root}: {problem} (in {place}). Wanted: train/<class>/…, test/<class>/… and, if "
            "there are, val/ and unlabeled/; or a folder for each class; or train.txt and test.txt"
        )
    if not form.splits:
        _warn({top: deeper for top, deeper in below.items() if top not in form.unlabeled}, root)


def _warn(below: Mapping[str, list[str]], root: Path) -> None:
    """Warns of classes that hold folders which may be the classes."""
    for top, deeper in below.items():
        if len(below) == 1 and len(_tops(deeper)) > 1:
            log.warning(
                "%s is the only class; if the classes are the folders in it (%s), give root=%s",
                *(listed([top]), listed(_tops(deeper)), printable(str(root / top))),
            )
    inner = [_tops(deeper) for deeper in below.values()]
    if len(inner) > 1 and len(inner[0]) > 1 and all(names == inner[0] for names in inner):
        log.warning(
            "%s are taken for classes, but hold folders of the same names (%s): is each of them "
            "a dataset, or a split?",
            *(listed(below), listed(inner[0])),
        )


def _are_splits(below: Collection[str], roles: Mapping[str, str]) -> bool:
    found = set(roles.values())
    return "train" in found and (len(found) > 1 or len(roles) == len(below))


def _is_twofold(deeper: list[str], role: str) -> bool:
    tops = _tops(deeper)
    return "" not in deeper and len(tops) == 1 and split_of_name(tops[0]) == role


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
    if _are_splits(resembling, resembling) and 1 < len(resembling) >= len(below) / 2:
        return f"{listed(resembling)} look like splits; rename them to train, test and so on"
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


def _split(path: str) -> list[str]:
    return path.split("/") if path else []
