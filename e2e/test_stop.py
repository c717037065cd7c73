"""Stops: at once where a guest could not notice, with grace where it ends."""

import time
from collections.abc import Callable

from e2e import pods
from e2e.namespaces import Namespace

Images = Callable[[str], str]


def test_a_spinning_guest_is_gone_within_two_seconds(namespace: Namespace, images: Images) -> None:
    """A guest that never calls the host is ended all the same, and at once."""
    namespace.apply(pods.pod("spin", images("spin"), restart="Always"))
    namespace.wait_running("spin")

    namespace.kubectl("delete", "pod", "spin", "--wait=false")
    asked = namespace.wait("spin", "the deletion", pods.is_deleting)
    gone = namespace.wait_gone("spin")

    assert gone.at - asked.at < 2


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
    """A guest that does not end within its grace is stopped with 143."""
    namespace.apply(pods.pod("endless", images("sleep")))
    namespace.wait_running("endless")

    namespace.kubectl("delete", "pod", "endless", "--grace-period=1", "--wait=false")
    asked = namespace.wait("endless", "the deletion", pods.is_deleting)
    gone = namespace.wait_gone("endless")

    ended = pods.state(gone.pod, "terminated")
    assert 0.9 < gone.at - asked.at < 4  # the watcher may have heard a little late
    assert ended["exitCode"] == 143


def test_an_impatient_delete_shortens_the_grace(namespace: Namespace, images: Images) -> None:
    """A second delete with less grace does not wait for the first one's."""
    namespace.apply(pods.pod("slow", images("sleep")))
    namespace.wait_running("slow")
    namespace.kubectl("delete", "pod", "slow", "--grace-period=60", "--wait=false")

    asked = time.monotonic()
    namespace.kubectl("delete", "pod", "slow", "--grace-period=1", "--wait=false")

    assert namespace.wait_gone("slow").at - asked < 4
