"""Jobs complete, fail and are retried by what their guests say."""

from collections.abc import Callable
from typing import Any

from e2e import pods
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]


def _job(name: str, spec: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": spec}, **settings},
    }


def _finished(namespace: Namespace, name: str, kind: str) -> dict[str, Any]:
    """Return the Job once it has a true condition of this kind."""
    path = f"/apis/batch/v1/namespaces/{namespace.name}/jobs/{name}"

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = namespace.bed.plane.admin.get(path)
        held = {each["type"] for each in job["status"].get("conditions", ())}
        return job if kind in held else None

    return wait_until(look, f"job {name} {kind}", within_s=40)


def test_a_job_completes(namespace: Namespace, images: Images) -> None:
    """Three completions, two at a time, are three pods that succeeded."""
    spec = pods.spec(images("count"), 10, 3, "work")
    namespace.apply(_job("three", spec, completions=3, parallelism=2))

    job = _finished(namespace, "three", "Complete")

    assert job["status"]["succeeded"] == 3
    logs = namespace.kubectl("logs", "job/three", "--all-pods=true").splitlines()
    assert [line.partition("] ")[2] for line in logs] == ["n 0 work", "n 1 work", "n 2 work"] * 3


def test_a_failing_job_is_retried_and_given_up(namespace: Namespace, images: Images) -> None:
    """With backoffLimit 1 two pods fail, and each shows the guest's code."""
    namespace.apply(_job("failing", pods.spec(images("exit"), 42), backoffLimit=1))

    job = _finished(namespace, "failing", "Failed")

    found = namespace.get("pods?labelSelector=job-name=failing")["items"]
    codes = [pods.state(each, "terminated")["exitCode"] for each in found]
    assert job["status"]["failed"] == 2
    assert job["status"]["conditions"][-1]["reason"] == "BackoffLimitExceeded"
    assert codes == [42, 42]


def test_a_job_can_tell_exit_codes_apart(namespace: Namespace, images: Images) -> None:
    """A podFailurePolicy on the guest's own exit code ends the Job at once."""
    rule = {
        "action": "FailJob",
        "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]},
    }
    namespace.apply(
        _job(
            "telling",
            pods.spec(images("exit"), 42),
            backoffLimit=5,
            podFailurePolicy={"rules": [rule]},
        )
    )

    job = _finished(namespace, "telling", "Failed")

    assert job["status"]["failed"] == 1
    assert job["status"]["conditions"][-1]["reason"] == "PodFailurePolicy"
