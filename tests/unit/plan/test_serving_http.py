"""How a container serves HTTP, out of its pod's words."""

from typing import Any

import pytest

from wasm_node.agent.model import desired, parsing
from wasm_node.agent.model import serving as model
from wasm_node.agent.plan import serving
from wasm_node.protocol import records

PORTS: list[dict[str, Any]] = [{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]


def _pod(
    ports: list[dict[str, Any]] = PORTS, said: dict[str, str] | None = None, grace_s: int = 30
) -> desired.DesiredPod:
    return parsing.pod(
        {
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": said or {}},
            "spec": {
                "containers": [{"name": "main", "image": "x", "ports": ports}],
                "terminationGracePeriodSeconds": grace_s,
            },
        }
    )


def _http(pod: desired.DesiredPod, *, serves: bool) -> records.Http | None:
    return serving.http(pod, pod.container("main"), serves=serves)


def test_what_is_usual() -> None:
    """The values of docs/http.md; a TCP port alone is served on."""
    assert _http(_pod(), serves=True) == records.Http(
        mode="proxy",
        owner=model.owner(_pod().metadata),
        ports=(8080,),
        reuse=1,
        concurrency=128,
        timeout_s=60.0,
        max_body_bytes=32 * 2**20,
        max_header_bytes=65536,
        idle_s=30.0,
        linger_s=5.0,
    )


def test_what_annotations_say() -> None:
    """Each has its place."""
    said = {
        model.REUSE: "7", model.CONCURRENCY: "9", model.TIMEOUT: "3", model.BODY: "1Ki",
    }  # fmt: skip
    made = _http(_pod(said=said), serves=True)

    assert made is not None
    assert (made.reuse, made.concurrency, made.timeout_s, made.max_body_bytes) == (7, 9, 3.0, 1024)


@pytest.mark.parametrize(
    ("ports", "wagi", "serves", "mode"),
    [
        (PORTS, False, True, "proxy"),
        (PORTS, True, False, "wagi"),
        (PORTS, True, True, "proxy"),  # it answers by itself: nothing to run once a request
        (PORTS, False, False, None),
        ([], False, True, None),
        ([], True, False, None),
        (PORTS[1:], False, True, None),
    ],
)
def test_who_serves(
    ports: list[dict[str, Any]], wagi: bool, serves: bool, mode: str | None
) -> None:
    """A program that answers HTTP does; a plain module if its pod says so."""
    made = _http(_pod(ports, {model.MODE: "wagi"} if wagi else None), serves=serves)

    assert (made.mode if made else None) == mode


@pytest.mark.parametrize(("grace_s", "linger_s"), [(30, 5.0), (10, 5.0), (8, 4.0), (0, 0.0)])
def test_it_lingers_for_half_of_its_grace_at_most(grace_s: int, linger_s: float) -> None:
    """The rest is for requests that are under way."""
    made = _http(_pod(grace_s=grace_s), serves=True)

    assert made is not None
    assert made.linger_s == linger_s
