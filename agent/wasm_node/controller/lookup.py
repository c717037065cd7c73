"""The facts that decisions rest on, read from the API server at that moment."""

from wasm_node.controller import apiserver, known, objects, settings

NODES = "/api/v1/nodes"


async def agent_pods(api: apiserver.Api, policy: settings.Settings) -> tuple[known.AgentPod, ...]:
    """
    Read the pods of all agents that have not ended.

    Raises:
        ApiError: as `apiserver.Api.call`.
    """
    path = f"/api/v1/namespaces/{policy.namespace}/pods"
    listed = await api.items(path, {"labelSelector": policy.selector})
    found = (objects.agent_pod(each, policy.agent_service_account) for each in listed)
    return tuple(each for each in found if each is not None)


async def node(api: apiserver.Api, name: str) -> known.Node | None:
    """
    Read a Node's metadata; None: there is none.

    Raises:
        ApiError: as `apiserver.Api.call`.
    """
    found = await api.find(f"{NODES}/{name}", accept=apiserver.METADATA_ONLY)
    return objects.node(found) if found is not None else None
