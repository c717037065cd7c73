"""
What a file is, by its first bytes.

Labels, media types and names lie; bytes do not. Pure functions over the head
of a file (`HEAD_BYTES` of it), used on what a registry sent and on the files
of an unpacked image.
"""

from wasm_node.agent.model.image import Kind

HEAD_BYTES = 64 << 10

_MODULE = b"\0asm\x01\0\0\0"
_COMPONENT = b"\0asm\x0d\0\x01\0"
_MACHINES = {3: "x86", 40: "ARM", 62: "x86-64", 183: "ARM64", 243: "RISC-V"}
_WASMTIME_ABI = 200


def kind(head: bytes) -> Kind | None:
    """Return what kind of WebAssembly begins with these bytes, if any."""
    if head.startswith(_MODULE):
        return Kind.MODULE
    if head.startswith(_COMPONENT):
        return Kind.COMPONENT
    return Kind.TEXT if _is_text(head) else None


def describe(head: bytes) -> str:
    """Say in words what a file is that is not WebAssembly we can run."""
    if not head:
        return "an empty file"
    if head.startswith(b"\0asm"):
        return f"WebAssembly of an unknown version ({head[4:8].hex(' ')})"
    if head.startswith(b"\x7fELF"):
        return _describe_elf(head)
    if head.startswith(b"#!"):
        line = head[:200].split(b"\n")[0].decode(errors="replace").strip()
        return f"a script ({line})"
    if head[257:262] == b"ustar":
        return "a tar archive"
    for magic, words in _OTHERS.items():
        if head.startswith(magic):
            return words
    return f"something else (its first bytes are {head[:8].hex(' ')})"


_OTHERS = {
    b"\x1f\x8b": "a gzip archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"PK\x03\x04": "a zip archive",
    b"MZ": "a Windows program",
    b"BC\xc0\xde": "LLVM bitcode",
    b"{": "JSON",
}


def _describe_elf(head: bytes) -> str:
    if len(head) > 7 and head[7] == _WASMTIME_ABI:
        return "native code compiled by wasmtime (.cwasm), which is never taken from outside"
    big = len(head) > 5 and head[5] == 2
    number = int.from_bytes(head[18:20], "big" if big else "little")
    return f"a Linux program (ELF {_MACHINES.get(number, f'machine {number}')})"


def _is_text(head: bytes) -> bool:
    rest = _after_comments(head)
    for word in (b"(module", b"(component"):
        after = rest[len(word) : len(word) + 1]
        if rest.startswith(word) and (after in b" \t\r\n()$;" or not after):
            return True
    return False


def _after_comments(head: bytes) -> bytes:
    at = 0
    while at < len(head):
        if head[at] in b" \t\r\n":
            at += 1
        elif head.startswith(b";;", at):
            end = head.find(b"\n", at)
            at = len(head) if end < 0 else end + 1
        elif head.startswith(b"(;", at):
            at = _after_block(head, at)
        else:
            break
    return head[at:]


def _after_block(head: bytes, at: int) -> int:
    depth = 0
    while True:
        opened, closed = head.find(b"(;", at), head.find(b";)", at)
        if closed < 0:
            return len(head)
        if 0 <= opened < closed:
            depth, at = depth + 1, opened + 2
            continue
        depth, at = depth - 1, closed + 2
        if depth == 0:
            return at
