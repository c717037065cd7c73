"""
Whose clients may ask the kubelet API: the cluster's client CA.

Kubernetes publishes it for servers like ours, as it does for aggregated API
servers, in kube-system/extension-apiserver-authentication. A service account
may be allowed to read that; a node may not, and a bootstrap token is no more
once the node has joined: such a machine trusts the CA of its kubeconfig.
"""

import logging

from wasm_node.agent import errors
from wasm_node.agent.kube import client

log = logging.getLogger(__name__)

_PATH = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


async def of_clients(api: client.Api) -> bytes:
    """
    Return the CAs of client certificates, PEM.

    Where the ConfigMap may not be read, or says nothing, they are those by
    which we know the API server: in most clusters the same.

    Raises:
        Retryable: it cannot be asked now.
        BadInput: nobody says.
    """
    try:
        found = await api.call("GET", _PATH)
    except (client.Forbidden, errors.NotFound) as error:
        log.debug("Taking the API server's own CA for that of clients: %s", error)
        found = {}
    said = str((found.get("data") or {}).get("client-ca-file", ""))
    return said.encode() or await api.authorities()
