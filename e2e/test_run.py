"""`wasm-node run` out of the built wheel, far from any checkout."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from e2e import images as oci
from e2e.cluster import Registry, guardian, wait_until
from tests.wasm import guests

_CHECKOUT = Path(__file__).parents[1]
_ORDINARY = os.geteuid() or 65534
"""A user without privileges: `nobody`, if the tests run as root."""


@dataclass(frozen=True)
class Installed:
    """The wheel in an environment of its own, used from a directory."""

    python: Path
    directory: Path
    environment: Mapping[str, str]
    user: int = field(default_factory=os.geteuid)

    def run(self, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run `wasm-node run ...` and check its exit code."""
        done = subprocess.run(
            self._argv(words),
            cwd=self.directory,
            env=self.environment,
            **_as(self.user),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """Give `wasm-node run ...` while it runs; it is ended afterwards."""
        with subprocess.Popen(
            self._argv(words),
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def _argv(self, words: tuple[str, ...]) -> list[str]:
        return [str(self.python.parent / "wasm-node"), "run", *words]


def _as(user: int) -> dict[str, Any]:
    """Give the arguments that make a child that user's."""
    return {} if user == os.geteuid() else {"user": user, "group": user, "extra_groups": []}


def _interpreter() -> str:
    """Return a Python of this version that any user of this machine may run."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for each in (sys._base_executable, f"/usr/bin/{version}"):  # type: ignore[attr-defined]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [each, "-c", ""], check=True, stderr=subprocess.DEVNULL, **_as(_ORDINARY)
            )
            return str(each)
    raise AssertionError(f"cannot find a {version} that an ordinary user may run")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """
    Give a Python with the wheel; its dependencies are the locked ones.

    All of it lies where any user may read: neither pytest's directories nor
    the home of whoever runs the tests need be such a place.
    """
    with tempfile.TemporaryDirectory(prefix="wn-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", name]
        subprocess.run([*build, str(_CHECKOUT)], check=True)
        (wheel,) = directory.glob("wasm_node-*.whl")
        create = ["-m", "venv", "--without-pip", "--symlinks", f"{name}/venv"]
        subprocess.run([_interpreter(), *create], check=True)
        python = directory / "venv/bin/python"
        install = [*pip, "--python", str(python), "install", "--no-index", "--no-deps"]
        subprocess.run([*install, str(wheel)], check=True)
        (site,) = (directory / "venv").glob("lib/python*/site-packages")
        locked = shutil.copytree(
            sysconfig.get_path("purelib"),
            directory / "locked",
            ignore=shutil.ignore_patterns("ziglang", "wasm_node*"),
            copy_function=_link,
        )
        (site / "locked.pth").write_text(f"{locked}\n")
        yield python


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a cache that is empty at first."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory for temporary files; sockets in it need a short path."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def installed(python: Path, cache: Path, temporary: Path, tmp_path: Path) -> Installed:
    """Give the command in an empty directory, with an empty environment."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(cache),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
    }
    return Installed(python, tmp_path, environment)


def _guest(installed: Installed, name: str, called: str) -> None:
    file = installed.directory / called
    file.unlink(missing_ok=True)
    shutil.copyfile(guests.path(name), file)


def test_nothing_comes_from_the_checkout(installed: Installed) -> None:
    """The package that runs is the wheel's."""
    script = "import wasm_node.cli.main as it; print(it.__file__)"
    found = subprocess.run(
        [installed.python, "-c", script], capture_output=True, text=True, check=True
    ).stdout

    assert Path(found).is_relative_to(installed.python.parents[1])


def test_the_example_runs(installed: Installed) -> None:
    """`wasm-node run hello` greets; warm, within three seconds."""
    cold = installed.run("hello")

    # How quick it is shows when nothing else runs, if only for a moment.
    first = wait_until(lambda: _first_line(installed, 3), "a quick start", within_s=60)

    assert cold.stdout.startswith("Hello from WebAssembly")
    assert cold.stdout.startswith(first)


def _first_line(installed: Installed, most_s: float) -> str | None:
    """Run it; return its first line, unless that took too long."""
    began = time.monotonic()
    with installed.running("hello") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        return first if time.monotonic() - began < most_s else None


def test_a_file_runs_with_its_arguments(installed: Installed) -> None:
    """`wasm-node run ./app.wasm one two` is the program with its arguments."""
    _guest(installed, "echo", "app.wasm")

    assert installed.run("./app.wasm", "one", "two").stdout == "one two\n"


@pytest.mark.parametrize("code", [0, 1, 42, 137])
def test_the_exit_code_is_the_guests(installed: Installed, code: int) -> None:
    """The command ends with the guest's own code."""
    _guest(installed, "exit", "app.wasm")

    installed.run("./app.wasm", str(code), code=code)


def test_a_trap_is_shown(installed: Installed) -> None:
    """A trap is 134, and its backtrace is on stderr."""
    done = installed.run("trap", code=134)

    assert "integer divide by zero" in done.stderr
    assert "divide" in done.stderr


def test_what_cannot_start_says_why(installed: Installed) -> None:
    """A module with a missing import ends the command with 126 and a reason."""
    _guest(installed, "missing", "app.wasm")

    assert "env.nope" in installed.run("./app.wasm", code=126).stderr


def test_an_unknown_name_lists_the_examples(installed: Installed) -> None:
    """What is neither a file nor an example is an error that helps."""
    assert "hello" in installed.run("hallo", code=1).stderr


def test_a_manifest_runs(installed: Installed, registry: Registry) -> None:
    """Pods, ConfigMaps and Secrets in one file run as on a cluster."""
    _guest(installed, "env", "env.wasm")
    echo = oci.push_artifact(registry.address, "run/echo", guests.path("echo").read_bytes())
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "pass", "key": "b"}}},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    containers = [
        {"name": "env", "image": "file:./env.wasm", "env": env},
        {"name": "echo", "image": echo.reference, "args": ["pulled"]},
    ]
    manifest = [
        _object("ConfigMap", "conf", data={"a": "1"}),
        _object("Secret", "pass", stringData={"b": "2"}),
        _object("Pod", "both", spec={"restartPolicy": "Never", "containers": containers}),
    ]
    (installed.directory / "pod.yaml").write_text("\n---\n".join(map(json.dumps, manifest)))

    done = installed.run("pod.yaml")

    assert sorted(done.stdout.splitlines()) == [
        "both/echo | pulled",
        "both/env | A=1",
        "both/env | B=2",
        "both/env | C=both",
    ]
    assert f'Pulling image "{echo.reference}"' in done.stderr


@pytest.mark.parametrize(("guest", "code"), [("exit", 7), ("echo", 0)])
def test_a_sidecars_end_is_not_the_pods(installed: Installed, guest: str, code: int) -> None:
    """The code is the first container's, however its sidecar was ended."""
    for each in (guest, "spin"):
        _guest(installed, each, f"{each}.wasm")
    side = {"name": "side", "image": "file:spin.wasm", "restartPolicy": "Always"}
    main = {"name": "main", "image": f"file:{guest}.wasm", "args": ["7"]}
    also = {**main, "name": "also", "args": ["8"]}
    spec = {"restartPolicy": "Never", "initContainers": [side], "containers": [main, also]}
    (installed.directory / "pod.yaml").write_text(json.dumps(_object("Pod", "p", spec=spec)))

    installed.run("pod.yaml", code=code)


def test_commands_of_a_pod_from_a_file(installed: Installed) -> None:
    """A hook and two probes by exec: the last one fails, and ends the pod."""
    _guest(installed, "note", "app.wasm")
    once = {"failureThreshold": 1, "timeoutSeconds": 20}
    main = {
        "name": "main",
        "image": "file:app.wasm",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "lifecycle": {"postStart": {"exec": {"command": ["app", "hello"]}}},
        "startupProbe": {"exec": {"command": ["#noted"]}, **once},
        "livenessProbe": {"exec": {"command": ["app", "one", "two"]}, **once},
    }
    volumes = [{"name": "data", "emptyDir": {}}]
    spec = {"restartPolicy": "Never", "containers": [main], "volumes": volumes}
    (installed.directory / "pod.yaml").write_text(json.dumps(_object("Pod", "p", spec=spec)))

    done = installed.run("pod.yaml", code=143)

    told = [line for line in done.stderr.splitlines() if "probe" in line]
    assert told == ["p/main: Liveness probe failed: "]


def _object(kind: str, name: str, **parts: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **parts}


def test_interrupting_leaves_nothing(installed: Installed, temporary: Path) -> None:
    """After Ctrl-C the code is 130, and no process or directory is left."""
    _guest(installed, "count", "app.wasm")
    with installed.running("./app.wasm", "50") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        pids = guardian.descendants(process.pid)
        works_in = list(temporary.iterdir())
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)

    assert first == "n 0\n"
    assert process.returncode == 130
    assert len(pids) >= 4  # init, supervisor, fork server, worker
    wait_until(lambda: not _alive(pids), "the end of its processes", within_s=10)
    assert len(works_in) == 1
    assert list(temporary.iterdir()) == []


def test_a_kill_leaves_nothing(installed: Installed, temporary: Path) -> None:
    """Killed without a word, the command takes guests and directory along."""
    _guest(installed, "count", "app.wasm")
    with installed.running("./app.wasm", "50") as process:
        assert process.stdout is not None
        process.stdout.readline()
        pids = guardian.descendants(process.pid)
        works_in = list(temporary.iterdir())
        process.kill()

    assert len(pids) >= 4  # init, supervisor, fork server, worker
    wait_until(lambda: not _alive(pids), "the end of its processes", within_s=10)
    assert len(works_in) == 1
    assert list(temporary.iterdir()) == []


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_an_ordinary_user_needs_nothing(python: Path) -> None:
    """Without any privilege `wasm-node run` works the same, and cleans up."""
    with tempfile.TemporaryDirectory(prefix="wn-") as name:
        directory = Path(name)
        (temporary := directory / "tmp").mkdir()
        for each in (directory, temporary):
            os.chown(each, _ORDINARY, -1)
        environment = {"PATH": os.defpath, "HOME": name, "TMPDIR": str(temporary)}
        user = Installed(python, directory, environment, _ORDINARY)

        hello = user.run("hello")
        user.run("exit42", code=42)
        left = list(temporary.iterdir())
        owners = {each.stat().st_uid for each in (directory / ".cache").rglob("*")}

    assert hello.stdout.startswith("Hello from WebAssembly")
    assert left == []
    assert owners == {_ORDINARY}


def test_watch_starts_the_new_file(installed: Installed) -> None:
    """With --watch a changed file is run anew."""
    _guest(installed, "count", "app.wasm")
    with installed.running("--watch", "./app.wasm", "60000") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        _guest(installed, "echo", "app.wasm")
        second = process.stdout.readline()

    assert [first, second] == ["n 0\n", "60000\n"]
