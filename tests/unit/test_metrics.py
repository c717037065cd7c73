"""What is counted, and what a person with Prometheus reads."""

import asyncio

import pytest
from prometheus_client import parser

from tests.fakes.commands import FakeCommands
from tests.fakes.containers import FakeContainers
from tests.fakes.prober import FakeProber
from tests.fakes.puller import FakePuller
from wasm_node.agent import errors, metrics
from wasm_node.agent.model import probe
from wasm_node.protocol import records


def _spec(digest: str) -> records.ContainerSpec:
    return records.ContainerSpec(
        id=records.AttemptId("pod", digest[-1], 0),
        pod_namespace="default",
        pod_name="p",
        module_path="/m",
        module_digest=digest,
        argv=("m",),
        env=(),
        mounts=(),
        log_path="/l",
        memory_limit_bytes=None,
        cpu_limit_millis=None,
    )


def _read(made: metrics.Metrics) -> dict[str, float]:
    families = parser.text_string_to_metric_families(made.text().decode())
    return {
        f"{each.name}{sorted(each.labels.values())}": each.value
        for family in families
        for each in family.samples
        if each.name.startswith(("wasm_node", "prober", "kubelet"))
        and not each.name.endswith(("_created", "_bucket"))
    }


async def test_starts_are_counted_by_what_became_of_them() -> None:
    """Refused for good is not failed for now; only starts have a time."""
    fake, made = FakeContainers(), metrics.Metrics(version="1")
    fake.cannot_prepare["sha256:bad"] = errors.BadInput("no wasm", reason="InvalidImage")
    containers = made.containers(fake)
    await containers.start(_spec("sha256:1"))
    with pytest.raises(errors.BadInput):
        await containers.start(_spec("sha256:bad"))
    fake.away = True
    with pytest.raises(errors.Retryable):
        await containers.start(_spec("sha256:2"))
    found = await asyncio.to_thread(_read, made)

    assert [1, 1, 1] == [
        found[f"wasm_node_container_starts_total['{outcome}']"]
        for outcome in ("started", "refused", "failed")
    ]
    assert found["wasm_node_container_start_seconds_count[]"] == 1


async def test_pulls_are_counted() -> None:
    """An image that is not there is refused or failed, as its error says."""
    made = metrics.Metrics(version="1")
    puller = made.puller(FakePuller({}))
    with pytest.raises(errors.NotFound):
        await puller.pull("registry/none:1")
    found = await asyncio.to_thread(_read, made)

    assert found["wasm_node_image_pulls_total['failed']"] == 1
    assert found["wasm_node_image_pull_seconds_count[]"] == 0


async def test_probes_are_counted_by_their_kind() -> None:
    """As a kubelet's; what says neither is unknown."""
    fake, made = FakeProber(), metrics.Metrics(version="1")
    fake.outcomes = {2: probe.Failed("no"), 3: probe.Unclear("what")}
    prober, commands = made.prober(fake), made.commands(FakeCommands())
    for port in (1, 1, 2, 3):
        check = probe.TcpSocket(port)
        wanted = probe.Probe(probe.Kind.LIVENESS, check, 0, 1, 1, 1, 1, None)
        await prober.probe(wanted, probe.Endpoint("10.0.0.2", port))
    command = probe.Probe(probe.Kind.LIVENESS, probe.Exec(("x",)), 0, 1, 1, 1, 1, None)
    await commands.probe(command, records.AttemptId("u", "main", 0))
    found = await asyncio.to_thread(_read, made)

    assert [3, 1, 1] == [
        found[f"prober_probe_total['Liveness', '{result}']"]
        for result in ("successful", "failed", "unknown")
    ]


def test_gauges_are_read_when_somebody_asks() -> None:
    """They show what is true now, with and without a label."""
    made = metrics.Metrics(version="1.2")
    pods = {"": 1.0}
    made.gauges(
        ("wasm_node_pods", "Pods.", "", lambda: pods),
        ("wasm_node_containers", "Containers.", "state", lambda: {"running": 2.0}),
    )
    pods[""] = 5.0
    found = _read(made)

    assert found["wasm_node_pods[]"] == 5
    assert found["wasm_node_containers['running']"] == 2
    assert found["wasm_node_info['1.2']"] == 1


def test_counters_of_a_kubelet_have_its_names() -> None:
    """Without the `_total` that others have."""
    made = metrics.Metrics(version="1.2")
    counts = {"memory.available": 2.0}
    made.kubelets(("kubelet_evictions", "Pods.", "eviction_signal", lambda: counts))

    assert _read(made)["kubelet_evictions['memory.available']"] == 2


def test_counters_are_read_when_somebody_asks() -> None:
    """What is counted elsewhere is shown as a counter, by its label."""
    made = metrics.Metrics(version="1.2")
    counts = {"age": 0.0, "space": 1.0}
    name = "kubelet_image_garbage_collected"
    made.counters((name, "Images.", "reason", lambda: counts))
    counts["space"] = 3.0
    found = _read(made)

    assert (found[f"{name}_total['age']"], found[f"{name}_total['space']"]) == (0, 3)
