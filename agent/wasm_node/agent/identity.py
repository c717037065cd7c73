"""
Who this node is to the cluster: its connection, and both its certificates.

Given a kubeconfig it is whom that names. Else it asks for a certificate as
`system:node:NAME`, with a bootstrap identity that may do nothing but ask, and
renews it as itself; the bootstrap identity counts again only when the API
server knows the node no more. The kubelet API's certificate and the CA of its
clients come the same way, unless files are given.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from wasm_node.agent import errors, interfaces, settings, statedir
from wasm_node.agent.asynckit import backoff
from wasm_node.agent.kube import authorities, client, csr
from wasm_node.agent.loops import certificates
from wasm_node.agent.model import certificates as model

log = logging.getLogger(__name__)

_AUTHORITIES_S = 600.0
_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Identity:
    """
    The node as the cluster knows it.

    Attributes:
        api: the API server, as the node.
        kubelet: the kubelet API's settings, with the files that it has.
        awaits_files: whether those may still have to come.
        served: set once the kubelet API has a certificate for its address.
    """

    def __init__(
        self,
        api: client.Api,
        kubelet: settings.Kubelet,
        own: "OwnCertificate | None",
        serving: certificates.Keeper | None,
        authorities_file: Path | None,
        find_authorities: Callable[[], Awaitable[bytes]],
        clock: interfaces.Clock,
    ) -> None:
        self.api = api
        self.kubelet = kubelet
        self.awaits_files = serving is not None or authorities_file is not None
        self._own = own
        self.served = asyncio.Event()
        if serving is None:
            self.served.set()
        self._serving = serving
        self._authorities_file = authorities_file
        self._find_authorities = find_authorities
        self._clock = clock

    @classmethod
    @contextlib.asynccontextmanager
    async def assumed(
        cls,
        chosen: settings.Settings,
        address: str,
        directory: statedir.StateDir,
        clock: interfaces.Clock,
    ) -> AsyncIterator["Identity"]:
        """
        Yield the identity, once the API server has accepted it.

        Args:
            chosen: the settings.
            address: that the kubelet API is reached at; literal IP.
            directory: where keys and certificates are kept.
            clock: time.

        Raises:
            BadInput: a kubeconfig cannot be used.
            GaveUp: the cluster refuses what it has signed itself.
        """
        given = settings.is_set(chosen.kubeconfig)
        entrance = chosen.kubeconfig if given else chosen.bootstrap.kubeconfig
        in_pod = not settings.is_set(entrance)
        source = None if in_pod else entrance
        private = directory.credentials

        def introduce() -> AbstractAsyncContextManager[client.Api]:
            return client.Api.connect(source, private=private)

        async def find_authorities() -> bytes:
            async with introduce() as bare:
                return await (authorities.of_clients(bare) if in_pod else bare.authorities())

        async with contextlib.AsyncExitStack() as stack:
            own = None
            if given:
                api = await stack.enter_async_context(introduce())
            else:
                keeper = certificates.Keeper(model.client(chosen.node_name), directory, clock)
                whose = (
                    "the pod's service account"
                    if in_pod
                    else f"the identity in {source} (read anew each time)"
                )
                own = OwnCertificate(keeper, csr.ApiSigner(introduce, whose), clock)
                if not await keeper.load():
                    async with introduce():
                        pass  # a kubeconfig that is of no use stops the start
                    await keeper.obtain(own.bootstrap)
                api = await stack.enter_async_context(
                    client.Api.connect(source, private=private, certificate=keeper.path)
                )
                await own.be_accepted(api)
            kubelet, serving, trusted = chosen.kubelet, None, None
            if not settings.is_set(kubelet.certificate_file):
                wanted = model.serving(chosen.node_name, address)
                serving = certificates.Keeper(wanted, directory, clock)
                kubelet = msgspec.structs.replace(
                    kubelet, certificate_file=serving.path, key_file=serving.path
                )
            if not settings.is_set(kubelet.client_ca_file):
                trusted = directory.pki / "client-ca.pem"
                kubelet = msgspec.structs.replace(kubelet, client_ca_file=trusted)
            yield cls(api, kubelet, own, serving, trusted, find_authorities, clock)

    async def run(self, files_changed: Callable[[], Awaitable[None]]) -> None:
        """Keep all of it valid until cancelled."""

        async def serve() -> None:
            await files_changed()
            self.served.set()

        async with asyncio.TaskGroup() as group:
            if self._own is not None:
                group.create_task(self._own.keep(self.api))
            if self._serving is not None:
                signer = csr.ApiSigner(lambda: contextlib.nullcontext(self.api), "the node")
                group.create_task(self._serving.keep(signer, serve))
            if self._authorities_file is not None:
                group.create_task(self._follow_authorities(self._authorities_file, files_changed))

    def expiries(self) -> Mapping[str, float]:
        """Return when each certificate in use expires, unix seconds; blocks."""
        files = {"client": self.api.certificate, "serving": self.kubelet.certificate_file}
        found: dict[str, float] = {}
        for kind, file in files.items():
            if file is not None:
                with contextlib.suppress(OSError, ValueError):  # not there, or not whole yet
                    found[kind] = model.expiry(file.read_bytes())
        return found

    async def _follow_authorities(self, path: Path, changed: Callable[[], Awaitable[None]]) -> None:
        pause = backoff.Backoff(first_s=1.0, most_s=60.0)
        while True:
            try:
                found = await self._find_authorities()
            except errors.NodeError as error:
                log.warning("Asking for the CA of the kubelet API's clients: %s", error)
                await self._clock.sleep(pause.next_s())
                continue
            pause.reset()
            if await asyncio.to_thread(_update, path, found):
                log.info("Clients of the kubelet API are known by the CA in %s", path)
                await changed()
            await self._clock.sleep(_AUTHORITIES_S)


class OwnCertificate:
    """
    The node's own client certificate, and that the API server accepts it.

    Attributes:
        keeper: of the certificate.
        bootstrap: asks when the node cannot do so as itself.
    """

    def __init__(
        self, keeper: certificates.Keeper, bootstrap: certificates.Signer, clock: interfaces.Clock
    ) -> None:
        self.keeper = keeper
        self.bootstrap = bootstrap
        self._clock = clock

    async def be_accepted(self, api: client.Api) -> None:
        """
        Return once the API server knows us, with a new certificate if need be.

        Raises:
            GaveUp: it does not accept one that the cluster has just signed.
        """
        pause = backoff.Backoff(first_s=1.0, most_s=30.0)
        while True:
            try:
                await api.call("POST", _REVIEW, body={"kind": "SelfSubjectReview"})
            except errors.Unauthorized as error:
                if self.keeper.obtained:
                    raise errors.GaveUp(
                        f"cannot join as {self.keeper.wanted.user}: the API server refuses the "
                        f"certificate that its cluster has just signed ({error}); is the CA of "
                        "--cluster-signing-cert-file among those of its --client-ca-file?",
                        reason="CertificateRefused",
                    ) from error
                log.warning("The certificate in %s is refused: %s", self.keeper.path, error)
                await self.keeper.obtain(self.bootstrap)
                await api.renew()
            except errors.NodeError as error:
                log.warning("Asking the API server whether it knows us: %s", error)
                await self._clock.sleep(pause.next_s())
            else:
                return

    async def keep(self, api: client.Api) -> None:
        """Renew it in time, or when the API server knows us no more."""
        itself = csr.ApiSigner(lambda: contextlib.nullcontext(api), "the node")
        while True:
            if await self._due(api.refused):
                await self.keeper.obtain(itself, self.bootstrap)
                await api.renew()
            else:
                self.keeper.obtained = False
                await self.be_accepted(api)
            api.refused.clear()

    async def _due(self, refused: asyncio.Event) -> bool:
        """Wait; True: it is time. False: the API server refused us."""
        async with asyncio.TaskGroup() as group:
            due = group.create_task(self.keeper.due())
            waiting = group.create_task(refused.wait())
            done, _ = await asyncio.wait({due, waiting}, return_when=asyncio.FIRST_COMPLETED)
            due.cancel()
            waiting.cancel()
        return due in done


def _update(path: Path, content: bytes) -> bool:
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        pass
    statedir.write(path, content)
    return True
