"""
The controller's settings: one YAML file, checked as a whole at the start.

Each field says its meaning, unit, default and why. They are as few as the
rules need: who an agent is, which Node is a host's, who else may join.
Credentials are none of them: the service account in a pod, else KUBECONFIG.
"""

import re
from pathlib import Path

import msgspec
import yaml

from wasm_node.controller import names

_BOOTSTRAPPERS = "system:bootstrappers:"
_LABEL_PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


class InvalidSettings(Exception):
    """The settings cannot be used; the text names the field and what to do."""


class Settings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Everything that `wasm-node controller` can be told."""

    namespace: str
    """Where the agents' pods are."""

    agent_service_account: str
    """The service account, of that namespace, that agents' pods run as."""

    agent_selector: dict[str, str]
    """Labels of the agents' pods, and of no other pod of the namespace."""

    node_name: str
    """Name of a host's wasm node: `{host}` once, and something beside it."""

    bootstrap_group: str = "system:bootstrappers:wasm-node"
    """Group of the bootstrap tokens by which machines without a pod join."""

    health_port: int = 8080
    """Port of `GET /healthz`, plain HTTP, on all addresses."""

    stale_after_seconds: int = 300
    """How long a host has to be gone before its wasm node is removed: one
    that only registers anew must find it again."""

    @property
    def release(self) -> str:
        """What tells these agents from another installation's."""
        return f"{self.namespace}/{self.agent_service_account}"

    @property
    def selector(self) -> str:
        """`agent_selector`, as the API server takes it in a query."""
        return ",".join(f"{key}={value}" for key, value in self.agent_selector.items())

    @property
    def template(self) -> names.Template:
        """Which Node is which host's."""
        return names.Template(self.node_name)


def load(path: Path) -> Settings:
    """
    Read and check the settings file.

    Raises:
        InvalidSettings: says which field is wrong and what is allowed.
    """
    try:
        read = msgspec.convert(yaml.safe_load(path.read_bytes()), Settings, strict=False)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise InvalidSettings(f"cannot use settings {path}: {error}") from error
    if wrong := list(_wrong(read)):
        raise InvalidSettings(f"cannot use settings {path}: {'; '.join(wrong)}")
    return read


def _wrong(read: Settings) -> list[str]:
    rules = [
        ("namespace", names.is_label(read.namespace), "a name of a namespace"),
        (
            "agentServiceAccount",
            names.is_node_name(read.agent_service_account),
            "a name of a service account",
        ),
        (
            "agentSelector",
            bool(read.agent_selector) and all(map(_is_selector, read.agent_selector.items())),
            "at least one label",
        ),
        (
            "nodeName",
            names.is_template(read.node_name),
            "{host} once, beside it lower-case letters, digits, - and ., as in wasm-{host}",
        ),
        (
            "bootstrapGroup",
            read.bootstrap_group.startswith(_BOOTSTRAPPERS)
            and read.bootstrap_group != _BOOTSTRAPPERS,
            f"a group of its own below {_BOOTSTRAPPERS}",
        ),
        ("healthPort", 0 < read.health_port < 2**16, "a port"),
        ("staleAfterSeconds", read.stale_after_seconds > 0, "a positive number of seconds"),
    ]
    return [f"{field}: has to be {allowed}" for field, right, allowed in rules if not right]


def _is_selector(label: tuple[str, str]) -> bool:
    key, value = label
    return all(map(_LABEL_PART.fullmatch, [*key.split("/"), value]))
