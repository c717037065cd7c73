"""
What `/metrics` says of this node, in Prometheus' text format.

Counts and durations come from standing between the loops and the interfaces
they call; everything else is read where it is kept, at the moment somebody
asks. So no loop knows of metrics, and none can forget one. Names are listed in
docs/metrics.md; the alert rules of the chart use them.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import prometheus_client
from prometheus_client import metrics_core, registry

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import image, observed, probe, traffic
from wasm_node.protocol import records

_START_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PULL_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

Gauge = tuple[str, str, str, Callable[[], Mapping[str, float]]]
"""Name, help, label name (empty: none), and values by label value."""

_Family: TypeAlias = (
    metrics_core.GaugeMetricFamily
    | metrics_core.CounterMetricFamily
    | metrics_core.UnknownMetricFamily
)


class Metrics:
    """All of a node's metrics; one per process."""

    def __init__(self, *, version: str) -> None:
        prometheus_client.disable_created_metrics()  # a series more for each of ours
        self._registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        prometheus_client.GCCollector(registry=self._registry)
        about = prometheus_client.Gauge(
            "wasm_node_info",
            "Always 1; what runs here.",
            ("version",),
            registry=self._registry,
        )
        about.labels(version).set(1)
        self._starts = _Measured(
            self._registry,
            "wasm_node_container_start",
            "starting a container, from the request to the guest's entry",
            done="started",
            buckets=_START_BUCKETS,
        )
        self._pulls = _Measured(
            self._registry,
            "wasm_node_image_pull",
            "pulling an image",
            done="pulled",
            buckets=_PULL_BUCKETS,
        )
        self._probes = prometheus_client.Counter(
            "prober_probe",
            "Results of probes; unknown: it could not be carried out as it should.",
            ("probe_type", "result"),
            registry=self._registry,
        )
        for kind, result in itertools.product(probe.Kind, _RESULTS.values()):
            self._probes.labels(kind.value, result)

    def prober(self, inner: interfaces.Prober) -> interfaces.Prober:
        """Return a Prober that counts the results of another."""
        return _Prober(inner, self._probes)

    def commands(self, inner: interfaces.Commands) -> interfaces.Commands:
        """Return Commands that count the results of others' probes."""
        return _Commands(inner, self._probes)

    def gauges(self, *wanted: Gauge) -> None:
        """Show what these functions return whenever somebody asks."""
        self._registry.register(_Values(wanted, metrics_core.GaugeMetricFamily))

    def counters(self, *wanted: Gauge) -> None:
        """Show them as what only grows; names without their `_total`."""
        self._registry.register(_Values(wanted, metrics_core.CounterMetricFamily))

    def kubelets(self, *wanted: Gauge) -> None:
        """
        Show counters that a kubelet has, by its very names.

        Those have no `_total`, which every counter has here: so they are of no
        type, and count as well.
        """
        self._registry.register(_Values(wanted, metrics_core.UnknownMetricFamily))

    def text(self, told: Sequence[traffic.Told] = ()) -> bytes:
        """
        Return all of it as of now; NB: reads /proc, so not in the loop.

        `told`: what the workers of containers that serve HTTP have counted.
        """
        own = prometheus_client.generate_latest(self._registry)
        return own + prometheus_client.generate_latest(_Traffic(told))

    def puller(self, inner: interfaces.Puller) -> interfaces.Puller:
        """Return a Puller that counts and times the pulls of another."""
        return _Puller(inner, self._pulls)

    def containers(self, inner: interfaces.Containers) -> interfaces.Containers:
        """Return Containers that count and time the starts of others."""
        return _Containers(inner, self._starts)


class _Measured:
    def __init__(
        self,
        where: prometheus_client.CollectorRegistry,
        name: str,
        what: str,
        *,
        done: str,
        buckets: Sequence[float],
    ) -> None:
        self._done = done
        self._outcomes = prometheus_client.Counter(
            f"{name}s",
            f"Outcomes of {what}; refused: can never succeed as asked, failed: may later.",
            ("outcome",),
            registry=where,
        )
        for outcome in (done, "refused", "failed"):
            self._outcomes.labels(outcome)
        self._took = prometheus_client.Histogram(
            f"{name}_seconds", f"Time of {what}.", buckets=buckets, registry=where
        )

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except errors.BadInput:
            self._outcomes.labels("refused").inc()
            raise
        except errors.NodeError:
            self._outcomes.labels("failed").inc()
            raise
        self._outcomes.labels(self._done).inc()
        self._took.observe(time.monotonic() - began)


class _Values(registry.Collector):
    def __init__(self, wanted: Sequence[Gauge], kind: Callable[..., _Family]) -> None:
        self._wanted = wanted
        self._kind = kind

    def collect(self) -> Iterator[metrics_core.Metric]:
        for name, meaning, label, values in self._wanted:
            family = self._kind(name, meaning, labels=[label] if label else [])
            for key, value in values().items():
                family.add_metric([key] if label else [], value)
            yield family


class _Traffic(registry.Collector):
    def __init__(self, told: Sequence[traffic.Told]) -> None:
        self._told = told

    def collect(self) -> Iterator[metrics_core.Metric]:
        for name, meaning, count in _COUNTERS:
            counter = metrics_core.CounterMetricFamily(name, meaning, labels=_CONTAINER)
            for each in self._told:
                counter.add_metric(_labels(each), count(each.traffic))
            yield counter
        for name, meaning, value in _GAUGES:
            gauge = metrics_core.GaugeMetricFamily(name, meaning, labels=_CONTAINER)
            for each in self._told:
                gauge.add_metric(_labels(each), value(each.traffic))
            yield gauge
        requests = metrics_core.CounterMetricFamily(
            "wasm_node_http_requests",
            "Requests that were answered, by class of status.",
            labels=(*_CONTAINER, "code"),
        )
        took = metrics_core.HistogramMetricFamily(
            "wasm_node_http_request_seconds", "Time until a response's end.", labels=_CONTAINER
        )
        for each in self._told:
            for code, count_of in each.traffic.requests.items():
                requests.add_metric((*_labels(each), code), count_of)
            durations = each.traffic.durations
            buckets = [(str(bound_s), float(count)) for bound_s, count in durations.buckets]
            took.add_metric(
                _labels(each), [*buckets, ("+Inf", durations.count)], sum_value=durations.sum
            )
        yield requests
        yield took


def _labels(told: traffic.Told) -> tuple[str, str, str]:
    return told.pod.namespace, told.pod.name, told.container


_CONTAINER = ("namespace", "pod", "container")
_Figure: TypeAlias = tuple[str, str, Callable[[traffic.Traffic], int]]
_COUNTERS: Sequence[_Figure] = (
    ("wasm_node_http_connections_made", "Connections.", lambda now: now.connections_made),
    ("wasm_node_http_instances_made", "Instances of the guest.", lambda now: now.instances),
    ("wasm_node_http_traps", "Requests that ended by a trap.", lambda now: now.traps),
    ("wasm_node_http_timeouts", "Requests without a response in time.", lambda now: now.timeouts),
    ("wasm_node_http_rejected", "Requests told 503: too many at once.", lambda now: now.denied),
    (
        "wasm_node_http_denied_calls",
        "Calls to others that the pod's grants do not allow.",
        lambda now: now.denied_outgoing,
    ),
)
_GAUGES: Sequence[_Figure] = (
    ("wasm_node_http_connections", "Connections open now.", lambda now: now.connections),
    ("wasm_node_http_instances", "Instances there are now.", lambda now: now.live_instances),
    (
        "wasm_node_http_requests_in_flight",
        "Requests that are not answered yet.",
        lambda now: now.in_flight,
    ),
)


class _Puller:
    def __init__(self, inner: interfaces.Puller, measured: _Measured) -> None:
        self._inner = inner
        self._measured = measured
        self.local = inner.local
        self.program = inner.program

    async def pull(
        self, reference: str, *, progress: Callable[[int, int | None], None] | None = None
    ) -> image.Image:
        with self._measured.one():
            return await self._inner.pull(reference, progress=progress)


class _Prober:
    def __init__(self, inner: interfaces.Prober, results: prometheus_client.Counter) -> None:
        self._inner = inner
        self._results = results
        self.call = inner.call

    async def probe(self, wanted: probe.Probe, at: probe.Endpoint) -> probe.Outcome:
        outcome = await self._inner.probe(wanted, at)
        self._results.labels(wanted.kind.value, _RESULTS[type(outcome)]).inc()
        return outcome


class _Commands:
    def __init__(self, inner: interfaces.Commands, results: prometheus_client.Counter) -> None:
        self._inner = inner
        self._results = results
        self.call = inner.call

    async def probe(self, wanted: probe.Probe, attempt: records.AttemptId) -> probe.Outcome:
        outcome = await self._inner.probe(wanted, attempt)
        self._results.labels(wanted.kind.value, _RESULTS[type(outcome)]).inc()
        return outcome


_RESULTS = {probe.Passed: "successful", probe.Failed: "failed", probe.Unclear: "unknown"}


class _Containers:
    def __init__(self, inner: interfaces.Containers, measured: _Measured) -> None:
        self._inner = inner
        self._measured = measured
        self.prepare = inner.prepare
        self.stop = inner.stop
        self.execute = inner.execute
        self.forget = inner.forget
        self.room = inner.room
        self.life = inner.life
        self.facts = inner.facts

    async def start(self, spec: records.ContainerSpec, *, life: str = "") -> observed.Running:
        with self._measured.one():
            return await self._inner.start(spec, life=life)
