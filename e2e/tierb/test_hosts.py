"""The hosts themselves: what the machine that they stand on sees of them."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from e2e.cluster import guardian, wait_until

_CHECKOUT = Path(__file__).parents[2]
_WRITTEN_BY_KUBELETS = ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory")
_OWNER = """
    import sys
    from pathlib import Path
    from e2e.cluster import Guard, hosts

    with Guard.start() as guard:
        bed = hosts.Hosts.start(guard, Path(sys.argv[1]))
        print(guard.pid, bed.network.number, flush=True)
        sys.stdin.read()
"""


def test_a_killed_owner_leaves_nothing(tmp_path: Path) -> None:
    """No process, interface, route, mount or cgroup, and no changed setting."""
    before = _settings()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_OWNER), tmp_path / "hosts"],
        cwd=_CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        root, number = map(int, owner.stdout.readline().split())
        pids = [root, *guardian.descendants(root)]
        during, traces = _settings(), _traces(number)
        owner.kill()

    wait_until(lambda: not any(map(_exists, pids)), "the end of all processes", within_s=60)
    wait_until(lambda: not _traces(number), "the machine as before", within_s=30)
    assert len(pids) > 10
    assert len(traces) > 4  # an interface, three routes, a cgroup or more
    assert during == before


def _settings() -> dict[str, str]:
    """Read the machine's own kernel settings that a kubelet changes."""
    return {name: Path("/proc/sys", name).read_text() for name in _WRITTEN_BY_KUBELETS}


def _traces(number: int) -> list[str]:
    """List what the machine shows of a test bed, by its number."""
    asked = (["ip", "-oneline", "link"], ["ip", "route"], ["cat", "/proc/self/mounts"])
    told = [subprocess.run(each, check=True, capture_output=True, text=True) for each in asked]
    lines = [line for each in told for line in each.stdout.splitlines()]
    mark = f"wasm-node-{number}"
    cgroups = [str(each) for each in Path("/sys/fs/cgroup").glob(f"**/{mark}-*")]
    return [line for line in lines if mark in re.split(r"[\s:@]+", line)] + cgroups


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
