"""
What a probe over the network costs the agent: CPU of the scheduler's process.

The scheduler and the prober are the agent's own, with a second as the period
of each probe; who is asked are processes of their own. Beside it, in the same
rounds, what it costs to open a connection and close it again, with which every
such probe begins.
"""

import argparse
import asyncio
import collections
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent import futures
from multiprocessing import connection
from pathlib import Path
from typing import Any

from e2e.bench import document
from tests.component.http import serving
from tests.component.runtime import running
from tests.fakes.cluster import FakeEvents
from tests.fakes.commands import FakeCommands
from wasm_node.agent.asynckit import clock
from wasm_node.agent.loops import probe as loop
from wasm_node.agent.model import observed, parsing, probe
from wasm_node.agent.probes import network
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

PODS = 400
_DURING_S = 5.0
_COMPONENT = Path(__file__).parents[2] / "agent/wasm_node/examples/hello-http.wat"


class _Counting(network.NetworkProber):
    """The agent's prober, and what came of all checks."""

    def __init__(self) -> None:
        self.outcomes: collections.Counter[probe.Outcome] = collections.Counter()

    async def probe(self, wanted: probe.Probe, at: probe.Endpoint) -> probe.Outcome:
        """Carry one out."""
        outcome = await super().probe(wanted, at)
        self.outcomes[outcome] += 1
        return outcome

    @property
    def passed(self) -> int:
        """How many; raises RuntimeError if others have not."""
        if self.outcomes.keys() - {probe.Passed()}:
            raise RuntimeError(f"some probes did not pass: {self.outcomes}")
        return self.outcomes.total()


def main() -> None:
    """Measure, print the table, and write it into the document."""
    parser = argparse.ArgumentParser(prog="e2e.bench.probes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args().rounds
    about = (
        f"{document.today()}, {wanted} alternating rounds, {PODS} probes a second; "
        f"{document.machine()} before it began."
    )
    found = asyncio.run(_measure(wanted))
    bare = statistics.median(found["a connection, opened and closed"])
    lines = [
        f"| {what} | {statistics.median(each):.0f} ({min(each):.0f}-{max(each):.0f}) "
        f"| {statistics.median(each) / bare:.1f} |"
        for what, each in found.items()
    ]
    head = ["| | CPU of the agent, us: median (min-max) | ratio |", "|---|---|---|"]
    text = "\n".join([about, "", *head, *lines])
    print(text)
    document.write("probes", text)


async def _measure(rounds: int) -> Mapping[str, list[float]]:
    with running.runtime(engine="native") as runtime, _health() as grpc_port:
        async with serving.worker(runtime, program=_COMPONENT, env=(), concurrency=PODS) as worker:
            measures: Mapping[str, Callable[[], Awaitable[float]]] = {
                "a connection, opened and closed": lambda: _bare(worker.port),
                "tcpSocket": lambda: _probed({"tcpSocket": {"port": worker.port}}),
                "httpGet": lambda: _probed({"httpGet": {"port": worker.port}}),
                "grpc": lambda: _probed({"grpc": {"port": grpc_port}}),
            }
            found: dict[str, list[float]] = {what: [] for what in measures}
            for _ in range(rounds):
                for what, measure in measures.items():
                    found[what].append(await measure())
    return found


async def _probed(check: dict[str, Any]) -> float:
    """Return the CPU microseconds of a probe, of PODS that have one each."""
    time_of_day = clock.SystemClock()
    wanted, seen, prober = pods.DesiredStore(), pods.ObservedStore(), _Counting()
    probing = loop.Probing(
        wanted,
        seen,
        prober,
        FakeCommands(),
        lambda _pod, _attempt, port: probe.Endpoint(serving.LOOPBACK, port),
        FakeEvents(),
        time_of_day,
    )
    began = time_of_day.now()
    async with _at_work(probing.run()):
        for number in range(PODS):
            pod = parsing.pod(_pod(f"u{number}", check))
            now = observed.Running(records.AttemptId(pod.ref.uid, "main", 0), 7, began)
            container = observed.ObservedContainer(current=now)
            wanted.put(pod)
            seen.put(pod.ref.uid, observed.ObservedPod(began, {"main": container}))
        while prober.passed < PODS:  # the first are due at once
            await asyncio.sleep(0.1)
        before, at = prober.passed, time.process_time()
        await asyncio.sleep(_DURING_S)
        return 1e6 * (time.process_time() - at) / (prober.passed - before)


async def _bare(port: int) -> float:
    at = time.process_time()
    for _ in range(PODS):
        _, writer = await asyncio.open_connection(serving.LOOPBACK, port)
        writer.close()
        await writer.wait_closed()
    return 1e6 * (time.process_time() - at) / PODS


def _pod(uid: str, check: dict[str, Any]) -> dict[str, Any]:
    each = {"periodSeconds": 1, "timeoutSeconds": 5, **check}
    container = {"name": "main", "image": "x", "livenessProbe": each}
    return {"metadata": {"name": uid, "uid": uid}, "spec": {"containers": [container]}}


@contextlib.asynccontextmanager
async def _at_work(work: Any) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield
        task.cancel()


@contextlib.contextmanager
def _health() -> Any:
    """Give the port of a server of gRPC's health protocol."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def _serve(told: connection.Connection) -> None:
    import grpc  # in the server's process alone
    from grpc_health.v1 import health, health_pb2_grpc

    with futures.ThreadPoolExecutor() as threads:
        server = grpc.server(threads)
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        told.send(server.add_insecure_port(f"{serving.LOOPBACK}:0"))
        server.start()
        server.wait_for_termination()


if __name__ == "__main__":
    main()
