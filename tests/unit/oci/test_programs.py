"""Which file runs with which argv, by Kubernetes' rules."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from wasm_node.agent import errors
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import program, trees

AT = Path("/images/tree")
DIGEST = Digest(f"sha256:{'0' * 64}")


def wasm() -> trees.File:
    """Return a module in a tree."""
    return trees.File(image.Kind.MODULE, DIGEST, "")


def directory(**children: trees.Node) -> trees.Directory:
    """Return a directory; `_` in a name stands for a dot."""
    return trees.Directory({name.replace("_", "."): each for name, each in children.items()})


ROOT = directory(
    app_wasm=wasm(),
    bin=trees.Link("usr/bin"),
    etc=directory(passwd=trees.File(None, None, "something else")),
    loop=trees.Link("/loop"),
    out=trees.Link("../../../app.wasm"),
    usr=directory(
        bin=directory(
            sh=trees.File(None, None, "a Linux program (ELF x86-64)"),
            tool=trees.Link("../lib/tool.wasm"),
            dangling=trees.Link("/nowhere"),
        ),
        lib=directory(tool_wasm=wasm()),
    ),
)


def found(
    entrypoint: Sequence[str] = (), cmd: Sequence[str] = (), path: str = "", working_dir: str = ""
) -> image.Image:
    """Return a tar image."""
    return image.Image(
        reference="example.com/app:1",
        image_id=f"example.com/app@{DIGEST}",
        layout="H (tar image)",
        size_bytes=1,
        module=None,
        module_digest=None,
        tree=AT,
        entrypoint=tuple(entrypoint),
        cmd=tuple(cmd),
        env=(("PATH", path),) if path else (),
        working_dir=working_dir,
    )


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "command", "args", "argv"),
    [
        (["/app.wasm"], [], [], [], ["/app.wasm"]),
        (["/app.wasm"], ["c"], [], [], ["/app.wasm", "c"]),
        (["/app.wasm", "e"], ["c"], [], ["a"], ["/app.wasm", "e", "a"]),
        ([], ["/app.wasm", "c"], [], [], ["/app.wasm", "c"]),
        (["/x"], ["c"], ["/app.wasm"], [], ["/app.wasm"]),
        (["/x"], ["c"], ["/app.wasm", "k"], ["a"], ["/app.wasm", "k", "a"]),
        ([], [], [], ["/app.wasm"], ["/app.wasm"]),
    ],
)
def test_command_and_args(
    entrypoint: list[str], cmd: list[str], command: list[str], args: list[str], argv: list[str]
) -> None:
    """`command` replaces ENTRYPOINT and drops CMD, `args` replaces CMD."""
    made = program.in_tree(found(entrypoint, cmd), AT, ROOT, command, args)

    assert list(made.argv) == argv
    assert made.path == AT / "app.wasm"


@pytest.mark.parametrize(
    ("word", "path", "working_dir", "file"),
    [
        ("/usr/lib/tool.wasm", "", "", "usr/lib/tool.wasm"),
        ("/bin/tool", "", "", "usr/lib/tool.wasm"),
        ("tool", "", "", "usr/lib/tool.wasm"),
        ("tool.wasm", "/nowhere:/usr/lib", "", "usr/lib/tool.wasm"),
        ("app.wasm", "", "", "app.wasm"),
        ("tool.wasm", "", "/usr/lib", "usr/lib/tool.wasm"),
        ("./tool.wasm", "", "/usr/lib", "usr/lib/tool.wasm"),
        ("../lib/tool.wasm", "", "usr/bin", "usr/lib/tool.wasm"),
        ("/out", "", "", "app.wasm"),
        ("/../../app.wasm", "", "", "app.wasm"),
        ("//app.wasm", "", "", "app.wasm"),
    ],
)
def test_look_up(word: str, path: str, working_dir: str, file: str) -> None:
    """Names go through PATH, paths from the working directory, links inside."""
    made = program.in_tree(found([word], path=path, working_dir=working_dir), AT, ROOT, (), ())

    assert made.path == AT / file


@pytest.mark.parametrize(
    ("word", "reason", "says"),
    [
        ("/bin/sh", "NotWasm", "/usr/bin/sh is a Linux program (ELF x86-64), not WebAssembly"),
        ("/bin/sh", "NotWasm", "its wasm files are /app.wasm, /usr/lib/tool.wasm"),
        ("/etc/passwd", "NotWasm", "/etc/passwd is something else"),
        ("/etc", "CreateContainerError", "/etc is a directory"),
        ("/", "CreateContainerError", "/ is a directory"),
        ("absent", "CreateContainerError", "there is no 'absent' in it; its wasm files are"),
        ("/bin/dangling", "CreateContainerError", "there is no '/bin/dangling'"),
        ("/loop", "CreateContainerError", "there is no '/loop'"),
        ("/app.wasm/x", "CreateContainerError", "there is no '/app.wasm/x'"),
        ("", "CreateContainerError", "says what to run"),
    ],
)
def test_what_cannot_run(word: str, reason: str, says: str) -> None:
    """What is no wasm is refused with what it is and what there is instead."""
    with pytest.raises(errors.BadInput) as caught:
        program.in_tree(found([word]), AT, ROOT, (), ())

    assert caught.value.reason == reason
    assert str(caught.value).startswith("cannot run example.com/app:1: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("root", "command", "says"),
    [
        (directory(plugin_wasm=wasm()), (), "layout D is a filter for Envoy"),
        (directory(spin_toml=trees.File(None, None, "text")), ("/",), "(layout K)"),
        (directory(), (), "neither it (ENTRYPOINT, CMD) nor the pod (command)"),
    ],
)
def test_images_of_other_systems(
    root: trees.Directory, command: tuple[str, ...], says: str
) -> None:
    """Tar images made for other hosts of wasm are told by their files."""
    with pytest.raises(errors.BadInput) as caught:
        program.in_tree(found(), AT, root, command, ())

    assert says in str(caught.value)


def test_trees_survive_being_written() -> None:
    """A tree read back from its JSON is the same tree."""
    assert trees.load(trees.dump(ROOT)) == ROOT


@pytest.mark.parametrize("content", [b"", b"[]", b'{"to": "x"}', b'{"in": {"x": {}}}', b'{"in":1}'])
def test_damaged_listings(content: bytes) -> None:
    """A listing that is damaged is noticed, not guessed."""
    with pytest.raises(ValueError, match=r"damaged tree|Expecting value"):
        trees.load(content)
