"""
Deployments of wasi:http components behind Services.

Where there is a kube-proxy (tier b), it is a Service's IP that is asked, from
a host. Where there is none, it is the first ready address of its endpoints:
replicas share the one of their node.
"""

import contextlib
import functools
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e import load, pods
from e2e.cluster import Guard, wait_until
from e2e.namespaces import Namespace
from tests.component.http import programs

pytestmark = pytest.mark.timeout(180)
_READY = {"httpGet": {"path": "/hello", "port": "http"}, "periodSeconds": 1}


@dataclass(frozen=True)
class Service:
    """
    One Service as a client sees it.

    Attributes:
        address: to ask, HOST:PORT.
        inside: words that bring a command to where that can be asked.
    """

    address: str
    inside: Sequence[str] = ()

    def answers(self) -> bool:
        """Say whether anybody takes a connection there."""
        host, _, port = self.address.partition(":")
        connect = f"import socket; socket.create_connection(({host!r}, {port or 80}), 5)"
        done = subprocess.run(
            [*self.inside, sys.executable, "-c", connect], check=False, capture_output=True
        )
        return done.returncode == 0

    def load(self, path: str) -> Any:
        """Ask for a path all the time; see `load.load`."""
        return load.load(f"http://{self.address}{path}", inside=self.inside)


@pytest.fixture
def reached(namespace: Namespace) -> Callable[[str], Service]:
    """Give what finds a Service of the namespace once it has an endpoint."""
    return functools.partial(_first_endpoint, namespace)


def _first_endpoint(namespace: Namespace, name: str) -> Service:
    return Service(wait_until(lambda: endpoints(namespace, name), "an endpoint", within_s=30)[0])


def endpoints(namespace: Namespace, service: str) -> list[str]:
    """List the ready endpoints of a Service, HOST:PORT."""
    words = ("get", "endpointslices", f"-lkubernetes.io/service-name={service}", "-o=json")
    return [
        f"{address}:{port['port']}"
        for one in json.loads(namespace.kubectl(*words))["items"]
        for each in one["endpoints"] or ()
        if each["conditions"]["ready"]
        for address in each["addresses"]
        for port in one["ports"]
    ]


def _deployment(image: str, port: int, about: dict[str, Any]) -> list[Mapping[str, Any]]:
    """Give a Deployment of two and its Service, on port 80."""
    spec = pods.spec(
        image,
        restart="Always",
        ports=[{"name": "http", "containerPort": port}],
        env=[{"name": "GREETING", "value": "one"}],
        readinessProbe=_READY,
    )
    return [
        pods.workload("Deployment", "web", spec, about=about, replicas=2),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
        },
    ]


def _put_up(namespace: Namespace, image: str, port: int, **about: Any) -> None:
    """Have a Deployment and its Service, all pods of it available."""
    namespace.apply(*_deployment(image, port, about))
    _settle(namespace)


def _settle(namespace: Namespace) -> None:
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_a_service_loses_no_request(
    namespace: Namespace, web: str, port: int, reached: Callable[[str], Service]
) -> None:
    """Clients ask all the time while it is scaled up, down, and rolled out."""
    _put_up(namespace, web, port)
    with reached("web").load("/env") as told:
        for replicas in (4, 1, 3):
            namespace.kubectl("scale", "deployment/web", f"--replicas={replicas}")
            _settle(namespace)
        namespace.kubectl("set", "env", "deployment/web", "GREETING=two")
        _settle(namespace)
        gone = namespace.get("pods?labelSelector=app=web")["items"]
        for each in gone:
            if "deletionTimestamp" in each["metadata"]:
                namespace.wait_gone(each["metadata"]["name"])

    greetings = {line for body in told.answers for line in body.splitlines() if "GREETING" in line}
    assert told.failures == []
    assert greetings == {"GREETING=one", "GREETING=two"}
    assert sum(told.answers.values()) > 100


def test_what_a_guest_prints_is_in_its_log(
    namespace: Namespace, web: str, port: int, reached: Callable[[str], Service]
) -> None:
    """A line that the guest prints while it answers is one of kubectl logs."""
    _put_up(namespace, web, port)
    with reached("web").load("/print") as told:
        pass

    log = namespace.kubectl("logs", "-l=app=web", "--tail=-1")
    assert told.failures == []
    assert set(log.splitlines()) == {"one line"}
    assert len(log.splitlines()) == sum(told.answers.values())


def test_a_plain_module_serves(
    namespace: Namespace, cgi: str, port: int, reached: Callable[[str], Service]
) -> None:
    """By the annotation, a WASI module answers, run once per request."""
    _put_up(namespace, cgi, port, annotations={"wasm-node.dev/http": "wagi"})
    with reached("web").load("/hello") as told:
        pass

    assert told.failures == []
    assert told.answers


@contextlib.contextmanager
def _laptop(*words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `wasm-node run`; give what it says of where it serves."""
    command = [str(Path(sys.executable).parent / "wasm-node"), "run", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield next(line for line in process.stderr if "serving" in line), process
        process.communicate(timeout=20)


def test_a_laptop_serves(tmp_path: Path, port: int) -> None:
    """`wasm-node run` says where to ask; Ctrl-C loses no request."""
    pod = pods.pod("web", f"file:{programs.component()}", ports=[{"containerPort": port}])
    (tmp_path / "web.yaml").write_text(json.dumps(pod))
    with (
        _laptop(str(tmp_path / "web.yaml")) as (said, process),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/stream", timeout=20) as answer,
    ):
        first = answer.readline()
        process.send_signal(signal.SIGINT)
        rest = answer.read()

    assert said == f"web: serving on http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
    assert first + rest == b"tick\n" * 10
    assert process.returncode == 130


def test_an_example_serves_where_it_is_told(port: int) -> None:
    """A bare program that serves HTTP does so on loopback, on one port."""
    with _laptop("--port", str(port), "hello-http") as (said, process):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            body = answer.read()
        process.send_signal(signal.SIGINT)

    assert said == f"hello-http: serving on http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
    assert body.startswith(b"Hello from WebAssembly")


@pytest.mark.parametrize(
    ("granted", "answer"),
    [(None, "error 15"), ("127.0.0.1:{port}", "404"), ("127.0.0.1:1", "error 15")],
    ids=["nothing", "this", "another"],
)
def test_whom_a_guest_may_ask(
    namespace: Namespace, web: str, port: int, granted: str | None, answer: str
) -> None:
    """Nobody, unless an annotation has it; a denial is an event."""
    ports = [{"containerPort": port}]
    wanted = pods.pod("asking", web, restart="Always", ports=ports)
    if granted is not None:
        noted = {"wasm-node.dev/allowed-outbound-hosts": granted.format(port=port)}
        wanted["metadata"]["annotations"] = noted
    namespace.apply(wanted)
    namespace.wait_running("asking")
    url = f"http://127.0.0.1:{port}/ask?127.0.0.1:{port}"
    said = wait_until(lambda: _answer(url), "an answer", within_s=20)

    assert said == answer
    if answer == "404":
        assert namespace.events("NetworkDenied") == []
    else:
        (told,) = wait_until(lambda: namespace.events("NetworkDenied"), "an event", within_s=20)
        assert told == (
            f"Container main was denied HTTP requests to 127.0.0.1:{port}: "
            "the annotation wasm-node.dev/allowed-outbound-hosts does not have it"
        )


def test_a_component_of_wasi_0_3(namespace: Namespace, service: str, port: int) -> None:
    """It serves; the name that it may not look up is an event, once."""
    namespace.apply(pods.pod("tasks", service, restart="Always", ports=[{"containerPort": port}]))
    namespace.wait_running("tasks")
    asked = [f"http://127.0.0.1:{port}/{path}" for path in ("hello", *["resolve?a.example"] * 2)]
    said = [wait_until(functools.partial(_answer, url), "an answer", within_s=20) for url in asked]

    assert said == ["hello from wasm\n", "error 4", "error 4"]
    (told,) = wait_until(lambda: namespace.events("NetworkDenied"), "an event", within_s=20)
    assert told == (
        "Container main was denied looking up a.example: "
        'the annotation wasm-node.dev/allowed-dns is not "true"'
    )


def _answer(url: str) -> str | None:
    """Ask the guest; None: it takes no connections yet."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310  # it is http
            return str(answer.read().decode())
    except urllib.error.URLError:
        return None


def test_a_port_has_one_owner(namespace: Namespace, web: str, port: int) -> None:
    """Another owner's pod waits with both names, and starts once it is free."""
    ports = [{"containerPort": port}]
    for name in ("first", "second"):
        namespace.apply(pods.pod(name, web, restart="Always", ports=ports))
        if name == "first":
            namespace.wait_running(name)
    waiting = namespace.wait_waiting("second")
    namespace.kubectl("delete", "pod", "first")
    namespace.wait_running("second")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello", timeout=20) as answer:
        body = answer.read()

    said = pods.state(waiting, "waiting")
    assert said["reason"] == "PortTaken"
    assert f"{namespace.name}/Pod/second" in said["message"]
    assert f"{namespace.name}/Pod/first" in said["message"]
    assert body == b"hello from wasm\n"


def test_a_pod_has_a_port_of_its_host(
    namespace: Namespace, web: str, port: int, guard: Guard
) -> None:
    """Beside its own, while it runs; a second pod is told whose it is."""
    host_port = guard.claim_port()
    wanted = pods.pod(
        "first",
        web,
        restart="Always",
        ports=[{"containerPort": port, "hostPort": host_port}],
        readinessProbe={"grpc": {"port": port}, "periodSeconds": 1},
    )
    namespace.apply(wanted)
    node = namespace.wait("first", "a ready pod", pods.is_ready).pod["spec"]["nodeName"]
    answers = {_answer(f"http://127.0.0.1:{each}/hello") for each in (port, host_port)}
    wanted["metadata"]["name"], wanted["spec"]["nodeName"] = "second", node
    namespace.apply(wanted)
    rejected = namespace.wait_over("second")["status"]

    assert answers == {"hello from wasm\n"}
    assert (rejected["phase"], rejected["reason"]) == ("Failed", "NodePorts")
    assert f"TCP {host_port} is already that of pod {namespace.name}/first" in rejected["message"]
