"""`kubectl logs` with all its options, and only for who may read them."""

import http.client
import json
import ssl
import subprocess
from collections.abc import Callable

import pytest

from e2e import pods, watching
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]


@pytest.fixture
def counted(namespace: Namespace, images: Images) -> Namespace:
    """Give a namespace with a pod that has printed six numbers in 2.4 s."""
    namespace.apply(pods.pod("counted", images("count"), 400, 6))
    namespace.wait_over("counted")
    return namespace


def test_parts_of_a_log(counted: Namespace) -> None:
    """--tail, --since-time, --timestamps and --limit-bytes choose lines."""
    whole = counted.kubectl("logs", "counted", "--timestamps").splitlines()
    second = f"{whole[-1][:19]}Z"  # options know whole seconds only

    assert [line.partition(" ")[2] for line in whole] == [f"n {n}" for n in range(6)]
    assert counted.kubectl("logs", "counted", "--tail=2") == "n 4\nn 5\n"
    assert counted.kubectl("logs", "counted", "--limit-bytes=6") == "n 0\nn "
    since = counted.kubectl("logs", "counted", f"--since-time={second}", "--timestamps")
    assert since.splitlines() == [line for line in whole if line >= second[:-1]]
    assert counted.kubectl("logs", "counted", "--since=1h").count("\n") == 6


def test_a_log_is_followed_to_its_end(namespace: Namespace, images: Images) -> None:
    """-f shows lines while they are written and ends with the container."""
    pod = pods.pod("live", images("count"), 100)
    pod["spec"] |= {"activeDeadlineSeconds": 600, "terminationGracePeriodSeconds": 1}
    namespace.apply(pod)
    namespace.wait_running("live")

    with _following(namespace, "live") as follower:
        assert follower.stdout is not None
        first = follower.stdout.readline()  # it would count on, were it not for this:
        sooner = {"spec": {"activeDeadlineSeconds": 1}}
        namespace.kubectl("patch", "pod", "live", "-p", json.dumps(sooner))
        rest = follower.stdout.read()

    said = first + rest
    assert said.splitlines() == [f"n {n}" for n in range(said.count("\n"))]
    assert said == namespace.log("live")
    assert follower.returncode == 0


def test_following_ends_when_the_pod_is_deleted(namespace: Namespace, images: Images) -> None:
    """-f of a pod that counts for ever ends by the pod's deletion."""
    namespace.apply(pods.pod("endless", images("count"), 50, restart="Always"))
    namespace.wait_running("endless")

    with _following(namespace, "endless") as follower:
        assert follower.stdout is not None
        first = follower.stdout.readline()
        namespace.kubectl("delete", "pod", "endless", "--wait=false")
        rest = follower.stdout.read()

    lines = (first + rest).splitlines()
    assert lines == [f"n {n}" for n in range(len(lines))]


def _following(namespace: Namespace, pod: str) -> "subprocess.Popen[str]":
    plane = namespace.bed.plane
    words = [str(plane.commands / "kubectl"), "logs", "-f", pod, f"-n={namespace.name}"]
    return subprocess.Popen(words, env=plane.environment, stdout=subprocess.PIPE, text=True)


def test_the_previous_attempt_has_its_own_log(namespace: Namespace, images: Images) -> None:
    """After a restart, --previous shows what the attempt before wrote."""
    namespace.apply(pods.pod("again", images("count"), 2000, 2, restart="Always"))
    namespace.wait("again", "the second attempt", _runs_again)

    previous = namespace.kubectl("logs", "again", "--previous", "--timestamps").splitlines()
    current = wait_until(
        lambda: namespace.log("again", timestamps="true"), "a line", within_s=20
    ).splitlines()

    assert [line.partition(" ")[2] for line in previous] == ["n 0", "n 1"]
    assert current[0] > previous[-1]


def _runs_again(seen: watching.Seen) -> bool:
    return pods.is_running(seen) and pods.status(seen.pod)["restartCount"] == 1


def test_a_log_that_is_not_there_is_said_in_the_kubelets_words(
    namespace: Namespace, images: Images
) -> None:
    """A waiting container and a first attempt have no log to show yet."""
    env_from = [{"configMapRef": {"name": "none"}}]
    namespace.apply(
        pods.pod("waiting", images("env"), envFrom=env_from),
        pods.pod("first", images("sleep"), restart="Always"),
    )
    namespace.wait_waiting("waiting")
    namespace.wait_running("first")

    assert 'container "main" in pod "waiting" is waiting to start' in _refusal(namespace, "waiting")
    assert 'previous terminated container "main" in pod "first" not found' in _refusal(
        namespace, "first", "--previous"
    )


def _refusal(namespace: Namespace, *words: str) -> str:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        namespace.kubectl("logs", *words)
    return str(failed.value.stderr)


def test_logs_are_for_who_may_read_them(counted: Namespace) -> None:
    """The kubelet API asks the cluster who may: 401, 403, and 200."""
    uid = counted.bed.plane.admin.get(f"/api/v1/namespaces/{counted.name}")["metadata"]["uid"]
    counted.kubectl("create", "serviceaccount", "reader")
    token = counted.kubectl("create", "token", "reader").strip()

    assert _ask_node(counted, None)[0] == 401
    assert _ask_node(counted, token)[0] == 403
    counted.kubectl(
        *(
            "create",
            "clusterrolebinding",
            f"reader-{uid}",
            "--clusterrole=system:kubelet-api-admin",
        ),
        f"--serviceaccount={counted.name}:reader",
    )
    try:
        other = counted.kubectl("create", "token", "reader").strip()
        wait_until(
            lambda: _ask_node(counted, other) == (200, "n 5\n"), "the right to read", within_s=40
        )
    finally:
        counted.kubectl("delete", "clusterrolebinding", f"reader-{uid}")


def test_the_api_server_keeps_strangers_from_the_node(counted: Namespace) -> None:
    """A user without rights is refused on the way through nodes/proxy."""
    counted.kubectl("create", "serviceaccount", "stranger")
    token = counted.kubectl("create", "token", "stranger").strip()
    path = f"/api/v1/nodes/wasm-a/proxy/containerLogs/{counted.name}/counted/main"

    with pytest.raises(subprocess.CalledProcessError) as failed:
        counted.kubectl("get", "--raw", path, f"--token={token}", "--kubeconfig=/dev/null",
                        f"--server={counted.bed.plane.server}",
                        f"--certificate-authority={counted.bed.plane.ca}")  # fmt: skip

    assert "Forbidden" in failed.value.stderr


def _ask_node(namespace: Namespace, token: str | None) -> tuple[int, str]:
    """Ask the node's kubelet API itself for the last line of a log."""
    plane, node = namespace.bed.plane, namespace.bed.node
    ports = plane.admin.get(f"/api/v1/nodes/{node.name}")["status"]["daemonEndpoints"]
    tls = ssl.create_default_context(cafile=str(plane.ca))
    port = ports["kubeletEndpoint"]["Port"]
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=tls)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        path = f"/containerLogs/{namespace.name}/counted/main?tailLines=1"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
