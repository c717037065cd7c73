"""The systemd units, and the few rights that the runtime gets."""

import concurrent.futures.thread  # noqa: F401  # another user may not be able to read it later
import contextlib
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.chart import rendering
from tests.component.runtime import running
from tests.wasm import guests
from wasm_node.agent import settings
from wasm_node.agent.model import ids
from wasm_node.protocol import layout, records

_SYSTEMD = rendering.CHART.parents[1] / "deploy/systemd"
_AGENT = 64000
_OURS = "/opt/wasm-node/bin/wasm-node"


@pytest.mark.parametrize("unit", sorted(_SYSTEMD.glob("*.service")), ids=lambda each: each.name)
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    """Nothing is wrong by systemd, and the program takes its arguments."""
    program = Path(sys.executable).with_name("wasm-node")
    text = unit.read_text()
    (tmp_path / unit.name).write_text(text.replace(_OURS, str(program)))
    (command,) = re.findall(rf"^ExecStart={_OURS} (.*)$", text, re.MULTILINE)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", tmp_path / unit.name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # --help comes last: what stands before it is parsed, and nothing starts.
    asked = subprocess.run([program, *command.split(), "--help"], check=False, capture_output=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert asked.returncode == 0


def test_the_runtime_ends_before_the_agent() -> None:
    """Systemd ends units in the reverse order: hooks need an agent."""
    unit = (_SYSTEMD / "wasm-node-agent.service").read_text()

    assert re.findall(r"^Before=(.*)$", unit, re.MULTILINE) == ["wasm-node-runtime.service"]
    assert "wasm-node-runtime" not in "".join(re.findall(r"^After=(.*)$", unit, re.MULTILINE))


def test_the_agent_takes_the_example(tmp_path: Path) -> None:
    """The settings beside the units are settings that an agent accepts."""
    read = settings.load(_SYSTEMD / "agent.yaml")

    assert (read.node_name, read.bootstrap.kubeconfig.name) == ("edge-1", "bootstrap.kubeconfig")


def test_the_units_give_the_runtime_what_the_chart_gives_it() -> None:
    """Both name the same capabilities."""
    unit = (_SYSTEMD / "wasm-node-runtime.service").read_text()
    (named,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)

    assert {f"CAP_{each}" for each in _capabilities()} == set(named.split())


def _capabilities() -> list[str]:
    runtime = rendering.one(rendering.rendered(), "DaemonSet", "wasm-node-runtime")
    (container,) = runtime["spec"]["template"]["spec"]["containers"]
    added: list[str] = container["securityContext"]["capabilities"]["add"]
    return added


@pytest.fixture
def confined() -> Iterator[running.RunningRuntime]:
    """Return a runtime with the chart's rights, for an agent without any."""
    caps = "".join(f",+{each.lower()}" for each in _capabilities())
    words = ["setpriv", f"--bounding-set=-all{caps}", "--inh-caps=-all", "--no-new-privs"]
    with tempfile.TemporaryDirectory(prefix="wn-") as root:
        Path(root).chmod(0o755)
        made = running.RunningRuntime(Path(root), words)
        made.settings = dataclasses.replace(made.settings, agent_uid=_AGENT)
        made.start()
        try:
            yield made
        finally:
            made.end()


@contextlib.contextmanager
def _as_the_agent() -> Iterator[None]:
    os.setegid(_AGENT)
    os.seteuid(_AGENT)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


async def test_the_charts_capabilities_are_enough(confined: running.RunningRuntime) -> None:
    """Pods run, end, are stopped and forgotten; the agent reads their logs."""
    modules = {name: guests.path(name).read_bytes() for name in ("echo", "sleep")}
    with _as_the_agent():
        for name, content in modules.items():
            (confined.settings.state / f"{name}.wasm").write_bytes(content)
        said = confined.spec(confined.settings.state / "echo.wasm", "hello", pod="speaker")
        ended = await confined.run(said)
        slept = confined.spec(confined.settings.state / "sleep.wasm", pod="sleeper")
        await confined.started(slept)
        await confined.containers.stop(slept.id, grace_s=0)
        stopped = await confined.ended(slept.id)
        log = confined.log(said)
        for each in (said, slept):
            await confined.containers.forget(ids.PodUid(each.id.pod_uid))
            shutil.rmtree(layout.pod(confined.settings.state, each.id.pod_uid))

    assert (ended.code, stopped.code) == (0, 143)
    assert stopped.ended_by is records.EndedBy.STOP
    assert "hello" in " ".join(text for _, _, text in log)
