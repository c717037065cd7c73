"""
Which faults come when: drawn from a seed, so that a run can be had again.

Every kind comes once before any comes twice. A fault is begun some time after
the one before it was; those that last go on meanwhile.
"""

import dataclasses
import enum
import random
from collections.abc import Sequence


class Kind(enum.Enum):
    """What is done to the node or to its way to the API server."""

    KILL_AGENT = "kill -9 of the agent"
    END_AGENT = "SIGTERM to the agent"
    KILL_SUPERVISOR = "kill -9 of the supervisor"
    KILL_FORK_SERVER = "kill -9 of the fork server"
    KILL_WORKERS = "kill -9 of workers"
    KILL_RUNTIME = "kill -9 of the runtime's init"
    KILL_ALL_PARTS = "kill -9 of agent, supervisor and fork server"
    API_GONE = "API server gone"
    WATCH_CUT = "all connections to the API server cut"
    API_SLOW = "API server slow"
    API_WRONG = "API server answers 429, 500 and 503"
    KILL_API_SERVER = "kill -9 of the API server itself"


class Churn(enum.Enum):
    """What users do meanwhile."""

    CREATE = "create a pod"
    JOB = "create a Job"
    DELETE = "delete a pod"
    DELETE_NOW = "delete a pod with a grace period of a second"
    FORCE = "delete a pod by force"
    ROLL_OUT = "restart a Deployment"


@dataclasses.dataclass(frozen=True)
class Fault:
    """
    One fault.

    Attributes:
        kind: what.
        after_s: how long after the beginning of the one before.
        for_s: how long it lasts, or what was killed is down.
        churn: what a user does right after.
        draw: for whatever is left to chance; of its own seed, as what is
            there to be chosen from differs from run to run.
    """

    kind: Kind
    after_s: float
    for_s: float
    churn: Churn
    draw: int


def schedule(seed: int, count: int, kinds: Sequence[Kind], *, longest_s: float) -> list[Fault]:
    """
    Draw so many faults.

    Args:
        seed: the same one gives the same faults.
        count: how many.
        kinds: of these kinds.
        longest_s: that an API server is gone.
    """
    chance = random.Random(seed)  # noqa: S311  # a seed is what it is about
    faults: list[Fault] = []
    while len(faults) < count:
        for kind in chance.sample(kinds, len(kinds)):
            lasts = kind in (Kind.API_GONE, Kind.API_SLOW, Kind.API_WRONG)
            for_s = chance.uniform(1, longest_s) if lasts else chance.uniform(0, 1.5)
            after_s = chance.choice((0.1, 1.0, 3.0))
            churn = chance.choice(list(Churn))
            faults.append(Fault(kind, after_s, for_s, churn, chance.getrandbits(32)))
    return faults[:count]
