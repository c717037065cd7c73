"""Many pods at once: all of them run, and none for another."""

import time
from collections.abc import Callable

from e2e import pods
from e2e.namespaces import Namespace

Images = Callable[[str], str]

_PODS = 50


def test_fifty_pods_at_once(namespace: Namespace, images: Images) -> None:
    """All have Succeeded within 30 s, and each log holds its own pod's UID."""
    names = [f"pod-{number}" for number in range(_PODS)]
    env = pods.field_env(UID="metadata.uid")

    began = time.monotonic()
    namespace.apply(*(pods.pod(name, images("env"), env=env) for name in names))
    ended = {name: namespace.wait(name, "the end", pods.is_over) for name in names}

    assert max(each.at for each in ended.values()) - began < 30
    assert {each.pod["status"]["phase"] for each in ended.values()} == {"Succeeded"}
    assert {name: namespace.log(name) for name in names} == {
        name: f"UID={each.pod['metadata']['uid']}\n" for name, each in ended.items()
    }
    assert {pods.status(each.pod)["restartCount"] for each in ended.values()} == {0}
