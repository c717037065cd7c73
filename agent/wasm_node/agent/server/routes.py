"""
Every path of the kubelet API: who may ask, and who answers. One table.

A row without its authorization cannot be written: all fields are required,
and a wrong one fails the import. Verbs and subresources are the kubelet's
(GetRequestAttributes of pkg/kubelet/server/auth.go), except that paths that
run something in a container always need `create`: over WebSocket they arrive
as GET, and to read a node must not be enough to act in its pods.
"""

import dataclasses

from aiohttp.typedefs import Handler

from wasm_node.agent.server import container_logs, health, metrics, unserved

_VERBS = ("get", "create", "update", "patch", "delete")
_ACTING = ("exec", "attach", "portForward", "run")


@dataclasses.dataclass(frozen=True)
class Route:
    """
    One path.

    Attributes:
        method: HTTP method.
        path: aiohttp's pattern.
        verb: of the SubjectAccessReview.
        subresources: of `nodes`; any one that is allowed is enough.
        handler: answers.
    """

    method: str
    path: str
    verb: str
    subresources: tuple[str, ...]
    handler: Handler

    def __post_init__(self) -> None:
        if self.verb not in _VERBS or not self.subresources or not all(self.subresources):
            raise ValueError(f"cannot serve {self.path}: it says not what a user must be allowed")
        if self.path.split("/")[1] in _ACTING and self.verb != "create":
            raise ValueError(f'cannot serve {self.path}: it acts in pods and must need "create"')


TABLE = (
    Route("GET", "/healthz", "get", ("healthz", "proxy"), health.healthz),
    Route("GET", "/metrics", "get", ("metrics",), metrics.metrics),
    Route(
        "GET",
        "/containerLogs/{namespace}/{pod}/{container}",
        "get",
        ("proxy",),
        container_logs.container_logs,
    ),
    *(
        Route("*", f"/{what}/{{where:.*}}", "create", ("proxy",), unserved.unserved)
        for what in _ACTING
    ),
)
