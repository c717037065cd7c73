"""What Prometheus reads from a real node, with the rights that it needs."""

import re
import ssl
import urllib.request
from pathlib import Path

from prometheus_client import parser

from e2e.namespaces import Namespace

DOCS = Path(__file__).parent.parent / "docs/metrics.md"
_OURS = ("wasm_node_", "prober_")


def test_the_docs_list_every_metric(namespace: Namespace) -> None:
    """Names, types and labels are as docs/metrics.md says; none is missing."""
    role = f"{namespace.name}-scraper"
    namespace.kubectl("create", "serviceaccount", "prometheus")
    namespace.kubectl("create", "clusterrole", role, "--verb=get", "--resource=nodes/metrics")
    account = f"--serviceaccount={namespace.name}:prometheus"
    namespace.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", account)
    token = namespace.kubectl("create", "token", "prometheus").strip()
    families = parser.text_string_to_metric_families(_scrape(namespace, token))
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


def _scrape(namespace: Namespace, token: str) -> str:
    plane, node = namespace.bed.plane, namespace.bed.node
    status = plane.admin.get(f"/api/v1/nodes/{node.name}")["status"]
    address, port = status["addresses"][0]["address"], status["daemonEndpoints"]["kubeletEndpoint"]
    request = urllib.request.Request(
        f"https://{address}:{port['Port']}/metrics", headers={"Authorization": f"Bearer {token}"}
    )
    tls = ssl.create_default_context(cafile=str(plane.ca))
    with urllib.request.urlopen(request, timeout=10, context=tls) as answer:  # noqa: S310  # https, as written
        text: str = answer.read().decode()
    return text
