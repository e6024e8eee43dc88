"""The mount options of the OCI specification (and mount(8)) as a closed vocabulary. Pure.

What is no option of a mount goes to the file system as data ("size=64m"); a bind has no file system of its own to take
it, so there an unknown word is an error.
"""

from __future__ import annotations

import functools

from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.kernel import mounts as m

# word → (attributes to set, attributes to clear)
_ATTRIBUTES: dict[str, tuple[int, int]] = {
    "ro": (m.MOUNT_ATTR_RDONLY, 0), "rw": (0, m.MOUNT_ATTR_RDONLY),
    "nosuid": (m.MOUNT_ATTR_NOSUID, 0), "suid": (0, m.MOUNT_ATTR_NOSUID),
    "nodev": (m.MOUNT_ATTR_NODEV, 0), "dev": (0, m.MOUNT_ATTR_NODEV),
    "noexec": (m.MOUNT_ATTR_NOEXEC, 0), "exec": (0, m.MOUNT_ATTR_NOEXEC),
    "nosymfollow": (m.MOUNT_ATTR_NOSYMFOLLOW, 0), "symfollow": (0, m.MOUNT_ATTR_NOSYMFOLLOW),
    "noatime": (m.MOUNT_ATTR_NOATIME, m.MOUNT_ATTR__ATIME), "atime": (0, m.MOUNT_ATTR__ATIME),
    "relatime": (0, m.MOUNT_ATTR__ATIME), "norelatime": (0, m.MOUNT_ATTR__ATIME),
    "strictatime": (m.MOUNT_ATTR_STRICTATIME, m.MOUNT_ATTR__ATIME), "nostrictatime": (0, m.MOUNT_ATTR__ATIME),
    "nodiratime": (m.MOUNT_ATTR_NODIRATIME, 0), "diratime": (0, m.MOUNT_ATTR_NODIRATIME),
}
_RECURSIVE = {f"r{word}": pair for word, pair in _ATTRIBUTES.items()}
_PROPAGATION = {
    "private": m.MS_PRIVATE, "shared": m.MS_SHARED, "slave": m.MS_SLAVE, "unbindable": m.MS_UNBINDABLE,
}
_SUPER_FLAGS = frozenset(("sync", "dirsync", "lazytime", "mand"))
_NOTHING = frozenset(("defaults", "async", "nolazytime", "nomand", "silent", "loud", "iversion", "noiversion"))
_REFUSED = frozenset(("remount", "idmap", "ridmap", "tmpcopyup"))


class Options(Value):
    """What the words mean: attributes for the mount alone and for all below it, a propagation, data for the file
    system."""

    set: int = 0
    clear: int = 0
    below_set: int = 0
    below_clear: int = 0
    propagation: int = 0
    propagation_below: bool = False
    bind: bool = False
    recursive: bool = False
    data: tuple[str, ...] = ()


@functools.lru_cache(128)  # what every container has is read once, by the zygote
def parse(words: tuple[str, ...], destination: str) -> Options:
    """The meaning of a mount's options; later words win. Raises Invalid (Unsupported for known ones not done yet)."""
    mine, below = [0, 0], [0, 0]
    propagation, propagation_below, bind, recursive = 0, False, False, False
    data: list[str] = []
    for word in words:
        if word in _ATTRIBUTES:
            _merge(mine, _ATTRIBUTES[word])
        elif word in _RECURSIVE:
            _merge(below, _RECURSIVE[word])
        elif word in _PROPAGATION or (word[:1] == "r" and word[1:] in _PROPAGATION):
            propagation_below = word not in _PROPAGATION
            propagation = _PROPAGATION[word[1:] if propagation_below else word]
        elif word in ("bind", "rbind"):
            bind, recursive = True, recursive or word == "rbind"
        elif word in _REFUSED:
            raise errors.Unsupported(f"mount at {destination}: option {word!r} is not supported yet", name=destination)
        elif word not in _NOTHING:
            data.append(word)
    return Options(mine[0], mine[1], below[0], below[1], propagation, propagation_below, bind, recursive, tuple(data))


def _merge(pair: list[int], change: tuple[int, int]) -> None:
    on, off = change
    pair[0] = (pair[0] & ~off) | on
    pair[1] = (pair[1] & ~on) | off


def check_bind(options: Options, destination: str) -> None:
    """A bind takes no data. Raises Invalid."""
    for word in options.data:
        if word not in _SUPER_FLAGS:
            raise errors.Invalid(
                f"mount at {destination}: unknown option {word!r}", name=destination,
                action="a bind takes ro, rw, nosuid, nodev, noexec, atime words and a propagation",
            )


def decorate(tree: int, options: Options) -> None:
    """Give a detached mount its attributes and propagation. Raises OSError."""
    if options.below_set or options.below_clear:
        m.mount_setattr(tree, "", set=options.below_set, clear=options.below_clear, recursive=True)
    if options.set or options.clear:
        m.mount_setattr(tree, "", set=options.set, clear=options.clear)
    if options.propagation:
        m.mount_setattr(tree, "", propagation=options.propagation, recursive=options.propagation_below)
