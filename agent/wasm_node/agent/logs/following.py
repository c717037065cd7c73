"""
Reading one log through to its end, or after its writer until that has ended.

Each round asks whether the attempt still runs and whether the file was
rotated *before* it reads to the end of the file, and acts on the answers
after: what was written before an end or a rotation is always shown. Reading
and rendering happen in a thread, a chunk at a time, and no chunk is read
before the one before it was taken: a slow taker costs 64 KiB, not the log.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

from wasm_node.agent.logs import changes, files, reading
from wasm_node.agent.model import log_options


@contextlib.asynccontextmanager
async def open_log(
    path: Path,
    options: log_options.LogOptions,
    *,
    is_running: Callable[[], bool],
    news: changes.Changes,
) -> AsyncIterator[AsyncIterator[bytes]]:
    """
    Open a log, and give what there is to show of it in pieces, none empty.

    With `follow` the pieces end once `is_running` (quick, called on the loop)
    has said no and the file is read through. Leaving the context lets go of
    the file, whatever the reader was doing.

    Raises:
        NotFound: there is no such log.
        Retryable: it cannot be read now.
    """
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(contextlib.closing(files.LogFile(path)))
        change = stack.enter_context(news.listen(path)) if options.follow else None
        await asyncio.to_thread(log.open, options.tail_lines)
        async with contextlib.aclosing(_show(log, options, is_running, change)) as shown:
            yield shown


async def _show(
    log: files.LogFile,
    options: log_options.LogOptions,
    is_running: Callable[[], bool],
    change: changes.Change | None,
) -> AsyncGenerator[bytes]:
    renderer = reading.Renderer(options)
    while True:
        ended = change is None or not is_running()
        replaced = change is not None and await asyncio.to_thread(log.replaced)
        more = True
        while more and not renderer.done:
            shown, more = await asyncio.to_thread(_step, log, renderer)
            if shown:
                yield shown
        if (ended or replaced) and (shown := renderer.finish()):
            yield shown
        if renderer.done or (ended and not replaced):
            return
        if replaced:
            await asyncio.to_thread(log.reopen)
        elif change is not None:
            while not await change.wait() and is_running():
                pass


def _step(log: files.LogFile, renderer: reading.Renderer) -> tuple[bytes, bool]:
    """Return what the next chunk shows, and whether the file goes on."""
    chunk = log.read()
    return renderer.feed(chunk), len(chunk) == files.CHUNK_BYTES
