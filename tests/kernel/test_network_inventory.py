"""The inventory sees what it has to see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from network_lab import Space, lab

from tests import inventory
from wharfie.netlink import conn, nft, rtnl

pytestmark = pytest.mark.needs("root")


@lab
def _scene(directory: str) -> None:
    before = inventory.take([directory], without=["processes", "cgroups", "spaces"])
    assert inventory.diff(before, before) == []
    space = Space()
    with conn.Socket() as route, conn.Socket(conn.NETFILTER) as tables:
        route.run(rtnl.add_veth("v0", "eth0", peer_netns=space.fd))
        key = (nft.TYPE_PORT, 2)
        tables.batch([
            nft.table(nft.IPV4, "left"), nft.set_(nft.IPV4, "left", "s", 1, key),
            *nft.add_elements(nft.IPV4, "left", "s", [nft.element(b"\0\x50")])])
        with open(f"{directory}/left", "w"):
            pass
        found = inventory.settled(before, [directory], seconds=0, without=["processes", "cgroups", "spaces"])
        assert found == [
            "+ links: v0 veth", "+ tables: 2 left", "+ tables: 2 left s element 0050", f"+ files: {directory}/left"]
        tables.batch([nft.delete_table(nft.IPV4, "left")])
        os.unlink(f"{directory}/left")
        space.end()
        assert inventory.settled(before, [directory], without=["processes", "cgroups", "spaces"]) == []


def test_links_tables_and_files_are_seen(tmp_path: Path) -> None:
    _scene(str(tmp_path))


def test_processes_and_namespaces_are_seen() -> None:
    read, write = os.pipe()
    before = inventory.take(without=["files"])
    pid = os.fork()
    if pid == 0:
        os.close(write)
        space = Space()
        with space:
            os.read(read, 1)
        os._exit(0)
    os.close(read)
    try:
        lines = [line for line in inventory.diff(before, inventory.take()) if line.startswith(f"+ processes: {pid} ")]
        assert len(lines) == 1
    finally:
        os.close(write)
        os.waitpid(pid, 0)
    mine = inventory.take().only(f"{pid} ")
    assert not [line for line in mine.processes if line.startswith(f"{pid} ")]


def test_it_survives_json() -> None:
    now = inventory.take(without=["processes"])
    import json

    kept = json.dumps({f: sorted(getattr(now, f)) for f in now._fields_})
    assert inventory.from_json(kept) == now
