"""
What a pod's annotations and ports say of the HTTP that it serves.

Whether a container serves HTTP at all, its program says (it exports
wasi:http/incoming-handler), or for a plain module the annotation
`wasm-node.dev/http: wagi`. Each annotation has one parser; a value that cannot
be read is a refusal of the pod, with the annotation's name and what is allowed.
"""

import dataclasses
from collections.abc import Mapping

from wasm_node.agent.model import manifest, quantity

MODE = "wasm-node.dev/http"
REUSE = "wasm-node.dev/http-reuse"
CONCURRENCY = "wasm-node.dev/http-concurrency"
TIMEOUT = "wasm-node.dev/http-timeout-seconds"
BODY = "wasm-node.dev/http-max-body"

_TEMPLATE_HASH = "pod-template-hash"


@dataclasses.dataclass(frozen=True)
class Serving:
    """
    How containers of one pod serve HTTP, if they do.

    Attributes:
        wagi: a plain module is run once per request, as by CGI.
        reuse: requests that one instance serves, one after another.
        concurrency: requests at a time in one container; more are told 503.
        timeout_s: until the head of a response.
        max_body_bytes: of a request.
    """

    wagi: bool = False
    reuse: int = 1
    concurrency: int = 128
    timeout_s: float = 60.0
    max_body_bytes: int = 32 * 2**20


USUAL = Serving()


def parse(annotations: Mapping[str, str]) -> Serving:
    """
    Read the annotations.

    Raises:
        ValueError: `NAME: why`, for the first that cannot be read.
    """
    mode = annotations.get(MODE, "")
    if mode not in {"", "wagi"}:
        raise ValueError(f"{MODE}: {mode!r} is not known; the one value is wagi")
    return Serving(
        wagi=mode == "wagi",
        reuse=_number(annotations, REUSE, USUAL.reuse, 1_000_000),
        concurrency=_number(annotations, CONCURRENCY, USUAL.concurrency, 10_000),
        timeout_s=_number(annotations, TIMEOUT, int(USUAL.timeout_s), 3600),
        max_body_bytes=_bytes(annotations, BODY, USUAL.max_body_bytes),
    )


def _number(annotations: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text = annotations.get(name)
    if text is None:
        return usual
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ValueError(f"{name}: {text!r} is not a whole number from 1 to {most}")
    return int(text)


def _bytes(annotations: Mapping[str, str], name: str, usual: int) -> int:
    text = annotations.get(name)
    if text is None:
        return usual
    try:
        return quantity.ceiling(text)
    except ValueError as error:
        raise ValueError(f"{name}: {text!r} is not a quantity such as 32Mi") from error


def owner(meta: manifest.Metadata) -> str:
    """
    Return whose the pod's ports are: of its controller, else its own.

    The pods of a Deployment are those of its ReplicaSets, which change with
    each rollout: the hash that tells them apart is taken off their names, as
    kubectl's `rollout` does.
    """
    for each in meta.owner_references:
        if each.controller:
            suffix = f"-{meta.labels.get(_TEMPLATE_HASH, '')}"
            if each.kind == "ReplicaSet" and len(suffix) > 1 and each.name.endswith(suffix):
                return f"{meta.namespace}/Deployment/{each.name.removesuffix(suffix)}"
            return f"{meta.namespace}/{each.kind}/{each.name}"
    return f"{meta.namespace}/Pod/{meta.name}"
