"""Thirty pods of every kind live through whatever is done to their node."""

import os
from collections.abc import Iterator

import pytest

from e2e.chaos import bed as beds
from e2e.chaos import chaos, faults, workload
from e2e.cluster import Guard
from e2e.namespaces import Bed

_SEED = int(os.environ.get("SEED", "1"))
_FAULTS = int(os.environ.get("FAULTS", "200"))


@pytest.fixture
def bed(
    guard: Guard, breakable: Bed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[beds.ChaosBed]:
    """Give a node behind a proxy, on the cluster that may be broken."""
    directory = tmp_path_factory.mktemp("chaos")
    name = f"wasm-{directory.name}"  # the namespace of the one before may be there still
    with beds.standing(guard, breakable.plane, directory / "c", name, seed=_SEED) as made:
        yield made


def _run(bed: beds.ChaosBed, guests: workload.Images, port: int, count: int, *, long: bool) -> None:
    maker = workload.Maker(guests, bed.node.name, bed.ledger.port, (port,))
    run = chaos.ChaosRun(bed, maker)
    longest_s = 30.0 if long else 4.0
    schedule = faults.schedule(_SEED, count, chaos.kinds(long=long), longest_s=longest_s)
    run.make(maker.all())
    run.suffer(schedule)
    findings = run.settle() or run.clear()
    if findings:
        said = "\n".join(map(str, findings))
        told = run.timeline(findings)
        pytest.fail(f"SEED={_SEED} FAULTS={count}, in {bed.node.directory}:\n{said}\n\n{told}")


@pytest.mark.timeout(240)
def test_fifteen_faults_are_survived(
    bed: beds.ChaosBed, guests: workload.Images, port: int
) -> None:
    """Nothing is lost, run twice, untrue or left behind after 15 faults."""
    _run(bed, guests, port, 15, long=False)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_hundreds_of_faults_are_survived(
    bed: beds.ChaosBed, guests: workload.Images, port: int
) -> None:
    """The same after 200, with outages of up to half a minute among them."""
    _run(bed, guests, port, _FAULTS, long=True)
