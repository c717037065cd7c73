"""Files are known by their first bytes."""

import pytest

from wasm_node.agent.model.image import Kind
from wasm_node.agent.oci import magic


def elf(machine: int, abi: int = 0) -> bytes:
    """Return the head of an ELF file, little-endian."""
    return b"\x7fELF\x02\x01\x01" + bytes([abi]) + bytes(8) + b"\x02\0" + bytes([machine, 0])


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0asm\x01\0\0\0", Kind.MODULE),
        (b"\0asm\x0d\0\x01\0rest", Kind.COMPONENT),
        (b"(module)", Kind.TEXT),
        (b"(component $c", Kind.TEXT),
        (b"\n\t ;; hello\n (; a (; nested ;) ;) (module", Kind.TEXT),
        (b"(module;; x", Kind.TEXT),
        (b"(modules)", None),
        (b"(; never closed (module)", None),
        (b";; only a comment", None),
        (b"\0asm\x02\0\0\0", None),
        (b"\0asm", None),
        (b"", None),
        (elf(62), None),
    ],
)
def test_kinds(head: bytes, kind: Kind | None) -> None:
    """Binary modules and components and text are told from all else."""
    assert magic.kind(head) is kind


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "an empty file"),
        (b"\0asm\x02\0\0\0", "WebAssembly of an unknown version (02 00 00 00)"),
        (elf(62), "a Linux program (ELF x86-64)"),
        (elf(183), "a Linux program (ELF ARM64)"),
        (elf(99), "a Linux program (ELF machine 99)"),
        (b"\x7fELF", "a Linux program (ELF machine 0)"),
        (elf(0, abi=200), "native code compiled by wasmtime (.cwasm)"),
        (b"#!/bin/sh -e\necho", "a script (#!/bin/sh -e)"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"MZ\x90", "a Windows program"),
        (bytes(257) + b"ustar\x0000", "a tar archive"),
        (b"hello", "something else (its first bytes are 68 65 6c 6c 6f)"),
    ],
)
def test_words_for_what_is_no_wasm(head: bytes, words: str) -> None:
    """What cannot run is named in words that tell what to do."""
    assert words in magic.describe(head)
