"""The examples run on a cluster as their README says."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.cluster import Registry, wait_until
from e2e.namespaces import Namespace
from tests.wasm import guests

Example = Callable[[str, str, str], None]


@pytest.fixture
def example(namespace: Namespace, registry: Registry) -> Example:
    """Give what packs a guest under a name and applies a manifest."""

    def run(guest: str, name: str, manifest: str) -> None:
        wasm_node = Path(sys.executable).with_name("wasm-node")
        image = f"{registry.address}/{name}:v1"
        subprocess.run([wasm_node, "pack", guests.path(guest), "--push", image], check=True)
        text = (guests.EXAMPLES / manifest).read_text()
        namespace.kubectl("apply", "-f", "-", stdin=text.replace("${REGISTRY}", registry.address))

    return run


@pytest.mark.timeout(300)  # the first time, toolchains are fetched
def test_pod(namespace: Namespace, example: Example) -> None:
    """The Pod greets by its own name, with its arguments, and succeeds."""
    example("c-hello", "hello", "pod.yaml")

    ended = namespace.wait_over("hello")

    assert ended["status"]["phase"] == "Succeeded"
    assert namespace.log("hello") == (
        "Hello from C in pod hello\nargument 1: one\nargument 2: two\n"
    )


@pytest.mark.timeout(300)  # as above
def test_job(namespace: Namespace, example: Example) -> None:
    """The Job's three pods each find the primes below ten million."""
    example("go-primes", "primes", "job.yaml")

    namespace.kubectl("wait", "--for=condition=Complete", "job/primes", "--timeout=90s")

    found = namespace.get("pods?labelSelector=job-name=primes")["items"]
    assert [namespace.log(each["metadata"]["name"]) for each in found] == [
        "664579 primes below 10000000, the largest is 9999991\n"
    ] * 3


@pytest.mark.timeout(300)  # as above
def test_deployment(namespace: Namespace, example: Example) -> None:
    """Three pods count, each under its own name, on and on."""
    example("c-counter", "counter", "deployment.yaml")

    namespace.kubectl("rollout", "status", "deployment/counter", "--timeout=60s")

    found = namespace.get("pods?labelSelector=app=counter")["items"]
    names = [each["metadata"]["name"] for each in found]
    assert len(names) == 3
    for name in names:
        counts = functools.partial(_counts, namespace, name)
        wait_until(counts, f"a third line of {name}", within_s=30)


def _counts(namespace: Namespace, name: str) -> bool:
    return namespace.log(name).startswith("".join(f"{name} {number}\n" for number in range(3)))
