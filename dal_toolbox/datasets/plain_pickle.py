"""Pickles of plain values and arrays, read without building anything else."""

import mmap
import pickletools
from pathlib import Path
from typing import IO, Any, cast

# Generous limits: the largest batch file of CIFAR has 155 MB and some 250,000 values.
MAX_BYTES = 2**28
MAX_OPCODES = 2_000_000


class PickledArray:
    """What a pickle says about an array: nothing of it is believed before it is checked.

    ``state`` is ``(version, shape, type, is_fortran, content)`` in sound pickles, where ``type`` is
    text such as ``b"u1"`` and ``content`` bytes.
    """

    state: Any = None


def read_pickle(file: Path) -> Any:
    """The value of a pickle of plain values and arrays, of which :class:`PickledArray` keeps the parts.

    ``pickle`` itself builds whatever the file asks for: with numpy's classes alone a file can
    crash the process, or take all memory. The opcodes here are those that Python 2 writes for
    numbers, text, lists, dicts and arrays, and Python 3 up to protocol 4; text becomes bytes.

    Raises:
        ValueError: It asks for anything else, or is no pickle.
    """
    if file.stat().st_size > MAX_BYTES:
        raise ValueError("it is larger than any file that is read here")
    with (
        file.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        try:
            return _run(cast(IO[bytes], content))  # gives no more bytes than there are
        except (TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"no sound pickle: {error}") from error


def _run(stream: IO[bytes]) -> Any:
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        name = opcode.name
        if number == MAX_OPCODES:
            raise ValueError("it holds more values than any file that is read here")
        if name in ("BINUNICODE", "SHORT_BINUNICODE"):
            stack.append(str(argument).encode())
        elif isinstance(argument, str) and name in _VALUES:
            stack.append(argument.encode("latin-1"))  # as pickletools decodes the text of Python 2
        elif name in _VALUES:
            stack.append(_CONSTANTS.get(name, argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            _apply(name, argument, stack)
    raise ValueError("it does not end")


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING"}
_VALUES |= {"BINBYTES", "SHORT_BINBYTES", *_CONSTANTS}
_MARK = object()


def _apply(name: str, argument: Any, stack: list[Any]) -> None:
    """The opcodes that build something from what lies on the stack."""
    match name:
        case "MARK":
            stack.append(_MARK)
        case "EMPTY_DICT":
            stack.append({})
        case "EMPTY_LIST":
            stack.append([])
        case "EMPTY_TUPLE":
            stack.append(())
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            number = int(name[-1])
            stack[-number:] = [tuple(stack[-number:])]
        case "TUPLE":
            stack.append(tuple(_above_mark(stack)))
        case "APPEND":
            stack[-2].append(stack.pop())
        case "APPENDS":
            values = _above_mark(stack)
            stack[-1].extend(values)
        case "SETITEM":
            values = [stack.pop(-2), stack.pop()]
            _set_items(stack[-1], values)
        case "SETITEMS":
            values = _above_mark(stack)
            _set_items(stack[-1], values)
        case "GLOBAL":
            stack.append(_Global(argument))
        case "STACK_GLOBAL":
            place = b" ".join(stack[-2:])
            stack[-2:] = [_Global(place.decode())]
        case "REDUCE":
            arguments = stack.pop()
            stack[-1] = _call(stack[-1], arguments)
        case "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], PickledArray):
                stack[-1].state = state
        case _:
            raise ValueError(f"{name} is not allowed")


def _above_mark(stack: list[Any]) -> list[Any]:
    values = []
    while (value := stack.pop()) is not _MARK:
        values.append(value)
    return values[::-1]


def _set_items(goal: dict[bytes, Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, bytes):  # tuples of tuples can take for ever to hash
            raise ValueError("a key is no text")
        goal[key] = value


class _Global(str):
    """Module and name of something that a pickle asks for."""

    __slots__ = ()


def _call(function: Any, arguments: Any) -> Any:
    """Stands in for the two calls that arrays are pickled with: no array, and the type as text."""
    if isinstance(function, _Global) and function in _RECONSTRUCT:
        return PickledArray()
    if isinstance(function, _Global) and function == "numpy dtype":
        return arguments[0]
    raise ValueError(f"{function if isinstance(function, _Global) else 'this'} is not allowed")


_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
