"""A Deployment lives on a wasm node as on any other."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import pytest

from e2e import pods, watching
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]


@pytest.fixture
def ticker(namespace: Namespace, images: Images) -> Namespace:
    """Give a namespace with a Deployment of three that is available."""
    spec = pods.spec(images("count"), 200, restart="Always")
    spec["terminationGracePeriodSeconds"] = 600  # that nobody waits for
    namespace.apply(pods.workload("Deployment", "ticker", spec, replicas=3))
    namespace.kubectl("rollout", "status", "deployment/ticker", "--timeout=30s")
    return namespace


def _names(namespace: Namespace) -> set[str]:
    """Return the names of the pods that are not being deleted."""
    found = namespace.get("pods?labelSelector=app=ticker")["items"]
    return {
        each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]
    }


def _has(namespace: Namespace, replicas: int) -> bool:
    return len(_names(namespace)) == replicas == _ready(namespace)


def _ready(namespace: Namespace) -> int:
    return int(
        namespace.kubectl("get", "deployment/ticker", "-o=jsonpath={.status.readyReplicas}") or 0
    )


def test_a_deployment_scales(ticker: Namespace) -> None:
    """It goes from three replicas to five and to one."""
    for replicas in (5, 1):
        ticker.kubectl("scale", "deployment/ticker", f"--replicas={replicas}")
        settled = functools.partial(_has, ticker, replicas)
        wait_until(settled, f"{replicas} replicas", within_s=30)


def test_a_rollout_replaces_every_pod(ticker: Namespace) -> None:
    """Rollout restart makes new pods and removes the old ones."""
    before = _names(ticker)

    ticker.kubectl("rollout", "restart", "deployment/ticker")
    ticker.kubectl("rollout", "status", "deployment/ticker", "--timeout=30s")

    for name in before:
        ticker.wait_gone(name)
    assert len(_names(ticker)) == 3
    assert _names(ticker).isdisjoint(before)


def test_a_deleted_deployment_takes_its_pods_along(ticker: Namespace) -> None:
    """Delete removes the pods, and they end without using their grace."""
    before = _names(ticker)

    ticker.kubectl("delete", "deployment/ticker")

    for name in before:
        ticker.wait_gone(name)


def test_cordon_keeps_pods_away(ticker: Namespace) -> None:
    """On a cordoned node what runs goes on, and nothing new is scheduled."""
    before = _names(ticker)
    with _cordoned(ticker):
        ticker.kubectl("scale", "deployment/ticker", "--replicas=4")
        wait_until(lambda: len(_names(ticker)) == 4, "a fourth pod", within_s=30)
        (fourth,) = _names(ticker) - before
        ticker.wait(fourth, "a refusal by the scheduler", _is_unschedulable)

        assert _ready(ticker) == 3
    ticker.wait_running(fourth)


def test_drain_evicts_pods(ticker: Namespace) -> None:
    """Drain ends the pods; their successors wait until uncordon."""
    before = _names(ticker)
    node = ticker.bed.node.name
    with _cordoned(ticker):
        ticker.kubectl("drain", node, "--pod-selector=app=ticker", "--timeout=30s")
        for name in before:
            ticker.wait_gone(name)
        wait_until(lambda: len(_names(ticker)) == 3, "successors", within_s=30)
        # The Deployment counts its pods later than they come and go.
        wait_until(lambda: _ready(ticker) == 0, "none being ready", within_s=30)

        assert _names(ticker).isdisjoint(before)
    wait_until(lambda: _ready(ticker) == 3, "three ready again", within_s=30)


def _is_unschedulable(seen: watching.Seen) -> bool:
    conditions = seen.pod["status"].get("conditions", ())
    return any(each.get("reason") == "Unschedulable" for each in conditions)


@contextlib.contextmanager
def _cordoned(namespace: Namespace) -> Iterator[None]:
    node = namespace.bed.node.name
    namespace.kubectl("cordon", node)
    try:
        yield
    finally:
        namespace.kubectl("uncordon", node)
