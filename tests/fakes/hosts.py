"""A small host, in figures, and a node on it."""

from wasm_node.agent.model import host
from wasm_node.agent.plan import node
from wasm_node.protocol import messages

ROOM = messages.Room(
    engine="wasmtime-py-50.0.1", cpu_millis=2000, memory_bytes=2**30, pids_max=10_000
)
SMALL = host.Figures(
    room=ROOM,
    disk_bytes=10**9,
    kernel="6.1",
    os_image="Debian",
    machine_id="m",
    boot_id="b",
    address="10.1.1.1",
)
IDENTITY = node.Identity(
    name="wasm-a",
    provider_id="wasm-node://c/wasm-a",
    version="0.1.0",
    kubernetes_version="v1.37.0",
    address_type="Hostname",
    address="10.1.1.1",
    port=10250,
    max_pods=0,
    labels={"a": "b"},
)
