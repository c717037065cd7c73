"""
The engine of our own, where its wheel is installed: `agent/engine`, in Rust.

It brings the whole fork server with it. What makes a worker expensive is the
interpreter: pages of its heap are copied as soon as a reference count changes.
So with this engine no Python runs in the fork server or in a worker; orders,
journals and logs are the same as with `wasmtime_py`, and one suite of tests
holds for both.
"""

import os
import signal
import socket

import wasm_node_engine


def serve(link: socket.socket, bell: socket.socket, init: int) -> None:
    """
    Be the fork server until killed.

    Raises:
        OSError: it cannot go on; init starts another.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.environ.clear()  # workers see nothing of the host's environment
    wasm_node_engine.serve(link.fileno(), bell.fileno(), init)
