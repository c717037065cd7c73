"""
The thirty pods of a chaos run: every kind that has rules of its own.

All guests but those that serve HTTP are `run`, which does what its script
says; see `ledger`. What each workload comes to is said beside it.
"""

import dataclasses
import random
from typing import Any

from e2e import pods
from e2e.chaos.recording import Wanted

Object = dict[str, Any]

GRACE_S = 10
"""So much that a hook can speak even on a busy machine; hardly any needs it."""


@dataclasses.dataclass(frozen=True)
class Images:
    """References of the guests."""

    run: str
    web: str


@dataclasses.dataclass(frozen=True)
class Workload:
    """Objects to make, and what they come to."""

    name: str
    objects: tuple[Object, ...]
    wanted: Wanted


class Maker:
    """Writes manifests for one node and one ledger."""

    def __init__(self, images: Images, node: str, ledger: int, ports: tuple[int, ...]) -> None:
        self._images = images
        self._node = node
        self._ledger = f"127.0.0.1:{ledger}"
        self._port = str(ledger)
        self._ports = ports

    def all(self, *, scale: int = 1) -> list[Workload]:
        """Give all workloads; thirty pods with a scale of 1."""
        return [
            self._deployment("serve", 5 * scale),
            self._web("web", 2),
            self._stateful("set", 3),
            self.job("retried", "OnFailure", "$(UID):3@200,0@400", 4),
            self.job("again", "Never", "again:5@300,0@300", 2),
            self.job("slow", "Never", "slow:0@8000", 2),
            *(self.looping(f"loop-{number}") for number in range(2 * scale)),
            *(self.ordered(f"ordered-{number}", "on", "Always") for number in range(3)),
            *(self.ordered(f"ending-{number}", "4@6000", "Never") for number in range(3)),
            *(self._late(f"late-{number}", 8 + 8 * number) for number in range(2)),
            *(self._sick(f"sick-{number}") for number in range(2)),
            *(self.ending(f"bare-{number}", 3 * number, 2000 * number) for number in range(2)),
        ]

    def another(self, name: str, chance: random.Random) -> Workload:
        """Give a pod of one kind or another that stands for itself."""
        made = (
            self.lasting(name),
            self.ordered(name, "on", "Always"),
            self.ordered(name, "4@3000", "Never"),
            self._late(name, 5),
            self._sick(name),
        )
        return chance.choice(made)

    def looping(self, name: str) -> Workload:
        """Give a pod that crashes, and is restarted, until all is calm."""
        spec = self._spec(f"{name}:7@1500", "Always")
        return Workload(name, (self._pod(name, spec),), Wanted(running=1))

    def lasting(self, name: str) -> Workload:
        """Give a pod that runs for ever, and has hooks."""
        spec = self._hooked(self._spec(f"{name}:on", "Always"))
        return Workload(name, (self._pod(name, spec),), Wanted(1))

    def ending(self, name: str, code: int, after_ms: int = 0) -> Workload:
        """Give a pod that ends with this code, once."""
        spec = self._spec(f"$(UID):{code}@{after_ms}", "Never")
        return Workload(name, (self._pod(name, spec),), Wanted())

    def ordered(self, name: str, main: str, restart: str) -> Workload:
        """
        Give a pod of containers that wait for each other.

        One sidecar has to pass its startup check before the others begin, and
        the other one only to begin. All read in the pod's volume what the first
        container has written there.
        """
        spec = self._hooked(self._spec(f"$(UID)-main:{main}", restart))
        first = self._container("first", "$(UID)-first:0@300", ">/shared/first")
        early = self._container("early", "$(UID)-early:on", "</shared/first")
        early["startupProbe"] = self._check("early", "startup", "1@0,0@0")
        late = self._container("sidecar", "$(UID)-sidecar:on", "</shared/first")
        late["lifecycle"] = {"preStop": self._command("sidecar", "preStop", "0@200")}
        after = self._container("next", "$(UID)-next:0@100", "</shared/first")
        always = {"restartPolicy": "Always"}
        spec["initContainers"] = [first, early | always, late | always, after]
        spec["containers"][0]["args"].append("</shared/first")
        spec["volumes"] = [{"name": "shared", "emptyDir": {}}]
        for each in (*spec["initContainers"], *spec["containers"]):
            each["volumeMounts"] = [{"name": "shared", "mountPath": "/shared"}]
        wanted = Wanted(running=1 if restart == "Always" else 0)
        return Workload(name, (self._pod(name, spec),), wanted)

    def _late(self, name: str, deadline_s: int) -> Workload:
        """Give a pod that would run for ever, and may not."""
        spec = self._spec(f"{name}:on", "Always") | {"activeDeadlineSeconds": deadline_s}
        return Workload(name, (self._pod(name, spec),), Wanted())

    def _sick(self, name: str) -> Workload:
        """Give a pod that fails a check, and is restarted for that."""
        spec = self._hooked(self._spec(f"{name}:on", "Always"))
        check = self._check("main", "liveness", "0@0,0@0,1@0,0@0")
        # It fails when it is told to, and not since a busy machine is late.
        own = {"failureThreshold": 1, "timeoutSeconds": 10}
        spec["containers"][0]["livenessProbe"] = check | own
        return Workload(name, (self._pod(name, spec),), Wanted(running=1))

    def _deployment(self, name: str, replicas: int) -> Workload:
        spec = self._hooked(self._spec(f"{name}:on", "Always"))
        made = pods.workload("Deployment", name, spec, about=self._about(name), replicas=replicas)
        return Workload(name, (_selected(made, name),), Wanted(replicas))

    def _stateful(self, name: str, replicas: int) -> Workload:
        spec = self._spec(f"{name}:on", "Always")
        (main,) = spec["containers"]
        main["startupProbe"] = self._check("main", "startup", "1@0,0@0")
        main["livenessProbe"] = self._check("main", "liveness", "0@0,on,0@0")  # one hangs
        own = {"replicas": replicas, "serviceName": name}
        made = pods.workload("StatefulSet", name, spec, about=self._about(name), **own)
        return Workload(name, (_selected(made, name),), Wanted(replicas))

    def _web(self, name: str, replicas: int) -> Workload:
        spec = self._spec("", "Always")
        (main,) = spec["containers"]
        port = self._ports[0]
        ask = {"path": f"/tell?{self._ledger}", "port": port}
        main |= {
            "image": self._images.web,
            "args": [],
            "ports": [{"containerPort": port}],
            "readinessProbe": {"httpGet": ask, "periodSeconds": 1, "timeoutSeconds": 5},
        }
        main["env"].append({"name": "TELL", "value": "/$(UID)/$(POD)/main"})
        made = pods.workload("Deployment", name, spec, about=self._about(name), replicas=replicas)
        return Workload(name, (_selected(made, name),), Wanted(replicas))

    def job(self, name: str, restart: str, script: str, completions: int) -> Workload:
        """Give a Job, two pods at a time."""
        spec = {
            "completions": completions,
            "parallelism": 2,
            "backoffLimit": 100,
            "template": {"metadata": self._about(name), "spec": self._spec(script, restart)},
        }
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
        return Workload(name, (job,), Wanted(completions=completions))

    def _pod(self, name: str, spec: Object) -> Object:
        meta = {"name": name, **self._about(name)}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}

    def _about(self, workload: str) -> Object:
        grants = {
            "wasm-node.dev/allowed-connections": self._ledger,
            "wasm-node.dev/allowed-outbound-hosts": self._ledger,
        }
        return {"labels": {"chaos": workload}, "annotations": grants}

    def _spec(self, script: str, restart: str) -> Object:
        spec = pods.spec(self._images.run, restart=restart)
        spec["nodeSelector"]["kubernetes.io/hostname"] = self._node
        spec["containers"] = [self._container("main", script)]
        spec["terminationGracePeriodSeconds"] = GRACE_S
        return spec

    def _hooked(self, spec: Object) -> Object:
        """Give `main` hooks, and return the spec."""
        spec["containers"][0]["lifecycle"] = {
            what: self._command("main", what, "0@100") for what in ("postStart", "preStop")
        }
        return spec

    def _check(self, container: str, what: str, steps: str) -> Object:
        command = self._command(container, what, steps)
        return command | {"periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 30}

    def _command(self, container: str, what: str, steps: str) -> Object:
        """Give the exec of a hook or a check; it, too, is in the ledger."""
        words = ["run", self._port, "%UID", "%POD", f"{container}!{what}", f":{steps}"]
        return {"exec": {"command": words}}

    def _container(self, name: str, script: str, *files: str) -> Object:
        env = pods.field_env(
            UID="metadata.uid", NAMESPACE="metadata.namespace", NAME="metadata.name"
        )
        return {
            "name": name,
            "image": self._images.run,
            "env": [*env, {"name": "POD", "value": "$(NAMESPACE)/$(NAME)"}],
            "args": [self._port, "$(UID)", "$(POD)", name, script, *files],
            "resources": {"limits": {"memory": "64Mi"}},
        }


def _selected(workload: Object, name: str) -> Object:
    labels = {"chaos": name}
    workload["spec"]["selector"] = {"matchLabels": labels}
    return workload
