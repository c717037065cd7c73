"""What is known of the images that attempts were made of."""

from wasm_node.agent.model import observed
from wasm_node.agent.plan import images


def test_it_is_kept_of_two_attempts() -> None:
    """Of the newest and the one before it: no more can matter."""
    seen = observed.ObservedContainer()
    for attempt, image in enumerate("abcd"):
        seen = images.noted(seen, attempt, image)
    again = images.noted(seen, 3, "d")

    assert {2: "c", 3: "d"} == seen.made_of == again.made_of
