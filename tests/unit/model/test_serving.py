"""Annotations for HTTP, and whose a port is."""

import pytest

from wasm_node.agent.model import manifest, serving


def test_nothing_said_is_the_usual() -> None:
    """A pod needs no annotation."""
    assert serving.parse({"other.example.org/http": "x"}) == serving.USUAL


def test_all_said() -> None:
    """Each annotation sets its own value."""
    read = serving.parse(
        {
            serving.MODE: "wagi",
            serving.REUSE: "1000",
            serving.CONCURRENCY: "16",
            serving.TIMEOUT: "5",
            serving.BODY: "1Mi",
        }
    )

    assert read == serving.Serving(
        wagi=True, reuse=1000, concurrency=16, timeout_s=5.0, max_body_bytes=2**20
    )


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        (serving.MODE, "cgi", "wagi"),
        (serving.REUSE, "0", "1 to"),
        (serving.CONCURRENCY, "many", "whole number"),
        (serving.TIMEOUT, "1.5", "whole number"),
        (serving.BODY, "32MB?", "32Mi"),
    ],
)
def test_what_cannot_be_read_is_said(name: str, value: str, allowed: str) -> None:
    """The text names the annotation, the value and what is allowed."""
    with pytest.raises(ValueError, match=allowed) as caught:
        serving.parse({name: value})

    assert str(caught.value).startswith(f"{name}: ")
    assert repr(value) in str(caught.value)


def _meta(*owners: manifest.Owner, **labels: str) -> manifest.Metadata:
    named = {name.replace("_", "-"): value for name, value in labels.items()}
    return manifest.Metadata(
        name="web-5d4f8-x2x", namespace="shop", labels=named, owner_references=owners
    )


@pytest.mark.parametrize(
    ("owner", "hash_", "expected"),
    [
        (manifest.Owner("ReplicaSet", "web-5d4f8", controller=True), "5d4f8", "Deployment/web"),
        (manifest.Owner("ReplicaSet", "web-5d4f8", controller=True), "", "ReplicaSet/web-5d4f8"),
        (manifest.Owner("StatefulSet", "web", controller=True), "", "StatefulSet/web"),
        (manifest.Owner("ConfigMap", "web"), "", "Pod/web-5d4f8-x2x"),
    ],
)
def test_whose_a_port_is(owner: manifest.Owner, hash_: str, expected: str) -> None:
    """The controller's; ReplicaSets of one Deployment are one owner."""
    labels = {"pod_template_hash": hash_} if hash_ else {}

    assert serving.owner(_meta(owner, **labels)) == f"shop/{expected}"


def test_a_pod_of_nobody_owns_its_port() -> None:
    """Two single pods never share one."""
    assert serving.owner(_meta()) == "shop/Pod/web-5d4f8-x2x"
