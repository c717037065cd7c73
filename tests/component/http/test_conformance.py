"""
HTTP/2 as h2spec has it: its 145 cases, each against the guest that suits it.

What a client does wrong in the middle of its request counts for nothing once it
is answered, so most cases need a guest that reads to the end; a few need an
answer with a body, one needs requests that last.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from e2e.cluster import binaries
from tests.component.http import serving
from tests.component.runtime import running

# The client is built by the first who needs it.
pytestmark = pytest.mark.timeout(180)

_NEED_A_BODY = ("http2/6.5.3", "http2/6.9.1", "http2/6.9.2")
_NEED_TIME = ("http2/5.1.2",)
_ONE_PORT_FOR_BOTH = {"http2/3.5: Sends invalid connection preface"}
"""What is no preface of HTTP/2 is a request of HTTP/1.1, which is refused."""


@pytest.fixture(scope="module")
def runtime() -> Iterator[running.RunningRuntime]:
    """Return a runtime for all cases."""
    with running.runtime(engine="native") as made:
        yield made


async def _failures(
    worker: serving.Worker, path: str, report: Path, sections: tuple[str, ...]
) -> tuple[set[str], set[str]]:
    """Return the cases that were tried, and those that did not pass."""
    words = [*sections, f"--port={worker.port}", f"--path={path}", "--timeout=2"]
    process = await asyncio.create_subprocess_exec(
        binaries.h2spec(), *words, f"--junit-report={report}", stdout=asyncio.subprocess.DEVNULL
    )
    await process.wait()
    tree = await asyncio.to_thread(ET.parse, report)
    cases = {f"{x.get('package')}: {x.get('classname')}": len(x) > 0 for x in tree.iter("testcase")}
    return set(cases), {name for name, failed in cases.items() if failed}


async def test_http_2(runtime: running.RunningRuntime, tmp_path: Path) -> None:
    """All but what follows of one port for HTTP/1.1 and HTTP/2."""
    report = tmp_path / "report.xml"
    async with contextlib.AsyncExitStack() as stack:
        worker = await stack.enter_async_context(serving.worker(runtime, concurrency=256))
        every, failed = await _failures(worker, "/echo", report, ())
        for path, sections in (("/hello", _NEED_A_BODY), ("/sleep", _NEED_TIME)):
            tried, still = await _failures(worker, path, report, sections)
            failed -= tried - still

    assert len(every) > 100
    assert failed == _ONE_PORT_FOR_BOTH
