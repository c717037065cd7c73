"""
The agent's settings: one YAML file, checked as a whole before anything starts.

Each field says its meaning, unit, default and why. A wrong one stops the start
with the field's name and what is allowed.
"""

import socket
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from wasm_node.agent import errors


class Address(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The one address that the Node publishes."""

    type: Literal["Hostname", "ExternalIP", "InternalIP"] = "Hostname"
    """Hostname is inert: a second InternalIP of a host breaks CNI daemons."""

    value: str = ""
    """Literal IP at which the API server reaches the kubelet API; empty: this
    host's address."""


class Kubelet(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The kubelet API: who may ask, and where."""

    bind: str = "0.0.0.0"  # noqa: S104  # the API server comes from outside; every request is authorized
    """Address to listen on."""

    port: int = 10250
    """Port to listen on; 0 takes a free one. It is published in the Node."""

    certificate_file: Path = Path()
    """Serving certificate, PEM; read again when it changes."""

    key_file: Path = Path()
    """Its key, PEM."""

    client_ca_file: Path = Path()
    """CA of the clients' certificates (the cluster's client CA)."""


class Settings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Everything that `wasm-node agent` can be told."""

    node_name: str
    """Name of the Node; DNS label. One agent per name."""

    kubeconfig: Path
    """Identity `system:node:NAME` in the group `system:nodes`."""

    kubelet: Kubelet
    """The kubelet API."""

    state_dir: Path = Path("/var/lib/wasm-node")
    """Disk: images, compiled code, records. Shared with the runtime."""

    run_dir: Path = Path("/run/wasm-node")
    """tmpfs: the runtime's socket. Shared with the runtime."""

    log_dir: Path = Path("/var/log/wasm-node")
    """Containers' logs, CRI format."""

    address: Address = Address()
    """What the Node publishes as its address."""

    host_ip: str = ""
    """`status.hostIP` of pods: the real host's. Empty: this host's address."""

    pod_ip: str = ""
    """`status.podIP` of pods, which share one here. Empty: hostIP."""

    provider_id: str = ""
    """`spec.providerID` at creation; empty: `wasm-node://local/NAME`."""

    max_pods: int = 0
    """Capacity `pods`; 0: from pids.max and memory, as docs say."""

    labels: dict[str, str] = {}
    """Labels of the Node beside our own."""

    insecure_registries: tuple[str, ...] = ()
    """Registries (host:port) spoken to by plain HTTP; loopback always is."""


def load(path: Path) -> Settings:
    """
    Read and check the settings file.

    Raises:
        BadInput: says which field is wrong and what is allowed.
    """
    try:
        raw = yaml.safe_load(path.read_bytes())
        read = msgspec.convert(raw, Settings, strict=False, dec_hook=_path)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise errors.BadInput(
            f"cannot use settings {path}: {error}", reason="InvalidSettings"
        ) from error
    if read.address.value:
        _check_ip("address.value", read.address.value, path)
    return read


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"cannot read {value!r} as {kind}")


def _check_ip(field: str, value: str, path: Path) -> None:
    try:
        socket.getaddrinfo(value, None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror as error:
        raise errors.BadInput(
            f"cannot use settings {path}: {field} is {value!r}: use a literal IP address",
            reason="InvalidSettings",
        ) from error
