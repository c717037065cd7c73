"""Stops: at once where a guest could not notice, with grace where it ends."""

import json
import time
from collections.abc import Callable

from e2e import pods, traces
from e2e.cluster import wait_until
from e2e.namespaces import Namespace
from wasm_node.protocol import journal

Images = Callable[[str], str]


def test_a_spinning_guest_has_no_grace(namespace: Namespace, images: Images) -> None:
    """A guest that never calls the host is ended all the same, and at once."""
    spinning = pods.pod("spin", images("spin"), restart="Always")
    spinning["spec"]["terminationGracePeriodSeconds"] = 600
    namespace.apply(spinning)
    namespace.wait_running("spin")

    namespace.kubectl("delete", "pod", "spin", "--wait=false")

    assert pods.state(namespace.wait_gone("spin").pod, "terminated")["exitCode"] == 143


def test_a_job_like_guest_may_finish(namespace: Namespace, images: Images) -> None:
    """A guest of a Never pod uses its grace, and its own ending is reported."""
    namespace.apply(pods.pod("finisher", images("sleep"), 2000))
    namespace.wait_running("finisher")

    namespace.kubectl("delete", "pod", "finisher", "--wait=false")
    last = namespace.wait_gone("finisher").pod

    ended = pods.state(last, "terminated")
    assert last["status"]["phase"] == "Succeeded"
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")


def test_grace_has_an_end(namespace: Namespace, images: Images) -> None:
    """A guest that does not end within two seconds is stopped with 143."""
    endless = pods.pod("endless", images("sleep"))
    endless["spec"]["terminationGracePeriodSeconds"] = 600
    namespace.apply(endless)
    namespace.wait_running("endless")

    asked = time.monotonic()
    path = f"/api/v1/namespaces/{namespace.name}/pods/endless"  # kubectl takes time itself
    namespace.bed.plane.admin.call("DELETE", path, {"gracePeriodSeconds": 1})
    gone = namespace.wait_gone("endless")

    ended = pods.state(gone.pod, "terminated")
    assert gone.at - asked > 2
    assert ended["exitCode"] == 143


def test_an_impatient_delete_shortens_the_grace(namespace: Namespace, images: Images) -> None:
    """A second delete with less grace does not wait for the first one's."""
    namespace.apply(pods.pod("slow", images("sleep")))
    namespace.wait_running("slow")
    namespace.kubectl("delete", "pod", "slow", "--grace-period=600", "--wait=false")

    namespace.kubectl("delete", "pod", "slow", "--grace-period=1", "--wait=false")

    assert pods.state(namespace.wait_gone("slow").pod, "terminated")["exitCode"] == 143


def test_a_pod_that_never_began_has_failed_in_the_end(namespace: Namespace) -> None:
    """What is said last is a terminal phase, and that no more is known."""
    namespace.apply(pods.pod("waits", "127.0.0.1:1/nothing:v1", restart="Always"))
    namespace.wait_waiting("waits")
    namespace.kubectl("delete", "pod", "waits", "--wait=false")
    last = namespace.wait_gone("waits").pod

    ended = pods.state(last, "terminated")
    assert last["status"]["phase"] == "Failed"
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")


def test_a_pod_that_somebody_else_failed_is_ended_and_told(
    namespace: Namespace, images: Images
) -> None:
    """As by pod GC: phase and reason stay; how it ended is written to them."""
    namespace.apply(pods.pod("failed", images("sleep"), restart="Always"))
    namespace.wait_running("failed")
    said = {"status": {"phase": "Failed", "reason": "Gone", "message": "by an operator"}}
    namespace.kubectl("patch", "pod", "failed", "--subresource=status", "-p", json.dumps(said))
    over = namespace.wait("failed", "its ending", lambda seen: pods.state(seen.pod, "terminated"))

    status, ended = over.pod["status"], pods.state(over.pod, "terminated")
    assert (ended["exitCode"], status["containerStatuses"][0]["restartCount"]) == (143, 0)
    assert (status["phase"], status["reason"]) == ("Failed", "Gone")
    assert status["message"] == "by an operator"
    assert pods.condition(over.pod, "Ready")["reason"] == "PodFailed"


def test_a_pod_that_somebody_else_failed_before_it_began(namespace: Namespace) -> None:
    """It waits for nothing any more; that no more is known of it is told."""
    namespace.apply(pods.pod("waits", "127.0.0.1:1/nothing:v1", restart="Always"))
    namespace.wait_waiting("waits")
    said = {"status": {"phase": "Failed", "reason": "Gone"}}
    namespace.kubectl("patch", "pod", "waits", "--subresource=status", "-p", json.dumps(said))
    over = namespace.wait("waits", "its ending", lambda seen: pods.state(seen.pod, "terminated"))

    ended = pods.state(over.pod, "terminated")
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
    assert (over.pod["status"]["phase"], over.pod["status"]["reason"]) == ("Failed", "Gone")


def test_a_forced_deletion_ends_the_guest_at_once(namespace: Namespace, images: Images) -> None:
    """Its object goes first; it has two seconds, and nothing of it is kept."""
    forced = pods.pod("forced", images("sleep"))
    forced["spec"]["terminationGracePeriodSeconds"] = 600
    namespace.apply(forced)
    uid = namespace.wait_running("forced")["metadata"]["uid"]
    node = namespace.bed.node
    kept = node.state / "pods" / uid
    told = (kept / "containers" / "main" / "0" / "worker.jsonl").read_bytes()
    pid = journal.Journal.parse(told).pid
    namespace.kubectl("delete", "pod", "forced", "--grace-period=0", "--force")

    wait_until(lambda: not traces.exists(pid), "an end of the worker", within_s=30)
    wait_until(lambda: not kept.exists(), "no records", within_s=20)
    assert list(node.logs.glob(f"{namespace.name}_forced_*")) == []
