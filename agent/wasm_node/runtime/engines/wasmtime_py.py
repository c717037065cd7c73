"""
The engine that runs wherever Python runs: p1 modules and p2 commands.

Loaded once, in the fork server. NB: the fork server must stay free of threads
and of drawn randomness, so there it only builds Engine and Linkers; `compile`
runs in a child that ends after it, everything else in a worker. Of the C API's
gaps two shape this module: proc_exit refuses codes from 126 on (so ours stands
in its place), and a denied memory.grow cannot be seen (so it is inferred).
"""

import errno
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import wasmtime
from wasmtime import component

from wasm_node.protocol import records
from wasm_node.runtime import descriptors
from wasm_node.runtime.engines import outcomes

_P1 = "wasi_snapshot_preview1"
_P2_PACKAGES = ("cli", "clocks", "filesystem", "io", "random", "sockets")
_INITIALIZE = "_initialize"
"""What a module without a start wants to be called first."""
_INTEGERS = (
    component.S8,
    component.S16,
    component.S32,
    component.S64,
    component.U8,
    component.U16,
    component.U32,
    component.U64,
)
_COMPONENT_MAGIC = b"\0asm\x0d\0\1\0"
_ONE_STEP_BYTES = 1 << 20

_Exports: TypeAlias = Mapping[str, Any]
"""What a component exports, by name; wasmtime's own types are not exported."""


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

    def admit(self, spec: records.ContainerSpec, *, direct: bool) -> wasmtime.WasiConfig:
        """
        Open what the guest may see; still with the runtime's own rights.

        `direct`: it has all three of our standard streams, and what it writes
        goes to their descriptors at once; else it has no stdin.

        Raises:
            CannotStart: something of it is not there.
        """
        wasi = wasmtime.WasiConfig()
        wasi.argv = list(spec.argv)
        wasi.env = spec.env
        if direct:
            wasi.inherit_stdin()
            # NB: inherited, they would keep what a guest does not flush.
            wasi.stdout_custom = functools.partial(_put, 1)
            wasi.stderr_custom = functools.partial(_put, 2)
        else:
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
        export: str = "",
    ) -> outcomes.Outcome:
        """
        Run the guest to its end; `entering` is called just before it begins.

        With the name of an export that is called instead of its start; of a
        component it may be INSTANCE#FUNCTION.

        Raises:
            CannotStart: it could not be entered.
        """
        store = wasmtime.Store(self._engine)
        store.set_wasi(wasi)
        if memory_limit_bytes is not None:
            store.set_limits(memory_size=memory_limit_bytes)
        if isinstance(code, component.Component):
            return self._run_component(store, code, entering, export)
        outcome, instance = self._run_module(store, code, entering, export)
        if memory_limit_bytes is None or outcome.code == 0 or instance is None:
            return outcome
        used = _memory_bytes(store, instance)
        if used <= memory_limit_bytes - _ONE_STEP_BYTES:
            return outcome
        return outcomes.out_of_memory(outcome, used, memory_limit_bytes)

    def _run_module(
        self,
        store: wasmtime.Store,
        module: wasmtime.Module,
        entering: Callable[[], None],
        export: str,
    ) -> tuple[outcomes.Outcome, wasmtime.Instance | None]:
        types = {each.name: each.type for each in module.exports}
        name = export or "_start"
        if name not in types:
            raise outcomes.CannotStart(_no_entry(name, list(types)))
        if export and not _can_call(types[name]):
            raise outcomes.cannot_call(export)
        instance = None
        entering()
        try:
            instance = self._linker.instantiate(store, module)
            exports: Any = instance.exports(store)
            if export and name != _INITIALIZE and _INITIALIZE in types:
                exports[_INITIALIZE](store)
            result = exports[name](store)
        except _GuestExit as ended:
            return outcomes.exited(ended.code), instance
        except wasmtime.Trap as trap:
            return outcomes.trapped(str(trap)), instance
        except wasmtime.WasmtimeError as error:
            if instance is None:
                raise outcomes.CannotStart(f"cannot instantiate: {error}") from error
            return outcomes.trapped(str(error)), instance
        return outcomes.exited(result or 0), instance

    def _run_component(
        self,
        store: wasmtime.Store,
        whole: component.Component,
        entering: Callable[[], None],
        export: str,
    ) -> outcomes.Outcome:
        names = whole.type.exports(self._engine)
        path = self._exported(names, export) if export else _command(names)
        entered = False
        entering()
        try:
            instance = self._components.instantiate(store, whole)
            index: component.ExportIndex | None = None
            for each in path:
                index = instance.get_export_index(store, each, index)
            call = index and instance.get_func(store, index)
            if not call:
                raise outcomes.CannotStart(_no_entry(".".join(path), list(names)))
            entered = True
            result = call(store)
        except wasmtime.ExitTrap as ended:
            return outcomes.exited(ended.code)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            if not entered and "wasm trap" not in str(error):
                raise outcomes.CannotStart(f"cannot instantiate: {error}") from error
            return outcomes.trapped(str(error))
        return _returned(result)

    def _exported(self, exports: _Exports, export: str) -> list[str]:
        """Return where a function that can be called is found, name by name."""
        path = [export]
        holder = exports
        if export not in exports and "#" in export:
            instance, _, name = export.rpartition("#")
            path = [instance, name]
            inner = exports[instance].ty if instance in exports else None
            holder = {}
            if isinstance(inner, component.ComponentInstanceType):
                holder = inner.exports(self._engine)
        if path[-1] not in holder:
            raise outcomes.CannotStart(_no_entry(export, list(exports)))
        found = holder[path[-1]].ty
        if not isinstance(found, component.FuncType) or found.params or not _fits(found.result):
            raise outcomes.cannot_call(export)
        return path


def _command(exports: _Exports) -> list[str]:
    command = next((name for name in exports if name.startswith("wasi:cli/run@0.2.")), None)
    if command is None:
        raise outcomes.CannotStart(_no_entry("wasi:cli/run@0.2", list(exports)))
    return [command, "run"]


def _can_call(found: object) -> bool:
    if not isinstance(found, wasmtime.FuncType) or found.params:
        return False
    integers = (wasmtime.ValType.i32(), wasmtime.ValType.i64())
    return not found.results or (len(found.results) == 1 and found.results[0] in integers)


def _fits(result: object) -> bool:
    if isinstance(result, component.ResultType):
        return result.ok is None and isinstance(result.err, component.String | None)
    return result is None or isinstance(result, _INTEGERS)


def _returned(result: object) -> outcomes.Outcome:
    if isinstance(result, int):
        return outcomes.exited(result)
    if isinstance(result, str):
        return outcomes.refused(result)
    return outcomes.refused("") if getattr(result, "tag", result) == "err" else outcomes.exited(0)


def _put(fd: int, data: bytes) -> int:
    try:
        descriptors.write(fd, data)
    except OSError as error:
        return -(error.errno or errno.EIO)
    return len(data)


def _proc_exit(code: int) -> None:
    raise _GuestExit(code)


def _foreign(name: str) -> bool:
    return not any(name.startswith(f"wasi:{each}/") and "@0.2." in name for each in _P2_PACKAGES)


def _no_entry(wanted: str, names: list[str]) -> str:
    return f"cannot start: the module exports no {wanted}; it exports {', '.join(names) or '-'}"


def _memory_bytes(store: wasmtime.Store, instance: wasmtime.Instance) -> int:
    memory: Any = instance.exports(store).get("memory")
    return memory.data_len(store) if isinstance(memory, wasmtime.Memory) else 0
