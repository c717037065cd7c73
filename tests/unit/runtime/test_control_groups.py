"""
Where control groups lie and what is written into them.

Version 1 is also run for real, by the component tests. Version 2 is tested on
a tree of plain files only: this shows what is written where, not that a kernel
likes it.
"""

from pathlib import Path

import pytest

from wasm_node.protocol import records
from wasm_node.runtime.limits import cgroup2, groups, hierarchies

ID = records.AttemptId("uid-1", "main", 0)
V1_OWN = "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n"
V1_MOUNTS = (
    "30 23 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
    "33 23 0:29 / /proc rw - proc proc rw\n"
)
V2_OWN = "0::/system.slice/wasm-node.service\n"
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_each_controller_is_found() -> None:
    """Also where the mount shows only our own part of the tree."""
    found = hierarchies.controllers(V1_OWN, V1_MOUNTS)

    assert found["memory"] == Path("/sys/fs/cgroup/memory")
    assert found["cpu"] == Path("/sys/fs/cgroup/cpu,cpuacct/docker/abc")
    assert hierarchies.controllers(V2_OWN, V2_MOUNTS) == {}


def test_the_one_tree_is_found() -> None:
    """Version 2 has one place; without a mount of it there is none."""
    assert hierarchies.unified(V2_OWN, V2_MOUNTS) == Path(
        "/sys/fs/cgroup/system.slice/wasm-node.service"
    )
    assert hierarchies.unified(V2_OWN, "") is None
    assert hierarchies.unified("4:memory:/x\n", V2_MOUNTS) is None


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a delegated group with this process and another in it."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "cgroup.procs").write_text("17\n18\n")
    return own


def test_the_runtime_moves_into_a_leaf(tree: Path) -> None:
    """Only then can the controllers be handed down; found there, it stays."""
    cgroup2.Cgroup2(tree, "wasm-node-x")
    cgroup2.Cgroup2(tree / "wasm-node-self", "wasm-node-x")

    assert (tree / "wasm-node-self" / "cgroup.procs").read_text() == "18"  # the last one written
    assert (tree / "cgroup.subtree_control").read_text() == "+memory +cpu"
    assert not (tree / "wasm-node-self" / "wasm-node-self").exists()


def test_limits_are_written(tree: Path) -> None:
    """Memory gets room for the worker, CPU its share of each period."""
    made = cgroup2.Cgroup2(tree, "wasm-node-x")
    joins = made.make(ID, 64 << 20, 250)
    group = tree / "wasm-node-x" / "uid-1" / "main"

    assert joins == [str(group / "cgroup.procs")]
    assert (group / "memory.max").read_text() == str((64 << 20) + groups.ROOM_BYTES)
    assert (group / "cpu.max").read_text() == "25000 100000"


def test_no_limit_no_group(tree: Path) -> None:
    """A container without limits costs the kernel nothing."""
    made = cgroup2.Cgroup2(tree, "wasm-node-x")

    assert made.make(ID, None, None) == []
    assert made.memory_kills(ID) == 0
    assert not (tree / "wasm-node-x" / "uid-1").exists()


def test_kills_are_counted(tree: Path) -> None:
    """The kernel's own count is what says OOMKilled."""
    made = cgroup2.Cgroup2(tree, "wasm-node-x")
    made.make(ID, 64 << 20, None)
    events = tree / "wasm-node-x" / "uid-1" / "main" / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n")

    assert made.memory_kills(ID) == 1


@pytest.mark.parametrize(("millis", "quota"), [(1, 1000), (10, 1000), (100, 10000), (2500, 250000)])
def test_cpu_quota(millis: int, quota: int) -> None:
    """Thousandths of a core of 100 ms; never less than the kernel takes."""
    assert groups.quota_us(millis, 100_000) == quota


def test_a_host_without_groups_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Only when a limit is asked for, and only the first time."""
    none = groups.NoGroups("the tree is read-only")
    for memory in (None, 1, 2):
        assert none.make(ID, memory, None) == []

    assert capsys.readouterr().err.count("read-only") == 1
