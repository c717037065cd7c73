"""
Whether a container is still of the image that its pod names.

The API server allows `image` to be changed while a pod runs. What is compared
is the text of the manifest, as the kubelet does (HashContainer, which is of
name and image alone): a tag that has moved changes nothing that runs. Of which
text an attempt was made is noted before it begins, so that a change is noticed
by an agent that was away when it was made. What is not known has not changed.
"""

import dataclasses

from wasm_node.agent.model import desired, observed


def is_changed(wanted: desired.DesiredContainer, seen: observed.ObservedContainer) -> bool:
    """Say whether the newest attempt is of another image (containerChanged)."""
    return named(wanted, seen) != wanted.image


def named(wanted: desired.DesiredContainer, seen: observed.ObservedContainer) -> str:
    """Return the image of the newest attempt, for `status.image`."""
    made = _made(seen)
    return made.image if made else wanted.image


def image_id(wanted: desired.DesiredContainer, seen: observed.ObservedContainer) -> str:
    """Return that of the newest attempt, before it of what is fetched."""
    known = _made(seen) or (None if is_stale(wanted, seen) else seen.image)
    return known.image_id if known else ""


def _made(seen: observed.ObservedContainer) -> observed.Made | None:
    return seen.made_of.get(seen.current.id.attempt) if seen.current else None


def is_stale(wanted: desired.DesiredContainer, seen: observed.ObservedContainer) -> bool:
    """Say whether what was done for the next attempt is of another image."""
    fetched = seen.image.found.reference if seen.image else wanted.image
    failed = seen.failing.image if seen.failing else ""
    return fetched != wanted.image or failed not in ("", wanted.image)


def noted(
    seen: observed.ObservedContainer, attempt: int, made: observed.Made
) -> observed.ObservedContainer:
    """Return the container with a note of what an attempt is made of."""
    kept = {number: each for number, each in seen.made_of.items() if number >= attempt - 1}
    return dataclasses.replace(seen, made_of={**kept, attempt: made})
