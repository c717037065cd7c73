"""
Run one guest on plain wasmtime, in a process of its own.

`python plain.py FILE [--mount HOST:GUEST] [--memory-mib N] -- ARGS`: what the
tests here compare each guest's description with, with no part of the node in
it. Ends with the guest's own code, 134 for a trap, 125 if it could not begin;
the engine's words go to stderr.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import component

_COMPONENT = b"\0asm\x0d\0\1\0"
_P1 = "wasi_snapshot_preview1"
_TRAPPED = 134
_NEVER_BEGAN = 125


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--mount", default="")
    parser.add_argument("--memory-mib", type=int, default=64)
    parser.add_argument("args", nargs="*")
    wanted = parser.parse_intermixed_args()
    store = wasmtime.Store()
    store.set_limits(memory_size=wanted.memory_mib << 20)
    wasi = wasmtime.WasiConfig()
    wasi.argv = [wanted.file.stem, *wanted.args]
    wasi.inherit_env()
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    if wanted.mount:
        wasi.preopen_dir(*wanted.mount.split(":"))
    store.set_wasi(wasi)
    try:
        binary = _binary(wanted.file)
        start = _component if binary.startswith(_COMPONENT) else _module
        begin = start(store, binary)
    except (wasmtime.WasmtimeError, KeyError) as error:
        print(error, file=sys.stderr)  # noqa: T201  # for the test to read
        return _NEVER_BEGAN
    try:
        return 1 if getattr(begin(store), "tag", None) == "err" else 0
    except wasmtime.ExitTrap as ended:
        return int(ended.code)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as trap:
        print(trap, file=sys.stderr)  # noqa: T201  # for the test to read
        return _TRAPPED


def _binary(file: Path) -> bytes:
    content = file.read_bytes()
    return content if content.startswith(b"\0asm") else bytes(wasmtime.wat2wasm(content))


def _module(store: wasmtime.Store, binary: bytes) -> Any:
    linker = wasmtime.Linker(store.engine)
    linker.allow_shadowing = True
    linker.define_wasi()
    # wasmtime's own refuses the codes from 126 on
    linker.define_func(_P1, "proc_exit", wasmtime.FuncType([wasmtime.ValType.i32()], []), os._exit)
    module = wasmtime.Module(store.engine, binary)
    return linker.instantiate(store, module).exports(store)["_start"]


def _component(store: wasmtime.Store, binary: bytes) -> Any:
    linker = component.Linker(store.engine)
    linker.add_wasip2()
    instance = linker.instantiate(store, component.Component(store.engine, binary))
    command = instance.get_export_index(store, "wasi:cli/run@0.2.0")
    run = instance.get_export_index(store, "run", command)
    return instance.get_func(store, run) if run else None


if __name__ == "__main__":
    sys.exit(main())
