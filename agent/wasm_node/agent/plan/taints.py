"""
Which taints of a node a pod puts up with: ToleratesTaint of k8s.io/api.

Numbers are not compared (`Gt`, `Lt`): that is an alpha feature of Kubernetes
1.37, TaintTolerationComparisonOperators, which is off in a kubelet.
"""

from collections.abc import Iterable

from wasm_node.agent.model import manifest


def tolerates(tolerations: Iterable[manifest.Toleration], taint: manifest.Taint) -> bool:
    """Say whether one of them is for this taint."""
    return any(_is_for(each, taint) for each in tolerations)


def _is_for(each: manifest.Toleration, taint: manifest.Taint) -> bool:
    """Say whether it is; an empty effect or key is any, time does not count."""
    if each.effect not in ("", taint.effect) or each.key not in ("", taint.key):
        return False
    equal = each.operator in ("", "Equal") and each.value == taint.value
    return each.operator == "Exists" or equal
