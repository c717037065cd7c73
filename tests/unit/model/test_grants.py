"""Annotations about the network: what is read, and what is refused by name."""

from typing import Any

import pytest

from wasm_node.agent.model import grants, parsing
from wasm_node.agent.plan import grants as planning
from wasm_node.protocol import records


def _pod(annotations: dict[str, str], **container: Any) -> Any:
    return parsing.pod(
        {
            "metadata": {"name": "p", "uid": "u", "annotations": annotations},
            "spec": {"containers": [{"name": "main", "image": "x", **container}]},
        }
    )


def test_nothing_is_granted_by_default() -> None:
    """A plain pod reaches nobody."""
    pod = _pod({})

    assert grants.NOTHING == pod.may_reach == grants.Grants((), (), dns=False)
    assert planning.grants(pod, pod.container("main"), serves=False) is None


def test_annotations_become_grants() -> None:
    """Lists are parted by commas, spaces or lines, for all containers alike."""
    pod = _pod(
        {
            grants.HOSTS: "api.example.com, *.example.org:8443\n10.0.0.0/8:*",
            grants.CONNECTIONS: "10.1.2.3:5432 [fd00::/8]:*",
            grants.DNS: "true",
        },
        ports=[{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}],
    )
    made = records.Grants(
        outgoing_http=("api.example.com", "*.example.org:8443", "10.0.0.0/8:*"),
        connect=("10.1.2.3:5432", "[fd00::/8]:*"),
        listen=(53,),
        dns=True,
    )

    assert pod.refusals == ()
    assert planning.grants(pod, pod.container("main"), serves=False) == made


def test_ports_that_are_opened_for_it_are_not_its_own() -> None:
    """A container that serves HTTP may not listen there by itself, too."""
    pod = _pod({}, ports=[{"containerPort": 80}])

    assert planning.grants(pod, pod.container("main"), serves=True) is None
    assert planning.grants(pod, pod.container("main"), serves=False) == records.Grants(listen=(80,))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        (grants.HOSTS, "a.example http://b.example", "'http://b.example' is not HOST"),
        (grants.CONNECTIONS, "db.example:5432", "'db.example:5432' is not ADDRESS:PORT"),
        (grants.CONNECTIONS, "10.0.0.1", "'10.0.0.1' is not ADDRESS:PORT"),
        (grants.DNS, "yes", "'yes' is neither true nor false"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, value: str, why: str) -> None:
    """A pod with a mistake in it never starts."""
    (refusal,) = _pod({name: value}).refusals

    assert refusal.path == f"metadata.annotations[{name}]"
    assert why in refusal.why


@pytest.mark.parametrize(
    ("denied", "advice"),
    [
        ("ask", grants.HOSTS),
        ("connect", grants.CONNECTIONS),
        ("send", grants.CONNECTIONS),
        ("receive", grants.CONNECTIONS),
        ("listen", "containerPort"),
        ("accept", "containerPort"),
        ("resolve", grants.DNS),
        ("of a later runtime", "the pod's grants"),
    ],
)
def test_a_denial_says_what_would_allow_it(denied: str, advice: str) -> None:
    """Each names the one place in the manifest."""
    assert advice in grants.advice(denied)
