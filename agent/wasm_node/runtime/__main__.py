"""
The runtime as a program: `python -m wasm_node.runtime SETTINGS`.

`wasm-node runtime` becomes this by exec. What is imported here is shared by
the init, the supervisor and the fork server, and through that by each worker.
"""

import sys

from wasm_node.protocol import settings
from wasm_node.runtime import init

if __name__ == "__main__":
    sys.exit(init.run(settings.RuntimeSettings.from_json(sys.argv[1])))
