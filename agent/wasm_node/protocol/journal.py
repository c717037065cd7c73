"""
What a worker writes about itself, and what the supervisor notes about a stop.

A worker may write nothing in its attempt's directory once it runs as the
pod's user, so it opens one file before and appends lines: that it has claimed
the attempt (the file is made with O_EXCL: a second worker for the same attempt
finds it and goes away), that the guest was entered, what of the network it
was denied, and how it ended. The
supervisor makes `exit.json` of it, whole and by rename. Lines are written with
one write each; a last line cut short by a full disk counts as not written.
"""

import dataclasses
import json
from typing import Any, Self

from wasm_node.protocol import records


@dataclasses.dataclass(frozen=True)
class Journal:
    """
    What a worker has told so far.

    Attributes:
        pid: of the worker; 0 if no worker has claimed the attempt.
        start_ticks: field 22 of /proc/PID/stat: with the pid, an identity.
        claimed_at_ns: unix time of the claim.
        entered_at_ns: unix time when the guest was entered; 0: not yet.
        exit: how it ended, in the worker's own words; None: it did not say.
        denied: what the guest wanted of the network and may not have.
    """

    pid: int = 0
    start_ticks: int = 0
    claimed_at_ns: int = 0
    entered_at_ns: int = 0
    exit: records.ExitRecord | None = None
    denied: tuple[records.Denial, ...] = ()

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read as many whole lines as there are; what was told first stays."""
        fields: dict[str, Any] = {}
        denied: list[records.Denial] = []
        for line in raw.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                said: dict[str, Any] = dict(json.loads(line))
                if isinstance(said.get("exit"), dict):
                    said["exit"] = records.ExitRecord.from_fields(said["exit"])
                if "denied" in said:
                    told = {**said.pop("denied"), "command": ""}  # it is its worker's own
                    denied.append(records.Denial.from_fields(told))
            except (KeyError, TypeError, ValueError):
                break
            fields = said | fields
        known = {each.name for each in dataclasses.fields(cls)}
        kept = {name: value for name, value in fields.items() if name in known}
        return cls(**kept, denied=tuple(denied))


def claimed(pid: int, start_ticks: int, at_ns: int) -> bytes:
    """Return a worker's first line."""
    return _line({"pid": pid, "start_ticks": start_ticks, "claimed_at_ns": at_ns})


def entered(at_ns: int) -> bytes:
    """Return the line written just before the guest's first instruction."""
    return _line({"entered_at_ns": at_ns})


def ended(how: records.ExitRecord) -> bytes:
    """Return a worker's last line."""
    return _line({"exit": dataclasses.asdict(how)})


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


@dataclasses.dataclass(frozen=True)
class StopNote:
    """
    That an attempt was asked to stop; on disk before any signal is sent.

    Attributes:
        deadline_ns: unix time until which the guest may end by itself.
        signalled: the signal was about to be sent when this was written.
        shutdown: since the runtime itself was told to end.
        held: nothing of it was begun: until the deadline it is the agent's,
            which has a hook to call, to say when.
    """

    deadline_ns: int
    signalled: bool
    shutdown: bool = False
    held: bool = False

    def to_json(self) -> bytes:
        """Encode for `stop.json`."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """
        Decode `stop.json`.

        Raises:
            ValueError: it is not one.
        """
        try:
            return cls(**json.loads(raw))
        except TypeError as error:
            raise ValueError(f"cannot read stop note: {error!r}") from error


def state(stat: bytes) -> str:
    """Return the state letter in the text of /proc/PID/stat."""
    return stat.rpartition(b")")[2].split()[0].decode()


def start_ticks(stat: bytes) -> int:
    """Return field 22 of the text of /proc/PID/stat."""
    return int(stat.rpartition(b")")[2].split()[19])
