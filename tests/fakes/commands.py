"""Commands in containers: their programs, and what they come to, in memory."""

import asyncio
from collections.abc import Mapping, Sequence

from wasm_node.agent import errors
from wasm_node.agent.model import image
from wasm_node.agent.model import probe as checks
from wasm_node.protocol import records


class FakeCommands:
    """
    Commands that do what a test has set.

    Attributes:
        outcomes: by `command[0]`, what it comes to; else it passes.
        run: commands and their attempts, in order.
        gate: while it is not set, every command waits.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, checks.Outcome] = {}
        self.run: list[tuple[tuple[str, ...], records.AttemptId]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(
        self, wanted: checks.Exec, attempt: records.AttemptId, *, within_s: float
    ) -> checks.Outcome:
        """Say what was set; what waits longer than it may has failed."""
        try:
            async with asyncio.timeout(None if within_s == float("inf") else within_s):
                return await self._outcome(wanted, attempt)
        except TimeoutError:
            return checks.Failed("it took too long")

    async def probe(self, wanted: checks.Probe, attempt: records.AttemptId) -> checks.Outcome:
        """Say what was set."""
        assert isinstance(wanted.check, checks.Exec)
        return await self._outcome(wanted.check, attempt)

    async def _outcome(self, wanted: checks.Exec, attempt: records.AttemptId) -> checks.Outcome:
        self.run.append((wanted.command, attempt))
        await self.gate.wait()
        return self.outcomes.get(wanted.command[0], checks.Passed())


class FakePrograms:
    """Programs of containers that all see the same ones."""

    def __init__(self, known: Mapping[str, image.Program]) -> None:
        self._known = known

    async def find(self, attempt: records.AttemptId, command: Sequence[str]) -> image.Command:
        """Return the program of that name, its argv the command."""
        name, _, export = command[0].partition("#")
        if name not in self._known:
            text = f"cannot run {name} in container {attempt.container}: there is none"
            raise errors.BadInput(text, reason="CreateContainerError")
        known = self._known[name]
        program = image.Program(known.path, known.digest, known.kind, tuple(command))
        return image.Command(program, export)
