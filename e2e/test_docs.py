"""
Every session of README and docs, typed as it stands.

README has what it says that it needs, Python and make; the other pages have a
cluster beside it, as after `. .cluster/env`, with a namespace of their own.
Those that need hosts are typed in `tierb/test_docs.py`.
"""

import shutil
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e import desk as desks
from e2e import documents
from e2e.cluster import Registry
from e2e.namespaces import Bed

_CHECKOUT = Path(__file__).parents[1]
_README, *_PAGES = [page for page in documents.pages(_CHECKOUT) if documents.count(page)]

pytestmark = pytest.mark.timeout(desks.WITHIN_S + 60)


@pytest.fixture
def desk() -> Iterator[desks.Desk]:
    """Give a desk."""
    with desks.Desk.open() as desk:
        yield desk


@pytest.fixture
def python_of_a_user(tmp_path: Path) -> Path:
    """Give the `bin` of an environment in which wasm-node alone is missing."""
    made = tmp_path / "venv"
    venv.create(made, symlinks=True, with_pip=True)
    (site,) = made.glob("lib/python*/site-packages")
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        target = site / each.name
        if not each.name.startswith(("wasm_node", "_wasm_node")) and not target.exists():
            target.symlink_to(each)
    return made / "bin"


def test_the_readme(
    desk: desks.Desk, python_of_a_user: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every command of the README does what it says there."""
    record_property(documents.RUN, documents.count(_README))
    desk.find_first(python_of_a_user)
    desk.environment["PIP_NO_INDEX"] = "1"  # all that wasm-node needs is there

    problems = desk.type(_README)

    assert not problems, problems


@pytest.fixture
def desk_with_cluster(desk: desks.Desk, bed: Bed, registry: Registry) -> Iterator[desks.Desk]:
    """Give a desk with what `.cluster/env` has, in an empty namespace."""
    with bed.namespace() as namespace:
        kubeconfig = desk.home / "kubeconfig"
        shutil.copyfile(bed.plane.environment["KUBECONFIG"], kubeconfig)
        use = ["config", "set-context", "--current", f"--namespace={namespace.name}"]
        bed.plane.kubectl(f"--kubeconfig={kubeconfig}", *use)
        desk.environment |= {
            **bed.plane.environment,
            "KUBECONFIG": str(kubeconfig),
            "REGISTRY": registry.address,
            "NODE": bed.node.name,
        }
        desk.find_first(bed.plane.commands, Path(sys.executable).parent)
        yield desk


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_CHECKOUT)))
def test_a_page(
    desk_with_cluster: desks.Desk, page: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every command of a page does what it says there."""
    record_property(documents.RUN, documents.count(page))

    problems = desk_with_cluster.type(page)

    assert not problems, problems
