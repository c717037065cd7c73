"""Each golden case: the plan and the status that its source demands."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from wasm_node.agent.model import actions, desired, ids, image, observed, parsing, probe, times
from wasm_node.agent.plan import pods, status
from wasm_node.protocol import records

NOW = 1_800_000_000.0
CASES = sorted((Path(__file__).parent / "pods").glob("*.yaml"))


def _pod(told: dict[str, Any]) -> desired.DesiredPod:
    containers = [
        {"name": each, "image": "x", **told.get("each", {})}
        for each in told.get("containers", ["main"])
    ]
    meta: dict[str, Any] = {"name": "p", "uid": "u1", "generation": 3}
    if "deleting" in told:
        meta |= {
            "deletionTimestamp": times.rfc3339(NOW + told["deleting"]),
            "deletionGracePeriodSeconds": told["deleting"],
        }
    spec = {"containers": containers, "restartPolicy": told.get("restartPolicy", "Always")}
    return parsing.pod(
        {
            "metadata": meta,
            "spec": spec | told.get("extra", {}),
            "status": {"phase": told.get("finished", "Pending"), **told.get("told", {})},
        }
    )


def _id(name: str, told: dict[str, Any]) -> records.AttemptId:
    return records.AttemptId("u1", name, told["attempt"])


def _ended(name: str, told: dict[str, Any]) -> observed.Ended:
    record = records.ExitRecord(
        code=told["code"],
        ended_by=records.EndedBy(told.get("by", "itself")),
        reason=told["reason"],
        message="",
        started_at_ns=int((NOW + told["at"]) * 1e9),
        finished_at_ns=int((NOW + told["until"]) * 1e9),
    )
    return observed.Ended(_id(name, told), record, earlier=told.get("earlier", False))


def _container(name: str, told: dict[str, Any]) -> observed.ObservedContainer:
    current: observed.Fact | None = None
    if "running" in told:
        said = told["running"]
        stop_by = NOW + said["stop_by"] if "stop_by" in said else 0.0
        current = observed.Running(_id(name, said), 1, NOW + said["at"], stop_by=stop_by)
    elif "ended" in told:
        current = _ended(name, told["ended"])
    failing = None
    if "failing" in told:
        said = told["failing"]
        failing = observed.Failing(**said | {"retry_at": NOW + said["retry_at"]})
    return observed.ObservedContainer(
        current=current,
        last=_ended(name, told["last"]) if "last" in told else None,
        backoff_s=told.get("backoff_s", 0.0),
        image=_IMAGE if told.get("image") else None,
        failing=failing,
        verdicts={probe.Kind(kind): passing for kind, passing in told.get("verdicts", {}).items()},
        settling=current.id.attempt if current and "settling" in told else None,
        unsettled=told.get("settling") == "failed",
        made_of={
            number: observed.Made(name, f"r/{name}@sha256:1")
            for number, name in told.get("made_of", {}).items()
        },
        replaced=told.get("replaced"),
        resets=tuple(told.get("resets", ())),
    )


_IMAGE = observed.ImageHere(
    "r/x@sha256:1",
    image.Program(Path("/x"), ids.Digest("sha256:1"), image.Kind.MODULE, ("x",)),
    image.Image("x", "r/x@sha256:1", "A", 1, Path("/x"), ids.Digest("sha256:1"), None),
)


def _shown(action: actions.Action) -> dict[str, Any]:
    fields = {each.name: getattr(action, each.name) for each in dataclasses.fields(action)}
    for name, value in fields.items():
        if isinstance(value, records.AttemptId):
            fields[name] = str(value)
        elif isinstance(value, tuple):
            fields[name] = [str(each) for each in value]
        elif isinstance(value, actions.Event):
            fields[name] = value.reason
        elif name == "at":
            fields[name] = f"<now+{value - NOW:.0f}s>"
    if fields.get("waits") is False:  # told where it does
        del fields["waits"]
    return {type(action).__name__: fields}


def _relative(value: Any) -> Any:
    """Turn times into `<now-30s>`, everywhere in a status."""
    if isinstance(value, dict):
        return {key: _relative(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_relative(inner) for inner in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+Z", value):
        return f"<now{times.unix(value) - NOW:+.0f}s>"
    return value


def _part(expected: Any, actual: Any) -> Any:
    """Return what of `actual` the expectation speaks of."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {key: _part(inner, actual.get(key)) for key, inner in expected.items()}
    return actual


def _status(
    wanted: desired.DesiredPod, seen: observed.ObservedPod, *, is_last: bool
) -> dict[str, Any]:
    at = status.Addresses("10.0.0.1", "10.0.0.2")
    held = wanted.status.conditions
    made = status.status(wanted, seen, at, previous=held, now=NOW, is_last=is_last)
    plain = _relative(made.to_builtins())
    conditions = {
        each["type"]: "/".join(filter(None, (each["status"], each.get("reason"))))
        for each in plain["conditions"]
    }
    messages = {each["type"]: each.get("message") for each in plain["conditions"]}
    containers = {each["name"]: each for each in plain["containerStatuses"]}
    inits = {each["name"]: each for each in plain.get("initContainerStatuses", ())}
    extra = {each["name"]: each for each in plain.get("ephemeralContainerStatuses", ())}
    by_name = {"containers": containers, "inits": inits, "ephemeral": extra}
    return {**plain, **by_name, "conditions": conditions, "messages": messages}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """The plan and the status of this situation are those of its source."""
    case = yaml.safe_load(path.read_text())
    wanted = _pod(case.get("pod", {}))
    containers = {name: _container(name, told) for name, told in case["observed"].items()}
    rejected = observed.Rejected(**case["rejected"]) if "rejected" in case else None
    evicted = None
    if "evicted" in case:
        told = case["evicted"]
        evicted = observed.Evicted(**{**told, "at": NOW + told["at"]})
    seen = observed.ObservedPod(NOW - 60, containers, rejected=rejected, evicted=evicted)

    planned = pods.plan(wanted, seen, now=NOW, ending=case.get("ending", False))
    assert case["actions"] == [_shown(each) for each in planned]
    made = _status(wanted, seen, is_last=case.get("last", False))
    assert case["status"] == _part(case["status"], made)


def test_every_case_names_its_source() -> None:
    """No golden case stands without saying where its truth comes from."""
    assert CASES
    assert all(yaml.safe_load(path.read_text())["source"] for path in CASES)
