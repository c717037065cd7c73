"""
`wasm-node controller`: kopf watches, two loops decide and write.

kopf keeps the watches of requests, agents' pods and wasm nodes, signs in
again when a token has expired, serves the liveness endpoint and ends on
SIGTERM. Only `on.event` handlers: all other kinds write annotations of kopf's
on the objects, and these are not ours. One replica, so no peering object.
"""

import asyncio
import time
from typing import Any

import kopf

from wasm_node.controller import apiserver, approvals, hosting, objects, rules, settings, upkeep

_CSRS = ("certificates.k8s.io", "v1", "certificatesigningrequests")
_PODS = ("", "v1", "pods")
_NODES = ("", "v1", "nodes")
_STUCK_S = 300.0


async def serve(policy: settings.Settings) -> None:
    """
    Work until SIGTERM.

    Raises:
        NoCredentials: nobody said where the API server is.
    """
    async with apiserver.Api.connect() as api:
        csrs = approvals.Approvals(api, policy, time.monotonic)
        nodes = upkeep.Upkeep(api, policy, time.monotonic)
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(csrs.run()), tasks.create_task(nodes.run())]
            await kopf.operator(
                registry=_handlers(policy, csrs, nodes),
                settings=_settings(policy),
                namespaces=[policy.namespace],  # of pods; requests and Nodes have none
                standalone=True,
                # Or kopf looks for the user's name, and in a pod there is none.
                identity="wasm-node",  # type: ignore[arg-type]  # its NewType is not public
                liveness_endpoint=f"http://0.0.0.0:{policy.health_port}/healthz",
            )
            for each in loops:
                each.cancel()


def _settings(policy: settings.Settings) -> kopf.OperatorSettings:
    made = kopf.OperatorSettings()
    made.posting.enabled = False  # we write our own events, about decisions
    made.scanning.disabled = True  # what we watch is built in: no CRDs, no namespaces to list
    made.networking.error_backoffs = (1, 1, 2, 3, *[5] * 12)  # 5 s late after an outage, at most
    made.watching.label_selectors[_PODS] = policy.selector
    made.watching.label_selectors[_NODES] = f"{hosting.ARCHITECTURE_LABEL}={hosting.ARCHITECTURE}"
    return made


def _handlers(
    policy: settings.Settings, csrs: approvals.Approvals, nodes: upkeep.Upkeep
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def sign_in(**_: Any) -> kopf.ConnectionInfo:
        return apiserver.credentials()

    @kopf.on.event(*_CSRS, registry=registry)
    async def request_changed(event: kopf.RawEvent, **_: Any) -> None:
        csr = objects.csr(event["object"])
        if event["type"] == "DELETED" or csr is None:
            csrs.forget(event["object"]["metadata"]["name"])
        elif rules.author(csr, policy) is not None:
            csrs.look_at(csr.name)

    @kopf.on.event(*_PODS, registry=registry)
    async def agent_changed(**_: Any) -> None:
        csrs.look_again()
        nodes.look_again()

    @kopf.on.event(*_NODES, registry=registry)
    async def node_changed(event: kopf.RawEvent, **_: Any) -> None:
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED":
            nodes.forget(name)
        else:
            nodes.look_at(name)

    @kopf.on.probe(id="loops", registry=registry)
    async def loops_come_round(**_: Any) -> float:
        late_s = time.monotonic() - min(csrs.beat, nodes.beat)
        if late_s > _STUCK_S:
            raise kopf.PermanentError(f"a loop has not come round for {late_s:.0f} s")
        return late_s

    return registry
