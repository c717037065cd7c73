"""Where terminationMessagePath can be given to a guest."""

from typing import Any

import pytest

from wasm_node.agent.model import desired, parsing
from wasm_node.agent.plan import lastwords


def _container(path: str | None = None, *mounts: str) -> desired.DesiredContainer:
    container: dict[str, Any] = {
        "name": "main",
        "image": "x",
        "volumeMounts": [{"name": "data", "mountPath": each} for each in mounts],
    }
    if path is not None:
        container["terminationMessagePath"] = path
    spec = {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}
    return parsing.pod({"metadata": {"name": "p", "uid": "u"}, "spec": spec}).containers[0]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (None, "/dev/termination-log"),
        ("", ""),
        ("/dev/termination-log", "/dev/termination-log"),
        ("words", "/words"),
        ("/a//b/../words", "/a/words"),
        ("//words", "/words"),
        ("?words", "/?words"),
    ],
)
def test_the_path_is_absolute(written: str | None, path: str) -> None:
    """The API's default, unless another is named; none is none."""
    assert lastwords.path(_container(written)) == path


@pytest.mark.parametrize(
    ("path", "mounts", "in_image", "hidden"),
    [
        (None, [], False, ""),
        (None, [], True, ""),
        (None, ["/"], False, ""),
        (None, ["/data"], False, ""),
        (None, ["/dev"], False, "the volume data is mounted at /dev"),
        (None, ["/dev/below"], False, ""),
        (None, ["/dev/termination-log"], False, "the volume data is mounted there"),
        ("/words", [], False, ""),
        ("/words", [], True, "the image has files in /"),
        ("/words", ["/"], False, "the volume data is mounted at /"),
        ("/data/words", ["/data"], False, "the volume data is mounted at /data"),
        ("/data/a/words", ["/data/"], False, "the volume data is mounted at /data/"),
        ("/data/words", ["/data/words/x"], False, "the volume data is mounted there"),
        ("/data/words", ["/data/a", "/database"], False, ""),
        ("/data/words", [], True, "the image has files in /data"),
        ("/", [], False, "it is no name of a file"),
        ("/dev/a\0b", [], True, "it is no name of a file"),
    ],
)
def test_what_it_would_hide(
    path: str | None, mounts: list[str], in_image: bool, hidden: str
) -> None:
    """Its directory is given, so that nothing else may be in that."""
    assert lastwords.hidden(_container(path, *mounts), in_image=in_image) == hidden


def test_a_name_may_end_in_anything() -> None:
    """What is mounted below a directory is so by its whole name."""
    assert lastwords.hidden(_container("/a?", "/a?/b"), in_image=False)
    assert not lastwords.hidden(_container("/words/a?", "/words/ab"), in_image=False)
