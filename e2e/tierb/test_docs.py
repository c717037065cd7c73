"""
The pages that need hosts, typed in the order of a release's life.

They install and uninstall the one release `wasm-node`, so they come before
the tests that share it; by their name they do.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e import desk as desks
from e2e import documents
from e2e.cluster import binaries
from e2e.cluster.hosts import Hosts
from e2e.cluster.release import Release

_CHECKOUT = Path(__file__).parents[2]
_PAGES = documents.pages_for_hosts(_CHECKOUT)


@pytest.fixture(scope="module")
def desk(hosts: Hosts) -> Iterator[desks.Desk]:
    """Give a desk with what `.cluster/env` has, but nothing installed."""
    release = Release(hosts)
    with desks.Desk.open() as desk:
        desk.environment |= {
            **hosts.plane.environment,
            **release.environment,
            "REGISTRY": hosts.registry.address,
            "TAG": hosts.tag,
            "NODE": release.nodes[0],
        }
        desk.find_first(hosts.plane.commands, binaries.helm())
        yield desk
    if release.name in release.helm("list", "--short").split():  # a page has failed
        release.uninstall()


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_a_page(
    desk: desks.Desk, page: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every command of a page does what it says there."""
    record_property(documents.RUN, documents.count(page))

    problems = desk.type(page)

    assert not problems, problems
