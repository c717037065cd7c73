"""
What pods share, and what each of them has of it: asked for by the agent.

What can be read at once is answered at once; what a disk has to say takes as
long as it takes, beside the loop.
"""

import dataclasses
from collections.abc import Callable
from typing import assert_never

from wasm_node.protocol import messages, settings
from wasm_node.runtime import attempts, eventloop, room, server, shares, volumes
from wasm_node.runtime.limits import bounds


class Resources:
    """Answers requests of the kind `messages.OfResources`."""

    def __init__(
        self,
        loop: eventloop.EventLoop,
        wanted: settings.RuntimeSettings,
        around: bounds.Bounds,
        known: attempts.Attempts,
        disks: volumes.Volumes,
        prune: Callable[[Callable[[int], None]], None],
    ) -> None:
        self._loop = loop
        self._wanted = wanted
        self._around = around
        self._known = known
        self._disks = disks
        self._prune = prune
        self._shares = shares.Shares(known)

    def answer(self, client: server.Connection, seq: int, request: messages.OfResources) -> None:
        """Answer, now or later."""
        match request:
            case messages.Usage():
                memory = room.memory_left(self._wanted, self._around, self._shares.total_bytes)
                tasks = room.tasks_left(self._around)
                told = {"memory": dataclasses.asdict(memory), "tasks": dataclasses.asdict(tasks)}
                client.send(messages.done(seq, told))
            case messages.Shares(after):
                page = [each.to_message() for each in self._shares.page(after)]
                client.send(messages.done(seq, {"shares": page}))
            case messages.Disk(uid):

                def tell(found: messages.PodDisk) -> None:
                    client.send(messages.done(seq, {"disk": found.to_message()}))

                self._loop.apart(lambda: self._disks.measure(uid), tell)
            case messages.Release(uid):
                self._release(client, seq, uid)
            case messages.Prune():
                self._prune(lambda freed: client.send(messages.done(seq, {"freed": freed})))
            case never:
                assert_never(never)

    def _release(self, client: server.Connection, seq: int, uid: str) -> None:
        if self._known.is_running(uid):
            text = f"cannot remove the volumes of pod {uid}: a container of it still runs"
            refusal = messages.Refusal(retry=True, reason="PodStillRunning", message=text)
            client.send(messages.refused(seq, refusal))
            return
        self._loop.apart(
            lambda: self._disks.release(uid), lambda _: client.send(messages.done(seq))
        )
