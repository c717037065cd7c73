"""
Which control groups may be made on this host: found out by making one.

A container's group tree is often read-only; then the runtime goes on without.
"""

import hashlib
from pathlib import Path

from wasm_node.runtime.limits import cgroup1, cgroup2, groups, hierarchies


def choose(state: Path) -> groups.Groups:
    """Return the groups of this host."""
    own = Path("/proc/self/cgroup").read_text()
    mounts = Path("/proc/self/mountinfo").read_text()
    try:
        trees = hierarchies.controllers(own, mounts)
        if {"memory", "cpu"} <= trees.keys():
            return cgroup1.Cgroup1(trees, name(state))
        tree = hierarchies.unified(own, mounts)
        if tree is not None:
            return cgroup2.Cgroup2(tree, name(state))
        why = "none are mounted"
    except OSError as error:
        why = str(error)
    return groups.NoGroups(why)


def name(state: Path) -> str:
    """Return the name of our group, of which each state directory has one."""
    return f"wasm-node-{hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:8]}"
