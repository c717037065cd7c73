"""Whatever is killed, no pod is lost, run twice, or left behind."""

import functools
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import pods, watching
from e2e.cluster import api, processes, wait_until
from e2e.namespaces import Bed, Namespace

Images = Callable[[str], str]

_PODS = 20
_OUTAGE_S = 20


@pytest.fixture
def counting(breakable_namespace: Namespace, images: Images) -> Namespace:
    """Give a namespace with twenty pods that count, ten numbers a second."""
    names = [f"count-{number}" for number in range(_PODS)]
    breakable_namespace.apply(
        *(pods.pod(name, images("count"), 100, 0, name, restart="Always") for name in names)
    )
    for name in names:
        breakable_namespace.wait_running(name)
    return breakable_namespace


@pytest.fixture
def workers(breakable: Bed, counting: Namespace) -> Iterator[set[int]]:
    """Give the pids of the pods' workers, which have to be the same after."""
    before = processes.workers(_PODS, breakable.node)
    yield before
    assert breakable.node.processes("wasm:") == before
    assert _restarts(counting) == {f"count-{number}": 0 for number in range(_PODS)}
    for number in range(_PODS):
        numbers = _numbers(counting, f"count-{number}")
        assert numbers == list(range(len(numbers)))


def _restarts(namespace: Namespace) -> dict[str, int]:
    return {
        each["metadata"]["name"]: pods.status(each)["restartCount"]
        for each in namespace.get("pods")["items"]
        if each["metadata"]["name"].startswith("count-")
    }


def _numbers(namespace: Namespace, name: str) -> list[int]:
    """Return the numbers in a pod's log; each line names its own pod."""
    lines = namespace.log(name).splitlines()
    matches = [re.fullmatch(rf"n (\d+) {name}", line) for line in lines]
    return [int(match[1]) for match in matches if match]


def _counts_on(namespace: Namespace, more: int) -> None:
    """Return once the last pod's file has so many more numbers, API or not."""
    (file,) = namespace.bed.node.logs.glob(f"{namespace.name}_count-{_PODS - 1}_*/main/0.log")
    wanted = _lines(file) + more
    wait_until(lambda: _lines(file) >= wanted, f"{more} more numbers", within_s=30 + more / 5)


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n")


def _new_pod_runs(namespace: Namespace, images: Images, name: str) -> None:
    """Show that the node takes new work: a pod from nothing to its end."""
    pod = pods.pod(name, images("echo"), name)
    pod["spec"]["nodeName"] = namespace.bed.node.name  # the scheduler may still be away
    namespace.apply(pod)
    namespace.wait_over(name)
    assert namespace.log(name) == f"{name}\n"


@pytest.mark.usefixtures("workers")
def test_a_killed_agent_changes_nothing_for_pods(
    breakable: Bed, counting: Namespace, images: Images
) -> None:
    """Under kill -9 of the agent twenty pods count on, and are adopted."""
    breakable.node.agent.kill()
    _counts_on(counting, 10)
    breakable.node.start_agent()

    _new_pod_runs(counting, images, "after-agent")


@pytest.mark.usefixtures("workers")
def test_an_agent_told_to_end_leaves_pods_running(
    breakable: Bed, counting: Namespace, images: Images
) -> None:
    """SIGTERM ends the agent and nothing else."""
    breakable.node.agent.terminate()
    _counts_on(counting, 10)
    breakable.node.start_agent()

    _new_pod_runs(counting, images, "after-term")


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("service", ["supervisor", "fork server"])
def test_a_killed_part_of_the_runtime_costs_no_pod(
    breakable: Bed, counting: Namespace, images: Images, service: str
) -> None:
    """Under kill -9 of supervisor or fork server pods run on, new ones too."""
    os.kill(breakable.node.service(service), signal.SIGKILL)

    _new_pod_runs(counting, images, f"after-{service.replace(' ', '-')}")


@pytest.mark.parametrize("victim", ["agent", "supervisor", "fork server"])
def test_a_burst_survives_a_kill_in_its_midst(
    breakable: Bed, breakable_namespace: Namespace, images: Images, victim: str
) -> None:
    """Of forty pods that begin meanwhile each runs, and none runs twice."""
    node, namespace = breakable.node, breakable_namespace
    names = [f"burst-{number}" for number in range(2 * _PODS)]

    def create(some: list[str]) -> None:  # kubectl would take longer than they run
        for name in some:
            pod = pods.pod(name, images("count"), 300, 2, name)
            path = f"/api/v1/namespaces/{namespace.name}/pods"
            breakable.plane.admin.call("POST", path, pod)

    create(names[:_PODS])
    wait_until(lambda: node.processes("wasm:"), "the first worker", within_s=20)
    if victim == "agent":
        node.agent.kill()
        create(names[_PODS:])
        node.start_agent()
    else:
        os.kill(node.service(victim), signal.SIGKILL)
        create(names[_PODS:])

    ended = {name: namespace.wait_over(name) for name in names}
    failed = {each: pod for each, pod in ended.items() if pod["status"]["phase"] != "Succeeded"}
    assert [(each, pods.status(pod)["state"]) for each, pod in failed.items()] == []
    assert {pods.status(pod)["restartCount"] for pod in ended.values()} == {0}
    assert {name: namespace.log(name) for name in names} == {
        name: f"n 0 {name}\nn 1 {name}\n" for name in names
    }


def test_a_killed_worker_is_told_and_restarted(
    breakable: Bed, breakable_namespace: Namespace, images: Images
) -> None:
    """Under kill -9 of a worker its pod says so and has one more attempt."""
    before = breakable.node.processes("wasm:")
    breakable_namespace.apply(pods.pod("victim", images("sleep"), restart="Always"))
    breakable_namespace.wait_running("victim")
    (pid,) = breakable.node.processes("wasm:") - before

    os.kill(pid, signal.SIGKILL)

    seen = breakable_namespace.wait(
        "victim", "a restart", lambda seen: pods.status(seen.pod).get("restartCount") == 1
    )
    ended = pods.status(seen.pod)["lastState"]["terminated"]
    assert ended["exitCode"] == 137
    assert "SIGKILL" in ended["message"]


@pytest.mark.parametrize("victim", ["agent", "supervisor", "runtime"])
def test_a_restart_of_all_survives_a_kill_in_its_midst(
    breakable: Bed, breakable_namespace: Namespace, images: Images, victim: str
) -> None:
    """While the others end: each begins once more, and none twice."""
    node, namespace = breakable.node, breakable_namespace
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [137]}}
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    own: dict[str, Any] = {"restartPolicy": "Never", "restartPolicyRules": [rule], **mount}
    pod = pods.pod("p", images("ledger"), "main", **own)
    guests = {"init": images("note"), "side": images("ledger"), "work": images("ledger")}
    init, side, work = (
        {"name": name, "image": image, "args": [name], **mount} for name, image in guests.items()
    )
    side["restartPolicy"] = "Always"
    pod["spec"] |= {"volumes": [{"name": "data", "emptyDir": {}}], "initContainers": [init, side]}
    pod["spec"]["containers"].append(work)
    before = node.processes("wasm:main")
    namespace.apply(pod)
    uid = namespace.wait("p", "a ready pod", pods.is_ready).pod["metadata"]["uid"]
    noted = node.state / "pods" / uid / "pod.json"
    volume = noted.parent / "volumes" / "data"
    starts = volume / "starts"  # written a moment after they run
    wait_until(lambda: starts.exists() and _lines(starts) == 3, "their words", within_s=20)

    (main,) = node.processes("wasm:main") - before
    os.kill(main, signal.SIGKILL)
    # Work has two seconds to end from then on: the API may be slower to say so.
    wait_until(lambda: _is_reset(noted), "a note that all restart", within_s=20)
    if victim == "agent":
        node.agent.kill()
        node.start_agent()
    elif victim == "supervisor":
        os.kill(node.service(victim), signal.SIGKILL)
    else:
        node.runtime.kill()
        node.start_runtime()

    def is_back(seen: watching.Seen) -> bool:
        return pods.is_ready(seen) and pods.status(seen.pod)["restartCount"] > 0

    status = namespace.wait("p", "its restart", is_back).pod["status"]
    counts = {
        each["name"]: each["restartCount"]
        for each in status["initContainerStatuses"] + status["containerStatuses"]
    }
    wait_until(lambda: _lines(starts) >= 6, "their words again", within_s=20)
    assert counts == dict.fromkeys(("init", "side", "main", "work"), 1)
    assert (volume / "notes").read_text() == "init\n" * 2
    assert sorted(starts.read_text().splitlines()) == sorted(
        f"{name} start" for name in ("side", "main", "work") for _ in range(2)
    )


def _is_reset(noted: Path) -> bool:
    kept = json.loads(noted.read_text())["containers"]
    return any(each["resets"] for each in kept.values())


@pytest.mark.usefixtures("workers")
def test_a_deleted_node_comes_back(breakable: Bed, counting: Namespace, images: Images) -> None:
    """A Node object that somebody deletes is made again; its pods run on."""
    path = f"/api/v1/nodes/{breakable.node.name}"
    uid = breakable.plane.admin.get(path)["metadata"]["uid"]
    breakable.plane.kubectl("delete", "node", breakable.node.name)

    def is_back() -> bool:
        try:
            return bool(breakable.plane.admin.get(path)["metadata"]["uid"] != uid)
        except api.Refused:
            return False

    wait_until(is_back, "a new Node", within_s=30)
    breakable.node.wait_ready()
    _new_pod_runs(counting, images, "after-node")


def test_what_others_set_outlives_the_agent(breakable: Bed) -> None:
    """Labels, annotations and conditions of others stay as they were."""
    name = breakable.node.name
    path = f"/api/v1/nodes/{name}"
    breakable.plane.kubectl("label", "node", name, "example.com/rack=r1")
    breakable.plane.kubectl("annotate", "node", name, "example.com/note=kept")
    theirs = {"type": "NetworkUnavailable", "status": "False", "reason": "Theirs"}
    breakable.plane.admin.call(
        "PATCH",
        f"{path}/status",
        {"status": {"conditions": [theirs]}},
        content_type=api.STRATEGIC_MERGE_PATCH,
    )

    breakable.node.agent.kill()
    before = _heartbeat(breakable)
    breakable.node.start_agent()
    wait_until(lambda: _heartbeat(breakable) > before, "a new report", within_s=30)

    node = breakable.plane.admin.get(path)
    conditions = {each["type"]: each["reason"] for each in node["status"]["conditions"]}
    assert node["metadata"]["labels"]["example.com/rack"] == "r1"
    assert node["metadata"]["annotations"]["example.com/note"] == "kept"
    assert conditions["NetworkUnavailable"] == "Theirs"


def _heartbeat(bed: Bed) -> str:
    """Return when the node last reported whether it is ready."""
    return _ready(bed)["lastHeartbeatTime"]


def _ready(bed: Bed) -> dict[str, str]:
    """Return the node's condition Ready."""
    return pods.condition(bed.plane.admin.get(f"/api/v1/nodes/{bed.node.name}"), "Ready")


def test_pods_that_vanished_meanwhile_are_ended(
    breakable: Bed, breakable_namespace: Namespace, images: Images
) -> None:
    """What was force-deleted while the agent was down is gone after it."""
    node = breakable.node
    breakable_namespace.apply(pods.pod("vanishing", images("sleep"), restart="Always"))
    uid = breakable_namespace.wait_running("vanishing")["metadata"]["uid"]
    before = processes.workers(1, node)

    node.agent.kill()
    breakable_namespace.kubectl("delete", "pod", "vanishing", "--force", "--grace-period=0")
    still = node.processes("wasm:")
    node.start_agent()

    wait_until(lambda: not node.processes("wasm:"), "the worker gone", within_s=20)
    wait_until(lambda: not (node.state / "pods" / uid).exists(), "no records", within_s=10)
    assert still == before


def test_the_runtime_told_to_end_ends_its_pods(
    breakable: Bed, breakable_namespace: Namespace, images: Images
) -> None:
    """SIGTERM to the runtime ends what runs; its successor starts it anew."""
    node = breakable.node
    pod = pods.pod("survivor", images("sleep"), restart="Always")
    pod["spec"]["terminationGracePeriodSeconds"] = 600
    breakable_namespace.apply(pod)
    breakable_namespace.wait_running("survivor")
    workers = processes.workers(1, node)

    node.runtime.terminate(within_s=30)  # of a grace of ten minutes: it could not notice
    left = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    node.start_runtime()

    seen = breakable_namespace.wait(
        "survivor", "a restart", lambda seen: pods.status(seen.pod).get("restartCount") == 1
    )
    assert left == []
    assert pods.status(seen.pod)["lastState"]["terminated"]["exitCode"] == 143


@pytest.mark.parametrize("restart", ["Always", "OnFailure"])
def test_a_pod_whose_runtime_was_killed_begins_anew(
    breakable: Bed, breakable_namespace: Namespace, images: Images, restart: str
) -> None:
    """By the lines that are written, init containers and sidecar are first."""
    image = images("count")
    pod = pods.pod("anew", image, 50, restart=restart)
    sidecar = {"name": "side", "image": image, "args": ["50"], "restartPolicy": "Always"}
    first, second = ({"name": x, "image": image, "args": ["50", "4"]} for x in ("one", "two"))
    pod["spec"]["initContainers"] = [first, sidecar, second]
    breakable_namespace.apply(pod)
    breakable_namespace.wait_running("anew")

    breakable.node.runtime.kill()
    breakable.node.start_runtime()

    def is_again(seen: watching.Seen) -> bool:
        return pods.status(seen.pod).get("restartCount") == 1 and pods.is_running(seen)

    after = breakable_namespace.wait("anew", "a restart", is_again).pod
    one, side, two, main = (
        wait_until(
            functools.partial(_times, breakable_namespace, "anew", each), "its line", within_s=20
        )
        for each in ("one", "side", "two", "main")
    )
    in_order = [*one, *two, main[0]]
    inits = after["status"]["initContainerStatuses"]
    assert (len(one), len(two)) == (4, 4)
    assert in_order == sorted(in_order)
    assert one[-1] < side[0] < main[0]
    assert [each["restartCount"] for each in inits] == [1, 1, 1]
    assert after["status"]["phase"] == "Running"


def _times(namespace: Namespace, pod: str, container: str) -> list[str]:
    """Return when each line of a container's newest attempt was written."""
    log = namespace.log(pod, container=container, timestamps="true")
    return [line.partition(" ")[0] for line in log.splitlines()]


@pytest.mark.usefixtures("workers")
def test_a_runtime_that_is_away_is_told_of_the_node(
    breakable: Bed, counting: Namespace, images: Images
) -> None:
    """Not Ready, with the reason, until it is back; its pods count on."""
    node = breakable.node
    supervisor = node.service("supervisor")
    node.runtime.send(signal.SIGSTOP)  # so that init starts no other
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not breakable.plane.node_is_ready(node.name), "no Ready", within_s=20)
    described = breakable.plane.kubectl("describe", "node", node.name)
    node.runtime.send(signal.SIGCONT)

    node.wait_ready()
    (ready,) = re.findall(r"^ +Ready +False .*$", described, re.MULTILINE)
    assert "cannot reach the runtime" in ready
    assert "`wasm-node runtime`" in ready
    _new_pod_runs(counting, images, "after-runtime")


def test_a_short_absence_of_the_runtime_is_not_told(breakable: Bed, counting: Namespace) -> None:
    """Nor is a new agent: neither takes the Node's readiness away."""
    node = breakable.node
    since = _ready(breakable)["lastTransitionTime"]
    os.kill(node.service("supervisor"), signal.SIGKILL)
    node.agent.kill()
    heard = _heartbeat(breakable)
    node.start_agent()
    wait_until(lambda: _heartbeat(breakable) > heard, "a new report", within_s=30)

    assert (since, "True") == (_ready(breakable)["lastTransitionTime"], _ready(breakable)["status"])


def test_a_node_called_unknown_says_better(breakable: Bed) -> None:
    """After a partition controllers call it Unknown; the next look corrects."""
    breakable.plane.admin.call(
        "PATCH",
        f"/api/v1/nodes/{breakable.node.name}/status",
        {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        content_type=api.STRATEGIC_MERGE_PATCH,
    )

    wait_until(lambda: _ready(breakable)["status"] == "True", "Ready again", within_s=20)


def test_readiness_denied_by_others_is_restored(
    breakable: Bed, breakable_namespace: Namespace, images: Images
) -> None:
    """After a partition the controllers hold pods unready; the node knows."""
    breakable_namespace.apply(pods.pod("denied", images("sleep"), restart="Always"))
    first = breakable_namespace.wait("denied", "readiness", lambda seen: _says(seen, "True"))
    breakable.plane.admin.call(
        "PATCH",
        f"/api/v1/namespaces/{breakable_namespace.name}/pods/denied/status",
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
        content_type=api.STRATEGIC_MERGE_PATCH,
    )
    denied = breakable_namespace.wait(
        "denied", "its loss", lambda seen: seen.at > first.at and _says(seen, "False")
    )

    breakable_namespace.wait(
        "denied", "it again", lambda seen: seen.at > denied.at and _says(seen, "True")
    )


def _says(seen: watching.Seen, status: str) -> bool:
    return bool(pods.condition(seen.pod, "Ready").get("status") == status)


@pytest.mark.usefixtures("workers")
def test_an_absent_api_server_restarts_nothing(
    breakable: Bed, counting: Namespace, images: Images
) -> None:
    """Twenty seconds without API server: pods run on, statuses catch up."""
    counting.apply(pods.pod("ends-meanwhile", images("sleep"), 5000))
    counting.wait_running("ends-meanwhile")

    breakable.plane.stop_apiserver()
    stopped = time.monotonic()
    _counts_on(counting, _OUTAGE_S * 10 + 10)  # it counts ten a second
    absent_s = time.monotonic() - stopped
    breakable.plane.start_apiserver()

    pod = counting.wait_over("ends-meanwhile")
    assert absent_s >= _OUTAGE_S
    assert pods.state(pod, "terminated")["exitCode"] == 0
    _new_pod_runs(counting, images, "after-outage")
