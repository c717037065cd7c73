"""Workers that do what they are told, and remember it."""

from wasm_node.agent import errors
from wasm_node.agent.model import traffic
from wasm_node.protocol import records


class FakeWorkers:
    """
    HttpWorkers in memory; an attempt that it does not know serves no HTTP.

    Attributes:
        accepting: by attempt, what its worker does.
        told: what was said, in order.
        deaf: attempts that cannot be told now.
        counted: by attempt, what its worker has.
    """

    def __init__(self) -> None:
        self.accepting: dict[records.AttemptId, bool] = {}
        self.told: list[tuple[records.AttemptId, bool]] = []
        self.deaf: set[records.AttemptId] = set()
        self.counted: dict[records.AttemptId, traffic.Traffic] = {}

    async def set_accepting(self, attempt: records.AttemptId, *, accepting: bool) -> None:
        """Do so, if there is such a worker."""
        self.told.append((attempt, accepting))
        self._check(attempt)
        if attempt in self.accepting:
            self.accepting[attempt] = accepting

    async def traffic(self, attempt: records.AttemptId) -> traffic.Traffic | None:
        """Return what a test has put there."""
        self._check(attempt)
        return self.counted.get(attempt)

    def _check(self, attempt: records.AttemptId) -> None:
        if attempt in self.deaf:
            raise errors.Retryable(f"cannot ask {attempt}: deaf", reason="RuntimeUnavailable")
