"""The examples: built, packed and applied as their README says."""

import string
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


@pytest.fixture
def example(
    namespace: Namespace, registry: Registry, pack: Callable[[str, str], str]
) -> Callable[[str], Namespace]:
    """Give what packs the examples' images and applies one manifest."""

    def apply(manifest: str) -> Namespace:
        pack("c-hello", "hello")
        pack("go-primes", "primes")
        pack("c-counter", "counter")
        text = (guests.EXAMPLES / f"{manifest}.yaml").read_text()
        filled = string.Template(text).substitute(REGISTRY=registry.address)
        namespace.kubectl("apply", "-f", "-", stdin=filled)
        return namespace

    return apply


def test_the_pod_greets(example: Callable[[str], Namespace]) -> None:
    """Pod.yaml prints its greeting and its arguments."""
    namespace = example("pod")

    namespace.wait_over("hello")

    said = namespace.kubectl("logs", "hello")
    assert said == "Hello from C in pod hello\nargument 1: one\nargument 2: two\n"


def test_the_job_computes(example: Callable[[str], Namespace]) -> None:
    """Job.yaml completes, and its log holds the result."""
    namespace = example("job")

    namespace.kubectl("wait", "--for=condition=Complete", "job/primes", "--timeout=90s")

    said = namespace.kubectl("logs", "job/primes", "--all-pods=true")
    assert said.count("664579 primes below 10000000, the largest is 9999991") == 3


def test_the_deployment_counts(example: Callable[[str], Namespace]) -> None:
    """Deployment.yaml has three replicas that count on."""
    namespace = example("deployment")

    namespace.kubectl("rollout", "status", "deployment/counter", "--timeout=60s")

    names = namespace.kubectl("get", "pods", "-o=jsonpath={.items[*].metadata.name}").split()
    followed = namespace.kubectl("logs", names[0], "--tail=1")
    assert len(names) == 3
    assert names[0] in followed
