"""Image names mean here what they mean to Docker and Kubernetes."""

import pytest

from wasm_node.agent import errors
from wasm_node.agent.model import ids
from wasm_node.agent.oci import reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("hello", "docker.io/library/hello:latest"),
        ("hello:1.0", "docker.io/library/hello:1.0"),
        ("team/hello", "docker.io/team/hello:latest"),
        ("docker.io/hello", "docker.io/library/hello:latest"),
        ("index.docker.io/team/hello", "docker.io/team/hello:latest"),
        ("localhost/hello", "localhost/hello:latest"),
        ("localhost:5000/hello:1", "localhost:5000/hello:1"),
        ("127.0.0.1:5000/a/b/c:1", "127.0.0.1:5000/a/b/c:1"),
        ("[::1]:5000/hello", "[::1]:5000/hello:latest"),
        ("example.com/a__b/c-d.e--f:V_1.2-x", "example.com/a__b/c-d.e--f:V_1.2-x"),
        ("HOST/hello", "HOST/hello:latest"),
        (f"hello@sha256:{HEX}", f"docker.io/library/hello@sha256:{HEX}"),
        (f"hello:1@sha256:{HEX}", f"docker.io/library/hello:1@sha256:{HEX}"),
    ],
)
def test_names_in_full(text: str, full: str) -> None:
    """Familiar names get their registry, path and tag."""
    parsed = reference.parse(text)

    assert str(parsed) == full
    assert parsed.text == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no repository name"),
        (":1", "there is no repository name"),
        ("example.com/", "there is no repository name"),
        ("Hello", "must be lower-case"),
        ("team/App:1", "must be lower-case"),
        ("hello:", "the tag '' must be"),
        ("hello:-1", "the tag '-1' must be"),
        ("hello:a:b", "the tag 'a:b' must be"),
        (f"hello:{'x' * 129}", "must be 1-128"),
        ("hello//x", "the part '' of the repository"),
        ("../../etc/passwd", "registry '..' must be"),
        ("team/../x", "the part '..' of the repository"),
        ("-hello", "the part '-hello' of the repository"),
        ("a b", "the part 'a b' of the repository"),
        ("hello\n", "the part 'hello\\n' of the repository"),
        ("http://example.com/x", "not a URL: leave out 'http://'"),
        ("exa_mple.com/x", "the registry 'exa_mple.com' must be"),
        ("example.com:port/x", "the registry 'example.com:port' must be"),
        ("hello@sha256:abc", "the digest 'sha256:abc' must be"),
        (f"hello@sha512:{HEX}{HEX}", "must be 'sha256:'"),
        (f"hello@sha256:{HEX.upper()}", "lower-case hex"),
        ("hello@", "the digest '' must be"),
        (HEX, "an image's id, not its name"),
        ("x/" * 128 + "x", "longer than 255"),
    ],
)
def test_names_that_are_none(text: str, says: str) -> None:
    """A malformed name is refused with the part that is wrong."""
    with pytest.raises(errors.BadInput) as caught:
        reference.parse(text)

    assert caught.value.reason == "InvalidImageName"
    assert says in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("domain", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.8.9.1:80", True),
        ("[::1]:5000", True),
        ("localhost.example.com", False),
        ("128.0.0.1", False),
        ("[::2]", False),
        ("docker.io", False),
    ],
)
def test_loopback(domain: str, loopback: bool) -> None:
    """Only this host itself is trusted with plain HTTP."""
    assert reference.is_loopback(domain) is loopback


def test_the_hub_answers_at_another_host() -> None:
    """Docker's hub keeps its name in ids and has another one on the wire."""
    parsed = reference.parse("hello")

    assert parsed.host == "registry-1.docker.io"
    assert parsed.image_id(ids.Digest(f"sha256:{HEX}")).startswith("docker.io/library/")


def test_a_digest_wins_over_a_tag() -> None:
    """What is asked for is the digest, if there is one."""
    assert reference.parse(f"hello:1@sha256:{HEX}").wanted == f"sha256:{HEX}"
    assert reference.parse("hello:1").wanted == "1"
