"""
Clients that ask a URL without a pause, and tell of each request that failed.

Half of them connect anew for each request, as curl does; half keep their
connection for as long as the server does. Nothing is tried twice. It is a
process of its own (`python -m e2e.load URL`), which ends when its standard
input does, so that it can be run in another network.
"""

import collections
import contextlib
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_CLIENTS = 4
_ANSWER_S = 20.0


@dataclass
class Told:
    """
    What became of the requests.

    Attributes:
        answers: how often each body came, with status 200.
        failures: whatever else came, in words.
    """

    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def load(url: str, *, inside: Sequence[str] = ()) -> Iterator[Told]:
    """
    Have clients ask all the time; what they tell is there afterwards.

    Args:
        url: whom to ask.
        inside: words before the command, such as `nsenter` and its flags.
    """
    told = Told()
    command = [*inside, sys.executable, "-m", "e2e.load", url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as clients:
        assert clients.stdout is not None
        clients.stdout.readline()  # the first answer, or the first failure
        try:
            yield told
        finally:
            said, _ = clients.communicate(timeout=2 * _ANSWER_S)
            found = json.loads(said)
            told.answers, told.failures = found["answers"], found["failures"]


class _Asking:
    """The clients and what they are told."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.netloc
        self._path = parts.path or "/"
        self._begun = threading.Event()
        self._over = threading.Event()
        self._answers = collections.Counter[str]()
        self._failures: list[str] = []
        kept = [index % 2 == 1 for index in range(_CLIENTS)]
        self._threads = [threading.Thread(target=self._ask_on, args=(each,)) for each in kept]

    def run(self) -> None:
        for each in self._threads:
            each.start()
        self._begun.wait()
        print(flush=True)
        sys.stdin.read()
        self._over.set()
        for each in self._threads:
            each.join()
        print(json.dumps({"answers": self._answers, "failures": self._failures}))

    def _ask_on(self, keeps: bool) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=_ANSWER_S)
        while not self._over.is_set():
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self._failures.append(f"{'kept' if keeps else 'new'} connection: {error!r}")
                connection.close()
            else:
                if answer.status == http.HTTPStatus.OK:
                    self._answers[body] += 1
                else:
                    self._failures.append(f"{answer.status} {body}")
                if not keeps:
                    connection.close()
            self._begun.set()


if __name__ == "__main__":
    _Asking(sys.argv[1]).run()
