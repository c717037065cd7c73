"""
What the documentation tells people to type: read, run and compared.

A block marked `console` is a session: `$ ` begins a command, which goes on
after a backslash and to the end of a here-document, and what follows is its
output. A command must succeed. Output that is shown is compared as a whole,
after what differs from run to run; `...` stands for what was cut. A block is
left out only by a comment `<!-- not run: REASON -->` right above it.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RUN = "blocks of the documentation"
"""Property of a test's report: how many it has typed; see `summary`."""

_FENCE = "```"
_BLOCK = "```console"
_PROMPT = "$ "
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)")
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_MARK = "\x1e"  # ASCII's record separator: no program here prints it

# What differs from run to run, in the order in which it is replaced.
_CHANGING = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "<uid>",
    r"sha256:[0-9a-f]{64}": "sha256:<digest>",
    r"-[0-9a-f]{8,10}-[a-z0-9]{5}\b": "-<replica>",
    r"\b\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)": "<time>",
    r"\d+(\.\d+){3}(:\d+)?": "<address>",
    r"\b(\d+(\.\d+)?(h|ms|m|s))+\b": "<age>",
    r"\+wasm-node\.\S+": "+wasm-node.<version>",
    r"[ \t]+": " ",
}

# What a machine says only where it is slow.
_SOMETIMES = re.compile(r'.*: Compiling image ".*" for this machine, once for all its containers')


class Malformed(ValueError):
    """A page cannot be read; the text says where and why."""


@dataclass(frozen=True)
class Command:
    """
    One thing to type.

    Attributes:
        line: where it stands in its page, from 1.
        text: may have several lines.
        output: its lines as shown; none: nothing is said about it.
    """

    line: int
    text: str
    output: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """
    One session.

    Attributes:
        line: of its fence.
        not_run: why it is left out; empty if it is run.
    """

    line: int
    commands: tuple[Command, ...]
    not_run: str


@dataclass(frozen=True)
class Outcome:
    """What became of a command; status None: its shell had ended before."""

    output: str
    status: int | None


def read(page: str) -> list[Block]:
    """
    List the sessions of a page.

    Raises:
        Malformed: a block does not begin with a command, or does not end.
    """
    lines = page.splitlines()
    return [_block(lines, number) for number, line in enumerate(lines) if line.strip() == _BLOCK]


def _block(lines: Sequence[str], fence: int) -> Block:
    indent = lines[fence].index(_FENCE)
    try:
        size = [each.strip() for each in lines[fence + 1 :]].index(_FENCE)
    except ValueError:
        raise Malformed(f"cannot read the block at line {fence + 1}: it has no end") from None
    session = [each[indent:] for each in lines[fence + 1 : fence + 1 + size]]
    why = _NOT_RUN.fullmatch(lines[fence - 1].strip()) if fence else None
    commands = tuple(_commands(session, fence + 2))
    return Block(fence + 1, commands, why[1] if why else "")


def _commands(session: Sequence[str], first: int) -> Iterator[Command]:
    if not session or not session[0].startswith(_PROMPT):
        raise Malformed(f"cannot read the block before line {first}: it begins with no command")
    starts = [at for at, line in enumerate(session) if line.startswith(_PROMPT)]
    for start, end in zip(starts, [*starts[1:], len(session)], strict=True):
        size = _size(session[start:end])
        text = "\n".join(session[start : start + size]).removeprefix(_PROMPT)
        yield Command(first + start, text, tuple(session[start + size : end]))


def _size(lines: Sequence[str]) -> int:
    """Return how many of the lines are the command."""
    here = _HERE_DOCUMENT.search(lines[0])
    if here is not None and here[1] in lines:
        return lines.index(here[1]) + 1
    size = 1
    while lines[size - 1].endswith("\\") and size < len(lines):
        size += 1
    return size


def run(
    commands: Sequence[Command],
    *,
    directory: Path,
    environment: Mapping[str, str],
    within_s: float,
) -> list[Outcome]:
    """
    Type all commands into one shell; return what became of each.

    What they leave running in the background is ended.
    """
    marks = (f"\nprintf '\\n{_MARK}%d\\n' $?\n" for _ in commands)
    script = "".join(f"{each.text}{mark}" for each, mark in zip(commands, marks, strict=True))
    file, log = directory / ".page.sh", directory / ".page.log"
    file.write_text(script)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["bash", "--noprofile", "--norc", file],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as shell,
    ):
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(within_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    return _outcomes(log.read_text(errors="replace"), len(commands))


def _outcomes(said: str, count: int) -> list[Outcome]:
    parts = said.split(_MARK)
    found = []
    output = parts[0]
    for part in parts[1:]:
        status, _, rest = part.partition("\n")
        found.append(Outcome(output.removesuffix("\n"), int(status)))
        output = rest
    cut = [Outcome(output, None)] * (count - len(found))
    return found + cut


def problem(command: Command, outcome: Outcome) -> str:
    """Say what is wrong with an outcome; empty if it is as the page says."""
    if outcome.status is None:
        how = "did not end"
    elif outcome.status:
        how = f"ended with {outcome.status}"
    elif command.output and not _is_like(command.output, outcome.output.splitlines()):
        how = "said something else"
    else:
        return ""
    shown = "\n".join(command.output) or "(nothing)"
    return f"line {command.line}: {command.text}\n{how}:\n{outcome.output}\nnot:\n{shown}\n"


def _is_like(shown: Sequence[str], said: Sequence[str]) -> bool:
    """Compare lines, where `...` in what is shown stands for anything."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else f"{_pattern(line)}\\n" for line in shown
    )
    always = (line for line in said if not _SOMETIMES.fullmatch(line))
    return re.fullmatch(pattern, "".join(f"{_constant(line)}\n" for line in always)) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(_constant(part)) for part in line.split("..."))


def _constant(line: str) -> str:
    for changing, name in _CHANGING.items():
        line = re.sub(changing, name, line)
    return line.rstrip()


def pages(checkout: Path) -> list[Path]:
    """List the pages that need no hosts, README first."""
    docs = sorted(set((checkout / "docs").glob("*.md")) - set(pages_for_hosts(checkout)))
    return [checkout / "README.md", checkout / "examples" / "README.md", *docs]


def pages_for_hosts(checkout: Path) -> list[Path]:
    """List the pages that need hosts, in the order of a release's life."""
    return [checkout / "docs" / name for name in ("install.md", "metrics.md", "upgrade.md")]


def count(page: Path) -> int:
    """Return how many blocks of a page are run."""
    return sum(not block.not_run for block in read(page.read_text()))


def summary(recorded: Iterable[tuple[str, object]], checkout: Path) -> str:
    """
    Say how many blocks were run, and of those that never are, why.

    Args:
        recorded: properties of tests' reports; those named `RUN` count.
        checkout: where the pages are.
    """
    total = sum(int(str(value)) for name, value in recorded if name == RUN)
    left_out = [
        f"{page.relative_to(checkout)}:{block.line}: {block.not_run}"
        for page in [*pages(checkout), *pages_for_hosts(checkout)]
        for block in read(page.read_text())
        if block.not_run
    ]
    return "\n  ".join([f"{total} blocks run, {len(left_out)} never run:", *left_out])
