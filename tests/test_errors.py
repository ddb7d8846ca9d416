"""Messages are one line that a terminal can show."""

import unicodedata

import pytest

from dal_toolbox.errors import UserError, printable


def test_what_moves_or_turns_text_is_escaped():
    assert printable("a\x1b]0;title\x07b\r\nc\x9b1m") == r"a\x1b]0;title\x07b\x0d\x0ac\x9b1m"
    assert printable("a\u202egnp.exe\u2066") == r"a\u202egnp.exe\u2066"
    assert printable("M\udcfcller/\ud800") == r"M\xfcller/\ud800"


def test_no_control_character_is_left_and_nothing_else_is_touched():
    for code in range(0x110000):
        character = chr(code)
        shown = printable(character)
        assert shown.isascii() or shown == character
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            assert shown != character
        if character.isprintable():
            assert shown == character


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "\udce4", "\u202e"])
def test_messages_are_safe_whatever_they_quote(name):
    message = str(UserError(f"no class '{name}'", name))
    assert message == f"no class '{printable(name)}' {printable(name)}"
    message.encode()
