"""
Image references, parsed by the grammar that Docker and Kubernetes use.

The grammar is that of github.com/distribution/reference, with its rules for
familiar names (`hello` is `docker.io/library/hello:latest`), so that a name
means here what it means to a kubelet. A reference is parsed once, at the edge
of this room; the rest of it asks a `Reference`.
"""

import dataclasses
import ipaddress
import re

from wasm_node.agent import errors
from wasm_node.agent.model.ids import Digest

_ALNUM = r"[a-z0-9]+"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH_PART = re.compile(rf"{_ALNUM}(?:(?:\.|_|__|-+){_ALNUM})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")
_BARE_ID = re.compile(r"[a-f0-9]{64}")
_NAME_MOST_CHARS = 255
_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"


@dataclasses.dataclass(frozen=True)
class Reference:
    """
    Where an image is.

    Attributes:
        text: as the user wrote it.
        domain: the registry's host and port, `docker.io` if none was named.
        path: the repository within it, `library/` added on Docker's hub.
        tag: None only if there is a digest.
        digest: what the user insists on; wins over the tag.
    """

    text: str
    domain: str
    path: str
    tag: str | None
    digest: Digest | None

    def __str__(self) -> str:
        """Return it in full, the same for all ways to write the same thing."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.domain}/{self.path}{tag}{digest}"

    @property
    def wanted(self) -> str:
        """The tag or digest to ask the registry for."""
        return self.digest or self.tag or "latest"

    @property
    def host(self) -> str:
        """The host and port that answers for the domain."""
        return _HUB_HOST if self.domain == _HUB else self.domain

    @property
    def loopback(self) -> bool:
        """Whether the registry is on this host, where plain HTTP is safe."""
        return is_loopback(self.domain)

    def image_id(self, digest: Digest) -> str:
        """Return `registry/repository@sha256:...` for what was found there."""
        return f"{self.domain}/{self.path}@{digest}"


def parse(text: str) -> Reference:
    """
    Parse a reference as a pod's `image` field has it.

    Raises:
        BadInput: `InvalidImageName`; says which part is wrong.
    """
    scheme, url, _ = text.partition("://")
    if url:
        raise _invalid(text, f"it is a name, not a URL: leave out '{scheme}://'")
    name, at, digest_text = text.partition("@")
    digest = _digest(text, digest_text) if at else None
    if _BARE_ID.fullmatch(name):
        raise _invalid(text, "64 hex digits are an image's id, not its name")
    domain, path = _split_domain(name)
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _invalid(
            text, f"the tag {tag!r} must be 1-128 letters, digits, '_', '.' or '-' (not first)"
        )
    _check_name(text, domain, path)
    if domain == _HUB and "/" not in path:
        path = f"library/{path}"
    return Reference(text, domain, path, tag or (None if digest else "latest"), digest)


def is_loopback(domain: str) -> bool:
    """Say whether a host, with or without a port, is this host itself."""
    host = domain[1 : domain.index("]")] if domain.startswith("[") else domain.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost" or first != first.lower()):
        return _HUB, name
    return (_HUB if first == "index.docker.io" else first), rest


def _digest(text: str, digest: str) -> Digest:
    if not _SHA256.fullmatch(digest):
        raise _invalid(
            text, f"the digest {digest!r} must be 'sha256:' and 64 lower-case hex digits"
        )
    return Digest(digest)


def _check_name(text: str, domain: str, path: str) -> None:
    if not path:
        raise _invalid(text, "there is no repository name")
    if not _DOMAIN.fullmatch(domain):
        raise _invalid(text, f"the registry {domain!r} must be HOST or HOST:PORT")
    if len(domain) + 1 + len(path) > _NAME_MOST_CHARS:
        raise _invalid(text, f"the name is longer than {_NAME_MOST_CHARS} characters")
    for part in path.split("/"):
        if part.lower() != part:
            raise _invalid(text, f"the repository name {path!r} must be lower-case")
        if not _PATH_PART.fullmatch(part):
            raise _invalid(
                text,
                f"the part {part!r} of the repository name must be lower-case letters and "
                "digits, with '.', '_', '__' or '-' between them",
            )


def _invalid(text: str, why: str) -> errors.BadInput:
    return errors.BadInput(f"cannot use image name {text!r}: {why}", reason="InvalidImageName")
