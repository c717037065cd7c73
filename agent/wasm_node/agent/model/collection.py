"""
When images are collected: as settings give it.

Names, forms and defaults are those of KubeletConfiguration (ImageGCPolicy of
pkg/kubelet/images/image_gc_manager.go). Percentages are of the file system
that holds the images, which is the state directory's.
"""

import dataclasses
from collections.abc import Iterator

from wasm_node.agent.model import durations

ALL = 100


@dataclasses.dataclass(frozen=True)
class Rules:
    """
    All that was set.

    Attributes:
        high_percent: from so much of the disk in use on, images go; 100 is off.
        low_percent: down to so much of it.
        least_age_s: how long an image is here at least, for lack of room.
        most_idle_s: unused for longer it goes in any case; 0 is off.
    """

    high_percent: int = 85
    low_percent: int = 80
    least_age_s: float = 120.0
    most_idle_s: float = 0.0


def wrong(high: int, low: int, minimum: str, maximum: str) -> Iterator[str]:
    """Say what is not allowed, and what is; by the settings' own names."""
    for name, percent in (
        ("imageGCHighThresholdPercent", high),
        ("imageGCLowThresholdPercent", low),
    ):
        if not 0 <= percent <= ALL:
            yield f"{name} is {percent}: use 0 to {ALL}"
    if low >= high:
        yield (
            f"imageGCLowThresholdPercent is {low}: use less than imageGCHighThresholdPercent,"
            f" {high}"
        )
    ages: dict[str, float] = {}
    for name, text in (("imageMinimumGCAge", minimum), ("imageMaximumGCAge", maximum)):
        try:
            ages[name] = durations.parse(text)
        except ValueError as error:
            yield f"{name}: {error}"
    least, most = ages.get("imageMinimumGCAge", 0.0), ages.get("imageMaximumGCAge", 0.0)
    if most and most <= least:
        yield f"imageMaximumGCAge is {maximum}: use 0s, or more than imageMinimumGCAge, {minimum}"
