"""Images of all served kinds run; what cannot run waits and says why."""

import pytest

from e2e import images as oci
from e2e import pods
from e2e.cluster import Registry, wait_until
from e2e.namespaces import Namespace
from tests.wasm import guests


@pytest.mark.parametrize("layout", ["A", "B", "M"])
def test_an_artifact_runs(namespace: Namespace, registry: Registry, layout: str) -> None:
    """A bare module runs, pushed by any tool; imageID names its manifest."""
    module = guests.path("echo").read_bytes()
    pushed = oci.push_artifact(registry.address, f"layouts/{layout.lower()}", module, layout=layout)
    namespace.apply(pods.pod("artifact", pushed.reference, "served"))

    pod = namespace.wait_over("artifact")

    assert namespace.log("artifact") == "served\n"
    assert pods.status(pod)["imageID"].endswith(f"@{pushed.digest}")


@pytest.mark.parametrize("platform", ["wasi/wasm", "linux/amd64"])
def test_a_tar_image_with_a_wasm_entrypoint_runs(
    namespace: Namespace, registry: Registry, platform: str
) -> None:
    """What an image holds decides, not how its platform is labelled."""
    files = {"app/echo.wasm": guests.path("echo").read_bytes()}
    name = f"layouts/h-{platform.replace('/', '-')}"
    pushed = oci.push_tar_image(
        registry.address, name, files, ["/app/echo.wasm", "from"], platform=platform
    )
    namespace.apply(pods.pod("tarred", pushed.reference, "the tree"))

    namespace.wait_over("tarred")

    assert namespace.log("tarred") == "from the tree\n"


def test_an_image_by_digest_runs(namespace: Namespace, registry: Registry) -> None:
    """A reference by digest names the same image."""
    pushed = oci.push_artifact(registry.address, "by-digest", guests.path("echo").read_bytes())
    reference = f"{registry.address}/by-digest@{pushed.digest}"
    namespace.apply(pods.pod("pinned", reference, "pinned"))

    pod = namespace.wait_over("pinned")

    assert pods.status(pod)["imageID"] == reference


def test_a_wrong_name_recovers_when_the_image_appears(
    namespace: Namespace, registry: Registry
) -> None:
    """A pod whose image is not there waits, and runs once it is."""
    reference = f"{registry.address}/late/{namespace.name}:v1"
    namespace.apply(pods.pod("early", reference, "at last"))
    waiting = pods.state(namespace.wait_waiting("early"), "waiting")

    oci.push_artifact(registry.address, f"late/{namespace.name}", guests.path("echo").read_bytes())

    namespace.wait_over("early")
    assert waiting["reason"] == "ImagePullBackOff"
    assert reference in waiting["message"]
    assert namespace.log("early") == "at last\n"


def test_a_linux_image_is_one_waiting_pod(namespace: Namespace, registry: Registry) -> None:
    """Under a ReplicaSet it waits and says why; none fails or is remade."""
    files = {"bin/server": guests.path("elf").read_bytes()}
    pushed = oci.push_tar_image(
        registry.address, "linux/server", files, ["/bin/server"], platform="linux/amd64"
    )
    spec = pods.spec(pushed.reference, restart="Always")
    namespace.apply(pods.workload("ReplicaSet", "linux", spec, replicas=1))
    wait_until(lambda: _failures(namespace) > 1, "it being tried again", within_s=40)

    (name,) = namespace.names()
    waiting = pods.state(namespace.wait_waiting(name), "waiting")
    assert {each.pod["status"]["phase"] for each in namespace.history(name)} == {"Pending"}
    assert waiting["reason"] == "NotWasm"
    assert "ELF" in waiting["message"]


def _failures(namespace: Namespace) -> int:
    events = namespace.get("events")["items"]
    return sum(each.get("count", 1) for each in events if each["reason"] == "Failed")


def test_a_corrupted_blob_is_refused(namespace: Namespace, registry: Registry) -> None:
    """Bytes without the promised digest never run; the right ones do."""
    module = guests.path("echo").read_bytes() + _custom_section(namespace.name)
    pushed = oci.push_artifact(registry.address, "damaged", module)
    blob = registry.blob(pushed.layer)
    blob.write_bytes(module[:-1] + b"?")
    namespace.apply(pods.pod("careful", pushed.reference, "whole"))

    waiting = pods.state(namespace.wait_waiting("careful"), "waiting")
    blob.write_bytes(module)

    namespace.wait_over("careful")
    assert waiting["reason"] == "ImagePullBackOff"
    assert pushed.layer in waiting["message"]
    assert namespace.log("careful") == "whole\n"


def _custom_section(text: str) -> bytes:
    """Return a section that makes a module's bytes its own, and no more."""
    content = b"\x04test" + text.encode()
    return bytes([0, len(content)]) + content


def test_never_pull_needs_the_image_here(namespace: Namespace, registry: Registry) -> None:
    """With imagePullPolicy Never the registry is not asked."""
    module = guests.path("echo").read_bytes()
    pushed = oci.push_artifact(registry.address, f"never/{namespace.name}", module)
    namespace.apply(pods.pod("offline", pushed.reference, imagePullPolicy="Never"))

    waiting = pods.state(namespace.wait_waiting("offline"), "waiting")

    assert waiting["reason"] == "ErrImageNeverPull"
