"""Names that come from files (strategies, classes, folders), as they may be shown to a person.

They are data: no terminal, no markup of rich, Markdown or matplotlib interprets them.
"""

import re

from rich.text import Text

from dal_toolbox.errors import printable

LONGEST = 40  # characters of a name in a picture


def shown(name: object) -> str:
    """A name on one line; what would move a cursor or turn the text is spelled out."""
    return printable(str(name))


def for_terminal(name: object) -> Text:
    """A name without the markup of rich: ``[red]`` are five characters."""
    return Text(shown(name))


def for_markdown(name: object) -> str:
    r"""A name as plain text of Markdown, in a table or elsewhere.

    >>> print(for_markdown("a|b *c* least_confident"))
    a\|b \*c\* least_confident
    """
    return re.sub(r"([\\`*|\[\]<>~$&#!])|(?<!\w)_|_(?!\w)", r"\\\g<0>", shown(name))


def for_plot(name: object, longest: int = LONGEST) -> str:
    r"""A name as text of matplotlib: no formulas, and also visible in a legend if it begins with ``_``.

    >>> print(for_plot("$x$"), for_plot("_rest"))
    \$x\$  _rest
    """
    text = shown(name)
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return (" " if not text or text.startswith("_") else "") + text.replace("$", r"\$")
