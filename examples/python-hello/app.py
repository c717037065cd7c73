"""Greets from Python inside wasm: its arguments, the pod's name if given."""

import os
import sys

from wit_world import exports


class Run(exports.Run):
    """What the node calls: the interface wasi:cli/run."""

    def run(self) -> None:
        """Greet; an exception here would end the pod with code 1."""
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"Hello from Python {version} ({sys.platform})", end=" ")
        print(f"in pod {os.environ.get('POD_NAME', '(none)')}")
        for number, argument in enumerate(sys.argv[1:], start=1):
            print(f"argument {number}: {argument}")
