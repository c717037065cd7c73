"""Which taints a pod puts up with: toleration.go of k8s.io/api, as a table."""

import pytest

from wasm_node.agent.model import manifest
from wasm_node.agent.plan import taints

TAINT = manifest.Taint("arch", "NoExecute", "wasm")
BARE = manifest.Taint("arch", "NoExecute")


@pytest.mark.parametrize(
    ("toleration", "taint", "expected"),
    [
        ({"key": "arch", "operator": "Equal", "value": "wasm"}, TAINT, True),
        ({"key": "arch", "value": "wasm"}, TAINT, True),
        ({"key": "arch", "operator": "", "value": "wasm"}, TAINT, True),
        ({"key": "arch", "value": "arm"}, TAINT, False),
        ({"key": "arch"}, TAINT, False),
        ({"key": "arch"}, BARE, True),
        ({"key": "arch", "value": "wasm"}, BARE, False),
        ({"key": "os", "value": "wasm"}, TAINT, False),
        ({"key": "arch", "operator": "Exists"}, TAINT, True),
        ({"key": "os", "operator": "Exists"}, TAINT, False),
        ({"operator": "Exists"}, TAINT, True),
        ({"operator": "Exists", "effect": "NoExecute"}, TAINT, True),
        ({"operator": "Exists", "effect": "NoSchedule"}, TAINT, False),
        ({"key": "arch", "value": "wasm", "effect": "NoSchedule"}, TAINT, False),
        ({"key": "arch", "operator": "Gt", "value": "wasm"}, TAINT, False),
        ({"key": "arch", "operator": "Lt", "value": "1"}, manifest.Taint("arch", "x", "0"), False),
    ],
)
def test_a_toleration(toleration: dict[str, str], taint: manifest.Taint, expected: bool) -> None:
    """By key, value and effect; for how long is the taint manager's matter."""
    made = manifest.Toleration(**toleration)

    assert taints.tolerates([made], taint) is expected


def test_any_one_of_them() -> None:
    """One toleration is enough, and without any nothing is tolerated."""
    other = manifest.Toleration(key="os", operator="Exists")
    this = manifest.Toleration(key="arch", operator="Exists")

    assert taints.tolerates([other, this], TAINT)
    assert not taints.tolerates([other], TAINT)
    assert not taints.tolerates([], TAINT)
