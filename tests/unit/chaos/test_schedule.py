"""Faults are drawn from a seed."""

from e2e.chaos import faults

_KINDS = tuple(faults.Kind)


def test_a_seed_gives_the_same_faults() -> None:
    """A run that failed can be had again by its seed, another by another."""
    one, same, other = (faults.schedule(seed, 40, _KINDS, longest_s=4) for seed in (1, 1, 2))

    assert one == same
    assert one != other


def test_every_kind_comes_before_one_comes_twice() -> None:
    """As many faults as there are kinds have each of them once."""
    drawn = faults.schedule(3, 2 * len(_KINDS), _KINDS, longest_s=30)

    first, second = drawn[: len(_KINDS)], drawn[len(_KINDS) :]
    assert {each.kind for each in first} == {each.kind for each in second} == set(_KINDS)
    assert all(each.for_s <= 30 for each in drawn)
