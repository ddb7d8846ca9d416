"""Classes of ImageNet by their WordNet ids, such as ``n01440764``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

LISTS = Path(__file__).parent / "wnids"


def subset(number: int) -> list[str]:
    """The 50, 100 or 200 classes of Van Gansbeke et al. (2020, https://arxiv.org/abs/2005.12320).

    Their lists: https://github.com/wvangansbeke/Unsupervised-Classification.
    """
    return (LISTS / f"imagenet{number}.txt").read_text().split()


def read_words(file: Path) -> dict[str, str]:
    """Readable words of ids; nothing where there is no such file.

    Lines such as ``n01440764 tench, Tinca tinca``, with a tab or a blank.
    """
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.split(None, 1) for line in lines]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def described(wnids: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """Class names: the id, and the first of its words (which alone may name two classes).

    >>> described(["n01440764", "n02012849"], {"n01440764": "tench, Tinca tinca"})
    ('n01440764 tench', 'n02012849')
    """
    return tuple(f"{wnid} {words.get(wnid, '').split(',')[0]}".strip() for wnid in wnids)
