"""The examples in every language; `test_docs` types what their README says."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e import pods
from e2e.cluster import Registry
from e2e.namespaces import Namespace
from tests.wasm import guests

_COMMAND = Path(sys.executable).parent / "wasm-node"
_FIRST_COMPILE_S = 90.0  # of CPython, on a busy machine

# A toolchain that is not here yet is fetched by the first test that needs it.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def pack(registry: Registry) -> Callable[[str, str], str]:
    """Give what packs and pushes an example as a user does."""

    def push(example: str, name: str) -> str:
        reference = f"{registry.address}/{name}:v1"
        words = [str(_COMMAND), "pack", str(guests.path(example)), "--push", reference]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert said.startswith(f"{reference}@sha256:")
        return reference

    return push


@pytest.mark.parametrize(
    ("language", "greeting"),
    [
        ("c", "Hello from C in pod greeter"),
        ("go", "Hello from Go (wasip1/wasm) in pod greeter"),
        ("rust", "Hello from Rust in pod greeter"),
        ("python", "Hello from Python 3.14.0 (wasi) in pod greeter"),
    ],
)
def test_every_language_greets(
    namespace: Namespace, pack: Callable[[str, str], str], language: str, greeting: str
) -> None:
    """A program of each language, packed and pushed, runs as a pod."""
    image = pack(f"{language}-hello", f"hello-{language}")
    env = pods.field_env(POD_NAME="metadata.name")
    namespace.apply(pods.pod("greeter", image, "one", env=env))

    namespace.wait_over("greeter", within_s=_FIRST_COMPILE_S)

    assert namespace.log("greeter").splitlines() == [greeting, "argument 1: one"]
