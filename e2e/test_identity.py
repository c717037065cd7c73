"""A machine becomes a node by itself, and nobody else becomes that node."""

import contextlib
import datetime as dt
import json
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from e2e import agents, asking
from e2e.cluster import ControlPlane, Guard, api, pki, wait_until

Make = Callable[[], agents.Agent]

_DAY, _YEAR = dt.timedelta(days=1), dt.timedelta(days=365)
_WITHIN_S = 40.0


@pytest.fixture
def make(guard: Guard, plane: ControlPlane, short_path: Path) -> Iterator[Make]:
    """Give what makes agents with a token and a name of their own; they end."""
    token = agents.bootstrap(plane, short_path / "people")
    all_: list[agents.Agent] = []

    def made() -> agents.Agent:
        name = f"vm-{secrets.token_hex(3)}"
        agent = agents.Agent(plane, guard, name, short_path / name)
        agent.settings["bootstrap"] = {"kubeconfig": str(token)}
        all_.append(agent)
        return agent

    yield made
    for each in all_:
        each.end()
    for name in {each.name for each in all_}:  # or pods of other tests come to it
        with contextlib.suppress(api.Refused):  # it never was one
            plane.admin.call("DELETE", f"/api/v1/nodes/{name}")


def test_a_bootstrap_token_becomes_a_node(make: Make) -> None:
    """With two approvals it is a node that the API server reaches by TLS."""
    agent = make()
    agent.start()
    client = agent.pending("client")
    agent.wait_log(f"kubectl certificate approve {client['metadata']['name']}")
    waiting, unready = agent.health(), agent.health("/readyz")
    agent.approve("client")
    agent.wait_registered()
    serving = agent.pending("serving")
    agent.wait_log("Clients of the kubelet API are known by")
    too_early = agent.served()
    agent.approve("serving")
    served = agent.wait_served()

    assert (200, 503) == (waiting[0], unready[0])
    assert (200, f"serving node {agent.name}\n") == agent.health("/readyz")
    assert client["spec"]["signerName"] == "kubernetes.io/kube-apiserver-client-kubelet"
    assert client["spec"]["usages"] == ["digital signature", "client auth"]
    assert agents.GROUP in client["spec"]["groups"]
    assert serving["spec"]["username"] == f"system:node:{agent.name}"
    assert serving["spec"]["usages"] == ["digital signature", "server auth"]
    assert too_early == ""
    assert "Refusing connections to the kubelet API" in agent.log()
    assert 'wasm_node_certificate_expires_seconds{certificate="serving"}' in served


def test_keys_are_for_us_only(make: Make) -> None:
    """Keys are readable by the agent's user alone, and none is left over."""
    agent = make()
    agent.join()

    wanted = ["client-ca.pem", "client.pem", "serving.pem"]
    folder = agent.state / "pki"
    wait_until(
        lambda: sorted(each.name for each in folder.iterdir()) == wanted,
        f"{wanted} alone",
        within_s=_WITHIN_S,
    )
    files = sorted(folder.iterdir())
    keys = [each for each in files if b"PRIVATE KEY" in each.read_bytes()]
    assert [each.name for each in keys] == ["client.pem", "serving.pem"]
    assert {each.stat().st_mode & 0o777 for each in keys} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_service_account_becomes_a_node(
    guard: Guard, plane: ControlPlane, short_path: Path
) -> None:
    """In a pod nothing is configured; the request bears the pod's token."""
    name = f"pod-{secrets.token_hex(3)}"
    agent = agents.Agent(plane, guard, name, short_path / name)
    plane.kubectl("create", "serviceaccount", name)
    rights = ["--verb=create,get,list,watch", "--resource=certificatesigningrequests"]
    plane.kubectl("create", "clusterrole", name, *rights)
    account = f"--serviceaccount=default:{name}"
    plane.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", account)
    agent.start_in_pod(plane.kubectl("create", "token", name).strip())
    request = agent.pending("client")
    agent.approve("client")
    agent.wait_registered()

    assert request["spec"]["username"] == f"system:serviceaccount:default:{name}"


def test_an_agent_that_was_killed_finds_its_request(make: Make) -> None:
    """However often it starts while it waits, it asks once."""
    agent = make()
    agent.start()
    first = agent.pending("client")["metadata"]["uid"]
    for _ in range(2):
        agent.process.kill()
        before = len(agent.log())
        agent.start()
        agent.wait_log("waits for approval", since=before)
    agent.approve("client")
    agent.wait_registered()

    assert [first] == [each["metadata"]["uid"] for each in agent.requests("client")]


def test_a_request_denied_says_why(make: Make) -> None:
    """The log has the reason; when the request is deleted, it asks again."""
    agent = make()
    agent.start()
    request = agent.pending("client")
    path = f"{asking.CSRS}/{request['metadata']['name']}"
    denied = {"type": "Denied", "status": "True", "reason": "Unknown", "message": "Who are you?"}
    request["status"]["conditions"] = [denied]
    agent.plane.admin.call("PUT", f"{path}/approval", request)
    agent.wait_log("is denied: Unknown: Who are you?")
    agent.plane.admin.call("DELETE", path)
    agent.approve("client")
    agent.wait_registered()


def test_an_expired_certificate_is_replaced(make: Make) -> None:
    """A host that was off for a year joins again by its bootstrap token."""
    agent = make()
    agent.give_certificate(-2 * _YEAR, -_YEAR)
    agent.start()
    agent.wait_log("is of no use any more: it expired at")
    agent.approve("client")
    agent.wait_registered()


def test_a_new_token_in_the_same_file_is_enough(make: Make) -> None:
    """An agent whose token is dead says so, and waits for another one."""
    agent = make()
    good = Path(agent.settings["bootstrap"]["kubeconfig"])
    mine = agent.directory / "bootstrap.kubeconfig"
    mine.write_text(good.read_text().replace("0123456789abcdef", "fedcba9876543210"))
    agent.settings["bootstrap"] = {"kubeconfig": str(mine)}
    agent.start()
    agent.wait_log(f"as the identity in {mine} (read anew each time): POST")
    agent.wait_log("401 Unauthorized; the API server does not know us")
    mine.write_text(good.read_text())
    agent.approve("client")
    agent.wait_registered()


def test_another_clusters_certificate_is_replaced(make: Make, short_path: Path) -> None:
    """What this cluster does not know is said, and asked for anew."""
    agent = make()
    agent.give_certificate(-_DAY, _YEAR, by=pki.Authority.create(short_path / "other").files)
    agent.start()
    agent.wait_log("the API server does not know us: another cluster, or expired?")
    agent.approve("client")
    agent.wait_registered()


def test_a_slow_clock_is_said(make: Make) -> None:
    """A certificate of the future tells by how much this clock is wrong."""
    agent = make()
    agent.give_certificate(_DAY, _YEAR)
    agent.start()
    agent.wait_log("this host's clock is slow by 86")
    agent.approve("client")
    agent.wait_registered()


def test_a_certificate_near_its_end_is_renewed(make: Make) -> None:
    """The node asks by itself, and goes by the new one from then on."""
    agent = make()
    agent.give_certificate(-19 * _DAY, _DAY)
    old = agent.certificate().fingerprint(hashes.SHA256()).hex()
    agent.start()
    agent.wait_registered()
    request = agent.pending("client")
    agent.approve("client")
    wait_until(
        lambda: len(agent.credentials()) > 1,
        "another certificate in the audit log", within_s=_WITHIN_S, alive=[agent.process],
    )  # fmt: skip

    assert request["spec"]["username"] == f"system:node:{agent.name}"
    assert [old, agent.certificate().fingerprint(hashes.SHA256()).hex()] == agent.credentials()


def test_a_new_address_is_served_with_a_new_certificate(make: Make) -> None:
    """After a restart with another address, the certificate is for that."""
    agent = make()
    agent.join()
    agent.process.terminate()
    agent.settings["address"]["value"] = "127.0.0.2"
    agent.settings["kubelet"]["bind"] = "127.0.0.2"
    agent.start()
    agent.wait_log("it is for 127.0.0.1, not for 127.0.0.2")
    agent.approve("serving")

    assert "wasm_node_info" in agent.wait_served()
    assert len(agent.requests("client")) == 1


def test_a_second_agent_waits_for_the_first(make: Make) -> None:
    """Ready and standing by on the same directory, it takes over the Node."""
    first = make()
    first.join()
    uid = first.node()["metadata"]["uid"]
    second = make()
    second.name, port = first.name, second.settings["healthPort"]
    second.settings = {**first.settings, "healthPort": port}
    second.start()
    second.wait_log("Standing by: another agent is running on")
    standing = second.health("/readyz")
    first.process.terminate()
    second.wait_log(f"Serving node {first.name}")
    second.wait_served()

    assert (200, f"standing by: another agent is running on {first.state}\n") == standing
    assert first.node()["metadata"]["uid"] == uid
    assert len(first.requests("client")) == 1


def test_an_agent_serves_until_its_heir_does(make: Make) -> None:
    """
    Told to end, it answers until the Node names who answers instead.

    However long the heir's certificate takes: at an address that is gone, the
    API server would wait for half a minute.
    """
    old = make()
    old.join()
    old.start_runtime()
    wait_until(lambda: old.plane.node_is_ready(old.name), "Ready", within_s=_WITHIN_S)
    heir = make()
    heir.name = old.name
    heir.settings = {
        **old.settings,
        "healthPort": heir.settings["healthPort"],
        "address": {"value": "127.0.0.2"},
        "kubelet": {**old.settings["kubelet"], "bind": "127.0.0.2"},
    }
    heir.start()
    heir.wait_log("Standing by: another agent is running on")

    old.process.send(signal.SIGTERM)
    old.wait_log("Serving on until the agent at 127.0.0.2 has taken over")
    heir.pending("serving")
    named, answered = _address(old), old.served()
    heir.approve("serving")
    wait_until(lambda: _address(old) == "127.0.0.2", "the heir's address", within_s=_WITHIN_S)
    both = old.served(), heir.served()
    old.process.wait(_WITHIN_S)
    alone = heir.wait_served()

    assert named == "127.0.0.1"
    assert all("wasm_node_info" in each for each in (answered, *both, alone))
    assert "has not taken over" not in old.log()


def test_a_second_agent_of_a_name_waits(make: Make) -> None:
    """From another directory it neither writes the Node nor the Lease."""
    first, second = make(), make()
    first.join()
    second.name = second.settings["nodeName"] = first.name
    second.start()
    second.approve("client")
    second.wait_log("Standing by: another agent (state directory")

    holder = (first.state / "identity").read_text().strip()
    annotations = first.node()["metadata"]["annotations"]
    assert holder == annotations["wasm-node.dev/state-directory"]
    assert second.health("/readyz")[0] == 200
    assert first.served()


def test_an_agent_that_was_replaced_ends(make: Make) -> None:
    """When another one holds its name, it says so and goes."""
    agent = make()
    agent.join()
    patch = {"metadata": {"annotations": {"wasm-node.dev/state-directory": "another"}}}
    path = f"/api/v1/nodes/{agent.name}"
    agent.plane.admin.call("PATCH", path, patch, content_type=api.MERGE_PATCH)
    agent.process.wait(within_s=_WITHIN_S)

    assert "another agent has taken its name over" in agent.process.tail(1)


def test_wrong_settings_stop_the_start(make: Make) -> None:
    """All wrong fields are named, with what is allowed, in one line."""
    agent = make()
    agent.settings |= {"maxPods": -1, "hostIp": "here"}
    agent.start("--node-name", "wasm-$(HOST_NAME)")
    agent.process.wait(within_s=_WITHIN_S)

    (line,) = agent.log().splitlines()
    assert "nodeName is 'wasm-$(HOST_NAME)': use lower-case letters" in line
    assert "hostIp is 'here': use a literal IP address" in line
    assert "maxPods is -1: use 0 (as many as fit) or more" in line


def test_flags_count_more_than_the_file(make: Make) -> None:
    """One file serves all hosts: name and address come as flags."""
    agent = make()
    agent.settings |= {"nodeName": "not-this", "address": {"type": "ExternalIP"}}
    agent.start("--node-name", agent.name, "--address", "127.0.0.1", "--host-ip", "127.0.0.9")
    agent.approve("client")
    node = agent.wait_registered()

    assert node["status"]["addresses"] == [{"type": "ExternalIP", "address": "127.0.0.1"}]
    assert json.loads(agent.directory.joinpath("agent.yaml").read_text())["nodeName"] == "not-this"


def _address(agent: agents.Agent) -> str:
    (address,) = agent.node()["status"]["addresses"]
    return str(address["address"])
