"""The one exception that a user can cause and can fix."""

import re

# Control characters, line separators, marks that turn the direction of text, lone surrogates.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class UserError(Exception):
    """A mistake in what was asked for. The message is one line and says the way out.

    The mains of ``experiments/`` print it without a traceback and exit with status 2.
    """

    def __str__(self) -> str:  # KeyError would print its message in quotes
        return printable(" ".join(str(part) for part in self.args))


def printable(name: str) -> str:
    r"""A name on one line of a terminal: what would move the cursor or turn the text is escaped.

    Bytes that are no UTF-8 (surrogates in names of files) are shown as these bytes.

    >>> print(printable("\x1b[31mred\n"), printable("caf\udce9"), printable("Käse 🧀"))
    \x1b[31mred\x0a caf\xe9 Käse 🧀
    """
    return UNSAFE.sub(lambda match: _escaped(ord(match[0])), name)


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
