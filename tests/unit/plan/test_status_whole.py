"""Whole statuses, to the word; the golden cases look at a part each."""

import json
from typing import Any

import pytest

from wasm_node.agent.model import desired, observed, parsing
from wasm_node.agent.plan import status
from wasm_node.protocol import records

NOW = 1_800_000_000.0
TIME, EARLIER, LATER = "2027-01-15T08:00:00Z", "2027-01-15T07:59:00Z", "2027-01-15T07:59:30Z"
HOST, POD = "10.0.0.1", "10.0.0.2"


def _pod(restart: str = "Always", **spec: Any) -> desired.DesiredPod:
    return parsing.pod(
        {
            "metadata": {"name": "p", "uid": "u", "generation": 3},
            "spec": {
                "containers": [{"name": "main", "image": "x"}],
                "restartPolicy": restart,
                **spec,
            },
        }
    )


def _ended(code: int, *, ran_s: float = 20.0) -> observed.Ended:
    began = int((NOW - 30) * 1e9)
    record = records.ExitRecord(
        code, records.EndedBy.ITSELF, "Error", "why", began, began + int(ran_s * 1e9)
    )
    return observed.Ended(records.AttemptId("u", "main", 2), record)


RUNNING = observed.Running(records.AttemptId("u", "main", 2), 7, NOW - 30)


def _status(
    pod: desired.DesiredPod,
    main: observed.ObservedContainer,
    *,
    addresses: status.Addresses = status.Addresses(HOST, POD),  # noqa: B008  # frozen
    **seen: Any,
) -> dict[str, Any]:
    observed_pod = observed.ObservedPod(NOW - 60, {"main": main}, **seen)
    made = status.status(pod, observed_pod, addresses, previous=(), now=NOW).to_builtins()
    written: dict[str, Any] = json.loads(json.dumps(made))
    return written


def _condition(kind: str, value: str, **more: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": value,
        "lastTransitionTime": TIME,
        "observedGeneration": 3,
        **more,
    }


def test_all_of_a_running_pod() -> None:
    """Fields and conditions are a kubelet's: GeneratePodReadyCondition etc."""
    made = observed.Made("x", "r/x@sha256:1")
    main = observed.ObservedContainer(current=RUNNING, made_of={2: made})

    assert _status(_pod(), main) == {
        "phase": "Running",
        "observedGeneration": 3,
        "startTime": EARLIER,
        "hostIP": HOST,
        "hostIPs": [{"ip": HOST}],
        "podIP": POD,
        "podIPs": [{"ip": POD}],
        "qosClass": "BestEffort",
        "conditions": [
            _condition("PodReadyToStartContainers", "True"),
            _condition("Initialized", "True"),
            _condition("Ready", "True"),
            _condition("ContainersReady", "True"),
            _condition("PodScheduled", "True"),
        ],
        "containerStatuses": [
            {
                "name": "main",
                "image": "x",
                "imageID": "r/x@sha256:1",
                "containerID": "wasmtime://u/main/2",
                "ready": True,
                "started": True,
                "restartCount": 2,
                "state": {"running": {"startedAt": LATER}},
                "lastState": {},
            }
        ],
    }


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (3, {"status": "False"}),
        (42, {
            "status": "True",
            "reason": "RestartAllContainersStarted",
            "message": "container exited with restart policy rule",
        }),
    ],
)  # fmt: skip
def test_the_condition_of_all_that_restarts(code: int, told: dict[str, str]) -> None:
    """It comes last and names no generation, as a kubelet has it."""
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    main = {"name": "main", "image": "x", "restartPolicy": "Always", "restartPolicyRules": [rule]}
    made = _status(_pod(containers=[main]), observed.ObservedContainer(current=_ended(code)))

    assert made["conditions"][-1] == {
        "type": "AllContainersRestarting", "lastTransitionTime": TIME, **told
    }  # fmt: skip


def test_all_of_a_failed_pod() -> None:
    """A failure is no reason of the pod's own; addresses stay."""
    made = _status(_pod("Never"), observed.ObservedContainer(current=_ended(3)))

    assert {each: made[each] for each in ("phase", "podIP", "podIPs")} == {
        "phase": "Failed",
        "podIP": POD,
        "podIPs": [{"ip": POD}],
    }
    assert {"reason", "message"}.isdisjoint(made)
    assert made["conditions"] == [
        _condition(
            "PodReadyToStartContainers",
            "False",
            reason="PodSandboxNotReady",
            message="pod sandbox is not ready",
        ),
        _condition("Initialized", "True"),
        _condition("Ready", "False", reason="PodFailed"),
        _condition("ContainersReady", "False", reason="PodFailed"),
        _condition("PodScheduled", "True"),
    ]
    assert made["containerStatuses"][0]["state"] == {
        "terminated": {
            "exitCode": 3,
            "reason": "Error",
            "message": "why",
            "startedAt": LATER,
            "finishedAt": "2027-01-15T07:59:50Z",
            "containerID": "wasmtime://u/main/2",
        }
    }


def test_a_deadline_is_told_once_it_is_over() -> None:
    """Reason and message are the kubelet's (active_deadline.go)."""
    late = _pod("Never", activeDeadlineSeconds=45)
    during = _status(late, observed.ObservedContainer(current=RUNNING))
    over = _status(late, observed.ObservedContainer(current=_ended(143)))

    assert "Running" == during["phase"]
    assert {"reason", "message"}.isdisjoint(during)
    assert ("Failed", "DeadlineExceeded") == (over["phase"], over["reason"])
    assert "Pod was active on the node longer than the specified deadline" == over["message"]


def test_what_ended_in_time_is_not_late() -> None:
    """To the second: what ends at its deadline has not been in time."""
    seconds = [(9.0, ""), (10.0, "DeadlineExceeded")]  # it began 30 s after the pod
    pod = _pod("Never", activeDeadlineSeconds=40)
    ended = [observed.ObservedContainer(current=_ended(3, ran_s=ran_s)) for ran_s, _ in seconds]

    assert [_status(pod, each).get("reason", "") for each in ended] == [why for _, why in seconds]


def test_all_have_to_end_in_time() -> None:
    """One that ended before the deadline does not excuse another."""
    pod = _pod(
        "Never",
        activeDeadlineSeconds=45,
        containers=[{"name": "main", "image": "x"}, {"name": "slow", "image": "x"}],
    )
    seen = observed.ObservedPod(
        NOW - 60,
        {
            "main": observed.ObservedContainer(current=_ended(0, ran_s=5.0)),
            "slow": observed.ObservedContainer(current=_ended(0, ran_s=20.0)),
        },
    )
    made = status.status(pod, seen, status.Addresses(HOST, POD), previous=(), now=NOW)

    assert (made.phase, made.reason) == ("Failed", "DeadlineExceeded")


def test_a_deadline_has_come_at_its_second() -> None:
    """Not only after it (pastActiveDeadline)."""
    crashed = observed.ObservedContainer(current=_ended(3), backoff_s=60.0)
    made = [_status(_pod(activeDeadlineSeconds=each), crashed) for each in (60, 61)]

    assert [each["phase"] for each in made] == ["Failed", "Running"]


def test_a_back_off_is_over_at_its_second() -> None:
    """From then on the ending is what there is to say."""
    crashed = [observed.ObservedContainer(current=_ended(3), backoff_s=x) for x in (10.0, 11.0)]
    made = [_status(_pod(), each)["containerStatuses"][0]["state"] for each in crashed]

    assert [list(each) for each in made] == [["terminated"], ["waiting"]]


def test_a_rejected_pod_says_no_more() -> None:
    """As rejectPod and updateStatusInternal: phase, reason, message, time."""
    made = _status(
        _pod(), observed.ObservedContainer(), rejected=observed.Rejected("OutOfcpu", "no room")
    )

    assert made == {
        "phase": "Failed",
        "conditions": [],
        "containerStatuses": [],
        "observedGeneration": 3,
        "startTime": "2027-01-15T07:59:00Z",
        "qosClass": "BestEffort",
        "reason": "OutOfcpu",
        "message": "Pod was rejected: no room",
    }


def test_no_address_is_none() -> None:
    """Before they are known, fields of addresses are absent."""
    made = _status(
        _pod(),
        observed.ObservedContainer(current=RUNNING),
        addresses=status.Addresses("", ""),
    )

    assert {"hostIP", "hostIPs", "podIP", "podIPs"}.isdisjoint(made)


def test_refusals_are_told() -> None:
    """All of them, with their fields."""
    pod = _pod(hostNetwork=True, hostPID=True)
    made = _status(pod, observed.ObservedContainer())["containerStatuses"][0]["state"]["waiting"]

    assert made["reason"] == "UnsupportedPodSpec"
    assert [each.partition(":")[0] for each in made["message"].split("; ")] == [
        "spec.hostNetwork",
        "spec.hostPID",
    ]


@pytest.mark.parametrize(
    ("backoff_s", "said"),
    [(10.0, "10s"), (60.0, "1m0s"), (80.0, "1m20s"), (300.0, "5m0s")],
)
def test_a_back_off_in_words(backoff_s: float, said: str) -> None:
    """Durations are written as Go does it."""
    main = observed.ObservedContainer(current=_ended(3, ran_s=29.0), backoff_s=backoff_s)
    waiting = _status(_pod(), main)["containerStatuses"][0]["state"]["waiting"]

    assert waiting == {
        "reason": "CrashLoopBackOff",
        "message": f"back-off {said} restarting failed container=main pod=p_default(u)",
    }


@pytest.mark.parametrize(
    ("inits", "reason"),
    [([], "ContainerCreating"), ([{"name": "i", "image": "x"}], "PodInitializing")],
)
def test_what_a_new_pod_waits_for(inits: list[dict[str, str]], reason: str) -> None:
    """The default state of convertToAPIContainerStatuses."""
    made = _status(_pod(initContainers=inits), observed.ObservedContainer())

    assert made["containerStatuses"][0]["state"] == {"waiting": {"reason": reason}}


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        (
            observed.ObservedContainer(),
            _condition(
                "PodReadyToStartContainers",
                "False",
                reason="PodSandboxNotReady",
                message="no pod sandbox exists",
            ),
        ),
        (
            observed.ObservedContainer(failing=observed.Failing("ErrImagePull", "m", 1, NOW)),
            _condition("PodReadyToStartContainers", "True"),
        ),
    ],
)
def test_when_a_pod_has_its_place(
    main: observed.ObservedContainer, expected: dict[str, Any]
) -> None:
    """As GeneratePodReadyToStartContainersCondition: before any image."""
    assert _status(_pod(), main)["conditions"][0] == expected


def test_statuses_stand_by_name() -> None:
    """As normalizeStatus: but those of init containers do as in the spec."""
    names = ("b", "c", "a")
    listed = [{"name": each, "image": "x"} for each in names]
    inits = [{"name": f"init-{each}", "image": "x"} for each in names]
    extra = [{"name": f"extra-{each}", "image": "x"} for each in names]
    pod = _pod(containers=listed, initContainers=inits, ephemeralContainers=extra)
    made = _status(pod, observed.ObservedContainer())

    def order(kind: str) -> list[str]:
        return [each["name"] for each in made[kind]]

    assert order("containerStatuses") == ["a", "b", "c"]
    assert order("initContainerStatuses") == ["init-b", "init-c", "init-a"]
    assert order("ephemeralContainerStatuses") == ["extra-a", "extra-b", "extra-c"]
    (ready,) = (each for each in made["conditions"] if each["type"] == "ContainersReady")
    assert ready["message"] == "containers with unready status: [b c a]"
