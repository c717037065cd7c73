"""The audit tells that a runtime has a fault, and which promise it breaks."""

from collections.abc import Iterator

import pytest

from e2e.chaos import audit, chaos, workload
from e2e.chaos import bed as beds
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
        ("double-start", audit.TWICE, "was alive"),
        ("lost-exit", audit.LOST, "it has ended, and the API does not know"),
        ("orphan", audit.ORPHAN, "its pod is gone, and it lives"),
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
    findings = run.settle(within_s=5)
    if {each.kind for each in findings} != {kind}:  # a busy machine is not done yet
        findings = run.settle(within_s=30)

    assert {each.kind for each in findings} == {kind}, findings
    assert any(words in each.text for each in findings), findings


def _gone(bed: beds.ChaosBed, name: str) -> bool:
    return name not in {each["metadata"]["name"] for each in bed.record.pods().values()}
