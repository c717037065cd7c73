"""What crosses between the programs comes out as it went in, or not at all."""

import dataclasses
import json
from pathlib import Path

import pytest

from wasm_node.protocol import journal, layout, messages, records, settings

ID = records.AttemptId("1b4e28ba-2fa1-11d2", "main", 3)
EXIT = records.ExitRecord(42, records.EndedBy.ITSELF, "Error", "why", 1, 2)
SPEC = records.ContainerSpec(
    id=ID,
    pod_namespace="default",
    pod_name="web",
    module_path="/images/web.wasm",
    module_digest="sha256:00",
    argv=("web", "--port=1"),
    env=(("A", "1"), ("B", "")),
    mounts=(records.Mount("/host", "/guest", read_only=True),),
    log_path="/logs/3.log",
    memory_limit_bytes=1 << 26,
    cpu_limit_millis=None,
)
REQUESTS: list[messages.Request] = [
    messages.Hello(1),
    messages.Prepare("/images/web.wasm", "sha256:00"),
    messages.Start(ID),
    messages.Stop(ID, 30),
    messages.Stop(ID, 0.5),
    messages.List(""),
    messages.List(str(ID)),
    messages.Forget("1b4e28ba-2fa1-11d2"),
    messages.Subscribe(),
    messages.Subscribe(calls_hooks=True),
    messages.Usage(),
    messages.Shares(""),
    messages.Disk("1b4e28ba-2fa1-11d2"),
    messages.Release("1b4e28ba-2fa1-11d2"),
    messages.Prune(),
    messages.Exec(ID, "/images/check.wasm", "sha256:00", ("check", "-v"), ""),
    messages.Exec(ID, "/images/web.wasm", "sha256:00", (), "health"),
]
_EXEC = dataclasses.asdict(messages.Exec(ID, "/images/check.wasm", "sha256:00", ("check",), ""))


@pytest.mark.parametrize("wanted", REQUESTS, ids=repr)
def test_requests_come_through(wanted: messages.Request) -> None:
    """Each request survives JSON, with its number."""
    wire = json.loads(json.dumps(messages.request(7, wanted)))

    assert messages.parse_request(wire) == (7, wanted)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"seq": 1},
        {"seq": 1, "verb": "reboot"},
        {"seq": 1, "verb": "list"},
        {"seq": 1, "verb": "list", "after": 3},
        {"seq": 1, "verb": "hello", "version": True},
        {"seq": 1, "verb": "hello", "version": 1, "more": 1},
        {"seq": 1, "verb": "start", "id": "pod/main/0"},
        {"seq": 1, "verb": "forget", "pod_uid": "../x"},
        {"seq": 1, "verb": "release", "pod_uid": "../x"},
        {"seq": 1, "verb": "disk", "pod_uid": ".."},
        {"seq": 1, "verb": "shares"},
        {"seq": 1, "verb": "subscribe", "calls_hooks": 1},
        {"seq": 1, "verb": "exec", **_EXEC, "argv": "check"},
        {"seq": 1, "verb": "exec", **_EXEC, "argv": ["check", 1]},
        {"seq": 1, "verb": "exec", **_EXEC, "export": None},
    ],
)
def test_bad_requests_are_value_errors(raw: dict[str, object]) -> None:
    """What is no request of this version is told as that, and nothing else."""
    with pytest.raises(ValueError, match="cannot"):
        messages.parse_request(raw)


@pytest.mark.parametrize("how", [EXIT, None])
def test_facts_come_through(how: records.ExitRecord | None) -> None:
    """Facts survive JSON, ended or not."""
    denied = records.Denial("connect", "connections to 192.0.2.1:25")
    beside = records.Denial("resolve", "looking up x", "check")
    fact = messages.Fact(ID, 17, 5, how, (denied, beside), stop_by_ns=9, shutdown=True)
    wire = json.loads(json.dumps(fact.to_message()))

    assert messages.Fact.from_message(wire) == fact


def test_a_denial_is_one_line_of_text() -> None:
    """What a guest or a manifest has named forges no line of a log."""
    forged = records.Denial("resolve", "looking up x\nERROR y\x1b[2J", "check\r\u2028\u202e\ud800")
    fact = messages.Fact(ID, 17, 5, None, (forged,))
    line = json.dumps({"denied": {"what": "resolve", "words": forged.words}}) + "\n"
    (read,) = messages.Fact.from_message(fact.to_message()).denied
    (told,) = journal.Journal.parse(line.encode()).denied

    words = r"looking up x\nERROR y\x1b[2J"
    assert read == records.Denial("resolve", words, r"check\r\u2028\u202e\ud800")
    assert told == records.Denial("resolve", words)
    assert records.Denial.from_fields(dataclasses.asdict(read)) == read


def test_a_room_comes_through() -> None:
    """So does what the runtime offers; what a later one adds is passed over."""
    room = messages.Room("wasmtime-py-50.0.1", 1000, 1, 1, worlds=("wasi:cli/command@0.2",))
    wire = json.loads(json.dumps(dataclasses.asdict(room) | {"colour": "blue"}))

    assert messages.Room.from_message(wire) == room


def test_shares_come_through() -> None:
    """So do shares; half of one is none."""
    share = messages.Share(ID, 1 << 20, 3)
    wire = json.loads(json.dumps(share.to_message()))
    del (half := dict(wire))["tasks"]

    assert messages.Share.from_message(wire) == share
    with pytest.raises(ValueError, match="cannot read share"):
        messages.Share.from_message(half)


def test_files_come_through() -> None:
    """So do specs, exits, stop notes and settings."""
    note = journal.StopNote(5, signalled=True)
    wanted = settings.RuntimeSettings(Path("/s"), Path("/r"), Path("/l"), agent_uid=7)
    whole = dataclasses.replace(wanted, owner=9, scratch=Path("/t"))

    assert records.ContainerSpec.from_json(SPEC.to_json()) == SPEC
    assert records.ExitRecord.from_json(EXIT.to_json()) == EXIT
    assert journal.StopNote.from_json(note.to_json()) == note
    for each in (wanted, whole):
        assert settings.RuntimeSettings.from_json(each.to_json()) == each


def test_specs_of_neighbouring_versions_are_read() -> None:
    """A newer agent's spec has a field more, an older one's a field less."""
    fields = json.loads(SPEC.to_json())
    newer = json.dumps(fields | {"colour": "blue"}).encode()
    del fields["stop_grace_s"]

    assert records.ContainerSpec.from_json(newer) == SPEC
    assert records.ContainerSpec.from_json(json.dumps(fields).encode()) == SPEC


JOURNAL = journal.claimed(17, 99, 5) + journal.entered(6) + journal.ended(EXIT)


@pytest.mark.parametrize("size", range(len(JOURNAL) + 1))
def test_a_journal_cut_short_tells_what_it_can(size: int) -> None:
    """Only whole lines count, so that each cut gives an earlier state."""
    whole = JOURNAL[:size].count(b"\n")
    states = [
        journal.Journal(),
        journal.Journal(17, 99, 5),
        journal.Journal(17, 99, 5, 6),
        journal.Journal(17, 99, 5, 6, EXIT),
    ]

    assert journal.Journal.parse(JOURNAL[:size]) == states[whole]


def test_a_journal_is_believed_in_what_it_says_first() -> None:
    """A guest that has got out of its sandbox cannot become another process."""
    forged = b'{"pid": 1, "start_ticks": 1, "entered_at_ns": 9}\n'
    one = b'{"denied": {"what": "ask", "words": "x"}}\n'
    other = b'{"denied": {"what": "new", "words": "y", "command": "not its own"}}\n'

    assert journal.Journal.parse(JOURNAL + forged) == journal.Journal(17, 99, 5, 6, EXIT)
    assert journal.Journal.parse(one + other).denied == (
        records.Denial("ask", "x"),
        records.Denial("new", "y"),
    )


def test_a_process_name_cannot_lie_about_its_start() -> None:
    """Spaces and parentheses in a name do not move the fields behind it."""
    stat = b"17 (a) R 1 (b) S " + b" ".join(b"%d" % each for each in range(4, 53))

    assert (journal.state(stat), journal.start_ticks(stat)) == ("S", 22)


@pytest.mark.parametrize(
    "bad",
    [
        {"pod_uid": ""},
        {"pod_uid": "."},
        {"pod_uid": "a/b"},
        {"pod_uid": "x" * 64},
        {"container": ".."},
        {"container": "UPPER"},
        {"container": "a\n"},
        {"attempt": -1},
        {"attempt": True},
        {"attempt": 10**9},
    ],
)
def test_an_id_is_safe_in_a_path(bad: dict[str, object]) -> None:
    """What could lead elsewhere is refused."""
    with pytest.raises(ValueError, match="cannot use"):
        layout.checked(dataclasses.replace(ID, **bad))  # type: ignore[arg-type]


def test_attempts_are_found_on_disk(tmp_path: Path) -> None:
    """The tree is read back as ids; what is no id is passed over."""
    for each in (ID, dataclasses.replace(ID, attempt=10)):
        layout.attempt(tmp_path, each).mkdir(parents=True)
    (layout.container(tmp_path, ID) / "notes").mkdir()
    (layout.pods(tmp_path) / "_bad" / "containers" / "main" / "0").mkdir(parents=True)

    assert [each.attempt for each in layout.attempts(tmp_path)] == [3, 10]
