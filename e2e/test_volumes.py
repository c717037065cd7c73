"""emptyDir volumes on a real cluster: shared within a pod, gone with it."""

import contextlib
from collections.abc import Callable
from typing import Any

from e2e import pods
from e2e.cluster import api, wait_until
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

    def lines(pod: str) -> list[str]:
        """Read what its reader has said; it is begun anew all the time."""
        with contextlib.suppress(api.Refused):  # it has not begun yet
            return namespace.log(pod, container="reader").splitlines()
        return []

    def at_least(count: int, pod: str) -> list[str] | None:
        found = lines(pod)
        return found if len(found) >= count else None

    again = wait_until(lambda: at_least(2, "p"), "a second line", within_s=60)
    other = wait_until(lambda: at_least(1, "other"), "a first line", within_s=60)

    assert set(again) == {"p start"}
    assert other == ["other start"]


def test_nothing_is_left_of_a_volume(namespace: Namespace, images: Images) -> None:
    """With its pod a volume goes; the node has no file of it."""
    pod = pods.pod("p", images("ledger"), "it", restart="Always", **_mount())
    pod["spec"] |= _VOLUME
    namespace.apply(pod)
    uid = namespace.wait_running("p")["metadata"]["uid"]
    node = namespace.bed.node
    files = (node.state / "pods" / uid).rglob
    during = wait_until(
        lambda: [text for path in files("starts") if (text := path.read_text())],
        "its line",
        within_s=20,
    )
    namespace.kubectl("delete", "pod", "p", "--wait=false")
    namespace.wait_gone("p")

    def left() -> list[str]:
        found = [node.state / "pods" / uid, *(node.state / "trash").iterdir()]
        return [str(each) for each in found if each.exists()]

    wait_until(lambda: not left(), "an end of all files", within_s=20)
    assert during == ["it start\n"]


def _filled(images: Images, name: str, mib: int, size: str = "", **main: Any) -> dict[str, Any]:
    """Give a pod that writes so much to a volume of that size, and runs on."""
    made = pods.pod(name, images("fill"), mib, restart="Always", **_mount(), **main)
    limit = {"sizeLimit": size} if size else {}
    made["spec"] |= {"volumes": [{"name": "data", "emptyDir": limit}]}
    return made


def test_who_uses_more_than_its_limits_goes(namespace: Namespace, images: Images) -> None:
    """A volume's size, or what the pod may have in all; its neighbour stays."""
    limits: dict[str, Any] = {"resources": {"limits": {"ephemeral-storage": "2Mi"}}}
    namespace.apply(
        _filled(images, "within", 1, "2Mi", **limits),
        _filled(images, "volume", 3, "2Mi"),
        _filled(images, "pod", 3, **limits),
    )
    over = {name: namespace.wait_over(name) for name in ("volume", "pod")}
    namespace.wait_running("within")
    said = wait_until(lambda: namespace.log("within"), "its word", within_s=20)
    wait_until(lambda: len(namespace.events("Evicted")) == 2, "their events", within_s=30)

    expected = {
        "volume": 'Usage of EmptyDir volume "data" exceeds the limit "2Mi". ',
        "pod": "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ",
    }
    assert {name: each["status"]["message"] for name, each in over.items()} == expected
    for each in over.values():
        assert (each["status"]["phase"], each["status"]["reason"]) == ("Failed", "Evicted")
        assert pods.state(each, "terminated")["exitCode"] == 143
        assert not pods.condition(each, "DisruptionTarget")
    assert sorted(namespace.events("Evicted")) == sorted(expected.values())
    assert said == "done\n"
    assert pods.is_running(namespace.history("within")[-1])


def test_other_volumes_are_refused_by_name(namespace: Namespace, images: Images) -> None:
    """A hostPath waits, and the message names the field."""
    pod = pods.pod("p", images("sleep"), restart="Always", **_mount())
    pod["spec"]["volumes"] = [{"name": "data", "hostPath": {"path": "/"}}]
    namespace.apply(pod)
    waiting = pods.state(namespace.wait_waiting("p"), "waiting")

    assert waiting["reason"] == "UnsupportedPodSpec"
    assert "spec.volumes.hostPath" in waiting["message"]
