"""What a taint does: the control plane evicts, the node takes no more pods."""

import signal
from collections.abc import Callable, Iterator

import pytest

from e2e import pods
from e2e.namespaces import Namespace

Images = Callable[[str], str]
_TAINT = "leaving=now:NoExecute"


@pytest.fixture
def tainted(breakable_namespace: Namespace) -> Iterator[Callable[[], object]]:
    """Give what taints the node, until the test ends."""
    node = breakable_namespace.bed.node.name
    yield lambda: breakable_namespace.kubectl("taint", "node", node, _TAINT)
    breakable_namespace.kubectl("taint", "node", node, f"{_TAINT}-")


def test_pods_that_do_not_tolerate_a_taint_leave(
    breakable_namespace: Namespace, images: Images, tainted: Callable[[], object]
) -> None:
    """With the reason that the taint manager gave, which nobody writes over."""
    stays = pods.pod("stays", images("spin"), restart="Always")
    stays["spec"]["tolerations"].append({"key": "leaving", "operator": "Exists"})
    breakable_namespace.apply(stays, pods.pod("leaves", images("spin"), restart="Always"))
    for name in ("stays", "leaves"):
        breakable_namespace.wait_running(name)
    tainted()
    last = breakable_namespace.wait_gone("leaves").pod

    why = pods.condition(last, "DisruptionTarget")
    assert (why["status"], why["reason"]) == ("True", "DeletionByTaintManager")
    assert (last["status"]["phase"], pods.state(last, "terminated")["exitCode"]) == ("Failed", 143)
    status = pods.status(breakable_namespace.get("pods/stays"))
    assert (status["ready"], status["restartCount"]) == (True, 0)


def test_pods_that_do_not_tolerate_a_taint_are_rejected(
    breakable_namespace: Namespace, images: Images
) -> None:
    """Also if nobody is there to delete them, as the taint manager would."""
    pod = pods.pod("p", images("sleep"), restart="Always")
    pod["spec"] |= {"nodeName": breakable_namespace.bed.node.name, "tolerations": []}
    manager = breakable_namespace.bed.plane.controller_manager
    manager.send(signal.SIGSTOP)
    try:
        breakable_namespace.apply(pod)
        status = breakable_namespace.wait_over("p")["status"]
    finally:
        manager.send(signal.SIGCONT)

    assert (status["phase"], status["reason"]) == ("Failed", "TaintToleration")
    assert status["message"] == (
        "Pod was rejected: Predicate TaintToleration failed: "
        "node(s) had taints that the pod didn't tolerate"
    )
