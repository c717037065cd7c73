"""
The process that all workers are copies of: it has wasmtime loaded, and waits.

It never builds a WASI context (its children would share one randomness), never
compiles (its children would hang on threads that fork did not copy) and never
runs a guest; before each fork it makes sure that it still has one thread.
Children are forked twice, so that init is their parent, and wait for a byte
that says that this is so: only then can they ask to die with init. A child
whose fork server died before that byte goes away, having touched nothing.
"""

import gc
import json
import os
import signal
import socket
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from wasm_node.runtime import compiling, worker
from wasm_node.runtime.engines import wasmtime_py
from wasm_node.runtime.lockdown import process

MAX_MESSAGE_BYTES = 1 << 16
MAX_FDS = 5


def run(link: socket.socket, init: int) -> NoReturn:
    """Serve requests for workers until killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    engine = wasmtime_py.Engine()
    # Workers see nothing of the host's environment; one I/O thread is enough.
    os.environ.clear()
    os.environ["TOKIO_WORKER_THREADS"] = "1"
    gc.collect()
    gc.freeze()
    about = {"engine": engine.name, "key": engine.cache_key(), "worlds": engine.worlds}
    hello = json.dumps(about).encode()
    link.send(hello)
    while True:
        message, fds, _, _ = socket.recv_fds(link, MAX_MESSAGE_BYTES, MAX_FDS)
        order: dict[str, Any] = json.loads(message)
        match order["do"]:
            case "hello":
                link.send(hello)
            case "run":
                _fork(worker.main, engine, order, fds, init)
            case "exec":
                _fork(worker.beside, engine, order, fds, init)
            case "compile":
                _fork(compiling.main, engine, order, fds, init)
            case unknown:
                raise ValueError(f"cannot do {unknown!r}")
        for fd in fds:
            os.close(fd)


def _fork(body: Callable[..., NoReturn], *rest: object) -> None:
    threads = process.thread_count()
    if threads != 1:
        raise RuntimeError(f"cannot fork with {threads} threads: a child of it could hang")
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.close(write_end)
            if os.read(read_end, 1):
                _live(body, *rest)
        os._exit(0)
    os.waitpid(child, 0)  # the worker is init's child from here on
    os.write(write_end, b"!")
    os.close(read_end)
    os.close(write_end)


def _live(body: Callable[..., NoReturn], *rest: object) -> NoReturn:
    try:
        body(*rest)
    except BaseException:  # noqa: BLE001  # the top of a process: say it and die
        traceback.print_exc()
    finally:
        os._exit(1)
