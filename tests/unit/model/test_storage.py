"""How much of the disk a pod may use: the cases of a kubelet's own rules."""

from typing import Any

import pytest

from wasm_node.agent import errors
from wasm_node.agent.model import parsing, storage


def _limits(**spec: Any) -> storage.Limits:
    return parsing.pod({"metadata": {"name": "p", "uid": "u"}, "spec": spec}).disk_limits


def _container(name: str, limit: str | None = None, **more: Any) -> dict[str, Any]:
    limits = {} if limit is None else {"ephemeral-storage": limit}
    return {"name": name, "image": "x", "resources": {"limits": limits}, **more}


def _inits(*limits: str | None) -> list[dict[str, Any]]:
    """Give init containers; those whose limit ends with + are sidecars."""
    return [
        _container(
            f"i{index}",
            each.rstrip("+") if each else None,
            **({"restartPolicy": "Always"} if each and each.endswith("+") else {}),
        )
        for index, each in enumerate(limits)
    ]


def test_without_a_limit_there_is_none() -> None:
    """Neither requests nor other limits are one, nor a volume without."""
    bare = _container("a", resources={"limits": {"memory": "1Mi"}})
    asks = {"requests": {"ephemeral-storage": "1Mi"}}
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": None}]
    spec = {"containers": [bare, _container("b", resources=asks)], "volumes": volumes}

    assert _limits(**spec) == storage.NONE


def test_sizes_of_volumes() -> None:
    """By name, as they are written."""
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1536Ki"}}]
    found = _limits(containers=[_container("a")], volumes=volumes)

    assert found == storage.Limits(volumes={"v": storage.Limit(1536 * 1024, "1536Ki")})


def test_sidecars_have_limits_of_their_own() -> None:
    """As containers do; an init container that ends has none."""
    found = _limits(containers=[_container("a", "1Mi")], initContainers=_inits("2Mi", "3Mi+"))

    assert {name: str(each) for name, each in found.containers.items()} == {
        "a": "1Mi",
        "i1": "3Mi",
    }


@pytest.mark.parametrize(
    ("containers", "inits", "overhead", "expected"),
    [
        (["1Mi"], [], None, "1Mi"),
        (["1Mi", "2Mi"], [], None, "3Mi"),
        (["1Mi", None], [], None, "1Mi"),  # what has none adds nothing
        (["1Mi"], ["3Mi", "2Mi"], None, "3Mi"),  # of init containers the largest
        (["3Mi"], ["3Mi", "2Mi"], None, "3Mi"),
        ([None], ["2Mi"], None, "2Mi"),
        (["1Mi"], ["2Mi+"], None, "3Mi"),  # a sidecar is beside the others
        (["1Mi"], ["2Mi+", "5Mi"], None, "7Mi"),  # and beside those that come after it
        (["1Mi"], ["5Mi", "2Mi+"], None, "5Mi"),
        (["1Mi"], ["2Mi+", None], None, "3Mi"),
        (["1Mi"], ["2Mi+", "1Mi+"], None, "4Mi"),
        (["1Mi"], [], "1Mi", "2Mi"),
        (["0"], [], "1Mi", "0"),  # overhead is added to what is not 0
        ([None], [], "1Mi", None),
        (["1Mi", "1M"], [], None, "2048576"),  # in suffixes of the first
        (["1M", "1M"], [], None, "2M"),
        (["0", "1Mi", "1Mi"], [], None, "2Mi"),  # of the first that is not 0
    ],
)
def test_of_a_pod(
    containers: list[str | None],
    inits: list[str | None],
    overhead: str | None,
    expected: str | None,
) -> None:
    """What PodLimits of component-helpers v0.37 makes of it (KEP-753)."""
    found = _limits(
        containers=[_container(f"c{index}", each) for index, each in enumerate(containers)],
        initContainers=_inits(*inits),
        overhead={} if overhead is None else {"ephemeral-storage": overhead},
    ).pod

    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize("written", ["much", "-1Mi"])
def test_what_is_no_size_is_named(written: str) -> None:
    """Manifests from files have not been to the API server."""
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": written}}]
    with pytest.raises(errors.BadInput, match=r"volume v: sizeLimit: .*" + written):
        _limits(containers=[_container("a")], volumes=volumes)
