"""Certificate requests over real HTTP: late facts, races, odd requests."""

import ipaddress
from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.component.controller.conftest import (
    CSRS,
    EVENTS,
    NODES,
    PODS,
    POLICY,
    Clock,
    Server,
    looked,
    running,
    until,
)
from wasm_node.controller import apiserver, approvals, rules

ARCH = {"kubernetes.io/arch": "wasm32-wasi"}


@pytest.fixture
def deciding(api: apiserver.Api, clock: Clock) -> approvals.Approvals:
    """Give the loop, not running yet."""
    return approvals.Approvals(api, POLICY, clock)


def spec(user: str, signer: str, *ips: str, **more: Any) -> dict[str, Any]:
    """Give what `user` asks for, for the node that it is or wants to be."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, user),
        ]
    )
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if ips:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ips[0]))])
        made = made.add_extension(names, critical=False)
    pem = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    purpose = "server auth" if signer == rules.SERVING else "client auth"
    return {
        "request": b64encode(pem.public_bytes(Encoding.PEM)).decode(),
        "signerName": signer,
        "usages": ["digital signature", purpose],
        "username": user,
        "groups": ["system:nodes"],
        **more,
    }


def put_pod(server: Server, *ips: str) -> None:
    """Put the agent's pod on host h1 there, with addresses."""
    server.put(
        f"{PODS}/agent-1",
        spec={"nodeName": "h1", "serviceAccountName": "agent"},
        status={"phase": "Running", "podIPs": [{"ip": each} for each in ips]},
    )


def decided(server: Server, name: str) -> str:
    """Return the decision, empty while there is none."""
    conditions = server.objects[f"{CSRS}/{name}"].get("status", {}).get("conditions")
    return str(conditions[0]["type"]) if conditions else ""


async def test_an_address_that_comes_later_is_granted(
    server: Server, deciding: approvals.Approvals
) -> None:
    """The request waits, and a change of the pod has it looked at again."""
    put_pod(server)
    server.put(f"{CSRS}/one", spec=spec("system:node:wasm-h1", rules.SERVING, "10.0.0.1"))

    async with running(deciding):
        await looked(server, f"{CSRS}/one", lambda: deciding.look_at("one"))
        assert decided(server, "one") == ""
        put_pod(server, "10.0.0.1")
        deciding.look_again()
        await until(lambda: decided(server, "one") == "Approved")


async def test_a_request_that_changed_meanwhile_is_judged_anew(
    server: Server, deciding: approvals.Approvals
) -> None:
    """What was read is what is granted: another version is another request."""
    put_pod(server, "10.0.0.1")
    path = f"{CSRS}/one"
    first = spec("system:node:wasm-h1", rules.SERVING, "10.0.0.1")
    second = spec("system:node:wasm-h1", rules.SERVING, "10.0.0.9")
    server.put(path, spec=first)

    def swap(method: str, _: str) -> None:
        if method == "PUT" and server.objects[path]["spec"] is first:
            server.put(path, spec=second)

    server.before = swap
    async with running(deciding):
        deciding.look_at("one")
        await until(lambda: ("PUT", f"{path}/approval") in server.asked)
        await looked(server, path, lambda: deciding.look_at("one"))

    assert decided(server, "one") == ""


async def test_a_person_is_asked_once(
    server: Server, deciding: approvals.Approvals, clock: Clock
) -> None:
    """Not before the request has waited, and not twice for one request."""
    server.put(f"{NODES}/edge", metadata={"labels": ARCH})
    server.put(f"{CSRS}/one", spec=spec("system:node:edge", rules.SERVING, "10.0.0.1"))

    async with running(deciding):
        await looked(server, f"{NODES}/edge", lambda: deciding.look_at("one"))
        assert server.below(EVENTS) == {}
        clock.now += rules.PATIENCE_S
        await looked(server, f"{NODES}/edge", lambda: deciding.look_at("one"))

    assert server.asked.count(("POST", EVENTS)) > 0

    (event,) = server.below(EVENTS).values()
    assert event["reason"] == "NeedsApproval"
    assert "kubectl certificate approve one" in event["message"]
    assert event["involvedObject"]["name"] == "one"
    assert decided(server, "one") == ""


async def test_a_kubelets_request_is_let_go(
    server: Server, deciding: approvals.Approvals, clock: Clock
) -> None:
    """A cluster may have thousands pending: none is asked for forever."""
    server.put(f"{NODES}/real", metadata={"labels": {"kubernetes.io/arch": "amd64"}})
    server.put(f"{CSRS}/one", spec=spec("system:node:real", rules.SERVING, "10.0.0.1"))

    async with running(deciding):
        await looked(server, f"{NODES}/real", lambda: deciding.look_at("one"))
        clock.now += rules.PATIENCE_S
        deciding.look_at("one")
        await until(lambda: server.asked.count(("GET", f"{NODES}/real")) == 3)
        put_pod(server, "10.0.0.1")
        server.put(f"{CSRS}/two", spec=spec("system:node:wasm-h1", rules.CLIENT))
        deciding.look_again()
        deciding.look_at("two")
        await until(lambda: decided(server, "two") == "Approved")

    assert server.asked.count(("GET", f"{NODES}/real")) == 3
    assert decided(server, "one") == ""
    assert server.below(EVENTS) == {}


async def test_one_odd_request_stops_no_other(
    server: Server, deciding: approvals.Approvals, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot even be looked at is logged; the rest is decided."""
    put_pod(server, "10.0.0.1")
    server.put(f"{CSRS}/odd", spec={"usages": []})
    server.put(f"{CSRS}/one", spec=spec("system:node:wasm-h1", rules.CLIENT))

    async with running(deciding):
        deciding.look_at("odd")
        deciding.look_at("one")
        await until(lambda: decided(server, "one") == "Approved")

    assert "Certificate request odd: cannot decide" in caplog.text


async def test_an_api_server_that_was_away_costs_time_only(
    server: Server, deciding: approvals.Approvals
) -> None:
    """Requests are kept, and decided when it is back."""
    put_pod(server, "10.0.0.1")
    server.put(f"{CSRS}/one", spec=spec("system:node:wasm-h1", rules.CLIENT))
    server.refusing = True

    async with running(deciding):
        deciding.look_at("one")
        await until(lambda: server.asked)
        server.refusing = False
        deciding.look_again()
        await until(lambda: decided(server, "one") == "Approved")
