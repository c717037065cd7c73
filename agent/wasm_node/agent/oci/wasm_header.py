"""
What a module or component imports and exports, read from its sections.

Not a parser of wasm: it walks the section headers and reads the names in two
kinds of sections, so that `inspect` and `pack` can say what a program needs
without compiling it. Every length is checked, and what it does not understand
ends the reading with `complete=False`. Pure; for people, never for admission.
"""

import dataclasses
from collections.abc import Callable

from wasm_node.agent.model.image import Kind
from wasm_node.agent.oci import magic

_NAMES_MOST = 10_000
_CORE_IMPORTS, _CORE_EXPORTS = 2, 7
_IMPORTS, _EXPORTS = 10, 11


@dataclasses.dataclass(frozen=True)
class Interface:
    """
    What a program asks of its host and offers to it.

    Attributes:
        imports: of a module `(module, name)`; of a component `(interface, "")`.
        exports: names.
        complete: whether all of it could be read.
    """

    imports: tuple[tuple[str, str], ...]
    exports: tuple[str, ...]
    complete: bool


class _BeyondError(Exception):
    """The bytes end too early, or say what this reader does not know."""


def interface(content: bytes) -> Interface:
    """Read a module's or component's imports and exports; text gives none."""
    imports: list[tuple[str, str]] = []
    exports: list[str] = []
    readers: dict[int, Callable[[_Reader], None]]
    match magic.kind(content):
        case Kind.MODULE:
            readers = {
                _CORE_IMPORTS: lambda each: imports.append(_core_import(each)),
                _CORE_EXPORTS: lambda each: exports.append(_core_export(each)),
            }
        case Kind.COMPONENT:
            readers = {
                _IMPORTS: lambda each: imports.append((_component_import(each), "")),
                _EXPORTS: lambda each: exports.append(_component_export(each)),
            }
        case _:
            return Interface((), (), complete=False)
    try:
        _walk(_Reader(content, 8, len(content)), readers)
    except _BeyondError:
        return Interface(tuple(imports), tuple(exports), complete=False)
    return Interface(tuple(imports), tuple(exports), complete=True)


class _Reader:
    def __init__(self, content: bytes, at: int, end: int) -> None:
        self._content = content
        self._at = at
        self._end = end

    @property
    def more(self) -> bool:
        return self._at < self._end

    def byte(self) -> int:
        return self.bytes(1)[0]

    def bytes(self, count: int) -> bytes:
        self.skip(count)
        return self._content[self._at - count : self._at]

    def skip(self, count: int) -> None:
        if count > self._end - self._at:
            raise _BeyondError
        self._at += count

    def number(self) -> int:
        """Read an unsigned LEB128 of at most 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _BeyondError

    def name(self) -> str:
        return self.bytes(self.number()).decode(errors="replace")

    def section(self, size: int) -> "_Reader":
        start = self._at
        self.skip(size)
        return _Reader(self._content, start, self._at)


def _walk(reader: _Reader, readers: dict[int, Callable[[_Reader], None]]) -> None:
    names = 0
    while reader.more:
        kind = reader.byte()
        section = reader.section(reader.number())
        if kind not in readers:
            continue
        for _ in range(section.number()):
            names += 1
            if names > _NAMES_MOST:
                raise _BeyondError
            readers[kind](section)


def _core_import(reader: _Reader) -> tuple[str, str]:
    found = reader.name(), reader.name()
    match reader.byte():
        case 0:  # function: its type
            reader.number()
        case 1:  # table: element type, limits
            if reader.byte() in {0x63, 0x64}:
                reader.number()
            _limits(reader)
        case 2:  # memory
            _limits(reader)
        case 3:  # global: value type, mutability
            if reader.byte() in {0x63, 0x64}:
                reader.number()
            reader.byte()
        case 4:  # tag
            reader.byte()
            reader.number()
        case _:
            raise _BeyondError
    return found


def _core_export(reader: _Reader) -> str:
    name = reader.name()
    reader.byte()
    reader.number()
    return name


def _limits(reader: _Reader) -> None:
    flags = reader.byte()
    reader.number()
    if flags & 1:
        reader.number()
    if flags & 8:  # custom page size
        reader.number()


def _component_import(reader: _Reader) -> str:
    name = _extern_name(reader)
    _extern_type(reader)
    return name


def _component_export(reader: _Reader) -> str:
    name = _extern_name(reader)
    if reader.byte() == 0:  # a core sort has a second byte
        reader.byte()
    reader.number()
    if reader.byte():  # a type is given as well
        _extern_type(reader)
    return name


def _extern_name(reader: _Reader) -> str:
    if reader.byte() > 1:
        raise _BeyondError
    return reader.name()


def _extern_type(reader: _Reader) -> None:
    match reader.byte():
        case 0:  # core module
            reader.byte()
            reader.number()
        case 1 | 4 | 5:  # function, component, instance: its type
            reader.number()
        case 3:  # type bound: equal to one, or any resource
            if reader.byte() == 0:
                reader.number()
        case _:
            raise _BeyondError
