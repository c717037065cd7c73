"""The file at terminationMessagePath: what a guest may do, and who reads it."""

import dataclasses
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.component.runtime.running import RunningRuntime
from wasm_node.protocol import layout, records
from wasm_node.runtime import lastwords

NAME = "termination-log"


def _spec(
    runtime: RunningRuntime, guest: str, *args: str, pod: str, name: str = NAME, **fields: Any
) -> records.ContainerSpec:
    spec = runtime.spec(guest, *args, pod=f"words-{pod}")
    directory = layout.message(runtime.settings.state, spec.id)
    mount = records.Mount(str(directory), "/dev", read_only=False)
    return dataclasses.replace(spec, mounts=(mount,), message_file=name, **fields)


@pytest.mark.parametrize(
    ("text", "times", "code", "message"),
    [
        ("bye", 1, 0, "bye"),
        ("bye", 1, 3, "bye"),
        ("x", 4095, 1, "x" * 4095),
        ("123456789-", 1000, 1, ("123456789-" * 410)[4:]),
        ("bye", 0, 1, ""),
    ],
    ids=["well", "failed", "much", "more", "nothing"],
)
async def test_what_a_guest_leaves_is_its_message(
    shared: RunningRuntime,
    request: pytest.FixtureRequest,
    text: str,
    times: int,
    code: int,
    message: str,
) -> None:
    """Whatever its code; the last 4096 bytes, as a kubelet reads them."""
    pod = request.node.callspec.id.split("-")[-1]
    how = await shared.run(_spec(shared, "leave", NAME, text, str(times), str(code), pod=pod))

    assert (code, message) == (how.code, how.message)


async def test_a_trap_comes_first(shared: RunningRuntime) -> None:
    """What the ending says of itself stands before the guest's own words."""
    how = await shared.run(_spec(shared, "leave", NAME, "bye", "1", "255", pod="trap"))

    assert how.reason == "WasmTrap"
    assert "unreachable" in how.message
    assert how.message.endswith(": bye")


@pytest.mark.parametrize(("times", "message"), [(1, "bye"), (0, "")], ids=["file", "log"])
async def test_the_log_stands_for_an_empty_file(
    shared: RunningRuntime, times: int, message: str
) -> None:
    """With FallbackToLogsOnError, and only then; this guest prints nothing."""
    args = NAME, "bye", str(times), "1"
    spec = _spec(shared, "leave", *args, pod=f"fall-{times}", message_from_log=True)
    said = await shared.run(spec)
    printing = _spec(shared, "last-words", "1", pod=f"print-{times}", message_from_log=True)

    assert said.message == message
    assert (await shared.run(printing)).message == "the last words\n"


async def test_who_is_stopped_has_left_words_too(shared: RunningRuntime) -> None:
    """The file is read however the guest came to its end; then it is gone."""
    spec = _spec(shared, "ledger", "it", pod="stopped", name="starts")
    await shared.started(spec)
    directory = layout.message(shared.settings.state, spec.id)
    while not (directory / "starts").stat().st_size:
        pass
    mode = stat.S_IMODE(directory.stat().st_mode)
    await shared.containers.stop(spec.id, grace_s=0.0)
    how = await shared.ended(spec.id)

    assert (143, "it start\n") == (how.code, how.message)
    assert mode == 0o555
    assert not directory.exists()


async def test_it_may_make_nothing_else(shared: RunningRuntime) -> None:
    """Of the directory the one file is the guest's: EACCES is 2 in WASI."""
    how = await shared.run(_spec(shared, "leave", "other", "x", "1", "0", pod="other"))

    assert (66, "") == (how.code, how.message)


async def test_an_ordinary_user_has_it_too(ordinary: RunningRuntime) -> None:
    """Without privileges the file is ours, and alone all the same."""
    left = await ordinary.run(_spec(ordinary, "leave", NAME, "bye", "1", "0", pod="plain"))
    other = await ordinary.run(_spec(ordinary, "leave", "other", "x", "1", "0", pod="plain-other"))

    assert (0, "bye") == (left.code, left.message)
    assert 66 == other.code
    assert not list(ordinary.settings.state.rglob("message"))


def test_it_may_be_made_again(tmp_path: Path) -> None:
    """A start that is sent again takes nothing from what was written."""
    for text in ("", "written"):
        lastwords.make(tmp_path / "message", NAME, os.getuid())
        (tmp_path / "message" / NAME).write_text(text)
    lastwords.make(tmp_path / "message", NAME, os.getuid())

    assert lastwords.read(tmp_path / "message" / NAME) == "written"
    lastwords.remove(tmp_path / "message")
    lastwords.remove(tmp_path / "message")
    assert not (tmp_path / "message").exists()


def test_no_link_is_followed(tmp_path: Path) -> None:
    """Nothing is read of links and pipes, and none is waited for."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "pipe")
    said = {name: lastwords.read(tmp_path / name) for name in ("link", "pipe", "gone")}

    assert said == {
        "link": "Error on reading termination log: Too many levels of symbolic links",
        "pipe": "",
        "gone": "",
    }


def test_what_is_no_text_is_told_all_the_same(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are replaced; the API takes only text."""
    (tmp_path / "file").write_bytes(b"\xff!")

    assert "\N{REPLACEMENT CHARACTER}!" == lastwords.read(tmp_path / "file")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", "a\0"])
def test_the_name_is_one(tmp_path: Path, name: str) -> None:
    """It cannot lead out of the directory."""
    with pytest.raises(OSError, match="as the name of a file"):
        lastwords.make(tmp_path / "message", name, None)
