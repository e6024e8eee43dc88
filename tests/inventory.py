"""A whole inventory of the host as a value, and the difference of two: proof that nothing is left behind.

    before = inventory.take(directories=[run_root, data_root])
    ...
    assert inventory.diff(before, inventory.take(directories=[run_root, data_root])) == []

Everything is one line of text under one heading, so that a failing test reads like a list. On a machine where others
work too, `only` narrows it to lines with one of some words (an instance id, a throw-away directory).

As a program it prints the inventory, or compares with one that was kept:

    python tests/inventory.py > before;  …;  python tests/inventory.py --against before
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wharfie.base.value import Value
from wharfie.netlink import conn, nft


class Inventory(Value):
    """Each field is a set of lines. `processes` are "pid start-time command" (a start time makes a reused pid another
    process), `spaces` the network namespaces that some process is in."""

    processes: frozenset[str]
    mounts: frozenset[str]
    spaces: frozenset[str]
    links: frozenset[str]
    cgroups: frozenset[str]
    tables: frozenset[str]
    files: frozenset[str]

    def only(self, *words: str) -> Inventory:
        """The lines that contain one of the words."""
        return Inventory(**{
            f: frozenset(line for line in getattr(self, f) if any(w in line for w in words)) for f in self._fields_})

    def lines(self) -> list[str]:
        return [f"{f}: {line}" for f in self._fields_ for line in sorted(getattr(self, f))]


def take(directories: Iterable[str] = (), *, without: Sequence[str] = ()) -> Inventory:
    """The host as this process sees it. `directories` are walked whole (run and data roots; one that does not exist has
    no lines); `without` are fields to leave out ("processes", …). Reading needs root; what another process takes away
    meanwhile is passed over."""
    makers: dict[str, Callable[[], Iterable[str]]] = {
        "processes": _processes, "mounts": _mounts, "spaces": _spaces, "links": _links, "cgroups": _cgroups,
        "tables": _tables, "files": lambda: _files(directories),
    }
    return Inventory(**{f: frozenset(() if f in without else make()) for f, make in makers.items()})


def diff(before: Inventory, after: Inventory) -> list[str]:
    """What came ("+ links: …") and what went ("- …"), sorted by field; [] for two equal hosts."""
    found = []
    for field in before._fields_:
        old, new = getattr(before, field), getattr(after, field)
        found += [f"+ {field}: {line}" for line in sorted(new - old)]
        found += [f"- {field}: {line}" for line in sorted(old - new)]
    return found


def settled(
    before: Inventory, directories: Iterable[str] = (), *, seconds: float = 10.0, words: Sequence[str] = (),
    without: Sequence[str] = (), came_only: bool = False,
) -> list[str]:
    """The difference once it is empty, or after `seconds`: namespaces, and the links in them, die a little later than
    their last process. `words` narrow both sides, `came_only` ignores what went."""
    roots, deadline = list(directories), time.monotonic() + seconds
    while True:
        after = take(roots, without=without)
        found = diff(before.only(*words), after.only(*words)) if words else diff(before, after)
        if came_only:
            found = [line for line in found if line.startswith("+")]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def cgroups_of(*words: str) -> list[str]:
    """The directories of every hierarchy that have one of the words in their path, sorted."""
    return sorted(path for path in _cgroups() if any(w in path for w in words))


def _pids() -> Iterable[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _read(path: str) -> bytes:
    """The file's bytes; empty when it is gone, or its process."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _processes() -> Iterable[str]:
    me = os.getpid()
    for pid in _pids():
        name, _, rest = _read(f"/proc/{pid}/stat").decode(errors="replace").partition("(")[2].rpartition(")")
        fields = rest.split()
        # Kernel threads are children of 2 and come and go by themselves. Zombies count: somebody must reap them.
        if len(fields) < 20 or fields[1] == "2" or pid in (2, me):
            continue
        command = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
        yield f"{pid} {fields[19]} {name} {command[:200]}".strip()


def _mounts() -> Iterable[str]:
    """Mounts without their ids, which are handed out anew; a mount that is there twice has a number."""
    seen: dict[str, int] = {}
    for line in _read("/proc/self/mountinfo").decode(errors="replace").splitlines():
        fields = line.split()
        dash = fields.index("-")
        text = " ".join((fields[4], fields[3], *fields[dash + 1 : dash + 3]))
        seen[text] = seen.get(text, 0) + 1
        yield text if seen[text] == 1 else f"{text} #{seen[text]}"


def _spaces() -> Iterable[str]:
    found: set[str] = set()
    for pid in _pids():
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:
            continue
    return found


def _links() -> Iterable[str]:
    with conn.Socket() as route:
        names = {link.index: link.name for link in route.links()}
        addresses: dict[int, list[str]] = {}
        for address in route.addresses():
            addresses.setdefault(address.index, []).append(f"{address.ip}/{address.prefix_len}")
        for link in route.links():
            master = f" of {names.get(link.master, link.master)}" if link.master else ""
            yield " ".join((f"{link.name} {link.kind or 'hardware'}{master}", *sorted(addresses.get(link.index, ()))))


def _tables() -> Iterable[str]:
    """nf_tables down to chains, rules and elements."""
    with conn.Socket(conn.NETFILTER) as tables:
        for family, name in (nft.parse_table(body) for body in tables.dump(nft.dump_tables())):
            yield f"{family} {name}"
        for chain in (nft.parse_chain(body) for body in tables.dump(nft.dump_chains())):
            yield f"{chain.family} {chain.table} chain {chain.name}"
        for rule in (nft.parse_rule(body) for body in tables.dump(nft.dump_rules())):
            yield f"{rule.family} {rule.table} {rule.chain} rule {rule.handle}"
        for family, table, name in (nft.parse_set(body) for body in tables.dump(nft.dump_sets())):
            for body in tables.dump(nft.dump_elements(family, table, name)):
                for key, data in nft.parse_elements(body):
                    yield f"{family} {table} {name} element {key.hex()} {data.hex()}".rstrip()


def _cgroups() -> Iterable[str]:
    """The directories of every mounted hierarchy, v1 and v2."""
    for line in _read("/proc/self/mountinfo").decode(errors="replace").splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] in ("cgroup", "cgroup2"):
            yield from (path for path, _, _ in os.walk(fields[4]))


def _files(directories: Iterable[str]) -> Iterable[str]:
    for top in directories:
        for path, names, files in os.walk(top):
            yield f"{path}/"
            yield from (f"{path}/{name}" for name in files)
            yield from (f"{path}/{name}" for name in names if os.path.islink(f"{path}/{name}"))


def from_json(text: str) -> Inventory:
    """An inventory kept by the program."""
    kept: dict[str, Any] = json.loads(text)
    return Inventory(**{f: frozenset(kept[f]) for f in Inventory._fields_})


# What the product and its tests call their things on a host; the machine's other work comes and goes.
OURS = ("wharfie", "/wt", "wt-", "wh-")


def main(arguments: list[str]) -> int:
    """Print the inventory as JSON, or with --against FILE what differs (exit status 1)."""
    if arguments[:1] == ["--against"]:
        with open(arguments[1]) as file:
            before = from_json(file.read())
        found = settled(before, arguments[2:], words=OURS, came_only=True)
        print("\n".join(found) or "nothing is left behind")
        return 1 if found else 0
    now = take(arguments)
    print(json.dumps({f: sorted(getattr(now, f)) for f in now._fields_}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
