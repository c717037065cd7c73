"""emptyDir volumes on a real cluster: shared within a pod, gone with it."""

from collections.abc import Callable
from typing import Any

from e2e import pods
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]
_VOLUME: dict[str, Any] = {"volumes": [{"name": "data", "emptyDir": {}}]}


def _mount(**fields: Any) -> dict[str, Any]:
    return {"volumeMounts": [{"name": "data", "mountPath": "/data", **fields}]}


def _writer(images: Images, **fields: Any) -> dict[str, Any]:
    """Give a container that adds a line to /data/starts, and sleeps."""
    return {"name": "writer", "image": images("ledger"), "args": ["it"], **_mount(), **fields}


def test_containers_share_a_volume(namespace: Namespace, images: Images) -> None:
    """What a sidecar has written, the main container reads."""
    pod = pods.pod("p", images("readfile"), "/data/starts", **_mount(readOnly=True))
    pod["spec"] |= {**_VOLUME, "initContainers": [_writer(images, restartPolicy="Always")]}
    pod["spec"]["restartPolicy"] = "OnFailure"  # the line may not be there yet
    namespace.apply(pod)
    over = namespace.wait_over("p")

    assert over["status"]["phase"] == "Succeeded"
    assert namespace.kubectl("logs", "p", "--container=main") == "it start\n"


def test_a_volume_outlives_its_containers(namespace: Namespace, images: Images) -> None:
    """A restarted container finds what it has written; other pods do not."""
    liveness = {"tcpSocket": {"host": "127.0.0.1", "port": 1}, "periodSeconds": 1}
    fails = {"livenessProbe": {**liveness, "failureThreshold": 1}}
    for name in ("p", "other"):
        reader = {
            "name": "reader", "image": images("readfile"), "args": ["/data/starts"], **_mount(),
        }  # fmt: skip
        own = fails if name == "p" else {}
        pod = pods.pod(name, images("ledger"), name, restart="Always", **_mount(), **own)
        pod["spec"] |= _VOLUME
        pod["spec"]["containers"].append(reader)
        namespace.apply(pod)
    namespace.wait_running("other")

    def lines(pod: str) -> list[str]:
        return namespace.kubectl("logs", pod, "--container=reader").splitlines()

    wait_until(lambda: len(lines("p")) >= 2, "a second line", within_s=60)
    wait_until(lambda: lines("other"), "a first line", within_s=60)

    assert set(lines("p")) == {"p start"}
    assert lines("other") == ["other start"]


def test_nothing_is_left_of_a_volume(namespace: Namespace, images: Images) -> None:
    """With its pod a volume goes; the node has no file of it."""
    pod = pods.pod("p", images("ledger"), "it", restart="Always", **_mount())
    pod["spec"] |= _VOLUME
    namespace.apply(pod)
    uid = namespace.wait_running("p")["metadata"]["uid"]
    node = namespace.bed.node
    during = [path.read_text() for path in (node.state / "pods" / uid).rglob("starts")]
    namespace.kubectl("delete", "pod", "p", "--wait=false")
    namespace.wait_gone("p")

    def left() -> list[str]:
        found = [node.state / "pods" / uid, *(node.state / "trash").iterdir()]
        return [str(each) for each in found if each.exists()]

    wait_until(lambda: not left(), "an end of all files", within_s=20)
    assert during == ["it start\n"]


def test_other_volumes_are_refused_by_name(namespace: Namespace, images: Images) -> None:
    """A hostPath waits, and the message names the field."""
    pod = pods.pod("p", images("sleep"), restart="Always", **_mount())
    pod["spec"]["volumes"] = [{"name": "data", "hostPath": {"path": "/"}}]
    namespace.apply(pod)
    waiting = pods.state(namespace.wait_waiting("p"), "waiting")

    assert waiting["reason"] == "UnsupportedPodSpec"
    assert "spec.volumes.hostPath" in waiting["message"]
