"""Who asks this node for something, and whether the cluster lets them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Identity:
    """
    An authenticated user, as TokenReview and SubjectAccessReview know one.

    Attributes:
        name: the user name; never empty.
        groups: with `system:authenticated` among them.
        uid: empty where there is none.
        extra: names with their values.
    """

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclasses.dataclass(frozen=True)
class Access:
    """A verb on a subresource of this node's own Node object."""

    verb: str
    node: str
    subresource: str


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the API server said; the reason may be empty."""

    allowed: bool
    reason: str = ""
