"""Properties of planning that hold in every situation, however odd."""

import dataclasses
import random
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wasm_node.agent.model import actions, desired, ids, image, observed, parsing, probe
from wasm_node.agent.plan import adopt, order, pods, probes, restarts, status
from wasm_node.protocol import records

NOW = 1_800_000_000.0
CHECK = {"tcpSocket": {"port": 80}}
RESETS = 42
RULE = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [RESETS]}}
MAIN = {"name": "main", "image": "x", "startupProbe": CHECK, "livenessProbe": CHECK}
POLICIES = st.sampled_from(["Always", "OnFailure", "Never"])
HERE = observed.ImageHere(
    "r/x@sha256:1",
    image.Program(Path("/x"), ids.Digest("sha256:1"), image.Kind.MODULE, ("x",)),
    image.Image("x", "r/x@sha256:1", "A", 1, Path("/x"), ids.Digest("sha256:1"), None),
)


def _ended(
    attempt: int,
    code: int,
    ran_s: float,
    ago_s: float,
    by: records.EndedBy = records.EndedBy.ITSELF,
    *,
    earlier: bool = False,
) -> observed.Ended:
    finished = NOW - ago_s
    record = records.ExitRecord(
        code,
        by,
        "Error",
        "",
        int((finished - ran_s) * 1e9),
        int(finished * 1e9),
    )
    return observed.Ended(records.AttemptId("u1", "main", attempt), record, earlier=earlier)


ATTEMPTS = st.integers(0, 20)
FACTS = st.one_of(
    st.none(),
    st.builds(
        lambda attempt: observed.Running(records.AttemptId("u1", "main", attempt), 7, NOW - 5),
        ATTEMPTS,
    ),
    st.builds(
        _ended,
        ATTEMPTS,
        st.integers(0, 255),
        st.floats(0, 2000),
        st.floats(0, 2000),
        st.sampled_from(records.EndedBy),
        earlier=st.booleans(),
    ),
)
FAILING = st.one_of(
    st.none(),
    st.builds(
        observed.Failing, st.just("ErrImagePull"), st.just("m"), st.integers(1, 9),
        st.floats(NOW - 500, NOW + 500),
    ),
)  # fmt: skip


def _observed(
    current: observed.Fact | None, reset_ago: int | None, **known: Any
) -> observed.ObservedContainer:
    resets = () if current is None or reset_ago is None else (current.id.attempt - reset_ago,)
    return observed.ObservedContainer(current=current, resets=resets, **known)


CONTAINERS = st.builds(
    _observed,
    current=FACTS,
    reset_ago=st.sampled_from([None, 0, 1]),
    backoff_s=st.sampled_from([0.0, 10.0, 20.0, 300.0]),
    image=st.sampled_from([None, HERE]),
    failing=FAILING,
    verdicts=st.dictionaries(st.sampled_from(probe.Kind), st.booleans()),
)


def _main(policy: str) -> dict[str, object]:
    return {**MAIN, "restartPolicy": policy, "restartPolicyRules": [RULE]}


def _wanted(policy: str, *, deleting: bool = False) -> desired.DesiredPod:
    pod = parsing.pod(
        {
            "metadata": {"name": "p", "uid": "u1"},
            "spec": {"containers": [_main(policy)], "restartPolicy": policy},
        }
    )
    return pod.ending(30.0) if deleting else pod


@given(policy=POLICIES, container=CONTAINERS)
def test_a_deleting_pod_starts_nothing(policy: str, container: observed.ObservedContainer) -> None:
    """Whatever was observed, a deleting pod pulls and starts nothing."""
    seen = observed.ObservedPod(NOW, {"main": container})

    made = pods.plan(_wanted(policy, deleting=True), seen, now=NOW)

    assert all(isinstance(each, actions.StopContainer | actions.ForgetPod) for each in made)


@given(policy=POLICIES, container=CONTAINERS, deleting=st.booleans())
def test_nothing_begins_while_the_runtime_ends(
    policy: str, container: observed.ObservedContainer, deleting: bool
) -> None:
    """Whatever was observed, it pulls and starts nothing."""
    wanted = _wanted(policy, deleting=deleting)
    seen = observed.ObservedPod(NOW, {"main": container})

    made = pods.plan(wanted, seen, now=NOW, ending=True)

    assert all(isinstance(each, actions.StopContainer | actions.ForgetPod) for each in made)


@given(policy=POLICIES, container=CONTAINERS)
def test_acting_settles(policy: str, container: observed.ObservedContainer) -> None:
    """Plans that succeed end in a settled pod within five rounds."""
    wanted, now = _wanted(policy), NOW
    for _ in range(5):
        made = pods.plan(wanted, observed.ObservedPod(NOW, {"main": container}), now=now)
        if not made:
            return
        for action in made:
            match action:
                case actions.PullImage():
                    container = _with(container, image=HERE)
                case actions.StartContainer(attempt=attempt):
                    running = observed.Running(records.AttemptId("u1", "main", attempt), 8, now)
                    container = adopt.started(container, running)
                case actions.StopContainer(attempt=stopped):
                    by_us = _ended(stopped.attempt, 143, 1, 0, records.EndedBy.STOP)
                    container = adopt.apply(container, by_us)
                case actions.NoteReplaced(attempt=noted):
                    container = dataclasses.replace(container, replaced=noted.attempt)
                case actions.NoteReset(attempts=(noted,)):
                    container = dataclasses.replace(container, resets=(noted.attempt,))
                case actions.LookAgain(at=at):
                    assert at > now
                    now = at
                case _:
                    raise AssertionError(action)
    raise AssertionError(f"not settled: {container}")


def _with(
    container: observed.ObservedContainer, *, image: observed.ImageHere
) -> observed.ObservedContainer:
    return dataclasses.replace(container, image=image)


@given(policy=POLICIES, container=CONTAINERS)
def test_only_what_is_unhealthy_is_stopped(
    policy: str, container: observed.ObservedContainer
) -> None:
    """What should run is stopped for a failed probe, or as all restarts."""
    made = pods.plan(_wanted(policy), observed.ObservedPod(NOW, {"main": container}), now=NOW)
    stops = [each for each in made if isinstance(each, actions.StopContainer)]
    fails = {kind for kind, passing in container.verdicts.items() if not passing}
    amiss = fails - {probe.Kind.READINESS} or container.is_reset
    fatal = isinstance(container.current, observed.Running) and amiss

    assert bool(fatal) == bool(stops)


@given(policy=POLICIES, container=CONTAINERS)
def test_nothing_runs_twice(policy: str, container: observed.ObservedContainer) -> None:
    """A start is always of an attempt that has neither run nor ended."""
    made = pods.plan(_wanted(policy), observed.ObservedPod(NOW, {"main": container}), now=NOW)
    starts = [each for each in made if isinstance(each, actions.StartContainer)]

    for start in starts:
        assert not isinstance(container.current, observed.Running)
        assert start.attempt == (container.current.id.attempt + 1 if container.current else 0)


@given(
    ran_s=st.lists(st.floats(0, 599), min_size=1, max_size=12),
    most_s=st.sampled_from([1.0, 5.0, 60.0, restarts.MAX_BACKOFF_S]),
)
def test_delays_never_shrink_before_the_reset(ran_s: list[float], most_s: float) -> None:
    """Through short attempts each wait is at least the one before it."""
    backoff_s, waits = 0.0, []
    for attempt, ran in enumerate(ran_s):
        ended = _ended(attempt, 1, ran, 0)
        seen = observed.ObservedContainer(current=ended, backoff_s=backoff_s)
        start = restarts.next_start(_wanted("Always").container("main"), seen, most_s)
        assert start is not None
        waits.append(max(0.0, start.at - ended.finished_at))
        backoff_s = start.backoff_s

    assert waits == sorted(waits)
    assert waits[-1] <= most_s
    assert len(waits) < 8 or waits[-1] == most_s


@given(facts=st.lists(FACTS.filter(bool), max_size=6), chance=st.randoms())
def test_facts_in_any_order_give_one_truth(
    facts: list[observed.Fact], chance: random.Random
) -> None:
    """News that arrive late or twice end in the newest attempt all the same."""
    newest = max((each.id.attempt for each in facts), default=None)
    shuffled = facts + facts[:2]
    chance.shuffle(shuffled)
    container = observed.ObservedContainer()
    for fact in shuffled:
        container = adopt.apply(container, fact)

    assert newest == (container.current.id.attempt if container.current else None)


SIDECAR = {"name": "side", "image": "x", "restartPolicy": "Always"}
INITS = [{"name": "first", "image": "x"}, SIDECAR, {"name": "second", "image": "x"}]


class Life:
    """A pod with init containers that is lived through, step by step."""

    def __init__(self, policy: str) -> None:
        main = _main(policy)
        spec = {"containers": [main], "initContainers": INITS, "restartPolicy": policy}
        self.wanted = parsing.pod({"metadata": {"name": "p", "uid": "u1"}, "spec": spec})
        self.seen = observed.ObservedPod(NOW)
        self.now = self.planned_at = NOW
        self.complete: set[str] = set()
        """Names of those that have done what the next one waits for."""

    def plan(self, *, after_s: float = 1000.0) -> list[actions.Action]:
        """Return what is to be done, after so long."""
        self.now += after_s
        self.planned_at = self.now
        return pods.plan(self.wanted, self.seen, now=self.now)

    def act(self, action: actions.Action) -> str:
        """Do it; return the name of the container that it has begun, if any."""
        match action:
            case actions.PullImage(name):
                self._put(name, _with(self.seen.container(name), image=HERE))
            case actions.StartContainer(name, attempt):
                running = observed.Running(records.AttemptId("u1", name, attempt), 8, self.now)
                self._put(name, adopt.started(self.seen.container(name), running))
                if name == "side":
                    self.complete.add(name)
                return name
            case actions.StopContainer(attempt=stopped, waits=waits):
                if not waits:
                    self.end(stopped.container, 143, records.EndedBy.STOP)
            case actions.NoteReplaced(attempt):
                replaced = self.seen.container(attempt.container)
                self._put(
                    attempt.container, dataclasses.replace(replaced, replaced=attempt.attempt)
                )
            case actions.NoteReset(attempts):
                self.seen = adopt.reset(self.seen, attempts)
                self.complete.clear()
            case actions.LookAgain(at):
                assert at > self.planned_at  # one plan may name several times
                self.now = max(self.now, at)
            case actions.ForgetPod():
                assert not self.running()
                self.seen = dataclasses.replace(self.seen, forgotten=True)
            case _:
                raise AssertionError(action)
        return ""

    def judge(self, name: str, kind: probe.Kind, *, passing: bool) -> None:
        """Have a probe of a container that runs say something."""
        seen = self.seen.container(name)
        assert seen.current is not None
        self._put(name, probes.judged(seen, seen.current.id, kind, passing=passing))

    def fail(self, name: str) -> None:
        """Have the next attempt of a container not begin."""
        seen = self.seen.container(name)
        self._put(name, restarts.failed(seen, "ErrImagePull", "m", now=self.now))

    def running(self) -> list[str]:
        """List the containers that run."""
        found = self.seen.containers.items()
        return [name for name, each in found if isinstance(each.current, observed.Running)]

    def end(self, name: str, code: int, by: records.EndedBy = records.EndedBy.ITSELF) -> None:
        """Have a container end by itself, or as it was told."""
        current = self.seen.container(name).current
        assert current is not None
        ended = _ended(current.id.attempt, code, 1, NOW - self.now, by)
        named = dataclasses.replace(ended, id=current.id)
        self._put(name, adopt.apply(self.seen.container(name), named))
        if code == 0 and name != "main":
            self.complete.add(name)

    def lose(self, *, told: bool) -> None:
        """Have another runtime in place of this; `told`: which was to end."""
        for name in self.running():
            if told:
                self.end(name, 143, records.EndedBy.SHUTDOWN)
            else:
                self.end(name, 137, records.EndedBy.UNKNOWN)
        for name, each in self.seen.containers.items():
            if each.current is not None:
                assert isinstance(each.current, observed.Ended)
                past = dataclasses.replace(each.current, earlier=True)
                self._put(name, adopt.apply(each, past))
        if self.wanted.restart_policy is not desired.RestartPolicy.NEVER:
            self.complete.clear()

    def _put(self, name: str, container: observed.ObservedContainer) -> None:
        containers = {**self.seen.containers, name: container}
        self.seen = dataclasses.replace(self.seen, containers=containers)


def _bring_up(life: Life, steps: int) -> None:
    """Do as planned, with inits that end well; in 8 steps all runs."""
    for _ in range(steps):
        for action in life.plan():
            begun = life.act(action)
            if begun in ("first", "second"):
                life.end(begun, 0)


@given(policy=POLICIES, draw=st.data())
def test_the_order_of_init_containers_holds(policy: str, draw: st.DataObject) -> None:
    """
    Each begins when those before it are complete, and no more after that.

    Of those before it that counts which this runtime saw: another begins anew.
    """
    life = Life(policy)
    names = [str(each["name"]) for each in INITS] + ["main"]
    _bring_up(life, draw.draw(st.integers(0, 8)))
    if draw.draw(st.booleans()):
        life.lose(told=draw.draw(st.booleans()))
    for _ in range(draw.draw(st.integers(1, 15))):
        for action in life.plan():
            complete = set(life.complete)
            begun = life.act(action)
            if begun:
                assert complete >= set(names[: names.index(begun)])
                assert begun in ("side", "main") or begun not in complete
        if life.running():
            ending = draw.draw(st.sampled_from(life.running()))
            life.end(ending, draw.draw(st.sampled_from([0, 1, RESETS])))
        if not draw.draw(st.integers(0, 3)):
            life.lose(told=draw.draw(st.booleans()))


@given(policy=POLICIES, draw=st.data())
def test_a_sidecar_ends_last(policy: str, draw: st.DataObject) -> None:
    """Deleted at any time, the pod ends, and its sidecar waits for its work."""
    life = Life(policy)
    for _ in range(draw.draw(st.integers(0, 8))):
        for action in life.plan():
            life.act(action)
        if draw.draw(st.booleans()) and (others := set(life.running()) - {"side"}):
            life.end(others.pop(), draw.draw(st.integers(0, 1)))
    life.wanted = life.wanted.ending(30.0)
    for _ in range(3):
        before = life.running()
        for action in life.plan():
            if isinstance(action, actions.ForgetPod):
                assert not life.running()
                return
            assert isinstance(action, actions.StopContainer)
            waits = action.attempt.container == "side" and "main" in before
            assert action.waits == waits
            life.act(action)
    raise AssertionError(f"not over: {life.seen}")


@given(policy=POLICIES, draw=st.data())
def test_an_evicted_pod_ends_and_starts_nothing(policy: str, draw: st.DataObject) -> None:
    """Told to go at any time, it is over soon, Failed, and stays so."""
    life = Life(policy)
    for _ in range(draw.draw(st.integers(0, 8))):
        for action in life.plan():
            life.act(action)
    life.seen = dataclasses.replace(life.seen, evicted=observed.Evicted("m", 1.0, life.now))
    for _ in range(3):
        for action in life.plan():
            assert isinstance(action, actions.StopContainer)
            assert action.grace_s <= order.LEAST_GRACE_S
            life.act(action)
    made = status.status(
        life.wanted, life.seen, status.Addresses("", ""), previous=(), now=life.now
    )

    assert not life.plan()
    assert not life.running()
    assert (made.phase, made.reason) == ("Failed", "Evicted")


_ENDINGS = [records.EndedBy.ITSELF, records.EndedBy.STOP, records.EndedBy.UNKNOWN]
"""How one may end that its runtime outlives."""
_CODES = {"ends": 0, "fails": 1, "resets": RESETS}


def _live(life: Life, draw: st.DataObject, steps: int) -> None:
    """Lead a pod to some state that it may come to."""
    _bring_up(life, draw.draw(st.sampled_from([0, 3, 8])))
    for _ in range(steps):
        for action in life.plan(after_s=draw.draw(st.sampled_from([0.0, 5.0, 1000.0]))):
            if draw.draw(st.integers(0, 4)):  # else the agent did not come to it
                life.act(action)
        for name in life.running():
            what = draw.draw(st.sampled_from(["on", "passes", "sick", *_CODES]))
            if what in _CODES:
                life.end(name, _CODES[what], draw.draw(st.sampled_from(_ENDINGS)))
            elif what in ("passes", "sick") and name == "main":
                kind = draw.draw(st.sampled_from(probe.Kind))
                life.judge(name, kind, passing=what == "passes")
        if not draw.draw(st.integers(0, 5)):
            life.lose(told=draw.draw(st.booleans()))
        idle = [each for each in ("first", "second", "main") if each not in life.running()]
        if idle and not draw.draw(st.integers(0, 4)):
            life.fail(draw.draw(st.sampled_from(idle)))


@given(
    policy=POLICIES,
    steps=st.integers(0, 12),
    deleting=st.booleans(),
    deadline_s=st.sampled_from([None, 1.0, 10**6]),
    draw=st.data(),
)
def test_a_pod_settles_from_wherever_it_came(
    policy: str, steps: int, deleting: bool, deadline_s: float | None, draw: st.DataObject
) -> None:
    """If nothing more happens to it; then there is nothing to do, for good."""
    life = Life(policy)
    life.wanted = dataclasses.replace(life.wanted, deadline_s=deadline_s)
    _live(life, draw, steps)
    if deleting:
        life.wanted = life.wanted.ending(30.0)
    for _ in range(20):
        made = life.plan(after_s=0.0)
        if not made:
            break
        for action in made:
            assert not (deleting and isinstance(action, actions.StartContainer))
            begun = life.act(action)
            if begun in ("first", "second"):
                life.end(begun, 0)
    else:
        raise AssertionError(f"not settled: {life.seen}")

    assert deleting == life.seen.forgotten
    assert all(not life.plan(after_s=each) for each in (0.0, 1.0, 10**9))


@given(policy=POLICIES, steps=st.integers(0, 12), draw=st.data())
def test_a_reset_pod_begins_with_nothing_of_before(
    policy: str, steps: int, draw: st.DataObject
) -> None:
    """
    Once one asks for it, nothing begins until all that ran has ended.

    Then each is begun once more, whatever its policy, and all in order.
    """
    life = Life(policy)
    _bring_up(life, 8)
    assert "main" in life.running()
    old = {name: each.current.id for name, each in life.seen.containers.items() if each.current}
    life.end("main", RESETS)
    for _ in range(steps):
        for action in life.plan(after_s=draw.draw(st.sampled_from([0.0, 5.0]))):
            ran = [each for each in life.running() if life.seen.container(each).is_reset]
            begun = life.act(action) if draw.draw(st.booleans()) else ""
            assert not (begun and ran)
            if begun in ("first", "second"):
                life.end(begun, 0)
        if not draw.draw(st.integers(0, 5)):
            life.lose(told=draw.draw(st.booleans()))
    _bring_up(life, 12)

    new = {name: each.current.id for name, each in life.seen.containers.items() if each.current}
    assert all(new[name].attempt > each.attempt for name, each in old.items())
