"""The data of ConfigMaps and Secrets, out of their decoded JSON."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from wasm_node.agent import errors


def data(kind: str, read: Mapping[str, Any]) -> Mapping[str, bytes]:
    """
    Return the keys of a decoded ConfigMap or Secret.

    Raises:
        BadInput: a value is not base64.
    """
    plain = "stringData" if kind == "Secret" else "data"
    coded = "data" if kind == "Secret" else "binaryData"
    try:
        made = {key: base64.b64decode(value) for key, value in (read.get(coded) or {}).items()}
    except (binascii.Error, TypeError) as error:
        name = read.get("metadata", {}).get("name")
        raise errors.BadInput(
            f"cannot read {kind} {name}: {coded} is not base64", reason="InvalidObject"
        ) from error
    return made | {key: str(value).encode() for key, value in (read.get(plain) or {}).items()}
