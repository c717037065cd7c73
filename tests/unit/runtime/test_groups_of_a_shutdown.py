"""Whose turn it is at a shutdown: KEP-2712, the kubelet's groupByPriority."""

import os

import pytest

from wasm_node.protocol import records, settings
from wasm_node.runtime import shutdowns

_GROUPS = tuple(settings.ShutdownGroup(each, 10.0) for each in (0, 1000, 10000, 100000))
"""The example of KEP-2712: default, low, medium and high."""


@pytest.mark.parametrize(
    ("priority", "group"),
    [
        (-2147483648, 0),
        (-1, 0),
        (0, 0),
        (999, 0),
        (1000, 1),
        (1001, 1),
        (10000, 2),
        (99999, 2),
        (100000, 3),
        (2000001000, 3),
    ],
)
def test_a_pod_belongs_to_the_highest_group_below_it(priority: int, group: int) -> None:
    """One of its own priority counts; what is below all is in the lowest."""
    assert group == shutdowns.place(_GROUPS, priority)


@pytest.mark.parametrize(
    ("priority", "group"),
    [(-1, 0), (0, 0), (1_999_999_999, 0), (2_000_000_000, 1), (2_000_001_000, 1)],
)
def test_as_a_rule_there_are_critical_pods_and_others(priority: int, group: int) -> None:
    """The default is what migrateConfig makes of a kubelet's two periods."""
    groups = settings.RuntimeSettings.shutdown

    assert [0, records.CRITICAL_PRIORITY] == [each.priority for each in groups]
    assert group == shutdowns.place(groups, priority)


def test_turns_outlive_who_has_noted_them() -> None:
    """To the last digit; a line that is cut off is none."""
    fd = os.memfd_create("turns")
    try:
        before = shutdowns.Turns(fd).read()
        shutdowns.Turns(fd).note(0, 12345.678901234567)
        shutdowns.Turns(fd).note(2, 12346.0)
        os.write(fd, b"3 123")
        after = shutdowns.Turns(fd).read()
    finally:
        os.close(fd)

    assert (before, after) == ({}, {0: 12345.678901234567, 2: 12346.0})
