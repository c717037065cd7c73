"""When a certificate is replaced, and why."""

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasm_node.agent.model import certificates
from wasm_node.agent.plan import certificates as planning

NOW = 1_800_000_000.0
SERVING = certificates.serving("wasm-a", "10.1.1.1")
GOOD = certificates.Certificate(
    user="system:node:wasm-a",
    ips=frozenset({"10.1.1.1"}),
    not_before=NOW - 500,
    not_after=NOW + 500,
    fingerprint="80" * 32,
)


def _with(**change: object) -> certificates.Certificate:
    return dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]  # by name


@given(st.binary(min_size=32, max_size=32), st.floats(600, 10**9), st.floats(0, 0.5))
def test_it_is_renewed_at_70_to_90_percent(
    fingerprint: bytes, life_s: float, dated_back: float
) -> None:
    """Of its life with us, whatever the certificate and however long it is."""
    made = _with(fingerprint=fingerprint.hex(), not_before=0.0, not_after=life_s)
    obtained = life_s * dated_back
    due = planning.renew_at(made, obtained_at=obtained)

    assert 0.699 <= (due - obtained) / (life_s - obtained) <= 0.901


def test_not_all_are_renewed_at_once() -> None:
    """The range is used from end to end, by the certificate itself."""
    ends = [
        planning.renew_at(_with(fingerprint=each * 32), obtained_at=NOW)
        for each in ("00", "80", "ff")
    ]

    assert [350, 400, 450] == [round(each - NOW) for each in ends]


@given(st.floats(-(10**9), 10**9))
def test_a_wrong_clock_does_not_ask_on_and_on(clock_is_wrong_by_s: float) -> None:
    """What has just been obtained is kept for a while, by any clock."""
    obtained = NOW + clock_is_wrong_by_s

    assert planning.renew_at(GOOD, obtained_at=obtained) - obtained >= 49


@pytest.mark.parametrize(
    ("left_s", "after_s"), [(0.5, 50), (0.0, 800), (-1.0, 800), (1000.0, 800), (1001.0, 800)]
)
def test_what_is_left_by_a_wrong_clock_does_not_count(left_s: float, after_s: float) -> None:
    """Life is all that it has then; a little that is left, counts for least."""
    obtained = GOOD.not_after - left_s
    due = planning.renew_at(_with(fingerprint="80" * 32), obtained_at=obtained)

    assert due - obtained == pytest.approx(after_s, rel=0.01)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"not_before": NOW + 60}, ""),
        ({"not_after": NOW}, "it expired at 2027-01-15T08:00:00Z, by this host's clock"),
        ({"user": "system:node:b"}, "it is of system:node:b, not of system:node:wasm-a"),
        ({"user": ""}, "it is of nobody, not of system:node:wasm-a"),
        ({"ips": frozenset({"10.1.1.2"})}, "it is for 10.1.1.2, not for 10.1.1.1"),
        ({"ips": frozenset()}, "it is for no address, not for 10.1.1.1"),
        (
            {"ips": frozenset({"10.1.1.2", "10.1.1.1"})},
            "it is for 10.1.1.1, 10.1.1.2, not for 10.1.1.1",
        ),
    ],
    ids=["good", "of the future", "expired", "another's", "nobody's", "moved", "client", "more"],
)
def test_what_is_of_no_use(change: dict[str, object], why: str) -> None:
    """A certificate serves for its name and addresses, until it expires."""
    said = planning.unfit(_with(**change), SERVING, now=NOW)

    assert why == said


def test_an_address_may_be_written_in_many_ways() -> None:
    """An IPv6 address is the same, long or short."""
    wanted = certificates.serving("wasm-a", "FD00:0:0::0001")

    assert "" == planning.unfit(_with(ips=frozenset({"fd00::1"})), wanted, now=NOW)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NOW, ""),
        (NOW - 500, ""),
        (NOW + 499, ""),
        (NOW + 500, "this host's clock is fast by 0 s or more: set it"),
        (NOW - 560, "this host's clock is slow by 60 s or more: set it"),
        (NOW + 590, "this host's clock is fast by 90 s or more: set it"),
    ],
)
def test_a_wrong_clock_is_said(now: float, said: str) -> None:
    """In which direction, and by how much."""
    assert said == planning.skew(GOOD, now=now)


def test_a_request_is_named_after_what_it_asks() -> None:
    """The same wish with the same key has the same name, any other another."""
    wishes = [
        (SERVING, b"key"),
        (SERVING, b"another"),
        (certificates.serving("wasm-a", "10.1.1.2"), b"key"),
        (certificates.serving("wasm-b", "10.1.1.1"), b"key"),
        (certificates.client("wasm-a"), b"key"),
    ]
    names = [planning.request_name(*each) for each in wishes]

    assert names[0] == planning.request_name(SERVING, b"key")
    assert len(names) == len(set(names))
    assert names[0].startswith("wasm-node-serving-")
    assert names[4].startswith("wasm-node-client-")
    assert all(len(each) <= 63 for each in names)


def test_the_name_of_a_request_stays() -> None:
    """An agent of the next version finds what this one has asked for."""
    wish = certificates.Wanted("serving", "signer", ("use", "other"), "user", ("10.1.1.1",))
    digest = hashlib.sha256(b"key" + b"signer\0user\0use\0other\x0010.1.1.1").hexdigest()

    assert planning.request_name(wish, b"key") == f"wasm-node-serving-{digest[:40]}"
