"""What the doc test believes: pages are read, run and compared as they say."""

from pathlib import Path

import pytest

from e2e import documents


def _page(*lines: str) -> str:
    return "\n".join(["# Title", "", "```console", *lines, "```", "more"])


def _commands(*lines: str) -> tuple[documents.Command, ...]:
    (block,) = documents.read(_page(*lines))
    return block.commands


def _run(directory: Path, *lines: str, within_s: float = 10) -> list[str]:
    """Return what is wrong with each command of a session that is run."""
    commands = _commands(*lines)
    outcomes = documents.run(
        commands, directory=directory, environment={"PATH": "/usr/bin:/bin"}, within_s=within_s
    )
    return [documents.problem(*each) for each in zip(commands, outcomes, strict=True)]


def test_a_session_is_commands_with_their_output() -> None:
    """Each prompt begins a command; what follows is its output."""
    first, second = _commands("$ one", "$ two --flag", "said", "", "more")

    assert (first.line, first.text, first.output) == (4, "one", ())
    assert (second.line, second.text, second.output) == (5, "two --flag", ("said", "", "more"))


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["$ a \\", "    b", "out"], "a \\\n    b"),
        (["$ cat <<EOF", "no prompt", "EOF", "out"], "cat <<EOF\nno prompt\nEOF"),
    ],
    ids=["backslash", "here-document"],
)
def test_a_command_may_have_several_lines(lines: list[str], text: str) -> None:
    """A backslash and a here-document carry a command on."""
    (command,) = _commands(*lines)

    assert (command.text, command.output) == (text, ("out",))


def test_a_block_is_left_out_with_a_reason() -> None:
    """Only a comment right above a block leaves it out."""
    page = "<!-- not run: it needs a VM -->\n```console\n$ a\n```\n\n```console\n$ b\n```\n"

    assert [each.not_run for each in documents.read(page)] == ["it needs a VM", ""]


@pytest.mark.parametrize("page", ["```console\nno prompt\n```\n", "```console\n$ no end\n"])
def test_a_malformed_block_is_an_error(page: str) -> None:
    """What cannot be run is never passed over."""
    with pytest.raises(documents.Malformed):
        documents.read(page)


def test_a_page_has_one_shell(tmp_path: Path) -> None:
    """What a command sets, the next one finds."""
    assert _run(tmp_path, "$ where=here", "$ mkdir a && cd a", "$ echo $where", "here") == [""] * 3


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (["one two"], ["one two"]),
        (["one   two  "], ["one two"]),
        (["a", "b", "c", "d"], ["a", "...", "d"]),
        (["a"], ["a", "..."]),
        (["id 5f1d0d2f and more"], ["id ... and more"]),
        (["web-6d4cf56db6-x2x9z 12s"], ["web-5c4bd9f7c8-aaaaa 3m2s"]),
        (["at 10.0.0.7:8080"], ["at 127.0.0.1:5000"]),
        (["(.*) [x]"], ["(.*) [x]"]),
        (
            ['a/b: Compiling image "a" for this machine, once for all its containers', "hello"],
            ["hello"],
        ),
    ],
)
def test_output_is_as_shown(tmp_path: Path, said: list[str], shown: list[str]) -> None:
    """Spaces, what was cut, and what differs from run to run do not matter."""
    (tmp_path / "said").write_text("\n".join(said) + "\n")

    assert _run(tmp_path, "$ cat said", *shown) == [""]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (["one"], ["two"]),
        (["one", "two"], ["one"]),
        (["one"], ["one", "two"]),
        (["axb"], ["a.b"]),
        (["a", "b", "c"], ["a", "...", "d"]),
        (["got 3"], ["got 4"]),
    ],
)
def test_other_output_is_a_problem(tmp_path: Path, said: list[str], shown: list[str]) -> None:
    """A line more, less or another one is found."""
    (tmp_path / "said").write_text("\n".join(said) + "\n")

    (problem,) = _run(tmp_path, "$ cat said", *shown)

    assert "line 4: cat said\nsaid something else" in problem


def test_a_failing_command_is_a_problem(tmp_path: Path) -> None:
    """A command has to succeed, whether or not its output is shown."""
    good, bad = _run(tmp_path, "$ echo fine", "$ ls nowhere")

    assert good == ""
    assert "ended with 2" in bad
    assert "nowhere" in bad


def test_a_command_without_end_is_a_problem(tmp_path: Path) -> None:
    """What hangs is ended, with all that it started, and said."""
    good, hung, after = _run(tmp_path, "$ echo a", "$ sleep 60", "$ touch never", "x", within_s=0.5)

    assert good == ""
    assert "did not end" in hung
    assert "did not end" in after
    assert not (tmp_path / "never").exists()
