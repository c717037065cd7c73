"""
Compiling one module, in a process that ends after it.

Untrusted bytes are parsed here and nowhere else: as a user of its own where
the runtime is root, without new privileges, with bounded memory and time. It
gets three descriptors (module, output, news) and writes one line of JSON to
the last; no line means that it died, which is an answer as well.
"""

import hashlib
import json
import os
import resource
from typing import Any, NoReturn

from wasm_node.runtime.engines import wasmtime_py
from wasm_node.runtime.lockdown import process

_CPU_S = 600
_MEMORY_BYTES = 8 << 30
_MESSAGE_CHARS = 4000


def main(
    engine: wasmtime_py.Engine,
    order: dict[str, Any],
    fds: list[int],
    init: int,
) -> NoReturn:
    """Compile what the first descriptor holds, and end."""
    module, output, news = fds
    process.close_all_but({0, 1, 2, module, output, news})
    process.set_name("wasm-node compile")
    process.limit(resource.RLIMIT_CORE, 0)
    process.limit(resource.RLIMIT_CPU, _CPU_S)
    process.limit(resource.RLIMIT_AS, _MEMORY_BYTES)
    process.become(order["uid"])
    process.die_with_parent(init)
    with open(module, "rb", closefd=False) as source:
        wasm = source.read()
    try:
        answer = _compile(engine, wasm, order["digest"], output)
    except ValueError as error:
        answer = {"invalid": str(error)[:_MESSAGE_CHARS]}
    os.write(news, json.dumps(answer).encode() + b"\n")
    os._exit(0)


def _compile(
    engine: wasmtime_py.Engine, wasm: bytes, digest: str, output: int
) -> dict[str, object]:
    actual = f"sha256:{hashlib.sha256(wasm).hexdigest()}"
    if actual != digest:
        raise ValueError(f"the file's digest is {actual}, and {digest} was asked for")
    compiled = engine.compile(wasm)
    with open(output, "wb", closefd=False) as sink:
        sink.write(compiled.code)
    return {"kind": compiled.kind, "missing": list(compiled.missing[:50])}
