"""
Which Node is which host's: the template `nodeName`, forwards and backwards.

The agent renders the same template on its host; the controller checks what
was asked for against it. As it has something beside `{host}`, a host's own
Node is never the name of a wasm node, and a name of its form is never free
for anybody else.
"""

import dataclasses
import re

_HOST = "{host}"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_USER = "system:node:"
_NAME_LENGTH = 253
_LABEL_LENGTH = 63


@dataclasses.dataclass(frozen=True)
class Template:
    """
    The names of hosts' wasm nodes.

    Attributes:
        text: with `{host}` in it once, as `is_template` demands.
    """

    text: str

    def node(self, host: str) -> str:
        """Return the name of a host's wasm node."""
        return self.text.replace(_HOST, host)

    def matches(self, node: str) -> bool:
        """Say whether the name is one that some host's wasm node could have."""
        before, after = self.text.split(_HOST)
        return (
            len(node) > len(before) + len(after)
            and node.startswith(before)
            and node.endswith(after)
        )


def is_template(text: str) -> bool:
    """Say whether a text can be a `Template`."""
    return text.count(_HOST) == 1 and text != _HOST and is_node_name(text.replace(_HOST, "h"))


def is_node_name(text: str) -> bool:
    """Say whether Kubernetes takes it as a Node's name: a DNS subdomain."""
    return len(text) <= _NAME_LENGTH and all(map(_LABEL.fullmatch, text.split(".")))


def is_label(text: str) -> bool:
    """Say whether it is a DNS label, as a namespace's name has to be."""
    return len(text) <= _LABEL_LENGTH and _LABEL.fullmatch(text) is not None


def user(node: str) -> str:
    """Return the user that a node is to the API server."""
    return _USER + node


def node_of(user: str) -> str | None:
    """Return whose node this user is; None: no node's."""
    name = user.removeprefix(_USER)
    return name if name != user and is_node_name(name) else None
