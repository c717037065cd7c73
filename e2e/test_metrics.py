"""What Prometheus reads from a real node, with the rights that it needs."""

import contextlib
import re
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from prometheus_client import parser

from e2e import pods
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

DOCS = Path(__file__).parent.parent / "docs/metrics.md"
_OURS = ("wasm_node_", "prober_", "kubelet_")


def test_the_docs_list_every_metric(namespace: Namespace, web: str, port: int) -> None:
    """Names, types and labels are as docs/metrics.md says; none is missing."""
    ports = [{"containerPort": port}]
    namespace.apply(pods.pod("web", web, restart="Always", ports=ports))
    namespace.wait_running("web")
    families = parser.text_string_to_metric_families(_scrape(namespace))
    shown = {
        (
            f"{each.name}_total" if each.type == "counter" else each.name,
            each.type,
            frozenset(label for sample in each.samples for label in sample.labels) - {"le"},
        )
        for each in families
        if each.name.startswith(_OURS)
    }
    row = rf"^\| `((?:{'|'.join(_OURS)})\w+)` \| (\w+) \|(.*?)\|"
    rows = re.findall(row, DOCS.read_text(), re.MULTILINE)

    assert shown == {
        (name, kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels in rows
    }


def test_requests_are_counted(namespace: Namespace, web: str, port: int) -> None:
    """Each answer is counted for its container, by its class of status."""
    ports = [{"containerPort": port}]
    namespace.apply(pods.pod("web", web, restart="Always", ports=ports))
    namespace.wait_running("web")
    for path in ("/hello", "/hello", "/teapot", "/trap"):
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20).close()
    found = {
        (sample.name, sample.labels.get("code", "")): sample.value
        for each in parser.text_string_to_metric_families(_scrape(namespace))
        for sample in each.samples
        if sample.labels.get("namespace") == namespace.name
    }
    counted = {code: found["wasm_node_http_requests_total", f"{code}xx"] for code in "245"}

    assert counted == {"2": 2, "4": 1, "5": 1}
    assert found["wasm_node_http_request_seconds_count", ""] == 4
    assert found["wasm_node_http_traps_total", ""] == 1
    assert found["wasm_node_http_connections_made_total", ""] == 4


def _scrape(namespace: Namespace) -> str:
    role = f"{namespace.name}-scraper"
    namespace.kubectl("create", "serviceaccount", "prometheus")
    namespace.kubectl("create", "clusterrole", role, "--verb=get", "--resource=nodes/metrics")
    account = f"--serviceaccount={namespace.name}:prometheus"
    namespace.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", account)
    token = namespace.kubectl("create", "token", "prometheus").strip()
    plane, node = namespace.bed.plane, namespace.bed.node
    status = plane.admin.get(f"/api/v1/nodes/{node.name}")["status"]
    address, port = status["addresses"][0]["address"], status["daemonEndpoints"]["kubeletEndpoint"]
    request = urllib.request.Request(
        f"https://{address}:{port['Port']}/metrics", headers={"Authorization": f"Bearer {token}"}
    )
    tls = ssl.create_default_context(cafile=str(plane.ca))

    def read() -> str:
        try:
            with urllib.request.urlopen(request, timeout=20, context=tls) as answer:  # noqa: S310  # https, as written
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.FORBIDDEN:  # authorizers hear of a role later
                raise
            return ""

    return wait_until(read, "the right to read", within_s=40)
