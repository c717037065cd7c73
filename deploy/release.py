"""
A release, built into one directory and checked: `make release-check`.

    python -m deploy.release [DIRECTORY]

All that a release consists of is built from this checkout and used once as a
user would use it; nothing is published. Every step is taken, whatever became
of the one before, so that one run says all that is wrong. docs/release.md
says when to run it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

from deploy import render, versions
from docs import chart_values, reference
from e2e.cluster import binaries, engine
from e2e.cluster.processes import Failed

_BIN = Path(sys.executable).parent
_CHART = versions.CHECKOUT / "charts/wasm-node"
_LOCKS = ("requirements.lock", "requirements-image.lock")
_TWINE = "twine==7.0.0"
_GREETING = "Hello from WebAssembly"


def main(words: list[str]) -> int:
    """Take every step; the exit code is 1 if one has failed."""
    given = words[0] if words else f"dist/wasm-node-{versions.project()}"
    folder = Path(given).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    failed = 0
    for step in STEPS:
        try:
            said = step(folder)
        except Failed as error:
            failed += 1
            said = f"FAILED: {error}"
        print(said, flush=True)
    print(f"{failed} of {len(STEPS)} steps failed; {folder} has what was built")
    return min(failed, 1)


def _versions(_: Path) -> str:
    wrong = list(versions.complaints())
    if wrong:
        raise Failed("versions do not agree:\n  " + "\n  ".join(wrong))
    heading = f"\n## [{versions.project()}] - unreleased\n"
    undated = heading in (versions.CHECKOUT / versions.CHANGELOG).read_text()
    return f"versions agree on {versions.project()}" + undated * ", which has no date yet"


def _generated(_: Path) -> str:
    pages = {
        **render.pages(),
        chart_values.PAGE: chart_values.page(),
        **{reference.HERE / name: make() for name, make in reference.PAGES.items()},
    }
    stale = [path.name for path, text in pages.items() if path.read_text() != text]
    if stale:
        raise Failed(f"run `make manifests docs`: {', '.join(stale)} would change")
    return f"{len(pages)} generated files are fresh"


def _locks(_: Path) -> str:
    with tempfile.TemporaryDirectory() as directory:
        for name in _LOCKS:
            shutil.copy(versions.CHECKOUT / name, directory)
        _run("make", "--silent", "lock", f"LOCKS={directory}")
        stale = [
            name
            for name in _LOCKS
            if (versions.CHECKOUT / name).read_bytes() != (Path(directory) / name).read_bytes()
        ]
    if stale:
        raise Failed(f"run `make lock`: {', '.join(stale)} would change")
    return f"{' and '.join(_LOCKS)} are fresh"


def _wheels(folder: Path) -> str:
    _run(_BIN / "python", "-m", "hatchling", "build", "--directory", folder)
    native = engine.wheel()
    if native is None:
        raise Failed("cannot build the native engine: there is no cargo")
    shutil.copy(native, folder)
    return "built sdist and wheel, and the native engine's wheel for this machine"


def _sdist(folder: Path) -> str:
    with tempfile.TemporaryDirectory() as directory:
        words = ("wheel", "--quiet", "--no-deps", "--no-build-isolation")
        _run(_BIN / "pip", *words, "--wheel-dir", directory, *folder.glob("*.tar.gz"))
        again = _files(*Path(directory).glob("*.whl"))
    if again != _files(*folder.glob("wasm_node-*.whl")):
        raise Failed("the sdist makes another wheel than the checkout")
    return f"the sdist makes the same wheel, {len(again)} files"


def _metadata(folder: Path) -> str:
    parts = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    words = ("tool", "run", "--quiet", "--from", _TWINE, "twine", "check")
    _run(_BIN / "uv", *words, *parts)
    return f"{_TWINE} has nothing against {len(parts)} packages"


def _installed(folder: Path) -> str:
    with tempfile.TemporaryDirectory() as directory:
        venv.create(f"{directory}/venv", with_pip=True)
        programs = Path(directory) / "venv/bin"
        _run(programs / "pip", "install", "--quiet", *folder.glob("*.whl"), cwd=directory)
        said = _run(programs / "wasm-node", "run", "hello", cwd=directory)
    if not said.startswith(_GREETING):
        raise Failed(f"the installed `wasm-node run hello` says {said!r}")
    return f"installed in an empty environment, `wasm-node run hello` says: {said.strip()}"


def _chart(folder: Path) -> str:
    helm = binaries.helm() / "helm"
    _run(helm, "lint", "--strict", _CHART)
    _run(helm, "package", _CHART, "--destination", folder)
    return "linted and packed the chart"


def _image(folder: Path) -> str:
    _run("make", "--silent", "sbom", f"DIST={folder}")
    if reason := _cannot_build_images():
        return f"wrote the image's bill of materials; left the image out, as {reason}"
    name = f"wasm-node-{versions.project()}"
    _run("make", "--silent", "image", f"OUTPUT=type=oci,dest={folder}/{name}.oci.tar")
    return "wrote the image's bill of materials, and the image with its own"


STEPS: tuple[Callable[[Path], str], ...] = (
    _versions,
    _generated,
    _locks,
    _wheels,
    _sdist,
    _metadata,
    _installed,
    _chart,
    _image,
)


def _cannot_build_images() -> str:
    """Say why docker cannot; empty if it can."""
    if shutil.which("docker") is None:
        return "there is no docker"
    for words, reason in (
        (("buildx", "version"), "docker has no buildx"),
        (("info",), "no docker daemon answers"),
    ):
        try:
            _run("docker", *words)
        except Failed:
            return reason
    return ""


def _files(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def _run(*words: str | os.PathLike[str], cwd: str | Path = versions.CHECKOUT) -> str:
    """Run a program outside any environment of ours; return what it prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=env, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise Failed(f"cannot {' '.join(os.fspath(word) for word in words[:4])}:\n{last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
