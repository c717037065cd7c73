"""What stands between a guest and the rest: users, mounts, descriptors."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from tests.component.runtime.running import (
    RunningRuntime,
    children,
    comm,
    open_paths,
    program,
    thread_count,
    until,
)
from tests.wasm import guests
from wasm_node.agent import errors
from wasm_node.agent.model import ids, image
from wasm_node.protocol import layout
from wasm_node.protocol.records import EndedBy, Mount


def _status(pid: int, field: str) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(f"{field}:"))


async def test_each_pod_is_another_user(shared: RunningRuntime) -> None:
    """By root pods get users of their own, by others none; never root."""
    pids = [
        (await shared.started(shared.spec("sleep", pod=pod, attempt=attempt))).pid
        for pod, attempt in (("tenant-a", 0), ("tenant-b", 0), ("tenant-a", 1))
    ]
    users = [set(_status(pid, "Uid")) | set(_status(pid, "Gid")) for pid in pids]
    may_give = os.geteuid() == 0

    assert users[0] == users[2]
    assert (users[0] != users[1]) is may_give
    assert all(len(each) == 1 and "0" not in each for each in users)
    assert not may_give or _status(pids[0], "Groups") == []


async def test_a_worker_has_given_up_its_rights(shared: RunningRuntime) -> None:
    """
    No new privileges, no capabilities, few descriptors, three threads.

    Of sockets it has the bell alone, if any: to say that there is news of it.
    """
    pid = (await shared.started(shared.spec("sleep", pod="humble"))).pid
    paths = open_paths(pid)
    sockets = [each for each in paths if each.startswith("socket:")]

    assert _status(pid, "NoNewPrivs") == ["1"]
    if os.geteuid() == 0:
        assert _status(pid, "CapEff") == ["0000000000000000"]
    assert thread_count(pid) <= 3
    assert [_unix_socket(each) for each in sockets] in ([], [_NAMELESS_DATAGRAM])
    assert not any(each.endswith((".sock", "runtime.lock")) for each in paths)


_NAMELESS_DATAGRAM = ["0002"]


def _unix_socket(link: str) -> list[str]:
    """Return type and name of what /proc shows as `socket:[INODE]`."""
    inode = link.removeprefix("socket:[").removesuffix("]")
    rows = [each.split() for each in Path("/proc/net/unix").read_text().splitlines()]
    return next([row[4], *row[7:]] for row in rows if inode in row[6:7])


@pytest.fixture
def greeted(tmp_path: Path) -> Path:
    """Return a directory that all may read, with the file `greeting`."""
    (tmp_path / "greeting").write_text("hello from the host\n")
    tmp_path.chmod(0o755)
    return tmp_path


async def test_a_mount_is_all_that_is_seen(shared: RunningRuntime, greeted: Path) -> None:
    """A guest reads a file of its mount, and cannot leave it."""
    mounts = [Mount(str(greeted), "/data", read_only=True)]
    spec = shared.spec("readfile", "/data/greeting", pod="reader", mounts=mounts)
    how = await shared.run(spec)
    escape = shared.spec("readfile", "/data/../etc/passwd", pod="escaper", mounts=mounts)
    beyond = await shared.run(escape)

    assert how.code == 0
    assert ["hello from the host"] == [text for _, _, text in shared.log(spec)]
    assert beyond.code != 0


async def test_a_read_only_mount_is_read_only(shared: RunningRuntime) -> None:
    """A guest cannot write where its manifest does not let it."""
    mounts = [Mount(str(shared.mount), "/ledger", read_only=True)]
    how = await shared.run(shared.spec("ledger", "x", pod="scribbler", mounts=mounts))

    assert (EndedBy.ITSELF, False) == (how.ended_by, how.code == 0)
    assert [] == list(shared.mount.iterdir())


async def test_what_cannot_run_is_refused_with_a_reason(shared: RunningRuntime) -> None:
    """Missing imports and bytes that are no wasm are told before any start."""
    with pytest.raises(errors.BadInput, match=r"imports env\.nope") as missing:
        await shared.containers.prepare(program(guests.path("missing")))
    with pytest.raises(errors.BadInput, match="cannot use") as corrupt:
        await shared.containers.prepare(program(guests.path("corrupt")))

    assert missing.value.reason == "MissingImport"
    assert "wasi_snapshot_preview1" in str(missing.value)
    assert corrupt.value.reason == "InvalidModule"


async def test_a_wrong_digest_is_refused(shared: RunningRuntime, tmp_path: Path) -> None:
    """Bytes that are not those of the digest are never compiled."""
    right = program(guests.path("count"))
    other = tmp_path / "other.wasm"
    other.write_bytes(right.path.read_bytes() + b"\0")
    wrong = image.Program(other, right.digest, right.kind, right.argv)

    with pytest.raises(errors.BadInput, match="digest"):
        await shared.containers.prepare(wrong)


async def test_compiling_leaves_nobody(shared: RunningRuntime) -> None:
    """The compiler's process is gone after its answer."""
    await shared.containers.prepare(program(guests.path("flood")))
    assert shared.process is not None
    init = shared.process.pid

    until(
        lambda: "wasm-node compi" not in {comm(pid) for pid in children(init)},
        "no compiler is left",
    )


async def test_an_ordinary_user_can_run_it_all(ordinary: RunningRuntime) -> None:
    """Without root guests run and end as ever, as the user's processes."""
    how = await ordinary.run(ordinary.spec("exit", "42", pod="ends"))
    spec = ordinary.spec("sleep", pod="stops")
    worker = await ordinary.started(spec)
    users = set(_status(worker.pid, "Uid"))
    await ordinary.containers.stop(spec.id, grace_s=0.0)

    assert (how.code, how.ended_by) == (42, EndedBy.ITSELF)
    assert users == {str(os.geteuid())}
    assert (await ordinary.ended(spec.id)).ended_by is EndedBy.STOP


async def test_a_volume_is_its_pods_alone(shared: RunningRuntime) -> None:
    """Nobody but the pod's user may enter it; with the pod it is gone."""
    spec = shared.spec("sleep", pod="volumes")
    path = layout.volume(shared.settings.state, "volumes", "data")
    spec = dataclasses.replace(spec, mounts=(Mount(str(path), "/data", read_only=False),))
    users = _status((await shared.started(spec)).pid, "Uid")
    made = path.stat()
    await shared.containers.stop(spec.id, grace_s=0.0)
    await shared.ended(spec.id)
    await shared.containers.forget(ids.PodUid("volumes"))
    trash = shared.settings.state / layout.TRASH

    assert stat.S_IMODE(made.st_mode) == 0o700
    assert {str(made.st_uid)} == set(users)
    assert not path.parent.exists()
    until(lambda: not list(trash.iterdir()), "the volume's files are gone")
