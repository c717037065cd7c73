"""
One certificate of this node: on disk, replaced in time, by whoever may sign.

`agent.identity` has a keeper for the node's client certificate and one for
the kubelet API's; the rules of when and why are in `plan.certificates`, and
how to have one signed in `kube.csr`. Certificate and key are one file, so
that no reader ever finds a key beside another's certificate.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from wasm_node.agent import errors, interfaces, statedir
from wasm_node.agent.asynckit import backoff
from wasm_node.agent.loops import keys
from wasm_node.agent.model import certificates, times
from wasm_node.agent.plan import certificates as planning

log = logging.getLogger(__name__)

_LOOK_S = 300.0
"""Clocks are set, and hosts sleep: look at the time now and then."""


class Signer(Protocol):
    """Has certificates signed."""

    async def sign(self, wanted: certificates.Wanted, name: str, request: bytes) -> bytes:
        """
        Return the chain for a request (PEM both); waits until it is granted.

        Asked again by the same name, with the same key, it goes on waiting
        for the same request.

        Raises:
            Unauthorized: whoever asks is not known there, or not any more.
            GaveUp: refused for good, as long as the request is there.
            NodeError: it cannot be had now.
        """


class Keeper:
    """
    Keeps the certificate for one purpose.

    Attributes:
        wanted: the purpose.
        path: certificate chain and key, PEM, for us only.
        obtained: whether it was issued since this process began.
    """

    def __init__(
        self,
        wanted: certificates.Wanted,
        directory: statedir.StateDir,
        clock: interfaces.Clock,
    ) -> None:
        self.wanted = wanted
        self.path = directory.pki / f"{wanted.kind}.pem"
        self.obtained = False
        self._pending = directory.pki / f"{wanted.kind}.key"
        self._clock = clock
        self._renew_at = 0.0
        self._fingerprint = ""

    async def load(self) -> bool:
        """Take what is on disk; False: it is of no use, as the log says."""
        try:
            pem, obtained_at = await asyncio.to_thread(self._read)
            found = certificates.parse(pem)
        except FileNotFoundError:
            return False
        except (OSError, errors.BadInput) as error:
            log.warning("The certificate in %s: %s", self.path, error)
            return False
        if why := planning.unfit(found, self.wanted, now=self._clock.now()):
            log.warning("The certificate in %s is of no use any more: %s", self.path, why)
            return False
        self._take(found, obtained_at)
        return True

    async def obtain(self, *signers: Signer) -> None:
        """
        Have a new one signed and put it on disk, however long that takes.

        The first signer is asked; if it is not known any more, the next.
        """
        while True:
            key = await asyncio.to_thread(keys.Key.at, self._pending)
            chain = await self._signed(key, signers)
            pem = chain.rstrip(b"\n") + b"\n" + key.pem
            found = certificates.parse(pem)
            if key.is_new or self._is_news(found):
                break
            await asyncio.to_thread(
                self._pending.unlink, missing_ok=True
            )  # what it was for has been granted
        await asyncio.to_thread(statedir.write_secret, self.path, pem)
        await asyncio.to_thread(self._pending.unlink, missing_ok=True)
        self.obtained = True
        self._take(found, self._clock.now())

    async def due(self) -> None:
        """Return when it is time for the next one."""
        while (left_s := self._renew_at - self._clock.now()) > 0:
            await self._clock.sleep(min(left_s, _LOOK_S))

    async def keep(self, signer: Signer, use: Callable[[], Awaitable[None]]) -> None:
        """Have one from now on, for ever; `use` is called for each."""
        if not await self.load():
            await self.obtain(signer)
        await use()
        while True:
            await self.due()
            await self.obtain(signer)
            await use()

    def _is_news(self, found: certificates.Certificate) -> bool:
        """Say whether a certificate of an older request still serves."""
        unfit = planning.unfit(found, self.wanted, now=self._clock.now())
        return not unfit and found.fingerprint != self._fingerprint

    async def _signed(self, key: keys.Key, signers: Sequence[Signer]) -> bytes:
        name = planning.request_name(self.wanted, key.public)
        pause = backoff.Backoff(first_s=1.0, most_s=60.0)
        asked = 0
        while True:
            try:
                signer = signers[asked % len(signers)]
                return await signer.sign(self.wanted, name, key.request(self.wanted))
            except errors.NodeError as error:
                asked += isinstance(error, errors.Unauthorized)
                log.warning("Asking for the %s certificate: %s", self.wanted.kind, error)
            await self._clock.sleep(pause.next_s())

    def _read(self) -> tuple[bytes, float]:
        return self.path.read_bytes(), self.path.stat().st_mtime

    def _take(self, found: certificates.Certificate, obtained_at: float) -> None:
        self._fingerprint = found.fingerprint
        self._renew_at = planning.renew_at(found, obtained_at=obtained_at)
        log.info(
            "The %s certificate of %s is valid until %s, to be renewed from %s on",
            self.wanted.kind,
            found.user,
            times.rfc3339(found.not_after),
            times.rfc3339(self._renew_at),
        )
        if why := planning.skew(found, now=self._clock.now()):
            log.warning("The %s certificate is not valid now: %s", self.wanted.kind, why)
