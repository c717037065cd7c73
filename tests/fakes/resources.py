"""Resources in memory: as much is left as a test says."""

from collections.abc import Sequence

from wasm_node.agent import errors
from wasm_node.agent.model import ids
from wasm_node.protocol import messages


class FakeResources:
    """
    Says what it was told to say.

    Attributes:
        memory: what is left of it.
        tasks: likewise.
        used: the shares of attempts.
        disks: by pod; one that is absent has nothing there.
        running: pods whose volumes cannot be removed.
        weighed: pods whose disk was asked for, in order.
        released: pods, in order.
        code: bytes of compiled code, by module.
        needed: modules whose code stays, as theirs is here or they run.
        prunes: how often code was pruned.
        away: every call fails as if the runtime were gone.
    """

    def __init__(self) -> None:
        self.memory = messages.Level(2**30, 2**30)
        self.tasks = messages.Level(10_000, 10_000)
        self.used: list[messages.Share] = []
        self.disks: dict[ids.PodUid, messages.PodDisk] = {}
        self.running: set[ids.PodUid] = set()
        self.weighed: list[ids.PodUid] = []
        self.released: list[ids.PodUid] = []
        self.code: dict[str, int] = {}
        self.needed: set[str] = set()
        self.prunes = 0
        self.away = False

    async def left(self) -> tuple[messages.Level, messages.Level]:
        """Return both levels."""
        self._here()
        return self.memory, self.tasks

    async def shares(self) -> Sequence[messages.Share]:
        """Return them as they are."""
        self._here()
        return tuple(self.used)

    async def disk(self, pod: ids.PodUid) -> messages.PodDisk:
        """Return what a pod has on the disk."""
        self._here()
        self.weighed.append(pod)
        return self.disks.get(pod, messages.PodDisk())

    async def release(self, pod: ids.PodUid) -> None:
        """Remove a pod's volumes."""
        self._here()
        if pod in self.running:
            raise errors.Retryable("a container of it still runs", reason="PodStillRunning")
        self.disks.pop(pod, None)
        self.released.append(pod)

    async def prune(self) -> int:
        """Remove the code of modules that nobody needs."""
        self._here()
        self.prunes += 1
        freed = sum(size for each, size in self.code.items() if each not in self.needed)
        self.code = {each: self.code[each] for each in self.code if each in self.needed}
        return freed

    def _here(self) -> None:
        if self.away:
            raise errors.Retryable("cannot reach the runtime", reason="RuntimeUnavailable")
