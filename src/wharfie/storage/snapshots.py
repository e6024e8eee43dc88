"""Snapshots: what a container's root file system is made of, as a value that `kernel.overlay` performs.

    containers/<id>/lowers     the diff ids, lowest first, one a line: these layers are in use
    containers/<id>/upper work the writable layer

The list is written before anything is looked up, under the same lock that deleting layers takes, so a layer cannot
disappear between being chosen and being used, and it outlives the image's own record.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence

from wharfie.base import atomic, errors, paths
from wharfie.kernel import overlay, walk
from wharfie.oci import digest

from .layers import Layers, tree_size

_SMALL = 256 << 10  # freeing the blocks of a large file takes its time


class Snapshots:
    """The writable layers of the containers of one data root."""

    def __init__(self, root: paths.DataRoot, layers: Layers, *, userxattr: bool = False) -> None:
        self._root = root
        self._layers = layers
        self._userxattr = userxattr
        self.lock = threading.RLock()
        # Told the layers that a removed container stood on; whoever counts the layers' users sets it.
        self.removed: Callable[[list[digest.Digest]], None] = lambda lowers: None

    def prepare(self, container_id: str, diff_ids: Sequence[digest.Digest],
                idmap: overlay.IdMap | None = None) -> overlay.Rootfs:
        """Make the writable layer of a new container on top of `diff_ids` (lowest first). Raises NotFound when a layer
        is missing, Conflict when the container has one already; nothing is left then."""
        directory = self._root.container(container_id)
        with self.lock:
            missing = [d for d in diff_ids if not self._layers.has(d)]
            if missing:
                raise errors.NotFound(f"layer {missing[0]} is not here", name=missing[0],
                                      action="load the image again")
            chosen = list(diff_ids) or [self._layers.empty()]
            os.makedirs(directory, mode=0o700, exist_ok=True)
            if os.path.exists(f"{directory}/lowers"):
                raise errors.Conflict(f"container {container_id} has a writable layer already", name=container_id)
            atomic.write(f"{directory}/lowers", "\n".join(chosen).encode(), durable=False)
        try:
            self._make_upper(directory, chosen, idmap)
        except BaseException:
            self.remove(container_id)
            raise
        return self._value(directory, chosen, idmap)

    def rootfs(self, container_id: str, diff_ids: Sequence[digest.Digest] | None = None,
               idmap: overlay.IdMap | None = None) -> overlay.Rootfs:
        """The same value again to start a container that was prepared, above the mount points that its image may lack.
        The list on disk is the truth; `diff_ids` is only taken when it is missing. Raises NotFound."""
        directory = self._root.container(container_id)
        chosen = self.lowers(container_id) or list(diff_ids or ())
        if not chosen or not os.path.isdir(f"{directory}/upper"):
            raise errors.NotFound(f"container {container_id} has no writable layer", name=container_id)
        value = self._value(directory, chosen, idmap)
        return value.replace(lowers=(*value.lowers, self._root.mount_points))

    def view(self, diff_ids: Sequence[digest.Digest]) -> overlay.Rootfs:
        """A read-only root file system of layers alone (lowest first)."""
        chosen = list(diff_ids) or [self._layers.empty()]
        return overlay.Rootfs(tuple(self._layers.path(d) for d in reversed(chosen)), readonly=True,
                              userxattr=self._userxattr)

    def lowers(self, container_id: str) -> list[digest.Digest]:
        """The diff ids under a container, lowest first; empty when it has none."""
        try:
            with open(f"{self._root.container(container_id)}/lowers", encoding="ascii") as file:
                return [digest.Digest.parse(line) for line in file.read().split()]
        except FileNotFoundError:
            return []

    def used(self) -> set[digest.Digest]:
        """The diff ids under any container. Hold `lock` while acting on the answer."""
        try:
            containers = os.listdir(self._root.containers)
        except FileNotFoundError:
            return set()
        return {diff_id for container in containers for diff_id in self.lowers(container)}

    def usage(self, container_id: str) -> int:
        """Bytes in the writable layer: Docker's SizeRw."""
        try:
            return tree_size(f"{self._root.container(container_id)}/upper")
        except FileNotFoundError:
            return 0

    def size(self, container_id: str) -> int:
        """Bytes of everything: Docker's SizeRootFs."""
        return self.usage(container_id) + sum(self._layers.size(d) for d in self.lowers(container_id))

    def remove(self, container_id: str) -> None:
        """Remove the writable layer, and the container's directory with all that is left in it. Idempotent."""
        try:
            fd = os.open(self._root.containers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        lowers = self.lowers(container_id)
        try:
            # The list goes last, so that a crash half-way leaves the layers marked as used, never the other way round.
            for name in ("upper", "work"):
                walk.remove_tree(fd, f"{container_id}/{name}")
            with self.lock:
                walk.remove_tree(fd, container_id)
        except FileNotFoundError:
            pass
        finally:
            os.close(fd)
        self.removed(lowers)

    def remove_bare(self, container_id: str) -> bool:
        """`remove` for a container that has written nothing, which is quick enough for a loop. False when there is more
        to do: `remove` does the rest."""
        directory = self._root.container(container_id)
        lowers = self.lowers(container_id)
        try:
            for name in ("upper", "work/work", "work"):
                try:
                    os.rmdir(f"{directory}/{name}")
                except FileNotFoundError:
                    pass
            with self.lock:
                names = os.listdir(directory)
                if any(os.lstat(f"{directory}/{name}").st_size > _SMALL for name in names):
                    return False
                for name in sorted(names, key="lowers".__eq__):  # last, as in `remove`
                    os.unlink(f"{directory}/{name}")
                os.rmdir(directory)
        except OSError:
            return False
        self.removed(lowers)
        return True

    def _value(self, directory: str, chosen: Sequence[digest.Digest], idmap: overlay.IdMap | None) -> overlay.Rootfs:
        lowers = tuple(self._layers.path(d) for d in reversed(chosen))
        return overlay.Rootfs(lowers, f"{directory}/upper", f"{directory}/work", idmap, False, self._userxattr)

    def _make_upper(self, directory: str, chosen: Sequence[digest.Digest], idmap: overlay.IdMap | None) -> None:
        """The root directory of an overlay shows the mode, owner and times of the upper's, so these are taken from the
        image: from the highest layer that says anything about it."""
        os.mkdir(f"{directory}/upper", 0o700)
        os.mkdir(f"{directory}/work", 0o700)
        mode, uid, gid = 0o755, 0, 0
        for diff_id in reversed(chosen):
            found = os.stat(self._layers.path(diff_id))
            said = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
            if said != (mode, uid, gid):
                mode, uid, gid = said
                break
        if idmap is not None:
            uid, gid = outside(idmap.uids, uid), outside(idmap.gids, gid)
            os.chown(f"{directory}/work", outside(idmap.uids, 0), outside(idmap.gids, 0))
        os.chown(f"{directory}/upper", uid, gid)
        os.chmod(f"{directory}/upper", mode)


def outside(ranges: Sequence[tuple[int, int, int]], inside: int) -> int:
    """The host's id of an id in a user namespace. Raises Invalid for one that is not mapped."""
    for first, host, count in ranges:
        if first <= inside < first + count:
            return host + inside - first
    raise errors.Invalid(f"id {inside} is not mapped in the container's user namespace")
