"""
A cluster as its administrator reaches it, whoever made it.

Fixtures and tests say to a cluster what a user would, by kubectl, and look at
it through the smallest client there is.
"""

from http import HTTPStatus
from pathlib import Path

from e2e.cluster import api, binaries, pki, processes


class Access:
    """
    The way into a cluster.

    Attributes:
        directory: of what belongs to the cluster here.
        server: the API server's URL.
        ca: the cluster's certificate authority, PEM.
        kubeconfig: of an administrator.
        admin: the API as the administrator.
        environment: variables that make any `kubectl` this cluster's.
        commands: a folder with `kubectl` in it, for a PATH.
    """

    def __init__(
        self, directory: Path, server: str, ca: Path, kubeconfig: Path, admin: pki.Certificate
    ) -> None:
        self.directory = directory
        self.server = server
        self.ca = ca
        self.kubeconfig = kubeconfig
        self.admin = api.Api(server, ca, admin)
        self.environment = {
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(directory / "kubectl-cache"),
            "KUBERC": "off",
        }
        self.commands = binaries.program("kubectl").parent

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """
        Run kubectl as the administrator and return what it prints.

        Raises:
            CalledProcessError: it failed; its message is in the note.
        """
        return processes.printed_by(
            [self.commands / "kubectl", *words], self.environment, stdin=stdin
        )

    def node_is_ready(self, name: str) -> bool:
        """Say whether the Node exists, is Ready, and no taint denies it."""
        try:
            node = self.admin.get(f"/api/v1/nodes/{name}")
        except api.Refused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
        taints = {each["key"] for each in node["spec"].get("taints", [])}
        return conditions.get("Ready") == "True" and "node.kubernetes.io/not-ready" not in taints
