"""How logs lie on a real disk: names, modes, links."""

import os
from pathlib import Path

from wasm_node.agent.logs import store
from wasm_node.agent.model import ids

WEB = ids.PodRef("default", "web", ids.pod_uid("u-1"))


def test_layout(tmp_path: Path) -> None:
    """A log lies at `NS_NAME_UID/CONTAINER/ATTEMPT.log`."""
    made = store.CriLogStore(tmp_path).path(WEB, "main", 7)

    assert made == tmp_path / "default_web_u-1" / "main" / "7.log"


def test_long_names_fit_a_file_system(tmp_path: Path) -> None:
    """The longest pod name still has a directory, found again by its uid."""
    uid = ids.pod_uid("0b7f8a52-2f7c-4d5e-9a3b-6d1f0c9e8b7a")
    pod = ids.PodRef("n" * 63, "p" * 253, uid)
    links = tmp_path / "links"
    links.mkdir()
    log = store.CriLogStore(tmp_path, links=links).path(pod, "c" * 63, 0)

    assert log.parent.is_dir()
    assert log.parent.parent.name.endswith(uid)
    assert [each.readlink() for each in links.iterdir()] == [log]


def test_the_agent_group_reads_what_the_runtime_writes(tmp_path: Path) -> None:
    """Directories hand their group to new files, and shut out all others."""
    before = os.umask(0o077)
    try:
        log = store.CriLogStore(tmp_path).path(WEB, "main", 0)
    finally:
        os.umask(before)
    log.touch(0o640)

    for directory in (log.parent, log.parent.parent):
        assert directory.stat().st_mode & 0o7777 == 0o2750
    assert log.stat().st_gid == log.parent.stat().st_gid


def test_links_for_collectors(tmp_path: Path) -> None:
    """Links are named as the kubelet's, and go with the pod, log or no log."""
    links = tmp_path / "links"
    links.mkdir()
    logs = store.CriLogStore(tmp_path / "logs", links=links)
    logs.root.mkdir()
    other = logs.path(ids.PodRef("default", "web", ids.pod_uid("u-2")), "main", 0)
    mine = [logs.path(WEB, "main", each) for each in (0, 1)]
    mine[0].write_bytes(b"text")
    (links / "foreign.log").touch()
    names = sorted(each.name for each in links.iterdir() if each.is_symlink())
    logs.remove(WEB)

    assert all(each.startswith("web_default_main-") for each in names)
    assert {len(each) for each in names} == {len("web_default_main-.log") + 64}
    assert [each.readlink() for each in links.iterdir() if each.is_symlink()] == [other]
    assert (links / "foreign.log").exists()


def test_an_old_attempts_link_goes_with_its_log(tmp_path: Path) -> None:
    """No collector is led to what is no more; foreign files stay."""
    links = tmp_path / "links"
    links.mkdir()
    logs = store.CriLogStore(tmp_path / "logs", links=links)
    logs.root.mkdir()
    old, last = (logs.path(WEB, "main", each) for each in (0, 1))
    foreign = old.with_name("foreign.log")
    for each in (old, last, foreign):
        each.touch()
    logs.prune(WEB, "main", 1)

    assert [last] == [each.readlink() for each in links.iterdir()]
    assert {last, foreign} == set(last.parent.iterdir())


def test_a_log_counts_by_its_blocks(tmp_path: Path) -> None:
    """Each container's directory and files, no more."""
    made = store.CriLogStore(tmp_path)
    for container, size in (("main", 1 << 20), ("side", 1)):
        made.path(WEB, container, 0).write_bytes(b"x" * size)
        made.path(WEB, container, 1).write_bytes(b"")
    used = made.used(WEB)

    assert {name: each.inodes for name, each in used.items()} == {"main": 3, "side": 3}
    assert used["main"].used_bytes - used["side"].used_bytes == (1 << 20) - 4096
