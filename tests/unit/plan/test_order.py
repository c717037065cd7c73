"""Who is next in a pod, where golden cases have one container each."""

import dataclasses

from wasm_node.agent.model import actions, desired, observed, parsing, probe
from wasm_node.agent.plan import order, pods
from wasm_node.protocol import records

NOW = 1_800_000_000.0
SIDECAR = {"name": "side", "image": "x", "restartPolicy": "Always"}


def _pod(**spec: object) -> desired.DesiredPod:
    containers = [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]
    return parsing.pod(
        {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": containers, **spec}}
    )


def _running(name: str) -> observed.ObservedContainer:
    return observed.ObservedContainer(observed.Running(records.AttemptId("u", name, 0), 7, NOW - 5))


def _ended(name: str, code: int) -> observed.ObservedContainer:
    how = records.ExitRecord(code, records.EndedBy.ITSELF, "", "", 1, 2)
    return observed.ObservedContainer(observed.Ended(records.AttemptId("u", name, 0), how))


def _seen(**containers: observed.ObservedContainer) -> observed.ObservedPod:
    return observed.ObservedPod(NOW - 60, containers)


def test_a_pod_has_begun_with_its_first_container() -> None:
    """However many are still on their way."""
    assert order.has_begun(_pod(), _seen(a=_running("a")))
    assert not order.has_begun(_pod(), _seen())


def test_init_containers_that_are_behind_are_not_begun_again() -> None:
    """After a crash in between it goes on with the last that has begun."""
    inits = [{"name": each, "image": "x"} for each in ("one", "two", "three")]
    pod = _pod(initContainers=inits, restartPolicy="OnFailure")
    seen = _seen(one=_ended("one", 1), two=_ended("two", 1))

    assert [each.name for each in order.to_keep_up(pod, seen)] == ["two"]


def test_no_grace_is_none_for_sidecars() -> None:
    """Where no API server is a pod may end at once, and in no order."""
    pod = _pod(initContainers=[SIDECAR]).ending(0.0)
    running = {name: _running(name) for name in ("side", "a", "b")}

    assert pods.plan(pod, _seen(**running), now=NOW) == [
        actions.StopContainer(each.current.id, 0.0, f"Stopping container {name}")
        for name, each in running.items()
        if each.current
    ]


def test_a_deadline_ends_the_pod_to_the_second() -> None:
    """At that moment, not after it."""
    pod = _pod(activeDeadlineSeconds=60)
    planned = pods.plan(pod, _seen(a=_running("a"), b=_running("b")), now=NOW)

    assert [type(each) for each in planned] == [actions.StopContainer] * 2


def test_a_back_off_is_a_warning() -> None:
    """With the container that it is about."""
    pod = _pod(restartPolicy="Always")
    how = records.ExitRecord(
        1, records.EndedBy.ITSELF, "", "", int(1e9 * (NOW - 1)), int(NOW * 1e9)
    )
    crashed = observed.ObservedContainer(
        observed.Ended(records.AttemptId("u", "a", 0), how), backoff_s=10.0
    )
    (look,) = pods.plan(pod, _seen(a=crashed, b=_running("b")), now=NOW)

    said = "Back-off restarting failed container a in pod p_default(u)"
    event = actions.Event("BackOff", said, warning=True, container="a")
    assert look == actions.LookAgain(NOW + 10.0, event)


def test_what_has_waited_out_its_back_off_tells_no_more_of_it() -> None:
    """At that moment it is what else keeps it that counts (doBackOff)."""
    pod = _pod(restartPolicy="Always")
    how = records.ExitRecord(
        1, records.EndedBy.ITSELF, "", "", int(1e9 * (NOW - 11)), int((NOW - 10) * 1e9)
    )
    failing = observed.Failing("ErrImagePull", "m", 1, NOW + 5.0)
    crashed = observed.ObservedContainer(
        observed.Ended(records.AttemptId("u", "a", 0), how), backoff_s=10.0, failing=failing
    )

    assert pods.plan(pod, _seen(a=crashed, b=_running("b")), now=NOW) == [
        actions.LookAgain(NOW + 5.0, None)
    ]


def test_an_unhealthy_sidecar_is_called_an_init_container() -> None:
    """In the kubelet's words (computeInitContainerActions)."""
    check = {"livenessProbe": {"tcpSocket": {"port": 80}}}
    pod = _pod(initContainers=[SIDECAR | check])
    sick = dataclasses.replace(_running("side"), verdicts={probe.Kind.LIVENESS: False})
    made = pods.plan(pod, _seen(side=sick, a=_running("a"), b=_running("b")), now=NOW)

    assert [each.why for each in made if isinstance(each, actions.StopContainer)] == [
        "Init container side failed liveness probe"
    ]


def test_nothing_waits_for_a_clock_that_has_just_begun() -> None:
    """A host without a clock is in 1970; a new pod is begun there as well."""
    made = pods.plan(_pod(), observed.ObservedPod(0.0), now=0.0)

    assert made == [actions.PullImage("a"), actions.PullImage("b")]


def test_an_evicted_pod_has_no_more_time_than_that() -> None:
    """What has less keeps it."""
    why = observed.Evicted("low on memory", grace_s=10.0, at=NOW - 4)
    seen = dataclasses.replace(_seen(), evicted=why)
    graces_s = [pods.evicting(each, seen).grace_s for each in (_pod(), _pod().ending(9.0))]

    assert graces_s == [10.0, 9.0]


def test_a_sidecar_ends_after_all_that_need_it() -> None:
    """After containers and later sidecars; not after init containers."""
    inits = [
        {**SIDECAR, "name": "one"},
        {"name": "work", "image": "x"},
        {**SIDECAR, "name": "two"},
    ]
    pod = _pod(initContainers=inits, restartPolicy="Never")
    waits = {each.name: order.ends_after(pod, each.name) for each in pod.all_containers}

    assert waits == {
        "one": ("a", "b", "two"),
        "work": (),
        "two": ("a", "b"),
        "a": (),
        "b": (),
    }
