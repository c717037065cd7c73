"""The hosts themselves: what the machine that they stand on sees of them."""

import subprocess
import sys
import textwrap
from pathlib import Path

from e2e import traces
from e2e.cluster import guardian, wait_until

_CHECKOUT = Path(__file__).parents[2]
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
    before = traces.settings()
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
        during, found = traces.settings(), traces.of_network(number)
        owner.kill()

    wait_until(lambda: not any(map(traces.exists, pids)), "the end of all processes", within_s=60)
    wait_until(lambda: not traces.of_network(number), "the machine as before", within_s=30)
    assert len(pids) > 10
    assert len(found) > 4  # an interface, three routes, a cgroup or more
    assert during == before
