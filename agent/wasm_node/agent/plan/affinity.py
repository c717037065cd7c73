"""
Whether a node is one that a pod asks for.

`nodeSelector` and required node affinity, by the rules of component-helpers'
scheduling/corev1/nodeaffinity and of Requirement.Matches of apimachinery's
labels. The API server has seen to it that each operator has its values.
"""

import re

from wasm_node.agent.model import desired, manifest

_INTEGER = re.compile(r"[+-]?[0-9]+")
_MOST = 2**63


def matches(pod: desired.DesiredPod, node: manifest.Node) -> bool:
    """Say whether the node has all labels, and one of the terms holds."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.node_selector.items()):
        return False
    return pod.node_terms is None or any(_holds(each, node) for each in pod.node_terms)


def _holds(term: manifest.NodeTerm, node: manifest.Node) -> bool:
    """All of a term has to hold; an empty one never does."""
    fields = {"metadata.name": node.metadata.name}
    asked = [(each, node.metadata.labels) for each in term.match_expressions]
    asked += [(each, fields) for each in term.match_fields]
    return bool(asked) and all(_is_met(each, known.get(each.key)) for each, known in asked)


def _is_met(wanted: manifest.Requirement, held: str | None) -> bool:
    match wanted.operator:
        case "In":
            return held in wanted.values
        case "NotIn":
            return held not in wanted.values
        case "Exists":
            return held is not None
        case "DoesNotExist":
            return held is None
        case "Gt" | "Lt":
            number, bound = _integer(held), _integer(wanted.values[0])
            if number is None or bound is None:
                return False
            return number > bound if wanted.operator == "Gt" else number < bound
        case _:
            return False


def _integer(text: str | None) -> int | None:
    """As strconv.ParseInt, of 64 bits: what it cannot read is no number."""
    if text is None or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -_MOST <= number < _MOST else None
