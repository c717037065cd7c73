"""
The engine that runs wherever Python runs: p1 modules and p2 commands.

Loaded once, in the fork server. NB: the fork server must stay free of threads
and of drawn randomness, so there it only builds Engine and Linkers; `compile`
runs in a child that ends after it, everything else in a worker. Of the C API's
gaps two shape this module: proc_exit refuses codes from 126 on (so ours stands
in its place), and a denied memory.grow cannot be seen (so it is inferred).
"""

import hashlib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import component

from wasm_node.protocol import records
from wasm_node.runtime.engines import outcomes

_P1 = "wasi_snapshot_preview1"
_P2_PACKAGES = ("cli", "clocks", "filesystem", "io", "random", "sockets")
_COMPONENT_MAGIC = b"\0asm\x0d\0\1\0"
_ONE_STEP_BYTES = 1 << 20


class _GuestExit(Exception):  # control flow through the engine, not a failure
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code & 0xFFFFFFFF


class Engine:
    """Wasmtime through its Python binding."""

    name = f"wasmtime-py-{metadata.version('wasmtime')}"
    worlds = (_P1, "wasi:cli/command@0.2")

    def __init__(self) -> None:
        self._engine = wasmtime.Engine(wasmtime.Config())
        self._linker = wasmtime.Linker(self._engine)
        self._linker.allow_shadowing = True
        self._linker.define_wasi()
        exit_type = wasmtime.FuncType([wasmtime.ValType.i32()], [])
        self._linker.define_func(_P1, "proc_exit", exit_type, _proc_exit)
        self._components = component.Linker(self._engine)
        self._components.add_wasip2()

    def cache_key(self) -> str:
        """Return what compiled code depends on beside the module's bytes."""
        flags = [
            line
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith(("flags", "Features"))
        ]
        return hashlib.sha256(f"{self.name} default {sorted(set(flags))}".encode()).hexdigest()[:16]

    def compile(self, wasm: bytes) -> outcomes.Compiled:
        """
        Compile a module, a component, or text of either.

        Raises:
            ValueError: it is not valid WebAssembly; the text says where.
        """
        try:
            if not wasm.startswith(b"\0asm"):
                wasm = bytes(wasmtime.wat2wasm(wasm))
            if wasm.startswith(_COMPONENT_MAGIC):
                whole = component.Component(self._engine, wasm)
                lacking = tuple(name for name in whole.type.imports(self._engine) if _foreign(name))
                return outcomes.Compiled("component", bytes(whole.serialize()), lacking)
            module = wasmtime.Module(self._engine, wasm)
            missing = tuple(self._missing(module))
            if not missing:
                self._linker.instantiate_pre(module)  # finds imports of a wrong type
            return outcomes.Compiled("module", bytes(module.serialize()), missing)
        except wasmtime.WasmtimeError as error:
            raise ValueError(str(error).strip()) from error

    def _missing(self, module: wasmtime.Module) -> Iterator[str]:
        store = wasmtime.Store(self._engine)
        for each in module.imports:
            try:
                self._linker.get(store, each.module, each.name or "")
            except wasmtime.WasmtimeError:
                yield f"{each.module}.{each.name}"

    def admit(self, spec: records.ContainerSpec) -> wasmtime.WasiConfig:
        """
        Open what the guest may see; still with the runtime's own rights.

        Raises:
            CannotStart: something of it is not there.
        """
        wasi = wasmtime.WasiConfig()
        wasi.argv = list(spec.argv)
        wasi.env = spec.env
        wasi.inherit_stdout()
        wasi.inherit_stderr()
        for each in spec.mounts:
            try:
                wasi.preopen_dir(each.host_path, each.guest_path, not each.read_only)
            except wasmtime.WasmtimeError as error:
                text = f"cannot open {each.host_path} for mount {each.guest_path}"
                raise outcomes.CannotStart(text) from error
        return wasi

    def load(self, path: str, kind: str) -> wasmtime.Module | component.Component:
        """
        Map compiled code from the cache; shares its pages with other workers.

        Raises:
            CannotStart: the file is not this engine's.
        """
        try:
            if kind == "component":
                return component.Component.deserialize_file(self._engine, path)
            return wasmtime.Module.deserialize_file(self._engine, path)
        except wasmtime.WasmtimeError as error:
            raise outcomes.CannotStart(f"cannot load compiled code: {error}") from error

    def run(
        self,
        code: wasmtime.Module | component.Component,
        wasi: wasmtime.WasiConfig,
        memory_limit_bytes: int | None,
        entering: Callable[[], None],
    ) -> outcomes.Outcome:
        """
        Run the guest to its end; `entering` is called just before it begins.

        Raises:
            CannotStart: it could not be entered.
        """
        store = wasmtime.Store(self._engine)
        store.set_wasi(wasi)
        if memory_limit_bytes is not None:
            store.set_limits(memory_size=memory_limit_bytes)
        if isinstance(code, component.Component):
            return self._run_component(store, code, entering)
        outcome, instance = self._run_module(store, code, entering)
        if memory_limit_bytes is None or outcome.code == 0 or instance is None:
            return outcome
        used = _memory_bytes(store, instance)
        if used <= memory_limit_bytes - _ONE_STEP_BYTES:
            return outcome
        return outcomes.out_of_memory(outcome, used, memory_limit_bytes)

    def _run_module(
        self, store: wasmtime.Store, module: wasmtime.Module, entering: Callable[[], None]
    ) -> tuple[outcomes.Outcome, wasmtime.Instance | None]:
        names = [each.name for each in module.exports]
        if "_start" not in names:
            raise outcomes.CannotStart(_no_entry("_start", names))
        instance = None
        entering()
        try:
            instance = self._linker.instantiate(store, module)
            start: Any = instance.exports(store)["_start"]
            start(store)
        except _GuestExit as ended:
            return outcomes.exited(ended.code), instance
        except wasmtime.Trap as trap:
            return outcomes.trapped(str(trap)), instance
        except wasmtime.WasmtimeError as error:
            if instance is None:
                raise outcomes.CannotStart(f"cannot instantiate: {error}") from error
            return outcomes.trapped(str(error)), instance
        return outcomes.exited(0), instance

    def _run_component(
        self, store: wasmtime.Store, whole: component.Component, entering: Callable[[], None]
    ) -> outcomes.Outcome:
        names = list(whole.type.exports(self._engine))
        command = next((name for name in names if name.startswith("wasi:cli/run@0.2.")), None)
        if command is None:
            raise outcomes.CannotStart(_no_entry("wasi:cli/run@0.2", names))
        entered = False
        entering()
        try:
            instance = self._components.instantiate(store, whole)
            found = instance.get_export_index(store, command)
            index = found and instance.get_export_index(store, "run", found)
            call = index and instance.get_func(store, index)
            if not call:
                raise outcomes.CannotStart(_no_entry(f"{command}.run", names))
            entered = True
            failed = _is_error(call(store))
        except wasmtime.ExitTrap as ended:
            return outcomes.exited(ended.code)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            if not entered and "wasm trap" not in str(error):
                raise outcomes.CannotStart(f"cannot instantiate: {error}") from error
            return outcomes.trapped(str(error))
        return outcomes.exited(1 if failed else 0)


def _proc_exit(code: int) -> None:
    raise _GuestExit(code)


def _foreign(name: str) -> bool:
    return not any(name.startswith(f"wasi:{each}/") and "@0.2." in name for each in _P2_PACKAGES)


def _is_error(result: object) -> bool:
    return getattr(result, "tag", result) == "err"


def _no_entry(wanted: str, names: list[str]) -> str:
    return f"cannot start: the module exports no {wanted}; it exports {', '.join(names) or '-'}"


def _memory_bytes(store: wasmtime.Store, instance: wasmtime.Instance) -> int:
    memory: Any = instance.exports(store).get("memory")
    return memory.data_len(store) if isinstance(memory, wasmtime.Memory) else 0
