"""Layers on a real disk: what they may do, and what they may not."""

import io
import os
import stat
import tarfile
import threading
from pathlib import Path

import pytest

from tests.component.oci.publishing import MODULE, member, tar
from wasm_node.agent.model.image import Kind
from wasm_node.agent.oci import trees, unpacking
from wasm_node.agent.oci.documents import UnusableError

LINK, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
SMALL = unpacking.Bounds(bytes_most=1 << 20, entries_most=50)


def unpack(directory: Path, *layers: bytes) -> trees.Directory:
    """Unpack layers into `directory/tree`."""
    files = []
    for number, content in enumerate(layers):
        files.append(directory / f"{number}.tar")
        files[-1].write_bytes(content)
    return unpacking.unpack(files, directory / "tree", bounds=SMALL, interrupted=threading.Event())


def names(tree: Path) -> set[str]:
    """Return all files and links below a directory, by relative path."""
    return {str(each.relative_to(tree)) for each in tree.rglob("*") if not each.is_dir()}


def test_what_is_kept_of_a_file(tmp_path: Path) -> None:
    """Content, time and the executable bit stay; owner and set-id bits go."""
    tool = member("bin/tool", tarfile.REGTYPE, mode=0o6755)
    tool.size, tool.mtime, tool.uid = 8, 1_700_000_000, 4711
    unpack(tmp_path, tar(tool, ("etc/motd", b"hi")))
    tree = tmp_path / "tree"
    seen = (tree / "bin/tool").stat()

    assert seen.st_mode == stat.S_IFREG | 0o555
    assert (seen.st_mtime, seen.st_uid) == (1_700_000_000, os.getuid())
    assert (tree / "etc/motd").stat().st_mode & 0o7777 == 0o444
    assert (tree / "etc").stat().st_mode & 0o7777 == 0o755
    assert (tree / "etc/motd").read_bytes() == b"hi"


def test_wasm_is_known_by_its_bytes(tmp_path: Path) -> None:
    """The tree says of each file what it is, and the digest of what is wasm."""
    root = unpack(tmp_path, tar(("a", MODULE), ("b.wat", b"(module)"), ("c.wasm", b"#!/bin/sh\n")))

    assert {name: each.kind for name, each in trees.wasm_files(root).items()} == {
        "/a": Kind.MODULE,
        "/b.wat": Kind.TEXT,
    }
    script = root.children["c.wasm"]
    assert isinstance(script, trees.File)
    assert script.what == "a script (#!/bin/sh)"


def test_layers_cover_each_other(tmp_path: Path) -> None:
    """A later layer replaces files, and a directory by a file and back."""
    unpack(
        tmp_path,
        tar(("a", b"1"), ("b/x", b"1"), ("c", b"1")),
        tar(("a", b"2"), ("b", b"2"), member("c", DIR), ("c/x", b"2")),
    )

    assert {each: (tmp_path / "tree" / each).read_bytes() for each in names(tmp_path / "tree")} == {
        "a": b"2",
        "b": b"2",
        "c/x": b"2",
    }


def test_whiteouts(tmp_path: Path) -> None:
    """A whiteout hides lower layers, never what comes with it."""
    root = unpack(
        tmp_path,
        tar(("gone", b"1"), ("dir/old", b"1"), ("opaque/old", b"1"), ("opaque/sub/old", b"1")),
        tar(
            (".wh.gone", b""),
            (".wh.dir", b""),
            ("opaque/new", b"2"),
            ("opaque/sub/new", b"2"),
            ("opaque/.wh..wh..opq", b""),
            (".wh.never-was", b""),
            (".wh...", b""),
        ),
    )

    assert names(tmp_path / "tree") == {"opaque/new", "opaque/sub/new"}
    assert set(root.children) == {"opaque"}


def test_hard_links(tmp_path: Path) -> None:
    """A hard link is the same file; one to itself changes nothing."""
    unpack(
        tmp_path,
        tar(("a", b"1"), member("b", HARD, target="a"), member("./b", HARD, target="/b")),
    )

    assert (tmp_path / "tree/a").samefile(tmp_path / "tree/b")


def test_devices_are_left_out(tmp_path: Path) -> None:
    """Devices and pipes do not exist in the tree."""
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    unpack(tmp_path, tar(*(member(f"dev/{ord(kind)}", kind) for kind in kinds)))

    assert names(tmp_path / "tree") == set()


@pytest.mark.parametrize("target", ["/outside", "../../outside", "/", ".."])
def test_no_write_leaves_the_tree(tmp_path: Path, target: str) -> None:
    """A path through a link that leads out lands inside, or is refused."""
    (tmp_path / "outside").mkdir()
    layer = tar(member("out", LINK, target=target), ("out/x", b"1"))
    try:
        unpack(tmp_path, layer)
    except UnusableError as error:
        assert "no directory" in str(error)  # noqa: PT017  # both endings are right
    left = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}

    assert left <= {"0.tar", "tree/x"}


def test_links_on_disk_stay_inside(tmp_path: Path) -> None:
    """Absolute links become relative ones, and none climbs above the root."""
    unpack(
        tmp_path,
        tar(
            member("a/b/abs", LINK, target="/lib/x"),
            member("a/b/up", LINK, target="../../../../etc/passwd"),
            member("a/b/near", LINK, target="../c"),
            member("root", LINK, target="/"),
            member("hard", HARD, target="a/b/abs"),
        ),
    )
    read = {
        str(each.relative_to(tmp_path / "tree")): str(each.readlink())
        for each in (tmp_path / "tree").rglob("*")
        if each.is_symlink()
    }

    assert read == {
        "a/b/abs": "../../lib/x",
        "a/b/up": "../../etc/passwd",
        "a/b/near": "../c",
        "root": ".",
        "hard": "lib/x",
    }


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("../x", b"1")], "a file with the name '../x'"),
        ([("a/../../x", b"1")], "a file with the name"),
        ([("x" * 256, b"1")], "a file with the name"),
        ([("/".join("d" * 101), b"1")], "a file with the name"),
        ([("/".join(["d" * 250] * 20), b"1")], "is too long"),
        ([("a", b"1"), ("a/x", b"1")], "no directory"),
        ([member("a", LINK, target="b"), ("a/x", b"1")], "no directory"),
        ([member("a", LINK, target="a"), ("a/x", b"1")], "no directory"),
        ([member("a", LINK, target="x" * 5000)], "links to a bad name"),
        ([member("a", HARD, target="../../etc/passwd")], "a file with the name"),
        ([member("a", HARD, target="/etc/passwd")], "a hard link to /etc/passwd"),
        ([member("d", DIR), member("a", HARD, target="d")], "a hard link to /d"),
        ([("big", bytes((1 << 20) + 1))], "unpacks to more than 1 MiB"),
        ([("a", bytes(1 << 19)), ("b", bytes(1 << 19)), ("c", b"1")], "more than 1 MiB"),
        ([(str(number), b"") for number in range(51)], "more than 50 files"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, members: list[tarfile.TarInfo | tuple[str, bytes]], says: str
) -> None:
    """Names that lead out, odd links and too much of anything end it."""
    with pytest.raises(UnusableError) as caught:
        unpack(tmp_path, tar(*members))

    assert says in str(caught.value)


def lying_header(size: bytes, kind: bytes) -> bytes:
    """Return one tar header that claims a size."""
    header = bytearray(member("x", kind).tobuf())
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not a tar" * 100, "not a valid tar"),
        (b"", "not a valid tar"),
        (tar(("a", b"1"))[:-20], "not a valid tar"),
        (b"\x1f\x8bgarbage", "not a valid tar"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (lying_header(b"77777777777\0", tarfile.XHDTYPE), "a header of"),
        (lying_header(b"77777777777\0", tarfile.GNUTYPE_LONGNAME), "a header of"),
        (lying_header(b"\xff" * 12, tarfile.REGTYPE), "layer"),
    ],
)
def test_malformed_layers(tmp_path: Path, content: bytes, says: str) -> None:
    """Broken archives and headers that claim gigabytes are refused at once."""
    with pytest.raises(UnusableError) as caught:
        unpack(tmp_path, content)

    assert says in str(caught.value)


def test_plain_tar(tmp_path: Path) -> None:
    """A layer that is not compressed is read as it is, whatever its type."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(member("d", DIR))
    unpack(tmp_path, made.getvalue())

    assert (tmp_path / "tree/d").is_dir()


def test_interrupting(tmp_path: Path) -> None:
    """A pull that was cancelled does not unpack on."""
    (tmp_path / "layer").write_bytes(tar(("a", b"1")))
    interrupted = threading.Event()
    interrupted.set()
    with pytest.raises(InterruptedError):
        unpacking.unpack(
            [tmp_path / "layer"], tmp_path / "tree", bounds=SMALL, interrupted=interrupted
        )
