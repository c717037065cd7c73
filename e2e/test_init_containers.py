"""Init containers, sidecars and deadlines on a real cluster."""

from collections.abc import Callable
from typing import Any

from e2e import pods, watching
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]


def _init(name: str, image: str, *args: object, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": image, "args": [str(each) for each in args], **fields}


def _pod(
    image: str, *args: object, inits: list[dict[str, Any]], restart: str = "Never"
) -> dict[str, Any]:
    made = pods.pod("p", image, *args, restart=restart)
    made["spec"]["initContainers"] = inits
    return made


def _times(namespace: Namespace, container: str) -> list[str]:
    """Return when each line of a container was written."""
    log = namespace.kubectl("logs", "p", f"--container={container}", "--timestamps")
    return [line.partition(" ")[0] for line in log.splitlines()]


def _inits(pod: watching.Pod) -> dict[str, Any]:
    return {each["name"]: each for each in pod["status"].get("initContainerStatuses", ())}


def test_init_containers_run_one_after_the_other(namespace: Namespace, images: Images) -> None:
    """By the lines that they write, no two overlap; then the others begin."""
    count = images("count")
    inits = [_init("a", count, 50, 4), _init("b", count, 50, 4)]
    namespace.apply(_pod(count, 50, 4, inits=inits))
    pod = namespace.wait_over("p")
    written = [line for each in ("a", "b", "main") for line in _times(namespace, each)]
    conditions = {each["type"]: each["status"] for each in pod["status"]["conditions"]}
    waited = [
        pods.state(seen.pod, "waiting").get("reason")
        for seen in namespace.history("p")
        if _inits(seen.pod).get("b", {}).get("state", {}).get("running")
    ]

    assert len(written) == 12
    assert written == sorted(written)
    assert pod["status"]["phase"] == "Succeeded"
    assert conditions["Initialized"] == "True"
    assert all(each["ready"] for each in _inits(pod).values())
    assert set(waited) <= {"PodInitializing"}


def test_an_init_container_that_fails_ends_the_pod(namespace: Namespace, images: Images) -> None:
    """Under Never the pod has Failed, and the others have never begun."""
    namespace.apply(_pod(images("sleep"), inits=[_init("a", images("exit"), 7)]))
    pod = namespace.wait_over("p")

    assert pod["status"]["phase"] == "Failed"
    assert _inits(pod)["a"]["state"]["terminated"]["exitCode"] == 7
    assert pods.state(pod, "waiting")["reason"] == "PodInitializing"


def test_an_init_container_that_fails_is_tried_again(namespace: Namespace, images: Images) -> None:
    """Under Always it restarts with back-off, and the pod stays Pending."""
    inits = [_init("a", images("exit"), 7)]
    namespace.apply(_pod(images("sleep"), inits=inits, restart="Always"))

    def is_looping(seen: watching.Seen) -> bool:
        waiting = _inits(seen.pod).get("a", {}).get("state", {}).get("waiting", {})
        return bool(waiting.get("reason") == "CrashLoopBackOff")

    pod = namespace.wait("p", "a crash loop", is_looping).pod

    assert pod["status"]["phase"] == "Pending"
    assert _inits(pod)["a"]["restartCount"] >= 1


def test_a_job_with_a_sidecar_completes(namespace: Namespace, images: Images) -> None:
    """The sidecar runs before and beside the work, and does not delay it."""
    side = _init("side", images("count"), 20, restartPolicy="Always")
    spec = _pod(images("count"), 300, 3, inits=[side])["spec"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}}
    namespace.apply({**job, "spec": {"template": {"spec": spec}}})
    namespace.kubectl("wait", "--for=condition=complete", "job/work", "--timeout=30s")
    (pod,) = namespace.get("pods?labelSelector=job-name=work")["items"]
    log = {
        each: namespace.kubectl("logs", "job/work", f"--container={each}", "--timestamps")
        for each in ("side", "main")
    }
    side_at, main_at = ([line[:30] for line in log[each].splitlines()] for each in log)
    story = namespace.history(pod["metadata"]["name"])
    begun = [_inits(each.pod)["side"]["started"] for each in story if _has_begun(each.pod)]
    ended = _inits(pod)["side"]["state"]["terminated"]

    assert pod["status"]["phase"] == "Succeeded"
    assert len(main_at) == 3
    # NB: who speaks first of two that have begun is up to the machine.
    assert ended["startedAt"] <= pods.state(pod, "terminated")["startedAt"]
    assert all(begun)
    assert side_at[0] < main_at[-1] < side_at[-1]


def _has_begun(pod: watching.Pod) -> bool:
    return bool(pods.state(pod, "running"))


def test_a_deleted_pod_ends_its_sidecar_last(namespace: Namespace, images: Images) -> None:
    """Not before the others are, who use all of their time."""
    side = _init("side", images("spin"), restartPolicy="Always")
    pod = _pod(images("spin"), inits=[side])
    pod["spec"]["terminationGracePeriodSeconds"] = 3
    namespace.apply(pod)
    namespace.wait_running("p")
    namespace.kubectl("delete", "pod", "p", "--wait=false")
    last = namespace.wait_gone("p").pod
    ended = [pods.status(last), _inits(last)["side"]]
    main_at, side_at = (each["state"]["terminated"]["finishedAt"] for each in ended)

    assert last["metadata"]["deletionTimestamp"] <= main_at <= side_at


def test_a_pod_has_a_deadline(namespace: Namespace, images: Images) -> None:
    """Past activeDeadlineSeconds it has Failed, with the kubelet's words."""
    pod = pods.pod("p", images("spin"), restart="Always")
    pod["spec"] |= {"activeDeadlineSeconds": 2, "terminationGracePeriodSeconds": 1}
    waits = pods.pod("waits", "127.0.0.1:1/nothing:v1", restart="Always")
    waits["spec"]["activeDeadlineSeconds"] = 2
    namespace.apply(pod, waits)
    for name in ("p", "waits"):
        status = namespace.wait_over(name)["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
        assert status["message"] == "Pod was active on the node longer than the specified deadline"


def test_a_container_has_a_restart_policy_of_its_own(namespace: Namespace, images: Images) -> None:
    """One is started again for its exit code, in a pod that is Never."""
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    own: dict[str, Any] = {"restartPolicy": "Never", "restartPolicyRules": [rule]}
    namespace.apply(pods.pod("p", images("exit"), 42, **own), pods.pod("q", images("exit"), 42))
    wait_until(
        lambda: (pods.status(namespace.get("pods/p")) or {}).get("restartCount", 0) >= 1,
        "a restart",
        within_s=30,
    )
    other = namespace.wait_over("q")

    assert pods.status(other)["restartCount"] == 0


def _all(pod: watching.Pod) -> dict[str, Any]:
    status = pod["status"]
    told = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    return {each["name"]: each for each in told}


def test_an_exit_code_restarts_all_containers(namespace: Namespace, images: Images) -> None:
    """
    Init containers, too, in their order, and one that had ended well.

    The scheduler places such a pod only where a node declares that it can.
    """
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    own: dict[str, Any] = {"restartPolicy": "Never", "restartPolicyRules": [rule]}
    pod = pods.pod("p", images("exit"), 42, **own)
    side = _init("side", images("sleep"), restartPolicy="Always")
    pod["spec"]["initContainers"] = [_init("init", images("exit"), 0), side]
    pod["spec"]["containers"].append(_init("done", images("exit"), 0))
    namespace.apply(pod)

    def is_again(seen: watching.Seen) -> bool:
        known = _all(seen.pod)
        counts = [known[x]["restartCount"] for x in ("init", "side", "main") if x in known]
        return len(counts) == 3 and min(counts) == max(counts) >= 2

    again = namespace.wait("p", "two restarts of each", is_again, within_s=30).pod
    namespace.kubectl("delete", "pod", "p", "--wait=false")
    last = namespace.wait_gone("p").pod
    ends = {name: each["lastState"]["terminated"] for name, each in _all(again).items()}

    assert again["status"]["phase"] == "Running"
    assert [0, 42] == [ends[name]["exitCode"] for name in ("init", "main")]
    assert (137, "RestartingAllContainers") == (ends["side"]["exitCode"], ends["side"]["reason"])
    assert pods.condition(last, "AllContainersRestarting")["status"] == "False"
    namespace.wait_event("Killing", "killing")


def test_events_say_which_list_a_container_is_in(namespace: Namespace, images: Images) -> None:
    """As a kubelet's: by the field of the pod's spec."""
    namespace.apply(_pod(images("exit"), 0, inits=[_init("a", images("exit"), 0)]))
    namespace.wait_over("p")

    def started() -> list[str]:
        found = namespace.get("events?fieldSelector=reason=Started")["items"]
        return sorted(each["involvedObject"]["fieldPath"] for each in found)

    wanted = ["spec.containers{main}", "spec.initContainers{a}"]
    wait_until(lambda: started() == wanted, "both events", within_s=20)
