"""
Can a program run on a wasm node, as far as its header tells.

For `wasm-node inspect`, before anything is compiled: names what is missing and
what to do. The runtime's engine has the last word when it compiles. Pure.
"""

import re

from wasm_node.agent.model.image import Kind
from wasm_node.agent.oci.wasm_header import Interface

_P1 = "wasi_snapshot_preview1"
_PACKAGES = ("cli", "clocks", "filesystem", "http", "io", "random", "sockets")
# Drafts, such as 0.3.0-rc-2025-09-16, are not what became of them.
_OFFERED = re.compile(rf"wasi:({'|'.join(_PACKAGES)})/[a-z-]+@0\.[23]\.\d+")
_ENTRY = re.compile(r"wasi:(cli/run@0\.[23]|http/incoming-handler@0\.2|http/handler@0\.3)\.\d+")
_JAVASCRIPT = ("wbg.", "__wbindgen", "gojs.")
_SHOWN_MOST = 5


def obstacle(kind: Kind, seen: Interface) -> str | None:
    """Say why a program cannot run on a wasm node; None: nothing is seen."""
    if kind is Kind.TEXT:
        return None
    return _module_obstacle(seen) if kind is Kind.MODULE else _component_obstacle(seen)


def _module_obstacle(seen: Interface) -> str | None:
    foreign = sorted({f"{module}.{name}" for module, name in seen.imports if module != _P1})
    if any(each.startswith(_JAVASCRIPT) for each in foreign):
        return (
            f"it wants a JavaScript host (it imports {_some(foreign)}): build it for WASI "
            "(cargo --target wasm32-wasip1, GOOS=wasip1)"
        )
    if foreign:
        return f"it imports {_some(foreign)}, and a wasm node offers {_P1}"
    if seen.complete and "_start" not in seen.exports:
        return (
            "it exports no _start, so it is a library and not a command: it exports "
            f"{_some(seen.exports)}"
        )
    return None


def _component_obstacle(seen: Interface) -> str | None:
    foreign = [name for name, _ in seen.imports if not _OFFERED.fullmatch(name)]
    if foreign:
        return (
            f"it imports {_some(foreign)}, and a wasm node offers "
            f"wasi:{{{','.join(_PACKAGES)}}}@0.2 and @0.3"
        )
    if seen.complete and not any(_ENTRY.fullmatch(each) for each in seen.exports):
        return (
            "it is no command and serves no HTTP: it exports neither wasi:cli/run (0.2.x, 0.3.x) "
            "nor wasi:http/incoming-handler (0.2.x) nor wasi:http/handler (0.3.x), but "
            f"{_some(seen.exports)}"
        )
    return None


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _SHOWN_MOST} more" if len(names) > _SHOWN_MOST else ""
    return f"{', '.join(names[:_SHOWN_MOST]) or 'nothing'}{more}"
