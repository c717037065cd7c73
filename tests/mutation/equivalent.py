"""
Faults that no test can notice, each with the reason.

Only what makes no difference to anybody may stand here: never what a test
could notice. One that is not found any more fails the run.
"""

import dataclasses
from collections.abc import Sequence

from tests.mutation import faults


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """A fault by its module, its line's text and what was changed."""

    module: str
    text: str
    what: str
    why: str

    def is_it(self, fault: faults.Fault) -> bool:
        """Say whether this is that fault."""
        return (self.module, self.text, self.what) == (fault.module, fault.text, fault.what)


KNOWN = (
    Equivalent(
        "probes",
        "passing: bool = False",
        "False to True",
        "a tally of no times is no verdict, and the first result counts once either way",
    ),
    Equivalent(
        "certificates",
        "if not 0 < left_s <= life_s:  # not by this clock",
        "LtE to Lt",
        "with all of its life left, what is left is its life",
    ),
    Equivalent(
        "affinity",
        '_INTEGER = re.compile(r"[+-]?[0-9]+")',
        "'[+-]?[0-9]+' to another",
        "a fullmatch has to take all of a text, greedy or not",
    ),
    Equivalent(
        "status",
        "if ended is None or len(ended.message.encode()) <= most:",
        "LtE to Lt",
        "a message of just that length is as long when it is cut",
    ),
)


def split(
    every: Sequence[faults.Fault], modules: Sequence[str]
) -> tuple[list[faults.Fault], list[faults.Fault]]:
    """Return the known ones, and those that tests have to notice."""
    for known in KNOWN:
        if known.module in modules and not any(known.is_it(each) for each in every):
            raise SystemExit(f"equivalent.py: {known.module}: there is no such fault: {known}")
    excused = [each for each in every if any(known.is_it(each) for known in KNOWN)]
    return excused, [each for each in every if each not in excused]
