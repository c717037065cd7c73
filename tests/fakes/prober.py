"""A Prober whose answers are set from outside."""

import asyncio

from wasm_node.agent.model import probe


class FakeProber:
    """
    Prober without a network.

    Attributes:
        outcomes: by port, what a check of it comes to; else it passes.
        asked: what was checked and where, in order.
        called: what hooks asked and where, in order.
        gate: while it is not set, every check waits.
    """

    def __init__(self) -> None:
        self.outcomes: dict[int, probe.Outcome] = {}
        self.asked: list[tuple[probe.Probe, probe.Endpoint]] = []
        self.called: list[tuple[probe.HttpGet, probe.Endpoint]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(
        self, wanted: probe.HttpGet, at: probe.Endpoint, *, within_s: float
    ) -> probe.Outcome:
        """Say what was set; what waits longer than it may has failed."""
        self.called.append((wanted, at))
        try:
            async with asyncio.timeout(within_s):
                await self.gate.wait()
        except TimeoutError:
            return probe.Failed("it took too long")
        return self.outcomes.get(at.port, probe.Passed())

    async def probe(self, wanted: probe.Probe, at: probe.Endpoint) -> probe.Outcome:
        """Say what was set."""
        self.asked.append((wanted, at))
        await self.gate.wait()
        return self.outcomes.get(at.port, probe.Passed())
