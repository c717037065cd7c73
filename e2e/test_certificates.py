"""Certificates are renewed in time, and nobody notices."""

import asyncio
import contextlib
import datetime as dt
import json
import secrets
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from e2e import agents, pods
from e2e.cluster import ControlPlane, Guard, wait_until
from tests.fakes import clock as clocks
from wasm_node.agent import identity, settings, statedir
from wasm_node.agent.kube import client

Images = Callable[[str], str]

_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_WITHIN_S = 40.0
_LIFE_S = 120


class Joined:
    """An identity in this process, on the real API server, by a fake clock."""

    def __init__(self, known: identity.Identity, clock: clocks.FakeClock) -> None:
        self.api: client.Api = known.api
        self.pki = known.kubelet.certificate_file.parent
        self.clock = clock

    async def credential(self) -> str:
        """Return by which certificate the API server knows it."""
        said = await self.api.call("POST", _REVIEW, body={"kind": "SelfSubjectReview"})
        extra = said["status"]["userInfo"]["extra"]
        return str(extra["authentication.kubernetes.io/credential-id"])

    async def both(self, *, other_than: Sequence[bytes] = ()) -> list[bytes]:
        """Wait for both certificates, new ones, and return them."""
        files = [self.pki / f"{kind}.pem" for kind in ("client", "serving")]
        async with asyncio.timeout(_WITHIN_S):
            while True:
                found = [each.read_bytes() for each in files if each.exists()]
                if len(set(found) - set(other_than)) == len(files):
                    return found
                await asyncio.sleep(0.05)

    async def let_months_pass(self) -> None:
        """Go to nine tenths of the life of both, once it has both."""
        async with asyncio.timeout(_WITHIN_S):
            # For the time of each, and to look for other authorities.
            while self.clock.sleepers < 3:
                await asyncio.sleep(0.01)
        self.clock.advance(0.91 * 365 * 86400)


@contextlib.asynccontextmanager
async def _joined(agent: agents.Agent) -> AsyncIterator[Joined]:
    path = agent.directory / "agent.yaml"
    path.write_text(json.dumps(agent.settings))
    chosen = settings.load(path)
    directory = statedir.StateDir(chosen.state_dir, chosen.run_dir, chosen.log_dir)
    directory.make()
    clock = clocks.FakeClock(dt.datetime.now(dt.UTC).timestamp())
    assumed = identity.Identity.assumed(chosen, "127.0.0.1", directory, clock)
    async with asyncio.TaskGroup() as group:
        approving = group.create_task(_approve(agent))
        async with assumed as known:
            made = Joined(known, clock)
            keeping = group.create_task(known.run(_nothing))
            yield made
            keeping.cancel()
        approving.cancel()


async def _nothing() -> None:
    """Serve nothing with it."""


async def _approve(agent: agents.Agent) -> None:
    """Be the controller."""
    while True:
        await asyncio.to_thread(agent.approve_all)
        await asyncio.sleep(0.05)


def _agent(guard: Guard, plane: ControlPlane, directory: Path) -> agents.Agent:
    name = f"vm-{secrets.token_hex(3)}"
    made = agents.Agent(plane, guard, name, directory / name)
    made.settings["bootstrap"] = {"kubeconfig": str(agents.bootstrap(plane, directory))}
    return made


async def test_both_are_renewed_and_a_watch_goes_on(
    guard: Guard, plane: ControlPlane, short_path: Path
) -> None:
    """The real signer signs the next ones; the watch sees what comes after."""
    agent = await asyncio.to_thread(_agent, guard, plane, short_path)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": agent.name}}
    await asyncio.to_thread(agent.plane.admin.call, "POST", "/api/v1/nodes", node)
    query = {"watch": "true", "fieldSelector": f"metadata.name={agent.name}"}
    async with _joined(agent) as joined:
        old = await joined.both()
        credential = await joined.credential()
        async with contextlib.aclosing(joined.api.lines("/api/v1/nodes", query)) as lines:
            assert json.loads(await anext(lines))["type"] == "ADDED"
            await joined.let_months_pass()
            await joined.both(other_than=old)
            async with asyncio.timeout(_WITHIN_S):
                while await joined.credential() == credential:
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(agent.plane.kubectl, "label", "node", agent.name, "a=b")
            async with asyncio.timeout(_WITHIN_S):
                while not _is_labelled(json.loads(await anext(lines))):
                    pass  # what controllers did before


def _is_labelled(event: dict[str, Any]) -> bool:
    return bool(event["object"]["metadata"].get("labels", {}).get("a") == "b")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_rotation_under_load(guard: Guard, short_path: Path, images: Images) -> None:
    """
    With certificates of two minutes, pods come and go as if there were none.

    A log is followed all the time, and a connection to the API server is old
    or new, but never refused.
    """
    plane = ControlPlane.start(
        guard, short_path / "plane", audited=True, certificates_live_s=_LIFE_S
    )
    agent = _agent(guard, plane, short_path)
    agent.start_runtime()
    agent.start()
    agent.approve("client")
    wait_until(lambda: agent.plane.node_is_ready(agent.name), "Ready", within_s=_WITHIN_S)
    agent.approve("serving")
    agent.wait_served()
    _apply(agent, pods.pod("counter", images("count"), 100, restart="Always"))
    _wait_phase(agent, "counter", "Running")
    with _following(agent, "counter") as follower:
        served: dict[str, None] = {}
        rounds = 0
        while len(served) < 3 or len(agent.credentials()) < 3:
            agent.approve_all()
            served[_served_with(agent)] = None
            rounds += 1
            _apply(agent, pods.pod(f"load-{rounds}", images("count"), 10, 3))
            _wait_phase(agent, f"load-{rounds}", "Succeeded")
            agent.plane.kubectl("delete", "pod", f"load-{rounds}", "--wait=false")
        agent.plane.kubectl("delete", "pod", "counter", "--wait=false")
        lines = follower.stdout.read().splitlines() if follower.stdout else []

    assert lines == [f"n {n}" for n in range(len(lines))]
    assert len(lines) > 2 * _LIFE_S  # ten a second, or fewer on a busy machine
    assert "401 Unauthorized" not in agent.log()
    assert "Watching pods" not in agent.log()
    assert "Renewing the lease" not in agent.log()
    print(f"{rounds} pods, {len(lines)} lines, {len(served)} certificates of two minutes")


def _apply(agent: agents.Agent, pod: dict[str, Any]) -> None:
    agent.plane.kubectl("apply", "-f", "-", stdin=json.dumps(pod))


def _wait_phase(agent: agents.Agent, name: str, phase: str) -> None:
    path = f"/api/v1/namespaces/default/pods/{name}"

    def holds() -> bool:
        return bool(agent.plane.admin.get(path)["status"].get("phase") == phase)

    wait_until(holds, f"pod {name} {phase}", within_s=_WITHIN_S, alive=[agent.process])


def _following(agent: agents.Agent, pod: str) -> "subprocess.Popen[str]":
    words = [str(agent.plane.commands / "kubectl"), "logs", "-f", pod]
    return subprocess.Popen(words, env=agent.plane.environment, stdout=subprocess.PIPE, text=True)


def _served_with(agent: agents.Agent) -> str:
    """Return the serial of the certificate that a new connection gets."""
    port = agent.settings["kubelet"]["port"]
    pem = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(agent.plane.ca))
    return str(x509.load_pem_x509_certificate(pem.encode()).serial_number)
