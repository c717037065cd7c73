"""
`$(NAME)` in texts of a manifest: environment values, commands, arguments.

Rules follow apimachinery's third_party/forked/golang/expansion.
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def expand(text: str, known: Mapping[str, str]) -> str:
    """
    Replace `$(NAME)` by its value where it is known; `$$` becomes `$`.

    A reference that is not known stays as it is.
    """

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return known.get(match[1], match[0])

    return _REFERENCE.sub(one, text)
