"""The examples in every language; `test_docs` types what their README says."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e import pods
from e2e.cluster import Registry, wait_until
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


def test_a_json_api_behind_a_service(
    namespace: Namespace, pack: Callable[[str, str], str], port: int
) -> None:
    """http.yaml as it stands, but for its port: two replicas that answer."""
    reference = pack("python-json", "json")
    text = (guests.EXAMPLES / "http.yaml").read_text()
    text = text.replace("${REGISTRY}/json:v1", reference).replace(": 8080", f": {port}")
    namespace.kubectl("apply", "-f", "-", stdin=text)
    namespace.kubectl("rollout", "status", "deployment/json", f"--timeout={_FIRST_COMPILE_S}s")
    endpoints = wait_until(
        lambda: namespace.get("endpoints/json").get("subsets"), "its endpoints", within_s=30
    )
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/prices", timeout=20) as answer:
        said = json.load(answer)

    assert [each["ports"][0]["port"] for each in endpoints] == [port]
    assert said["path"] == "/prices"


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
