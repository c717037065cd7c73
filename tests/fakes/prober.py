"""A Prober whose answers are set from outside."""

import asyncio

from wasm_node.agent.model import probe


class FakeProber:
    """
    Prober without a network.

    Attributes:
        outcomes: by port, what a check of it comes to; else it passes.
        asked: what was checked and where, in order.
        gate: while it is not set, every check waits.
    """

    def __init__(self) -> None:
        self.outcomes: dict[int, probe.Outcome] = {}
        self.asked: list[tuple[probe.Probe, probe.Endpoint]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def probe(self, wanted: probe.Probe, at: probe.Endpoint) -> probe.Outcome:
        """Say what was set."""
        self.asked.append((wanted, at))
        await self.gate.wait()
        return self.outcomes.get(at.port, probe.Passed())
