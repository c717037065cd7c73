"""
The node: the one place that knows every part of it, and owns its tasks.

Builds effects, hands them to the engine, the heartbeat and the kubelet API.
The kubernetes package is imported with this module, so only `wasm-node agent`
imports it; pods need none of it and run on meanwhile.
"""

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from wasm_node.agent import engine, errors, identity, metrics, settings, statedir
from wasm_node.agent.asynckit import backoff, clock
from wasm_node.agent.containers import client as containers_client
from wasm_node.agent.containers import workers
from wasm_node.agent.host import figures
from wasm_node.agent.kube import client, events, nodes, podsink, podsource, reviews
from wasm_node.agent.logs import changes, store
from wasm_node.agent.logs import pods as pod_logs
from wasm_node.agent.loops import claim, evicting, heartbeat, leaving
from wasm_node.agent.oci import lookup, puller
from wasm_node.agent.plan import node as planning
from wasm_node.agent.probes import commands, network
from wasm_node.agent.server import kubelet, liveness

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_SERVED_WITHIN_S = 10.0
"""After that the Node names our address also without a certificate for it."""


async def serve(chosen: settings.Settings) -> None:
    """
    Be a node until SIGTERM or SIGINT.

    Ending the agent changes nothing for its pods: they run on in the runtime
    and are adopted by the next agent. One that stands by takes over first, and
    where the runtime is told to end as well, the agent goes after it; at once,
    if it is told a second time.

    Raises:
        NodeError: the start is impossible as things are.
    """
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # followers of logs
    stopping = leaving.Leaving()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.ask)
    telling = liveness.Liveness()
    async with telling.run(chosen.health_bind, chosen.health_port):
        with errors.unwrapped():
            async with asyncio.TaskGroup() as group:
                beating = group.create_task(telling.beat())
                serving = group.create_task(_serve_alone(chosen, telling, stopping))
                await stopping.asked.wait()
                log.info("Stopping; what runs goes on running")
                if not stopping.attended:
                    serving.cancel()
                await asyncio.wait([serving])
                beating.cancel()


async def _serve_alone(
    chosen: settings.Settings,
    telling: liveness.Liveness,
    stopping: leaving.Leaving,
) -> None:
    directory = statedir.StateDir(chosen.state_dir, chosen.run_dir, chosen.log_dir)
    pause = backoff.Backoff(first_s=0.2, most_s=5.0)
    while True:
        try:
            await asyncio.to_thread(directory.make)
            break
        except errors.Retryable as error:
            _say(telling, f"waiting: {error}")
            await asyncio.sleep(pause.next_s())

    def stand_by(why: str) -> None:
        _say(telling, f"standing by: {why}", ready=True)

    another = f"another agent is running on {directory.state}"
    address = chosen.address.value
    async with directory.locked(lambda: stand_by(another), address=address) as lock:
        _say(telling, "joining the cluster")
        await _serve(chosen, directory, lock, telling, stand_by, stopping)


def _say(telling: liveness.Liveness, what: str, *, ready: bool = False) -> None:
    log.info("%s%s", what[0].upper(), what[1:])
    telling.say(what, ready=ready)


async def _figures(pods: engine.PodEngine, measured: metrics.Metrics) -> bytes:
    traffic = await pods.traffic()
    return await asyncio.to_thread(measured.text, traffic)  # it reads /proc


async def _serve(
    chosen: settings.Settings,
    directory: statedir.StateDir,
    lock: statedir.Lock,
    telling: liveness.Liveness,
    stand_by: Callable[[str], None],
    stopping: leaving.Leaving,
) -> None:
    time = clock.SystemClock()
    logs = store.CriLogStore(chosen.log_dir)
    holder = await asyncio.to_thread(directory.holder)
    host = await asyncio.to_thread(figures.read, chosen.state_dir, None, holder)
    host_ip = chosen.host_ip or host.address
    async with contextlib.AsyncExitStack() as stack:
        news = stack.enter_context(changes.Changes())
        address = chosen.address.value or host.address
        known = await stack.enter_async_context(
            identity.Identity.assumed(chosen, address, directory, time)
        )
        api = known.api
        images = await stack.enter_async_context(
            puller.RegistryPuller(directory.images, insecure_registries=chosen.insecure_registries)
        )
        measured = metrics.Metrics(version=metadata.version("wasm-node"))
        containers = containers_client.RuntimeContainers(
            directory.state, directory.socket, calls_hooks=True
        )
        happened = events.ApiEvents(
            api,
            chosen.node_name,
            time,
            busy=lambda: pods.busy,
            field=lambda pod, container: pods.field(pod.uid, container),
        )
        place = engine.Place(
            chosen.node_name, host_ip, chosen.max_pods, chosen.max_container_restart_period
        )
        own = nodes.ApiNode(api, chosen.node_name)
        outside = engine.Outside(
            source=podsource.ApiPods(api, chosen.node_name),
            sink=podsink.ApiSink(api),
            events=happened,
            puller=measured.puller(images),
            containers=measured.containers(containers),
            resources=containers,
            logs=logs,
            prober=measured.prober(network.NetworkProber()),
            commands=measured.commands(
                commands.ContainerCommands(
                    lookup.DiskPrograms(directory.state, directory.images), containers
                )
            ),
            workers=workers.SocketWorkers(directory.run),
            clock=time,
            progress=lambda *_: None,
            ended=lambda pod, attempt: news.notify(
                logs.locate(pod, attempt.container, attempt.attempt)
            ),
            node=own,
            eviction=evicting.Sources(
                chosen.eviction,
                containers,
                lambda: figures.disk(chosen.state_dir),
                images.images,
                chosen.collection,
            ),
        )
        pods = engine.PodEngine(outside, directory, place)
        measured.gauges(
            (
                "wasm_node_engine_info",
                "Always 1; what runs guests here.",
                "engine",
                lambda: {room.engine: 1.0} if (room := containers.room()) else {},
            ),
            ("wasm_node_pods", "Pods bound to this node.", "", pods.pods),
            ("wasm_node_containers", "Their containers.", "state", pods.containers),
            (
                "wasm_node_certificate_expires_seconds",
                "When each certificate of the node expires, in unix seconds.",
                "certificate",
                known.expiries,
            ),
            (
                "wasm_node_runtime_up",
                "1: the runtime answers.",
                "",
                lambda: {"": float(pods.runtime.is_here)},
            ),
        )
        measured.counters(
            (
                "kubelet_image_garbage_collected",
                "Images that were removed since no pod used them; for lack of space, or by age.",
                "reason",
                pods.collected,
            ),
        )
        measured.kubelets(
            (
                "kubelet_evictions",
                "Pods that were evicted, by what the node was short of, or by their own limit.",
                "eviction_signal",
                pods.evictions,
            ),
            (
                "kubelet_preemptions",
                "Pods that had to end for a critical one, by what it lacked.",
                "preemption_signal",
                pods.preemptions,
            ),
        )
        readable = pod_logs.PodLogs(logs, news, look_up=pods.look_up, is_running=pods.is_running)
        server = kubelet.KubeletServer(
            known.kubelet,
            chosen.node_name,
            reviews.ApiReviewer(api),
            readable,
            lambda: _figures(pods, measured),
            awaited=known.awaits_files,
        )
        port = await stack.enter_async_context(server.run())
        claimed = claim.ClaimedNode(own, holder, time)
        beat = heartbeat.Heartbeat(
            claimed,
            await _identity(api, chosen, address, port),
            lambda: figures.read(chosen.state_dir, containers.room(), holder),
            lambda: pods.health,
            happened,
            time,
        )
        pods.listen_to_health(beat.look_again)
        await claimed.claim(stand_by)
        await beat.register()
        _say(telling, f"serving node {chosen.node_name}", ready=True)

        async def report() -> None:
            # By then, what is asked at the address that it names is answered.
            await pods.listed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SERVED_WITHIN_S):
                    await known.served.wait()
            await beat.report()

        parts = (
            known.run(server.look_again),
            server.follow_files(),
            claimed.watch(),
            beat.renew(),
            report(),
            happened.run(),
            pods.run(),
        )
        async with asyncio.TaskGroup() as group:
            working = [group.create_task(each) for each in parts]
            stopping.attended = True
            await stopping.asked.wait()
            await stopping.unless_hurried(pods.see_off())
            # With the runtime the host goes down. Without pods, as when all is
            # removed after a drain, there is nothing to ask for.
            if not pods.runtime.is_ending and any(pods.pods().values()):
                await stopping.unless_hurried(leaving.await_heir(lock, chosen.heir_within_s, time))
            for each in working:
                each.cancel()
        await stopping.unless_hurried(leaving.hand_over(lock, own, address, time))


async def _identity(
    api: client.Api, chosen: settings.Settings, address: str, port: int
) -> planning.Identity:
    server = await _version(api)
    return planning.Identity(
        name=chosen.node_name,
        provider_id=chosen.provider_id.replace("{node}", chosen.node_name),
        version=metadata.version("wasm-node"),
        kubernetes_version=planning.kubelet_version(
            str(server.get("major", "")), str(server.get("minor", ""))
        ),
        address_type=chosen.address.type,
        address=address,
        port=port,
        max_pods=chosen.max_pods,
        labels=chosen.labels,
        eviction=chosen.eviction,
    )


async def _version(api: client.Api) -> Mapping[str, Any]:
    while True:
        try:
            return await api.call("GET", "/version")
        except errors.NodeError as error:
            log.warning("Asking the API server for its version: %s", error)
            await asyncio.sleep(_RETRY_S)
