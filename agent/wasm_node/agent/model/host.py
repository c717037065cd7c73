"""One reading of the host: what capacity and conditions follow from."""

import dataclasses

from wasm_node.protocol import messages


@dataclasses.dataclass(frozen=True)
class Figures:
    """
    One reading.

    Attributes:
        room: what the runtime and its pods may use; None: it has not said yet.
        disk_bytes: size of the file system of the state directory.
        kernel: release.
        os_image: PRETTY_NAME of os-release.
        machine_id: /etc/machine-id, or empty.
        boot_id: of this boot.
        address: an address of this host that others can reach, or loopback.
    """

    room: messages.Room | None
    disk_bytes: int
    kernel: str
    os_image: str
    machine_id: str
    boot_id: str
    address: str
