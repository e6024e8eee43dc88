"""A container whose root is somebody else on the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.runtime_rig import NAMESPACES, Rig, spec_of
from wharfie.base import errors
from wharfie.drivers import contract
from wharfie.kernel import overlay
from wharfie.runtime import sandbox

pytestmark = pytest.mark.needs("root", "busybox")
MAP = ((0, 100000, 65536),)
IDMAP = overlay.IdMap(MAP, MAP)


class Mapped:
    """A rig, a sandbox with a user namespace, and overlays on it."""

    def __init__(self, directory: Path) -> None:
        self.rig = Rig()
        self.directory = directory
        self.made = sandbox.make({"net": "new", "ipc": "new", "uts": "new"}, IDMAP)
        self.count = 0

    def rootfs(self) -> int:
        self.count += 1
        self.upper = self.directory / f"upper{self.count}"
        work = self.directory / f"work{self.count}"
        self.upper.mkdir(mode=0o755)
        work.mkdir()
        os.chown(self.upper, 100000, 100000)
        rootfs = overlay.Rootfs((self.rig.root,), str(self.upper), str(work), IDMAP)
        return overlay.mount(rootfs, self.made.sandbox.user)

    def sh(self, script: str, **changes: object) -> list[str]:
        rootfs = self.rootfs()
        try:
            return self.rig.sh(script, rootfs=rootfs, sandbox=self.made.sandbox, idmap=IDMAP,
                               namespaces=(*NAMESPACES, "user"), **changes).lines
        finally:
            os.close(rootfs)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapped]:
    directory = tmp_path_factory.mktemp("mapped")
    for above in (directory, *directory.parents):
        if str(above).startswith("/tmp/"):
            os.chmod(above, 0o755)
    made = Mapped(directory)
    yield made
    sandbox.close(made.made.sandbox)
    os.close(made.made.netlink)
    made.rig.close()


def test_maps_and_capabilities(mapped: Mapped) -> None:
    lines = mapped.sh("cat /proc/self/uid_map; id; grep CapEff /proc/self/status; grep CapInh /proc/self/status")
    assert lines[0].split() == ["0", "100000", "65536"]
    assert lines[1:] == ["uid=0 gid=0", "CapEff:\t00000000a80425fb", "CapInh:\t0000000000000000"]


def test_files_are_the_mapped_roots(mapped: Mapped) -> None:
    assert mapped.sh("touch /made; stat -c %u:%g /made /bin/busybox /dev /dev/pts")[:3] == ["0:0", "0:0", "0:0"]
    assert os.stat(mapped.upper / "made").st_uid == 100000


def test_devices_console_and_network_are_its_own(mapped: Mapped) -> None:
    lines = mapped.sh("echo x > /dev/null && head -c 3 /dev/zero | wc -c; hostname; "
                      "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
                      linux={"sysctl": {"net.ipv4.ip_unprivileged_port_start": "42"}})
    assert lines == ["3", "box", "42"]
    assert mapped.sh("tty", terminal=True) == ["/dev/pts/0\r"]


def test_exec(mapped: Mapped) -> None:
    rootfs = mapped.rootfs()
    wanted = spec_of("sleep", "1000", namespaces=(*NAMESPACES, "user"))
    container = mapped.rig.hold(wanted=wanted, rootfs=rootfs, sandbox=mapped.made.sandbox, idmap=IDMAP)
    os.close(rootfs)
    script = "id; cat /proc/1/comm; tty; grep CapEff /proc/self/status"
    done = mapped.rig.exec(container, "sh", "-c", script, terminal=True)
    assert done.lines == ["uid=0 gid=0\r", "sleep\r", "/dev/pts/0\r", "CapEff:\t00000000a80425fb\r"]
    mapped.rig.drop(container)


def test_namespaces_of_other_owners_are_refused() -> None:
    with pytest.raises(errors.Invalid, match="another user namespace"):
        sandbox.make({"net": "/proc/self/ns/net"}, IDMAP)


def test_a_bundle_with_a_user_namespace_needs_its_map(mapped: Mapped) -> None:
    rootfs = mapped.rootfs()
    with pytest.raises(errors.Invalid, match="id map"):
        mapped.rig.create(spec_of("true"), contract.Stdio(), rootfs=rootfs, sandbox=mapped.made.sandbox)
    os.close(rootfs)
