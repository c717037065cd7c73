"""What the API server lets be changed of a pod that runs."""

import json
from collections.abc import Callable
from typing import Any

from e2e import pods, watching
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]


def _has_restarted(seen: watching.Seen) -> bool:
    return bool(pods.status(seen.pod).get("restartCount") == 1 and pods.is_running(seen))


def test_another_image_is_another_attempt(namespace: Namespace, images: Images) -> None:
    """Under Never, too: ended, begun anew of the new image, and counted."""
    before, after = images("sleep"), images("count")
    pod = pods.pod("p", before)
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    namespace.apply(pod)
    was = pods.status(namespace.wait_running("p"))
    namespace.kubectl("set", "image", "pod/p", f"main={after}")
    status = pods.status(namespace.wait("p", "the other image", _has_restarted).pod)

    assert (was["image"], status["image"]) == (before, after)
    assert "guests/count@sha256:" in status["imageID"]
    assert status["lastState"]["terminated"]["containerID"] == was["containerID"]
    namespace.wait_event("Killing", "Container main definition changed, will be restarted")
    wait_until(lambda: namespace.log("p"), "a line of the other guest", within_s=20)
    phases = [seen.pod["status"]["phase"] for seen in namespace.history("p")]
    assert set(phases) <= {"Pending", "Running"}


def test_a_wrong_image_can_be_corrected(namespace: Namespace, images: Images) -> None:
    """Without a wait for the back-off of the image that was wrong."""
    namespace.apply(pods.pod("p", "127.0.0.1:1/nothing:v1"))
    namespace.wait_waiting("p")
    namespace.kubectl("set", "image", "pod/p", f"main={images('sleep')}")
    status = pods.status(namespace.wait_running("p"))

    assert (status["restartCount"], status["image"]) == (0, images("sleep"))


def test_a_deadline_can_be_brought_forward(namespace: Namespace, images: Images) -> None:
    """The new one counts from the pod's start, as the old one did."""
    pod = pods.pod("p", images("spin"), restart="Always")
    pod["spec"]["activeDeadlineSeconds"] = 600
    namespace.apply(pod)
    namespace.wait_running("p")
    change: dict[str, Any] = {"spec": {"activeDeadlineSeconds": 1}}
    namespace.kubectl("patch", "pod", "p", "--patch", json.dumps(change))
    status = namespace.wait_over("p")["status"]

    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
