"""
`make bench-install`: from `helm install` to Ready, and what idling costs.

On two hosts with real kubelets, which count what each pod uses: CPU from their
counters over a minute of rest, memory as the working set that a kubelet would
evict by. Nothing here is asked of the node itself.
"""

import datetime as dt
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e.bench import document
from e2e.cluster import Guard
from e2e.cluster.hosts import Hosts
from e2e.cluster.release import Release

_INSTALLS = 3
_REST_S = 60.0


def main() -> None:
    """Measure, print the table, and write it into the document."""
    with tempfile.TemporaryDirectory() as root, Guard.start() as guard:
        hosts = Hosts.start(guard, Path(root) / "hosts")
        rows = _measure(Release(hosts))
        hosts.close()
    cores, load = os.cpu_count(), os.getloadavg()[0]
    about = (
        f"{document.today()}, `make bench-install`; two hosts on {cores} cores, "
        f"load {load:.1f} after it."
    )
    lines = (f"| {what} | {each} |" for what, each in rows)
    text = "\n".join([about, "", "| | |", "|---|---|", *lines])
    print(text)
    document.write("install", text)


def _measure(release: Release) -> list[tuple[str, str]]:
    pulling_s = _install(release)
    settled_s = []
    for _ in range(_INSTALLS):
        release.uninstall()
        settled_s.append(_install(release))
    before = _usage(release)
    time.sleep(_REST_S)  # what is measured is rest
    after = _usage(release)
    rows = [
        ("`helm install` until both nodes are Ready, the image pulled, s", f"{pulling_s:.1f}"),
        ("the same with the image on the hosts, s", _listed(settled_s)),
    ]
    for component in sorted({name for name, _ in after}):
        pods = [key for key in after if key[0] == component]
        cpu = [after[key].cpu_since(before[key]) * 1000 for key in pods]
        memory = [after[key].memory_bytes / 1e6 for key in pods]
        rows.append((f"{component}, idle, millicores a pod", _listed(cpu)))
        rows.append((f"{component}, idle, MB a pod", _listed(memory)))
    return rows


@dataclass(frozen=True)
class _Usage:
    """What a pod had used when its kubelet looked."""

    at: dt.datetime
    cpu_ns: int
    memory_bytes: int

    def cpu_since(self, before: "_Usage") -> float:
        """Return the cores that were busy since then."""
        return (self.cpu_ns - before.cpu_ns) / 1e9 / (self.at - before.at).total_seconds()


def _install(release: Release) -> float:
    began = time.monotonic()
    release.install()
    return time.monotonic() - began


def _usage(release: Release) -> dict[tuple[str, str], _Usage]:
    """Ask the hosts' kubelets; by component and host."""
    found = {}
    for host in release.hosts.hosts:
        path = f"/api/v1/nodes/{host.name}/proxy/stats/summary"
        for pod in release.hosts.plane.admin.get(path)["pods"]:
            if pod["podRef"]["namespace"] != release.name:
                continue
            (container,) = pod["containers"]
            cpu, memory = container["cpu"], container["memory"]
            found[container["name"], host.name] = _Usage(
                dt.datetime.fromisoformat(cpu["time"]),
                cpu["usageCoreNanoSeconds"],
                memory["workingSetBytes"],
            )
    return found


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


if __name__ == "__main__":
    main()
