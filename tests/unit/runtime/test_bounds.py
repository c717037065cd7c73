"""
How much is left, by what bounds a runtime from outside.

On trees of plain files: version 1 is run for real by the component tests, of
version 2 this shows what is read where.
"""

from pathlib import Path

import pytest

from wasm_node.protocol import messages, settings
from wasm_node.runtime import room, volumes
from wasm_node.runtime.limits import bounds
from wasm_node.runtime.limits.bounds import Bound

HOST = Bound(8 << 20, 3 << 20)
TASKS = Bound(32768, 345)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Return a host's figures, the pids' limit below that of threads."""
    made = tmp_path / "proc"
    (made / "sys/kernel").mkdir(parents=True)
    (made / "meminfo").write_text("MemTotal: 8192 kB\nMemFree: 9 kB\nMemAvailable: 5120 kB\n")
    (made / "sys/kernel/pid_max").write_text("32768\n")
    (made / "sys/kernel/threads-max").write_text("99999\n")
    (made / "loadavg").write_text("0.1 0.2 0.3 2/345 6789\n")
    return made


def _write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def _around(own: str, mounts: str, proc: Path) -> tuple[list[Bound], list[Bound]]:
    made = bounds.Bounds(own, mounts, proc)
    memory, tasks = list(made.memory()), list(made.tasks())
    assert made.memory_bytes == min(each.limit for each in memory)
    assert made.most_tasks == min(each.limit for each in tasks)
    return memory, tasks


def test_version_2_has_one_tree(tmp_path: Path, proc: Path) -> None:
    """Our leaf has no limit, the pod above it has; the root has no files."""
    root = tmp_path / "cgroup"
    pod, leaf = root / "pod", root / "pod" / "wasm-node-self"
    stat = "anon 700\ninactive_file 300\nactive_file 5\n"
    _write(leaf, memory__max="max\n", memory__current="999\n", memory__stat=stat)
    _write(pod, memory__max="5000\n", memory__current="1000\n", memory__stat=stat)
    _write(pod, pids__max="100\n", pids__current="7\n")
    mounts = f"30 23 0:26 / {root} rw - cgroup2 cgroup2 rw\n"

    assert _around("0::/pod/wasm-node-self\n", mounts, proc) == (
        [Bound(5000, 700), HOST],
        [Bound(100, 7), TASKS],
    )


def test_version_1_has_a_tree_for_each(tmp_path: Path, proc: Path) -> None:
    """Each group and all above it; a number near 2**63 is no limit."""
    memory, pids = tmp_path / "memory", tmp_path / "pids"
    stat = "inactive_file 1\ntotal_inactive_file 400\n"
    for directory, limit, used in ((memory / "a/b", 3000, 1000), (memory / "a", 4000, 300)):
        _write(directory, memory__limit_in_bytes=f"{limit}\n", memory__stat=stat)
        _write(directory, memory__usage_in_bytes=f"{used}\n")
    _write(memory, memory__limit_in_bytes="9223372036854771712\n", memory__usage_in_bytes="5\n")
    _write(pids / "c", pids__max="max\n", pids__current="9\n")
    own = "4:memory:/a/b\n3:pids:/c\n0::/\n"
    mounts = (
        f"30 23 0:26 / {memory} rw - cgroup cgroup rw,memory\n"
        f"31 23 0:27 / {pids} rw - cgroup cgroup rw,pids\n"
        f"32 23 0:28 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n"
    )

    assert _around(own, mounts, proc) == (
        [Bound(3000, 600), Bound(4000, 0), HOST],  # never less than nothing
        [TASKS],
    )


def test_without_groups_there_is_the_host(proc: Path) -> None:
    """As in a container that shows none."""
    assert _around("", "", proc) == ([HOST], [TASKS])


@pytest.mark.parametrize(
    ("told", "own_bytes", "level"),
    [
        (None, 0, messages.Level(5 << 20, 8 << 20)),
        (9 << 20, 0, messages.Level(5 << 20, 9 << 20)),  # more than there is: the host counts
        (4 << 20, 1 << 20, messages.Level(3 << 20, 4 << 20)),  # by what we use ourselves
        (4 << 20, 9 << 20, messages.Level(0, 4 << 20)),
    ],
)
def test_what_is_told_is_the_capacity(
    proc: Path, told: int | None, own_bytes: int, level: messages.Level
) -> None:
    """It counts where no group is as small; the nearest bound decides."""
    wanted = settings.RuntimeSettings(Path("/s"), Path("/r"), Path("/l"), memory_bytes=told)
    around = bounds.Bounds("", "", proc)

    assert room.memory_left(wanted, around, lambda: own_bytes) == level
    assert room.tasks_left(around) == messages.Level(32768 - 345, 32768)


def test_a_measurement_is_bounded(tmp_path: Path) -> None:
    """Neither many files nor slow disks hold it up; what it saw, it tells."""
    for number in range(20):
        _write(tmp_path / f"d{number}", file="x")
    (tmp_path / "loop").symlink_to(tmp_path)
    whole = volumes.measure(tmp_path)
    part = volumes.measure(tmp_path, most_entries=10)
    late = volumes.measure(tmp_path, within_s=-1.0)

    assert (whole.inodes, whole.whole) == (42, True)
    assert (part.inodes, part.whole) == (10, False)
    assert (late.inodes, late.whole) == (0, False)
    assert 0 < part.used_bytes < whole.used_bytes
