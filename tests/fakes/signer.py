"""A signer of certificates that is asked like the cluster's, and obeys."""

import datetime as dt
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes import clock as clocks
from wasm_node.agent import errors
from wasm_node.agent.model import certificates


class FakeSigner:
    """
    Signer over a CA of its own.

    Attributes:
        asked: names of requests, in order.
        refusals: raised one by one, before anything is signed.
        life_s: of each certificate, from the clock's now on.
    """

    def __init__(self, clock: clocks.FakeClock, *, life_s: float = 1000.0) -> None:
        self.asked: list[str] = []
        self.refusals: Iterator[errors.NodeError] = iter(())
        self.life_s = life_s
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._signed: dict[str, bytes] = {}

    async def sign(self, wanted: certificates.Wanted, name: str, request: bytes) -> bytes:
        """Sign a request; the same name gets the same certificate."""
        self.asked.append(name)
        for refusal in self.refusals:
            raise refusal
        if name not in self._signed:
            self._signed[name] = self._sign(x509.load_pem_x509_csr(request))
        return self._signed[name]

    def _sign(self, request: x509.CertificateSigningRequest) -> bytes:
        begin = dt.datetime.fromtimestamp(self._clock.now(), dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(x509.Name([]))
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + dt.timedelta(seconds=self.life_s))
        )
        for each in request.extensions:
            builder = builder.add_extension(each.value, critical=each.critical)
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)
