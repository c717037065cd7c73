"""What docs/transcripts shows is what kubectl says here, to the word."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import images as oci
from e2e import pods, watching
from e2e.cluster import Registry, wait_until
from e2e.namespaces import Bed, Namespace
from tests.wasm import guests

_TRANSCRIPTS = Path(__file__).parents[1] / "docs/transcripts"
_LIMITS = {"limits": {"memory": "32Mi"}}

# What differs from run to run, in the order in which it is replaced. Two texts
# are the same if they are so after this, and after the spaces of columns.
_CHANGING = {
    r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}": "<time>",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "<uid>",
    r"sha256:[0-9a-f]{64}": "sha256:<digest>",
    r"127\.0\.0\.1:\d+": "<registry>",
    r"\d+(\.\d+){3}": "<ip>",
    r" \(x\d+ over [0-9hms]+\)": "",
    r"\b(\d+(\.\d+)?(h|ms|m|s))+\b": "<age>",
    r"\b\d+ bytes": "<n> bytes",
    r"\b\d+ (nodes are|node\(s\)|Preemption)": r"<n> \1",  # other tests' Nodes
    r"\+wasm-node\.\S+": "+wasm-node.<version>",
    r"(?m)^( *(cpu|ephemeral-storage|memory|pods)): .*": r"\1: <figure>",
    r"(?m)^( *(Kernel Version|OS Image|Machine ID|System UUID|Boot ID)): .*": r"\1: <host's>",
    r"(?m)^(wasm-a .*<none> +<none>).*(wasmtime:)": r"\1 <host's> \2",
    r"(?m)^(Annotations:|LastHeartbeatTime|\s+volumes\.kubernetes).*": r"\1 <others'>",
    r"-{3,}": "---",
    r"[ \t]+": " ",
}


def _pod(name: str, image: str, *args: object, **container: Any) -> dict[str, Any]:
    made = pods.pod(name, image, *args, **container)
    made["spec"]["automountServiceAccountToken"] = False
    return made


@pytest.fixture(scope="module")
def shown(bed: Bed, registry: Registry) -> Iterator[Namespace]:
    """Give a namespace with the pods of all transcripts, as they end up."""
    with bed.namespace() as namespace:
        _fill(namespace, registry)
        yield namespace


def _fill(namespace: Namespace, registry: Registry) -> None:
    def image(guest: str) -> str:  # under a name that this node has not pulled yet
        module = guests.path(guest).read_bytes()
        return oci.push_artifact(
            registry.address, f"guests-{namespace.name}/{guest}", module
        ).reference

    linux = oci.push_tar_image(
        registry.address,
        f"guests-{namespace.name}/server",
        {"bin/server": guests.path("elf").read_bytes()},
        ["/bin/server"],
        platform="linux/amd64",
    )
    wrong = f"{registry.address}/guests-{namespace.name}/ecko:v1"
    stranger = _pod("no-toleration", image("echo"))
    stranger["spec"]["tolerations"] = []
    made = {
        "running": (_pod("running", image("sleep"), restart="Always"), pods.is_running),
        "exit-42": (_pod("exit-42", image("exit"), 42), pods.is_over),
        "trap": (_pod("trap", image("trap")), pods.is_over),
        "memory-limit": (_pod("memory-limit", image("grow"), resources=_LIMITS), pods.is_over),
        "missing-import": (_pod("missing-import", image("missing")), pods.is_waiting),
        "linux-image": (_pod("linux-image", linux.reference), pods.is_waiting),
        "wrong-name": (_pod("wrong-name", wrong), pods.is_waiting),
        "no-toleration": (stranger, _is_unschedulable),
    }
    namespace.apply(*(pod for pod, _ in made.values()))
    for name, (_, condition) in made.items():
        namespace.wait(name, "what the transcript shows", condition)


def _is_unschedulable(seen: watching.Seen) -> bool:
    conditions = seen.pod["status"].get("conditions", ())
    return any(each.get("reason") == "Unschedulable" for each in conditions)


@pytest.mark.parametrize("path", sorted(_TRANSCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_kubectl_says_what_the_transcript_shows(shown: Namespace, path: Path) -> None:
    """The command at a transcript's top prints the rest of it."""
    wanted = path.read_text()

    said = _settled(shown, wanted)

    assert _constant(said) == _constant(wanted)


def _settled(namespace: Namespace, wanted: str) -> str:
    """Return what a transcript's command prints, once its events are there."""
    command = wanted.partition("\n")[0]
    words = command.removeprefix("$ kubectl ").split()

    def say() -> str:
        text = namespace.kubectl(*words)
        text = text.replace(f"guests-{namespace.name}", "guests").replace(namespace.name, "default")
        return f"{command}\n{text}"

    events = wanted.partition("\nEvents:")[2].count("\n")
    return wait_until(
        lambda: t if (t := say()).partition("\nEvents:")[2].count("\n") >= events else None,
        f"{events} lines of events from {command}",
        within_s=30,
    )


def _constant(text: str) -> list[str]:
    """Return the lines of a text without what changes from run to run."""
    for changing, name in _CHANGING.items():
        text = re.sub(changing, name, text)
    text = text.partition("\nNon-terminated Pods:")[0]  # pods of other tests
    head, title, events = text.partition("\nEvents:")
    # Their times are whole seconds, so that their order may change.
    lines = [*head.splitlines(), title, *sorted(events.splitlines())]
    return [line.rstrip() for line in lines]
