"""A certificate on a real disk, by a signer and a clock of the test."""

import asyncio
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import clock as clocks
from tests.fakes.signer import FakeSigner
from wasm_node.agent import errors, statedir
from wasm_node.agent.loops import certificates, keys
from wasm_node.agent.model import certificates as model

WANTED = model.serving("wasm-a", "10.1.1.1")


class Bed:
    """A keeper, its disk, its signer and its clock."""

    def __init__(self, root: Path) -> None:
        self.directory = statedir.StateDir(root / "state", root / "run", root / "logs")
        self.directory.make()
        self.clock = clocks.FakeClock()
        self.signer = FakeSigner(self.clock)
        self.used = 0
        self.keeper = self.again()

    def again(self) -> certificates.Keeper:
        """Return a keeper as after a restart of the agent."""
        return certificates.Keeper(WANTED, self.directory, self.clock)

    @property
    def pending(self) -> Path:
        """The key of a request under way."""
        return self.directory.pki / "serving.key"

    async def use(self) -> None:
        """Count the certificates that were said to be there."""
        self.used += 1

    async def next_one(self) -> bytes:
        """Let time pass until there is another; return it with its key."""
        before = self.used
        async with asyncio.timeout(10):
            while self.used == before:
                if self.clock.sleepers:  # it waits for nothing but the time
                    self.clock.advance(10)
                await asyncio.sleep(0.001)
        return self.keeper.path.read_bytes()


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Give a keeper that has nothing yet, where paths are short."""
    with tempfile.TemporaryDirectory() as root:
        yield Bed(Path(root))


async def test_it_is_obtained_and_found_again(bed: Bed) -> None:
    """Certificate and key are one file; the next agent needs no signer."""
    assert not await bed.keeper.load()
    await bed.keeper.obtain(bed.signer)
    found = model.parse(bed.keeper.path.read_bytes())

    assert ("system:node:wasm-a", {"10.1.1.1"}) == (found.user, set(found.ips))
    assert await bed.again().load()
    assert [bed.keeper.path] == list(bed.directory.pki.iterdir())


async def test_it_is_replaced_in_time_for_ever(bed: Bed) -> None:
    """Each with a key of its own, at 70 to 90 % of the life of the last."""
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(bed.keeper.keep(bed.signer, bed.use))
        files = [await bed.next_one() for _ in range(4)]
        keeping.cancel()

    found = [model.parse(each) for each in files]
    gaps = [after.not_before - before.not_before for before, after in itertools.pairwise(found)]
    assert all(700 <= gap <= 920 for gap in gaps), gaps
    assert len({each.split(b"-----BEGIN PRIVATE KEY")[1] for each in files}) == 4


async def test_trouble_is_waited_out(bed: Bed) -> None:
    """Whatever is wrong at the signer, the same request is asked for again."""
    bed.signer.refusals = iter(
        [
            errors.Retryable("cannot reach the API server", reason="APIUnavailable"),
            errors.GaveUp("certificate request x is denied", reason="RequestDenied"),
        ]
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(bed.keeper.obtain(bed.signer))
        async with asyncio.timeout(10):
            while len(bed.signer.asked) < 3:
                bed.clock.advance(1)
                await asyncio.sleep(0.001)

    assert 1 == len(set(bed.signer.asked))
    assert await bed.again().load()


async def test_who_is_not_known_any_more_lets_another_ask(bed: Bed) -> None:
    """The node itself first; then the identity that it began with."""
    bootstrap = FakeSigner(bed.clock)
    bed.signer.refusals = iter([errors.Unauthorized("401", reason="Unauthorized")] * 9)
    async with asyncio.TaskGroup() as group:
        obtaining = group.create_task(bed.keeper.obtain(bed.signer, bootstrap))
        async with asyncio.timeout(10):
            while not obtaining.done():
                bed.clock.advance(1)
                await asyncio.sleep(0.001)

    assert bed.signer.asked == bootstrap.asked


async def test_killed_while_it_waits_it_asks_for_the_same(bed: Bed) -> None:
    """The key of the request is on disk, so its name stays."""
    bed.signer.refusals = iter([errors.Retryable("no answer", reason="APIUnavailable")])
    async with asyncio.TaskGroup() as group:
        obtaining = group.create_task(bed.keeper.obtain(bed.signer))
        async with asyncio.timeout(10):
            while not bed.signer.asked:
                await asyncio.sleep(0.001)
        obtaining.cancel()
    await bed.again().obtain(bed.signer)

    assert 1 == len(set(bed.signer.asked))


async def test_killed_before_the_key_is_let_go_it_asks_for_a_new_one(bed: Bed) -> None:
    """What an old request had granted is not mistaken for the next."""
    await bed.keeper.obtain(bed.signer)
    pem = bed.keeper.path.read_bytes()
    bed.pending.write_bytes(pem[pem.index(b"-----BEGIN PRIVATE KEY") :])
    next_keeper = bed.again()
    assert await next_keeper.load()
    await next_keeper.obtain(bed.signer)

    assert pem != next_keeper.path.read_bytes()
    assert [next_keeper.path] == list(bed.directory.pki.iterdir())


async def test_what_was_granted_long_ago_is_asked_for_anew(bed: Bed) -> None:
    """A host that was off since it asked gets no certificate of the past."""
    await bed.keeper.obtain(bed.signer)
    pem = bed.keeper.path.read_bytes()
    bed.pending.write_bytes(pem[pem.index(b"-----BEGIN PRIVATE KEY") :])
    bed.keeper.path.unlink()
    bed.clock.advance(2000)
    await bed.again().obtain(bed.signer)

    assert model.parse(bed.keeper.path.read_bytes()).not_after > bed.clock.now()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\n"])
async def test_a_broken_file_is_asked_for_anew(
    bed: Bed, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in the log, and replaced."""
    bed.keeper.path.write_bytes(content)

    assert not await bed.keeper.load()
    assert f"The certificate in {bed.keeper.path}: cannot use" in caplog.text
    await bed.keeper.obtain(bed.signer)
    assert await bed.again().load()


def test_a_key_cut_short_is_made_anew(bed: Bed) -> None:
    """Nothing can have been signed for half a key."""
    bed.pending.write_bytes(b"-----BEGIN PRIVATE KEY-----\nMIGH")

    assert keys.Key.at(bed.pending).is_new
    assert not keys.Key.at(bed.pending).is_new


async def test_a_clock_that_is_fast_asks_once(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """What is expired by our clock on arrival is used, and the clock blamed."""
    bed.clock.advance(5000)
    slow = FakeSigner(clocks.FakeClock())
    await bed.keeper.obtain(slow)
    async with asyncio.TaskGroup() as group:
        due = group.create_task(bed.keeper.due())
        bed.clock.advance(400)
        await asyncio.sleep(0.01)
        assert not due.done()
        due.cancel()

    assert "this host's clock is fast by 4000 s or more: set it" in caplog.text
