"""What an audit finds: promises, by name, that a run has broken."""

import dataclasses

LOST, TWICE, RESTARTS, EXIT, ORPHAN = "lost", "run twice", "restarts", "exit code", "orphan"
ORDER, HOOK, CHECK, VOLUME, DEADLINE = "order", "hook", "check", "volume", "deadline"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A broken promise: which, of what, and what shows it."""

    kind: str
    of: str
    text: str

    def __str__(self) -> str:
        """Give it in a line."""
        return f"{self.kind}: {self.of}: {self.text}"
