"""The Prober over sockets: which check is carried out by what."""

from typing import assert_never

from wasm_node.agent.model import probe
from wasm_node.agent.probes import http, tcp

_RETRIES = 2
"""What is unclear is tried again at once, so often (prober.go)."""


class NetworkProber:
    """Prober over TCP and unix sockets."""

    async def call(
        self, wanted: probe.HttpGet, at: probe.Endpoint, *, within_s: float
    ) -> probe.Outcome:
        """Carry out the httpGet of a hook."""
        return await http.call(wanted, at, within_s)

    async def probe(self, wanted: probe.Probe, at: probe.Endpoint) -> probe.Outcome:
        """Carry out one check, within its timeout."""
        outcome = await _once(wanted, at)
        for _ in range(_RETRIES):
            if isinstance(outcome, probe.Unclear):
                outcome = await _once(wanted, at)
        return outcome


async def _once(wanted: probe.Probe, at: probe.Endpoint) -> probe.Outcome:
    match wanted.check:
        case probe.HttpGet() as check:
            return await http.get(check, at, wanted.timeout_s)
        case probe.TcpSocket():
            return await tcp.knock(at, wanted.timeout_s)
        case probe.Grpc() as check:
            from wasm_node.agent.probes import grpc  # 1.4 MiB that most nodes never need

            return await grpc.check(check, at, wanted.timeout_s)
        case probe.Exec():
            raise TypeError(f"not over a network: {wanted.check!r}")
        case never:
            assert_never(never)
