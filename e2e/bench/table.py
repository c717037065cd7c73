"""
The rounds as one Markdown table: medians, how far they spread, the ratio.

Percentiles are those of all paced pods of all rounds together, as one round
has too few for a 99th; their spread is that of the rounds' own.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence

from e2e.bench import rounds


def render(kwok: Sequence[rounds.Round], wasm: Sequence[rounds.Round]) -> str:
    """Give the table; both sides have the same number of rounds, 1 or more."""

    def each_of(
        what: str, of: Callable[[rounds.Round], float], digits: int, *, ratio: bool = True
    ) -> str:
        return row(
            what, [[of(each) for each in side] for side in (kwok, wasm)], digits, ratio=ratio
        )

    def latency(percent: int) -> str:
        pooled = [
            _percentile((each for one in side for each in one.latencies_s), percent)
            for side in (kwok, wasm)
        ]
        single = [
            [_percentile(each.latencies_s, percent) for each in side] for side in (kwok, wasm)
        ]
        return _row(f"bind to Running at 1 pod/s, p{percent}, ms", pooled, single, 0)

    return "\n".join(
        [
            "| | kwok: median (min-max) | wasm-node: median (min-max) | ratio |",
            "|---|---|---|---|",
            latency(50),
            latency(99),
            each_of(f"burst of {rounds.BURST}, pods/s", lambda each: each.pods_per_s, 1),
            each_of("status writes per pod", lambda each: each.status_writes, 2),
            each_of("events per pod", lambda each: each.event_writes, 2, ratio=False),
            each_of("CPU per pod of the burst, whole machine, ms", lambda each: each.machine_ms, 1),
            each_of("CPU per pod of the burst, node, ms", lambda each: each.node_ms, 1),
            each_of("of that, agent (kwok: all), ms", lambda each: each.agent_ms, 1),
            each_of("memory per idle pod, PSS, KiB", lambda each: each.pss_kib, 0, ratio=False),
        ]
    )


def row(what: str, sides: Sequence[Sequence[float]], digits: int, *, ratio: bool = True) -> str:
    """Give a row of medians, how far each side's figures spread, the ratio."""
    middles = [statistics.median(side) for side in sides]
    return _row(what, middles, sides, digits, ratio=ratio)


def _row(
    what: str,
    middles: Sequence[float],
    spreads: Sequence[Sequence[float]],
    digits: int,
    *,
    ratio: bool = True,
) -> str:
    cells = [
        f"{middle:.{digits}f} ({min(spread):.{digits}f}-{max(spread):.{digits}f})"
        for middle, spread in zip(middles, spreads, strict=True)
    ]
    compared = f"{middles[1] / middles[0]:.2f}" if ratio and middles[0] else "-"
    return f"| {what} | {' | '.join(cells)} | {compared} |"


def _percentile(latencies_s: Iterable[float], percent: int) -> float:
    """Return a percentile in milliseconds, within what was measured."""
    cuts = statistics.quantiles(latencies_s, n=100, method="inclusive")
    return 1000 * cuts[percent - 1]
