"""No field of a pod is dropped without a decision: the table is complete."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from e2e.cluster import ControlPlane
from wasm_node.agent.model import fields

Schemas = Mapping[str, Any]


@pytest.fixture(scope="module")
def schemas(plane: ControlPlane) -> Schemas:
    """Give the API server's own schemas of its core types."""
    found: Schemas = plane.admin.get("/openapi/v3/api/v1")["components"]["schemas"]
    return found


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("PodSpec", fields.POD),
        ("Container", fields.CONTAINER),
        ("EphemeralContainer", fields.EPHEMERAL),
    ],
)
def test_each_field_has_one_row(
    schemas: Schemas, kind: str, rows: Mapping[str, fields.Fate]
) -> None:
    """Every field of the API server's schema is classified, and no other."""
    paths = set(_paths(schemas, f"io.k8s.api.core.v1.{kind}", rows, ""))

    assert sorted(paths - rows.keys()) == []
    assert sorted(rows.keys() - paths) == []


def _paths(
    schemas: Schemas, kind: str, rows: Mapping[str, fields.Fate], prefix: str
) -> Iterator[str]:
    """Yield the fields of a struct, and below those that say "see inside"."""
    for name, schema in schemas[kind]["properties"].items():
        yield prefix + name
        fate = rows.get(prefix + name)
        inside = fate is not None and fate.kind is fields.Kind.INSIDE
        if inside and name not in fields.CONTAINER_LISTS:
            yield from _paths(schemas, _struct(schema), rows, f"{prefix}{name}.")


def _struct(schema: Mapping[str, Any]) -> str:
    """Return the name of the struct that a field, or each item of it, is."""
    inner = schema.get("items", schema)
    reference = inner.get("$ref") or inner["allOf"][0]["$ref"]
    return str(reference).rpartition("/")[2]
