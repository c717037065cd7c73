"""What each path asks of its user, and whom a certificate names."""

import dataclasses
from typing import Any

import pytest

from wasm_node.agent.model import access
from wasm_node.agent.server import auth, health, routes

NOON = 1795348800.0


def test_the_table_asks_what_a_kubelet_asks() -> None:
    """Verbs and subresources are those of the kubelet's own auth.go."""
    asked = {(each.method, each.path): (each.verb, each.subresources) for each in routes.TABLE}

    assert asked == {
        ("GET", "/healthz"): ("get", ("healthz", "proxy")),
        ("GET", "/metrics"): ("get", ("metrics",)),
        ("GET", "/containerLogs/{namespace}/{pod}/{container}"): ("get", ("proxy",)),
        ("*", "/exec/{where:.*}"): ("create", ("proxy",)),
        ("*", "/attach/{where:.*}"): ("create", ("proxy",)),
        ("*", "/portForward/{where:.*}"): ("create", ("proxy",)),
        ("*", "/run/{where:.*}"): ("create", ("proxy",)),
    }


@pytest.mark.parametrize(
    ("path", "verb", "subresources"),
    [
        ("/pods", "", ("pods",)),
        ("/pods", "GET", ("pods",)),
        ("/pods", "get", ()),
        ("/pods", "get", ("",)),
        ("/exec/{namespace}/{pod}/{container}", "get", ("proxy",)),
        ("/attach/{namespace}/{pod}/{container}", "get", ("proxy",)),
        ("/portForward/{namespace}/{pod}", "get", ("proxy",)),
        ("/run/{namespace}/{pod}/{container}", "get", ("proxy",)),
    ],
)
def test_a_row_without_its_authorization_cannot_be(
    path: str, verb: str, subresources: tuple[str, ...]
) -> None:
    """A route that does not say what it needs fails where it is written."""
    with pytest.raises(ValueError, match=f"cannot serve {path.split('{', maxsplit=1)[0]}"):
        routes.Route("GET", path, verb, subresources, health.healthz)


def test_no_field_of_a_row_has_a_default() -> None:
    """Nothing about a route can be left out."""
    missing = dataclasses.MISSING

    assert all(each.default is missing for each in dataclasses.fields(routes.Route))


def certificate(
    *fields: tuple[str, str], until: str = "Nov 22 12:00:01 2026 GMT"
) -> dict[str, Any]:
    """Return a certificate as Python's ssl describes it."""
    return {"subject": tuple(((kind, value),) for kind, value in fields), "notAfter": until}


@pytest.mark.parametrize(
    ("given", "identity"),
    [
        (None, None),
        ({}, None),
        (certificate(("organizationName", "system:masters")), None),
        (certificate(("commonName", "")), None),
        (certificate(("commonName", "late"), until="Nov 22 11:59:59 2026 GMT"), None),
        (
            certificate(("commonName", "kube-apiserver")),
            access.Identity("kube-apiserver", ("system:authenticated",)),
        ),
        (
            certificate(
                ("organizationName", "ops"), ("organizationName", "dev"), ("commonName", "ann")
            ),
            access.Identity("ann", ("ops", "dev", "system:authenticated")),
        ),
    ],
)
def test_whom_a_certificate_names(
    given: dict[str, Any] | None, identity: access.Identity | None
) -> None:
    """CN is the user and each O a group; who is past its end is nobody."""
    assert auth.from_certificate(given, now=NOON) == identity
