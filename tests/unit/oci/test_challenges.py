"""The token flow's pure part: what is asked for, and from whom."""

import pytest

from wasm_node.agent.oci import challenges

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="s"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HUB, challenges.Bearer("https://auth.docker.io/token", "registry.docker.io", "s")),
        (
            f'Basic realm="x", {HUB}',
            challenges.Bearer("https://auth.docker.io/token", "registry.docker.io", "s"),
        ),
        ('bearer realm=https://a , scope="a b"', challenges.Bearer("https://a", "", "a b")),
        ('Bearer realm="https://a/\\"q"', challenges.Bearer('https://a/"q', "", "default")),
        ('Bearer service="x"', None),
        ('Basic realm="Bearer realm"', None),
        ("Bearer", None),
        ("", None),
    ],
)
def test_challenges(header: str, expected: challenges.Bearer | None) -> None:
    """A Bearer challenge is found among others, with its parameters."""
    assert challenges.bearer([header], "default") == expected


@pytest.mark.parametrize(
    ("realm", "plain_registry", "safe"),
    [
        ("https://auth.example.com/token", False, True),
        ("http://auth.example.com/token", False, False),
        ("http://auth.example.com/token", True, False),
        ("http://127.0.0.1:5001/token", True, True),
        ("http://127.0.0.1:5001/token", False, False),
        ("http://localhost@evil.example/token", True, False),
        ("http://[::1]:80/token", True, True),
        ("http://[", True, False),
        ("file:///etc/passwd", True, False),
        ("https://", False, False),
    ],
)
def test_realms(realm: str, plain_registry: bool, safe: bool) -> None:
    """A token comes over HTTPS, or from this host for a registry on it."""
    assert challenges.is_safe_realm(realm, plain_registry=plain_registry) is safe


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"token": "t"}', challenges.Token("t", 60)),
        (b'{"access_token": "t", "expires_in": 300}', challenges.Token("t", 300)),
        (b'{"token": "a\\r\\nX: y"}', None),
        (b'{"token": 1}', None),
        (b'{"token": "t", "expires_in": "soon"}', None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_tokens(content: bytes, expected: challenges.Token | None) -> None:
    """A realm's answer gives a token that fits a header, or none."""
    assert challenges.token(content) == expected
