"""Which node a pod asks for: component-helpers' nodeaffinity.go, as a table."""

from typing import Any

import pytest

from wasm_node.agent.model import manifest, parsing
from wasm_node.agent.plan import affinity

LABELS = {
    "disk": "ssd",
    "empty": "",
    "cores": "8",
    "signed": "+8",
    "grouped": "1_000",
    "huge": "9223372036854775808",
    "most": "9223372036854775807",
    "wasm-node.dev/world-wasi-cli-p2": "true",
}
NODE = parsing.node({"metadata": {"name": "wasm-a", "labels": LABELS}})


def _matches(node: manifest.Node = NODE, **spec: Any) -> bool:
    raw = {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "c", "image": "x"}], **spec},
    }
    return affinity.matches(parsing.pod(raw), node)


def _required(*terms: dict[str, Any]) -> dict[str, Any]:
    chosen = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [*terms]}}
    return {"affinity": {"nodeAffinity": chosen}}


def _asked(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"disk": "ssd"}, True),
        ({"disk": "hdd"}, False),
        ({"disk": "ssd", "cores": "8"}, True),
        ({"disk": "ssd", "cores": "9"}, False),
        ({"absent": ""}, False),
        ({"empty": ""}, True),
        ({"wasm-node.dev/world-wasi-cli-p2": "true"}, True),
        ({"wasm-node.dev/world-wasi-http-p3": "true"}, False),
    ],
)
def test_a_node_selector(selector: dict[str, str], expected: bool) -> None:
    """Each label has to be there, with that value (labels.SelectorFromSet)."""
    assert _matches(nodeSelector=selector) is expected


@pytest.mark.parametrize(
    ("key", "operator", "values", "expected"),
    [
        ("disk", "In", ("hdd", "ssd"), True),
        ("disk", "In", ("hdd",), False),
        ("absent", "In", ("ssd",), False),
        ("empty", "In", ("",), True),
        ("absent", "In", ("",), False),
        ("disk", "NotIn", ("hdd",), True),
        ("disk", "NotIn", ("hdd", "ssd"), False),
        ("absent", "NotIn", ("ssd",), True),
        ("disk", "Exists", (), True),
        ("empty", "Exists", (), True),
        ("absent", "Exists", (), False),
        ("disk", "DoesNotExist", (), False),
        ("empty", "DoesNotExist", (), False),
        ("absent", "DoesNotExist", (), True),
        ("cores", "Gt", ("7",), True),
        ("cores", "Gt", ("8",), False),
        ("cores", "Gt", ("10",), False),
        ("cores", "Lt", ("9",), True),
        ("cores", "Lt", ("8",), False),
        ("cores", "Lt", ("10",), True),
        ("cores", "Gt", ("-1",), True),
        ("signed", "Gt", ("7",), True),
        ("absent", "Gt", ("7",), False),
        ("absent", "Lt", ("7",), False),
        ("disk", "Gt", ("7",), False),
        ("empty", "Gt", ("7",), False),
        ("disk", "Lt", ("7",), False),
        ("cores", "Gt", ("few",), False),
        ("cores", "Lt", ("many",), False),
        ("grouped", "Gt", ("7",), False),
        ("most", "Gt", ("7",), True),
        ("huge", "Gt", ("7",), False),
        ("cores", "Gt", ("-9223372036854775808",), True),
        ("cores", "Gt", ("-9223372036854775809",), False),
        ("disk", "Equals", ("ssd",), False),
    ],
)
def test_an_operator(key: str, operator: str, values: tuple[str, ...], expected: bool) -> None:
    """By Requirement.Matches of labels; numbers by strconv.ParseInt."""
    term = {"matchExpressions": [_asked(key, operator, *values)]}

    assert _matches(**_required(term)) is expected


@pytest.mark.parametrize(
    ("operator", "name", "expected"),
    [
        ("In", "wasm-a", True),
        ("In", "wasm-b", False),
        ("NotIn", "wasm-a", False),
        ("NotIn", "wasm-b", True),
    ],
)
def test_a_name(operator: str, name: str, expected: bool) -> None:
    """The field metadata.name, as the DaemonSet controller asks for it."""
    term = {"matchFields": [_asked("metadata.name", operator, name)]}

    assert _matches(**_required(term)) is expected


YES, NO = _asked("disk", "In", "ssd"), _asked("disk", "In", "hdd")
HERE, THERE = (_asked("metadata.name", "In", each) for each in ("wasm-a", "wasm-b"))


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([], False),
        ([{}], False),
        ([{"matchExpressions": [], "matchFields": []}], False),
        ([{}, {"matchExpressions": [YES]}], True),
        ([{"matchExpressions": [NO]}, {"matchExpressions": [YES]}], True),
        ([{"matchExpressions": [NO]}, {"matchFields": [THERE]}], False),
        ([{"matchExpressions": [YES, NO]}], False),
        ([{"matchExpressions": [YES], "matchFields": [HERE]}], True),
        ([{"matchExpressions": [NO], "matchFields": [HERE]}], False),
        ([{"matchExpressions": [YES], "matchFields": [THERE]}], False),
    ],
)
def test_terms(terms: list[dict[str, Any]], expected: bool) -> None:
    """One has to hold, with all that it says; an empty one never does."""
    assert _matches(**_required(*terms)) is expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"affinity": None}, True),
        ({"affinity": {}}, True),
        ({"affinity": {"nodeAffinity": {}}}, True),
        ({"affinity": {"podAffinity": {}, "podAntiAffinity": {}}}, True),
        ({"nodeSelector": {"disk": "ssd"}, **_required({"matchExpressions": [YES]})}, True),
        ({"nodeSelector": {"disk": "hdd"}, **_required({"matchExpressions": [YES]})}, False),
        ({"nodeSelector": {"disk": "ssd"}, **_required({"matchExpressions": [NO]})}, False),
    ],
)
def test_selector_and_affinity(spec: dict[str, Any], expected: bool) -> None:
    """Both have to hold where both are given; without either, any node does."""
    assert _matches(**spec) is expected


def test_what_is_only_preferred() -> None:
    """It is the scheduler's wish, and no reason to reject."""
    term = {"weight": 1, "preference": {"matchExpressions": [NO]}}
    wish = {"preferredDuringSchedulingIgnoredDuringExecution": [term]}

    assert _matches(affinity={"nodeAffinity": wish})
