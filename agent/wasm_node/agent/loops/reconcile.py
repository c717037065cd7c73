"""
One worker per pod: plan, act, observe, until nothing is left to do.

All decisions are `plan.pods`; here they are carried out, and what came of it
goes to the observed store, whose change runs the worker again. Pulls take
long and must not keep a deletion waiting: each is a task of its own, begun by
a PullImage and cancelled when its pod goes. A pod that comes may have to wait
for the API server: until it is taken in it has a worker of another kind.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, assert_never

from wasm_node.agent import errors, interfaces
from wasm_node.agent.asynckit import keyed
from wasm_node.agent.loops import admitting, ending, fetching, hooking, presence, starting, stopping
from wasm_node.agent.model import actions, desired, hooks, ids, observed
from wasm_node.agent.plan import adopt, images, restarts
from wasm_node.agent.plan import pods as planning
from wasm_node.agent.stores import checkpoint, pods
from wasm_node.protocol import records

log = logging.getLogger(__name__)

_Fetch: TypeAlias = tuple[str, str]
"""A container of a pod, and the image that is fetched for it."""

_PARALLEL = 32
_NEWCOMERS = 10_000
"""At a time; they do nothing but wait, all for the same."""
_RETRY_S = 2.0


@dataclasses.dataclass(frozen=True)
class Hands:
    """What a plan is carried out with: the work of one action each."""

    fetcher: fetching.Fetcher
    starter: starting.Starter
    ender: ending.Ender
    stopper: stopping.Stopper
    caller: hooking.Caller
    admitter: admitting.Admitter
    events: interfaces.Events


class Reconciler:
    """Carries out plans; `run` works until cancelled."""

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        kept: checkpoint.Checkpoints,
        hands: Hands,
        runtime: presence.Presence,
        most_backoff_s: float,
        clock: interfaces.Clock,
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._kept = kept
        self._hands = hands
        self._runtime = runtime
        self._most_backoff_s = most_backoff_s
        self._clock = clock
        self._fetches: dict[ids.PodUid, dict[_Fetch, asyncio.Task[None]]] = {}
        self._hooks: dict[records.AttemptId, asyncio.Task[None]] = {}
        """The postStart hooks that are under way."""
        self._refused: dict[ids.PodUid, frozenset[actions.Event]] = {}
        """What has been told of each pod that cannot run as written."""
        self._workers = keyed.KeyedWorkers(self._reconcile, limit=_PARALLEL)
        self._newcomers = keyed.KeyedWorkers(self._take_in, limit=_NEWCOMERS)

    async def run(self) -> None:
        """
        Work until cancelled.

        NB: nothing is done before the runtime said what runs: an attempt that
        is alive must not look like one that never began.
        """
        await self._seen.listed.wait()
        self._seen.listen(self._workers.poke)
        self._wanted.listen(self._workers.poke)
        self._runtime.listen(self._look_at_all)  # nothing was begun while it ended
        self._look_at_all()
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._workers.run())
            group.create_task(self._newcomers.run())
            group.create_task(self._find_orphans())

    def _look_at_all(self) -> None:
        for pod in self._wanted:
            self._workers.poke(pod.ref.uid)

    async def _find_orphans(self) -> None:
        """
        Take in what runs for pods that are no more, to end it.

        And what only lies there: an agent before us may have been cut short.
        """
        await self._wanted.listed.wait()
        for uid in {*self._seen, *await asyncio.to_thread(self._kept.uids)}:
            if self._wanted.get(uid) is None:
                ref = await asyncio.to_thread(self._kept.reference, uid)
                log.info("Pod %s is gone from its source: ending what is left of it", ref)
                self._wanted.put(desired.orphan(ref))

    async def _reconcile(self, uid: ids.PodUid) -> None:
        wanted = self._wanted.get(uid)
        if wanted is None:
            return
        seen = self._seen.get(uid)
        if seen is None:
            self._newcomers.poke(uid)
        else:
            await self._trying(wanted, self._go_on(wanted, seen))

    async def _take_in(self, uid: ids.PodUid) -> None:
        """
        Make a pod that came one that is observed, which has it looked at.

        What runs was listed before; of this one only its source may know.
        """
        wanted = self._wanted.get(uid)
        if wanted is not None and self._seen.get(uid) is None:
            await self._trying(wanted, self._admit(wanted))

    async def _admit(self, wanted: desired.DesiredPod) -> None:
        rejected = await self._hands.admitter.take_in(wanted)
        if rejected:
            self._emit(wanted, actions.Event(rejected.reason, rejected.message, warning=True))

    async def _trying(self, wanted: desired.DesiredPod, work: Awaitable[None]) -> None:
        """Do it, and have the pod looked at again if it cannot be done now."""
        uid = wanted.ref.uid
        try:
            await work
        except errors.NodeError as error:
            log.warning("Pod %s: %s", wanted.ref, error)
            asked_s = error.after_s if isinstance(error, errors.Throttled) else 0.0
            self._workers.poke_later(uid, max(_RETRY_S, asked_s))
        except Exception:  # one pod's trouble, a full disk or a bug, is not the node's
            log.exception("Pod %s: cannot go on; trying again", wanted.ref)
            self._workers.poke_later(uid, _RETRY_S)

    async def _go_on(self, wanted: desired.DesiredPod, seen: observed.ObservedPod) -> None:
        uid = wanted.ref.uid
        if seen.forgotten:
            if wanted.gone:
                self._hands.ender.drop(uid)
            self._refused.pop(uid, None)
            return
        if wanted.deleting or wanted.finished:
            self._cancel_fetches(uid)
        else:
            self._tell_refused(wanted)
        life = self._hands.starter.life  # NB: with the plan, as a start may take long to prepare
        planned = planning.plan(
            wanted,
            seen,
            now=self._clock.now(),
            most_backoff_s=self._most_backoff_s,
            ending=self._runtime.is_ending,
        )
        for action in planned:
            await self._perform(wanted, action, life)

    async def _perform(self, pod: desired.DesiredPod, action: actions.Action, life: str) -> None:
        match action:
            case actions.PullImage(container):
                self._fetch(pod, pod.container(container))
            case actions.DropImage(container):
                self._seen.change(
                    pod.ref.uid,
                    container,
                    lambda before: dataclasses.replace(before, image=None, failing=None),
                )
            case actions.StartContainer():
                await self._start(pod, pod.container(action.container), action, life)
            case actions.CallPostStart(attempt):
                self._call_post_start(pod, attempt)
            case actions.StopContainer():
                await self._hands.stopper.stop(self._group, pod, action, self._workers.poke)
            case actions.NoteReplaced(attempt):
                await self._note_replaced(pod, attempt)
            case actions.NoteReset(attempts):
                await self._note_reset(pod, attempts)
            case actions.ForgetPod():
                await self._hands.ender.end(pod)
            case actions.LookAgain():
                self._look_again(pod, action)
            case never:
                assert_never(never)

    def _look_again(self, pod: desired.DesiredPod, wanted: actions.LookAgain) -> None:
        if wanted.event is not None:
            self._emit(pod, wanted.event)
        self._workers.poke_later(pod.ref.uid, wanted.at - self._clock.now())

    def _emit(self, pod: desired.DesiredPod, event: actions.Event) -> None:
        self._hands.events.emit(pod.ref, event)

    def _tell_refused(self, pod: desired.DesiredPod) -> None:
        """Tell of each refusal once, however often the pod is looked at."""
        refused = {each.name: each.refusals for each in pod.ephemeral_containers}
        events = frozenset(
            actions.Event("UnsupportedPodSpec", desired.listed(why), warning=True, container=name)
            for name, why in {"": pod.refusals, **refused}.items()
            if why
        )
        for event in events - self._refused.get(pod.ref.uid, frozenset()):
            self._emit(pod, event)
        if events:
            self._refused[pod.ref.uid] = events
        else:
            self._refused.pop(pod.ref.uid, None)

    def _fetch(self, pod: desired.DesiredPod, wanted: desired.DesiredContainer) -> None:
        uid, key = pod.ref.uid, (wanted.name, wanted.image)
        fetches = self._fetches.setdefault(uid, {})
        for other, task in fetches.items():
            if other[0] == wanted.name and other != key:
                task.cancel()  # its image has been changed
        if key not in fetches:
            task = self._group.create_task(self._fetching(pod, wanted))
            fetches[key] = task
            task.add_done_callback(lambda _: self._fetched(uid, key))

    def _fetched(self, uid: ids.PodUid, key: _Fetch) -> None:
        del self._fetches[uid][key]
        if not self._fetches[uid]:
            del self._fetches[uid]
        self._workers.poke(uid)

    def _cancel_fetches(self, uid: ids.PodUid) -> None:
        for task in self._fetches.get(uid, {}).values():
            task.cancel()

    async def _fetching(self, pod: desired.DesiredPod, wanted: desired.DesiredContainer) -> None:
        try:
            here = await self._hands.fetcher.fetch(pod.ref, wanted)
        except errors.NodeError as error:
            self._failed(pod, wanted, error)
        except Exception as error:  # as above
            log.exception("Pod %s, container %s", pod.ref, wanted.name)
            text = f"wasm-node failed: {error!r}"
            self._failed(pod, wanted, errors.GaveUp(text, reason="InternalError"))
        else:
            self._seen.change(
                pod.ref.uid, wanted.name, lambda seen: dataclasses.replace(seen, image=here)
            )

    async def _start(
        self,
        pod: desired.DesiredPod,
        wanted: desired.DesiredContainer,
        action: actions.StartContainer,
        life: str,
    ) -> None:
        seen = self._seen.get(pod.ref.uid)
        here = seen.container(wanted.name).image if seen else None
        if seen is None or here is None:
            return

        attempt = action.attempt
        settling = attempt if wanted.lifecycle.post_start else None

        def made(before: observed.ObservedContainer) -> observed.ObservedContainer:
            known = observed.Made(wanted.image, here.image_id)
            after = images.noted(before, attempt, known)
            return dataclasses.replace(after, settling=settling, unsettled=False)

        def noted(before: observed.ObservedContainer) -> observed.ObservedContainer:
            return dataclasses.replace(made(before), backoff_s=action.backoff_s)

        # NB: kept before the start, as a crash right after it must find them.
        # The back-off is seen after it, as until then the attempt before has
        # its own; the others before it, as news of it come by another way.
        await self._keep(pod, wanted.name, noted)
        self._seen.change(pod.ref.uid, wanted.name, made)
        try:
            running = await self._hands.starter.start(pod, wanted, here, attempt, life)
        except errors.Outdated:  # nor is anything else of this plan carried out
            raise
        except errors.NodeError as error:
            self._failed(pod, wanted, error)
            return
        self._seen.change(
            pod.ref.uid, wanted.name, lambda before: adopt.started(noted(before), running)
        )
        self._emit(pod, actions.Event("Started", "Container started", container=wanted.name))
        if settling is not None:  # at once: the rest of this plan may take long
            self._call_post_start(pod, running.id)

    def _call_post_start(self, pod: desired.DesiredPod, attempt: records.AttemptId) -> None:
        hook = pod.container(attempt.container).lifecycle.post_start
        if hook is None:  # a newer agent began it: what cannot be read holds nothing up
            self._change(attempt, settling=None)
        elif attempt not in self._hooks:
            self._hooks[attempt] = self._group.create_task(self._settle(pod, attempt, hook))
            self._hooks[attempt].add_done_callback(lambda _: self._hooks.pop(attempt))

    async def _settle(
        self, pod: desired.DesiredPod, attempt: records.AttemptId, hook: hooks.Hook
    ) -> None:
        """
        Carry out a postStart hook; until then it counts as not begun.

        What came of it is kept: what an agent has not done the next one does,
        so that it is called once at least.
        """
        try:
            why = await self._hands.caller.call(pod, attempt, hook)
        except Exception as error:  # as above
            log.exception("Pod %s: a postStart hook", pod.ref)
            why = repr(error)
        if why:
            log.info("Pod %s, container %s: postStart: %s", pod.ref, attempt.container, why)
            self._emit(pod, hooking.failed("PostStart", attempt))

        def settled(before: observed.ObservedContainer) -> observed.ObservedContainer:
            if before.settling != attempt.attempt:  # another attempt has its own hook
                return before
            after = {"unsettled": True} if why else {"settling": None}
            return dataclasses.replace(before, **after)

        try:
            await self._keep(pod, attempt.container, settled)
        except OSError as error:  # the next agent would call it once more
            log.warning("Pod %s: cannot keep what became of a hook: %s", pod.ref, error)
        self._seen.change(pod.ref.uid, attempt.container, settled)

    async def _note_replaced(self, pod: desired.DesiredPod, attempt: records.AttemptId) -> None:
        number = attempt.attempt
        await self._keep(
            pod, attempt.container, lambda seen: dataclasses.replace(seen, replaced=number)
        )
        self._change(attempt, replaced=number)

    async def _note_reset(
        self, pod: desired.DesiredPod, attempts: Sequence[records.AttemptId]
    ) -> None:
        """NB: all at once, so that no crash leaves some of them in the pod."""
        log.info("Pod %s: restarting all containers, as a rule of one says", pod.ref)
        await self._keep_pod(pod, lambda kept: adopt.reset(kept, attempts))
        seen = self._seen.get(pod.ref.uid)
        if seen is not None and not seen.forgotten:
            self._seen.put(pod.ref.uid, adopt.reset(seen, attempts))

    async def _keep(
        self,
        pod: desired.DesiredPod,
        name: str,
        change: Callable[[observed.ObservedContainer], observed.ObservedContainer],
    ) -> None:
        """Write down what a container is about to be."""
        await self._keep_pod(pod, lambda kept: kept.changed(name, change))

    async def _keep_pod(
        self,
        pod: desired.DesiredPod,
        change: Callable[[observed.ObservedPod], observed.ObservedPod],
    ) -> None:
        seen = self._seen.get(pod.ref.uid)
        if seen is not None and not seen.forgotten:  # a hook may be done later than its pod
            await asyncio.to_thread(self._kept.change, pod.ref, seen, change)

    def _change(self, attempt: records.AttemptId, **fields: Any) -> None:
        self._seen.change(
            ids.PodUid(attempt.pod_uid),
            attempt.container,
            lambda seen: dataclasses.replace(seen, **fields),
        )

    def _failed(
        self, pod: desired.DesiredPod, wanted: desired.DesiredContainer, error: errors.NodeError
    ) -> None:
        log.warning("Pod %s, container %s: %s", pod.ref, wanted.name, error)
        self._emit(pod, restarts.not_begun(wanted, error.reason, str(error)))
        now = self._clock.now()
        self._seen.change(
            pod.ref.uid,
            wanted.name,
            lambda before: restarts.failed(
                before, error.reason, str(error), now=now, image=wanted.image
            ),
        )
