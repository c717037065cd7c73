"""A small host, in figures."""

from wasm_node.agent.model import host

SMALL = host.Figures(
    cpus=2,
    memory_bytes=2**30,
    available_bytes=2**29,
    pids_max=10_000,
    pids_now=100,
    disk_bytes=10**9,
    disk_free_bytes=5 * 10**8,
    kernel="6.1",
    os_image="Debian",
    machine_id="m",
    boot_id="b",
    hostname="a",
    address="10.1.1.1",
)
