"""What is known of the images that attempts were made of."""

from wasm_node.agent.model import observed
from wasm_node.agent.plan import images


def test_it_is_kept_of_two_attempts() -> None:
    """Of the newest and the one before it: no more can matter."""
    seen = observed.ObservedContainer()
    made = [observed.Made(each, f"r/{each}@sha256:1") for each in "abcd"]
    for attempt, each in enumerate(made):
        seen = images.noted(seen, attempt, each)
    again = images.noted(seen, 3, made[3])

    assert {2: made[2], 3: made[3]} == seen.made_of == again.made_of
