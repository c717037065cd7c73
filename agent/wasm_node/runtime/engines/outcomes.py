"""
What every engine gives back: the results of compiling and of running.

The seam of `engines/`: an engine has `name`, `worlds`, `cache_key()`,
`compile(bytes)`, `admit(spec)` before the lockdown, and `load` and `run` after
it; `run` can call an export by name instead of a program's start. Nothing
outside this room and the paths of the cache knows which one ran.
"""

import dataclasses

from wasm_node.protocol import records


class CannotStart(Exception):  # it ends up as a record, not as a failure of ours
    """The guest could not be entered; the text says why, for a person."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """
    A module fit to run here, and what it asks for.

    Attributes:
        kind: `module` or `component`.
        code: machine code of this engine and CPU.
        missing: imports that this engine does not give, by name.
    """

    kind: str
    code: bytes
    missing: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """
    How a guest ended by itself.

    Attributes:
        code: 0-255.
        ended_by: the guest itself, or its memory limit where that is inferred.
        reason: for `state.terminated.reason`.
        message: for people; empty where the code says it all.
        trace: for the log: all that the engine can tell of a trap.
    """

    code: int
    ended_by: records.EndedBy = records.EndedBy.ITSELF
    reason: str = "Completed"
    message: str = ""
    trace: str = ""


def exited(code: int) -> Outcome:
    """
    Return the outcome of a guest that gave an exit code.

    Codes are the low eight bits, as for every process; but a failure never
    becomes a success by that: 256 is 255.
    """
    low = code & 0xFF
    if code and not low:
        low = 255
    text = "" if low == code else f"the guest asked for exit code {code}; a process has 0-255"
    return Outcome(low, reason="Completed" if code == 0 else "Error", message=text)


def refused(why: str) -> Outcome:
    """Return the outcome of a function that returned an error with a text."""
    return Outcome(1, reason="Error", message=why, trace=f"{why}\n" if why else "")


def cannot_call(export: str) -> CannotStart:
    """Return why a function is not one that can be called by its name alone."""
    text = (
        f"cannot call {export}: only functions without parameters can be called, which return "
        "nothing, an integer, or, of a component, a result with no more than a string as error"
    )
    return CannotStart(text)


def trapped(trace: str) -> Outcome:
    """
    Return the outcome of a trap: an abort, so 128 + SIGABRT.

    The engine tells first where it was and then what happened; a person wants
    to read it the other way round, and a message that is cut short must.
    """
    where, _, what = trace.partition("\n\nCaused by:\n")
    text = f"{what.strip()}\n{where.removeprefix('error while executing at ')}".strip()
    return Outcome(134, reason="WasmTrap", message=text, trace=f"{text}\n")


def failed(how: str) -> Outcome:
    """Return the outcome of a guest under which the engine itself failed."""
    return Outcome(255, records.EndedBy.CRASH, "Error", f"the engine failed: {how}")


def out_of_memory(before: Outcome, used_bytes: int, limit_bytes: int) -> Outcome:
    """Return an abnormal outcome again, as one that memory probably caused."""
    how = "trapped" if before.reason == "WasmTrap" else f"ended with code {before.code}"
    text = (
        f"inferred: the guest {how} with {used_bytes} of at most {limit_bytes} bytes of memory "
        f"in use. {before.message}"
    )
    return Outcome(137, records.EndedBy.MEMORY, "OOMKilled", text.strip(), before.trace)
