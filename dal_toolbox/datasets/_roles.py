"""Names by which people call splits."""

import re

WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
    "unlabeled": ("unlabeled", "unlabelled"),
}
SPLIT_OF_WORD = {word: split for split, words in WORDS.items() for word in words}
FURTHER = "set|split|images|imgs|data|list|files"  # train_images, TestSet, val.list
NAME = re.compile(
    rf"({'|'.join(SPLIT_OF_WORD)})[ ._-]?(?:{FURTHER})?[ ._-]?\d*"
)  # train2017, test1


def split_of_name(name: str) -> str | None:
    """The split that a folder, or a file without its ending, is named after.

    >>> split_of_name("Training"), split_of_name("valid"), split_of_name("steam train")
    ('train', 'val', None)
    """
    match = NAME.fullmatch(name.strip().lower())
    return SPLIT_OF_WORD[match[1]] if match else None


def resembles_split(name: str) -> str | None:
    """The split that a part of the name says, as in ``cifar_train``."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_OF_WORD[word] for word in words if word in SPLIT_OF_WORD), None)
