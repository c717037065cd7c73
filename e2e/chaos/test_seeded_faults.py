"""The audit tells that a runtime has a fault, and which promise it breaks."""

from collections.abc import Iterator

import pytest

from e2e.chaos import bed as beds
from e2e.chaos import chaos, findings, workload
from e2e.cluster import Guard, wait_until
from e2e.namespaces import Bed


@pytest.fixture
def bed(
    request: pytest.FixtureRequest,
    guard: Guard,
    breakable: Bed,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[beds.ChaosBed]:
    """Give a node whose runtime is a build with a fault."""
    build = request.param
    directory = tmp_path_factory.mktemp(build) / "c"
    with beds.standing(guard, breakable.plane, directory, f"wasm-{build}", build=build) as made:
        yield made


@pytest.mark.parametrize(
    ("bed", "kind", "words"),
    [
        ("double-start", findings.TWICE, "was alive"),
        ("lost-exit", findings.LOST, "it has ended, and the API does not know"),
        ("orphan", findings.ORPHAN, "its pod is gone, and it lives"),
        ("unrun-hook", findings.HOOK, "it was ready, without its postStart"),
    ],
    indirect=["bed"],
)
def test_a_fault_put_in_is_found(
    bed: beds.ChaosBed, guests: workload.Images, port: int, kind: str, words: str
) -> None:
    """A pod that runs, one that ends and one that is deleted tell all three."""
    maker = workload.Maker(guests, bed.node.name, bed.ledger.port, (port,))
    run = chaos.ChaosRun(bed, maker)
    run.make([maker.lasting("stays"), maker.ending("ends", 3), maker.lasting("goes")])
    wait_until(lambda: len(bed.ledger.runs()) >= 3, "three runs", within_s=30)
    run.delete("goes")

    wait_until(lambda: _gone(bed, "goes"), "the end of one", within_s=30)
    found = run.settle(within_s=5)
    if {each.kind for each in found} != {kind}:  # a busy machine is not done yet
        found = run.settle(within_s=30)

    assert {each.kind for each in found} == {kind}, found
    assert any(words in each.text for each in found), found


@pytest.mark.long
@pytest.mark.parametrize("bed", ["lost-volume"], indirect=True)
def test_a_volume_that_is_lost_is_found(
    bed: beds.ChaosBed, guests: workload.Images, port: int
) -> None:
    """A pod whose containers do not see what the first one wrote tells."""
    maker = workload.Maker(guests, bed.node.name, bed.ledger.port, (port,))
    run = chaos.ChaosRun(bed, maker)
    run.make([maker.ordered("reads", "on", "Always")])
    wait_until(
        lambda: "main" in {each.container for each in bed.ledger.runs()}, "its run", within_s=30
    )
    found = run.settle(within_s=5)

    assert {each.kind for each in found} == {findings.VOLUME}, found


def _gone(bed: beds.ChaosBed, name: str) -> bool:
    return name not in {each["metadata"]["name"] for each in bed.record.pods().values()}
