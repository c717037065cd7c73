"""Probes out of manifests, as the API server would default them."""

from typing import Any

import pytest

from wasm_node.agent import errors
from wasm_node.agent.model import hooks, parsing, probe


def _probes(**fields: Any) -> tuple[probe.Probe, ...]:
    ports = [{"containerPort": 8080, "name": "http"}, {"containerPort": 9090}]
    container = {"name": "main", "image": "x", "ports": ports} | fields
    raw = {"metadata": {"name": "p", "uid": "u1"}, "spec": {"containers": [container]}}
    return parsing.pod(raw).containers[0].probes


def test_defaults_are_the_apis() -> None:
    """What is not said is as pkg/apis/core/v1/defaults.go has it."""
    (found,) = _probes(readinessProbe={"httpGet": {"port": 80}})

    check = probe.HttpGet(80, "", "", probe.Scheme.HTTP, ())
    assert found == probe.Probe(probe.Kind.READINESS, check, 0, 10, 1, 1, 3, None)


def test_a_zero_is_not_a_period() -> None:
    """Zeros mean the default where they could only do harm, as for the API."""
    zeros = {"periodSeconds": 0, "timeoutSeconds": 0, "successThreshold": 0, "failureThreshold": 0}
    (found,) = _probes(livenessProbe={"tcpSocket": {"port": 80}} | zeros)

    assert (10, 1, 1, 3) == (
        found.period_s, found.timeout_s, found.success_threshold, found.failure_threshold
    )  # fmt: skip


def test_everything_that_can_be_said() -> None:
    """Each field arrives, and all three kinds stand beside each other."""
    get = {
        "port": "http",
        "host": "example.com",
        "path": "/x?y",
        "scheme": "HTTPS",
        "httpHeaders": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
    }
    numbers = {
        "initialDelaySeconds": 2,
        "periodSeconds": 3,
        "timeoutSeconds": 4,
        "successThreshold": 1,
        "failureThreshold": 6,
        "terminationGracePeriodSeconds": 7,
    }
    found = _probes(
        startupProbe={"httpGet": get} | numbers,
        readinessProbe={"tcpSocket": {"port": 81}},
        livenessProbe={"tcpSocket": {"port": 82, "host": "127.0.0.1"}},
    )

    headers = (("A", "1"), ("A", "2"))
    check = probe.HttpGet(8080, "example.com", "/x?y", probe.Scheme.HTTPS, headers)
    assert probe.Probe(probe.Kind.STARTUP, check, 2, 3, 4, 1, 6, 7.0) == found[0]
    assert [probe.TcpSocket(81), probe.TcpSocket(82, "127.0.0.1")] == [
        each.check for each in found[1:]
    ]


@pytest.mark.parametrize("service", [{}, {"service": None}, {"service": ""}, {"service": "a.v1.B"}])
def test_a_grpc_check_asks_for_a_service(service: dict[str, Any]) -> None:
    """Of its own container always, and of the whole server if it names none."""
    (found,) = _probes(livenessProbe={"grpc": {"port": 9090} | service})
    own = probe.Endpoint("10.0.0.2", 9090)

    assert found.check == probe.Grpc(9090, service.get("service") or "")
    assert own == probe.endpoint(found.check, lambda _port: own)


def test_a_name_that_no_port_has_stays_one() -> None:
    """The pod runs, and its probe says what is missing."""
    (found,) = _probes(livenessProbe={"tcpSocket": {"port": "nosuch"}})

    assert found.check == probe.TcpSocket("nosuch")


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ({"tcpSocket": {"port": 0}}, "0 is not a port"),
        ({"tcpSocket": {"port": 65536}}, "65536 is not a port"),
        ({"tcpSocket": {"port": 1}, "periodSeconds": -1}, "negative"),
        ({"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": -1}, "negative"),
        ({"httpGet": {"port": 1, "scheme": "FTP"}}, "ftp"),
        ({"tcpSocket": {}}, "port"),
        ({"grpc": {"port": 0}}, "0 is not a port"),
        ({"grpc": {"port": "http"}}, "port"),
    ],
)
def test_what_is_no_probe_is_refused(field: dict[str, Any], why: str) -> None:
    """A number or scheme that means nothing is named."""
    with pytest.raises(errors.BadInput, match=why):
        _probes(readinessProbe=field)


_ENV = [
    {"name": "A", "value": "1"},
    {"name": "B", "value": "$(A)"},
    {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
]


def test_the_command_of_a_probe_is_expanded_with_what_the_manifest_says() -> None:
    """As ExpandContainerCommandOnlyStatic: no value is looked up or nested."""
    command = ["check", "$(A)$(B)", "-$(S)-", "$(NO)", "$$(A)"]
    (found,) = _probes(readinessProbe={"exec": {"command": command}}, env=_ENV)

    assert found.check == probe.Exec(("check", "1$(A)", "--", "$(NO)", "$(A)"))


def test_the_command_of_a_hook_is_taken_as_it_is() -> None:
    """Nothing in it is expanded (lifecycle/handlers.go)."""
    handler = {"exec": {"command": ["bye", "$(A)"]}}
    container = {"name": "main", "env": _ENV, "lifecycle": {"preStop": handler}}
    raw = {"metadata": {"name": "p", "uid": "u1"}, "spec": {"containers": [container]}}

    read = parsing.pod(raw).containers[0].lifecycle
    assert read == hooks.Hooks(pre_stop=probe.Exec(("bye", "$(A)")))


@pytest.mark.parametrize("where", ["livenessProbe", "lifecycle"])
def test_a_command_has_to_be_there(where: str) -> None:
    """Manifests from files have not been at an API server."""
    action: dict[str, Any] = {"exec": {"command": []}}
    fields = {where: {"postStart": action} if where == "lifecycle" else action}
    with pytest.raises(errors.BadInput, match="exec has no command"):
        _probes(**fields)
