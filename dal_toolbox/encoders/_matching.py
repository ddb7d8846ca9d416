"""Finds an encoder in a file: behind which prefix, and under which spelling of its names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from dal_toolbox.encoders._spellings import SPELLINGS

# A file may hold the encoder more than once. Of equal copies the first of these kinds is taken:
# the attribute `encoder` of a Lightning module, a teacher or an average, any other, a copy in training.
OWN = "state_dict.encoder."
TEACHERS = ("teacher", "ema")
COPIES = ("student", "target", "momentum", "encoder_k", "key_encoder")


@dataclass(frozen=True)
class Match:
    """One way to read a file.

    Attributes:
        prefix: What stands before the encoder's names in the file.
        spelling: How the file names the tensors.
        names: Name in the encoder -> name in the file.
        fitting: Number of tensors of equal shape.
    """

    prefix: str
    spelling: str
    names: Mapping[str, str]
    fitting: int

    @property
    def rank(self) -> tuple[int, int, int, int, str]:
        """Larger is better."""
        return self.fitting, len(self.names), self._kind(), -len(self.prefix), self.prefix

    def _kind(self) -> int:
        prefix = self.prefix.lower()
        if prefix.startswith(OWN):
            return 3
        if any(word in prefix for word in TEACHERS):
            return 2
        return 0 if any(word in prefix for word in COPIES) else 1


def find_matches(
    wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], prefix: str
) -> list[Match]:
    """All ways to read ``tensors`` as ``wanted``, the best one first.

    Args:
        wanted: The tensors of the encoder.
        tensors: Those of the file.
        prefix: Where they must be, or ``auto``. Outer containers (``state_dict.``) may be left out.
    """
    found: dict[frozenset[tuple[str, str]], Match] = {}
    for spelling, spell in SPELLINGS.items():
        spelled = {spell(name): name for name in wanted}
        for place, names in _places(spelled, tensors).items():
            if prefix == "auto" or _is_at(place, prefix):
                fitting = sum(wanted[a].shape == tensors[b].shape for a, b in names.items())
                match = Match(place, spelling, names, fitting)
                found.setdefault(frozenset(names.items()), match)
    return sorted(found.values(), key=lambda match: match.rank, reverse=True)


def _places(spelled: Mapping[str, str], names: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """For every prefix the names of the encoder that stand behind it."""
    places: dict[str, dict[str, str]] = {}
    for name in names:
        for start in _starts(name):
            ours = spelled.get(name[start:])
            if ours is not None:
                places.setdefault(name[:start], {})[ours] = name
    return places


def _is_at(place: str, prefix: str) -> bool:
    """Whether a prefix that was found is the one that was asked for.

    >>> _is_at("state_dict.backbone.", "backbone.")
    True
    """
    wanted = (prefix, f"{prefix}model.")  # our encoders keep a network of timm in `model`
    return place in wanted or (prefix != "" and place.endswith(tuple(f".{w}" for w in wanted)))


def _starts(name: str) -> Iterator[int]:
    """Where a name without some prefix may begin.

    >>> list(_starts("a.b.c"))
    [0, 2, 4]
    """
    yield 0
    yield from (i + 1 for i, letter in enumerate(name) if letter == ".")
