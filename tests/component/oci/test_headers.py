"""Reading imports and exports of real modules, and what that tells."""

import pytest
import wasmtime

from tests.wasm import guests
from wasm_node.agent.model.image import Kind
from wasm_node.agent.oci import magic, wasm_header, worlds

MODULE = """(module
  (type $t (func (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func (type $t)))
  (import "env" "memory" (memory 1 10))
  (import "env" "table" (table 1 funcref))
  (import "env" "global" (global (mut i64)))
  (memory (export "memory") 1)
  (func (export "_start")))"""
COMPONENT = """(component
  (import "wasi:cli/environment@0.2.3" (instance (export "f" (func))))
  (import "plain" (func (param "x" string) (result u32)))
  (import "resource" (type (sub resource)))
  (import "module" (core module))
  (component $c)
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $run (export "run" (func $f)))
  (export "wasi:cli/run@0.2.0" (instance $run))
  (export "again" (func $f))
  (export "core" (core module $m)))"""


def binary(text: str) -> bytes:
    """Return WebAssembly text as binary."""
    return bytes(wasmtime.wat2wasm(text))


def obstacle(text: str) -> str | None:
    """Say why a text's program cannot run."""
    wasm = binary(text)
    kind = magic.kind(wasm)
    assert kind is not None
    return worlds.obstacle(kind, wasm_header.interface(wasm))


def test_module() -> None:
    """A module's imports of every sort and its exports are found."""
    assert wasm_header.interface(binary(MODULE)) == wasm_header.Interface(
        imports=(
            ("wasi_snapshot_preview1", "fd_close"),
            ("env", "memory"),
            ("env", "table"),
            ("env", "global"),
        ),
        exports=("memory", "_start"),
        complete=True,
    )


def test_component() -> None:
    """A component's own imports and exports are found, not its parts'."""
    assert wasm_header.interface(binary(COMPONENT)) == wasm_header.Interface(
        imports=(
            ("wasi:cli/environment@0.2.3", ""),
            ("plain", ""),
            ("resource", ""),
            ("module", ""),
        ),
        exports=("wasi:cli/run@0.2.0", "again", "core"),
        complete=True,
    )


@pytest.mark.parametrize("text", [MODULE, COMPONENT])
def test_cut_short(text: str) -> None:
    """However a file is cut, reading it ends and says that it is not whole."""
    wasm = binary(text)
    whole = wasm_header.interface(wasm)
    for end in range(len(wasm)):
        seen = wasm_header.interface(wasm[:end])

        assert seen.imports == whole.imports[: len(seen.imports)]
        assert seen.exports == whole.exports[: len(seen.exports)]


@pytest.mark.parametrize(
    "wasm",
    [
        b"\0asm\1\0\0\0\x02\xff\xff\xff\xff\x0f",
        b"\0asm\1\0\0\0\x02" + b"\x80" * 20,
        b"\0asm\1\0\0\0\x07\x05\xff\xff\xff\xff\x0f",
        b"\0asm\x0d\0\1\0\x0a\x06\x01\x02\x01a\x01\x00",
    ],
)
def test_lies(wasm: bytes) -> None:
    """Lengths beyond the end and unknown forms end the reading."""
    assert not wasm_header.interface(wasm).complete


@pytest.mark.parametrize("name", ["exit", "readfile", "component-hello", "component-exit"])
def test_guests_can_run(name: str) -> None:
    """Programs that the engine runs are not called unfit."""
    wasm = guests.path(name).read_bytes()
    kind = magic.kind(wasm)
    assert kind is not None

    assert worlds.obstacle(kind, wasm_header.interface(wasm)) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('(module (import "env" "foo" (func)) (func (export "_start")))', "imports env.foo"),
        ('(module (import "wbg" "x" (func)))', "wants a JavaScript host"),
        ('(module (func (export "add")))', "no _start, so it is a library .* exports add"),
        ('(component (import "wasi:keyvalue/store@0.2.0" (instance)))', "imports wasi:keyvalue"),
        ('(component (import "wasi:cli/exit@0.4.0" (instance)))', "imports wasi:cli/exit@0.4.0"),
        (
            '(component (import "wasi:cli/exit@0.3.0-rc-2025-09-16" (instance)))',
            "imports wasi:cli/exit@0.3.0-rc-2025-09-16",
        ),
        ("(component)", "neither wasi:cli/run (0.2.x, 0.3.x) nor wasi:http .* but nothing"),
        (
            '(component (instance $i) (export "wasi:http/incoming-handler@0.3.0" (instance $i)))',
            "but wasi:http/incoming-handler@0.3.0",
        ),
    ],
)
def test_obstacles(text: str, says: str) -> None:
    """What a program lacks or asks too much for is said by name."""
    found = obstacle(text)

    assert found is not None
    assert all(part in found for part in says.split(" .* "))


@pytest.mark.parametrize(
    ("imported", "exported"),
    [
        ("wasi:http/types@0.2.10", "wasi:http/incoming-handler@0.2.10"),
        ("wasi:http/client@0.3.0", "wasi:http/handler@0.3.0"),
        ("wasi:sockets/types@0.3.1", "wasi:cli/run@0.3.1"),
    ],
)
def test_a_component_that_can_run(imported: str, exported: str) -> None:
    """What answers requests needs no run, and may use all of wasi:http."""
    text = f'(component (import "{imported}" (instance $i)) (export "{exported}" (instance $i)))'

    assert obstacle(text) is None


def test_text_is_not_judged() -> None:
    """Text is compiled first, so nothing is said of it before."""
    assert worlds.obstacle(Kind.TEXT, wasm_header.interface(b"(module)")) is None
