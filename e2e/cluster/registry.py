"""
A real container registry on loopback, over plain HTTP.

It is the CNCF distribution registry with its storage on disk, so that tests
can push by any client and damage what it stores.
"""

import http.client
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from e2e.cluster import binaries, processes


@dataclass(frozen=True)
class Registry:
    """
    A running registry; it ends with the guard that it was started by.

    Attributes:
        address: host:port, as in an image's reference.
        process: the server.
        storage: the directory of its files.
    """

    address: str
    process: processes.Process
    storage: Path

    @classmethod
    def start(cls, guard: processes.Guard, directory: Path, *, address: str = "127.0.0.1") -> Self:
        """
        Start a registry in a new directory and return when it answers.

        Args:
            guard: ends it.
            directory: a new directory for its files.
            address: of this machine, to listen on.

        Raises:
            Failed: it ended or did not answer in time; the text has its log.
        """
        storage = directory / "storage"
        storage.mkdir(parents=True)
        authority = f"{address}:{guard.claim_port()}"
        config = {
            "version": "0.1",
            "storage": {
                "filesystem": {"rootdirectory": str(storage)},
                "delete": {"enabled": True},
            },
            "http": {"addr": authority},
        }
        config_file = directory / "config.yml"
        config_file.write_text(json.dumps(config))  # JSON is YAML
        process = guard.spawn(
            "registry",
            [binaries.registry(), "serve", config_file],
            directory=directory,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
        registry = cls(authority, process, storage)
        processes.wait_until(registry._answers, "the registry", within_s=30, alive=[process])
        return registry

    def blob(self, digest: str) -> Path:
        """Give the file that holds a blob, by its digest `sha256:HEX`."""
        algorithm, _, value = digest.partition(":")
        blobs = self.storage / "docker/registry/v2/blobs"
        return blobs / algorithm / value[:2] / value / "data"

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
