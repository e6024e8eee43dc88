"""The root file system of `wharfie/shell`, borrowed from this host: busybox with a link for each of its applets, else
the host's sh and everyday programs with exactly the libraries they load. Host files are read and never anything else;
accounts are ours and minimal, nothing of /etc is taken.
"""

from __future__ import annotations

import os
import posixpath
import stat
import subprocess
from collections.abc import Iterator

from wharfie.archive import entry, pack
from wharfie.base import errors

from . import elf, libraries

_PLACES = ("/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin")
_WORDS = """
    sh bash ls cat cp mv rm mkdir rmdir ln chmod chown chgrp touch stat du df dd sync readlink realpath basename
    dirname mktemp install echo printf test [ true false yes seq expr env printenv pwd id whoami groups uname
    hostname date sleep timeout nohup nice tty stty clear reset head tail wc sort uniq cut tr tee grep egrep fgrep
    sed awk find xargs diff cmp od hexdump xxd base64 md5sum sha1sum sha256sum sha512sum cksum tar gzip gunzip
    zcat ps kill pkill pgrep top free uptime nproc more less vi nc ip ss ping which mount umount mknod setsid
    unshare nsenter chroot su getent ulimit split paste join comm fold nl tac rev cal column file strings
"""
PROGRAMS = tuple(_WORDS.split())
_MODES = {
    "": 0o755, "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "lib": 0o755, "proc": 0o755, "root": 0o700,
    "run": 0o755, "sbin": 0o755, "sys": 0o755, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755,
    "usr/lib": 0o755, "var": 0o755, "var/tmp": 0o1777,
}
_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/shells": "/bin/sh\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/profile": "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PS1='\\w # '\n",
}


class Borrowed:
    """What is taken: `files` (path inside → file of the host), `links` (path inside → target), `source` for people."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.files: dict[str, str] = {}
        self.links: dict[str, str] = {}

    def tar(self) -> Iterator[bytes]:
        """The root file system as a tar stream, the same for the same files."""
        directories = dict(_MODES)
        for path in (*self.files, *self.links, *_TEXTS):
            while path := posixpath.dirname(path):
                directories.setdefault(path, 0o755)
        for path in self.links:
            directories.pop(path, None)
        everything = sorted({*directories, *self.files, *self.links, *_TEXTS})
        for path in everything:
            if path in directories:
                yield pack.encode(entry.Entry(path.encode() or b".", entry.DIRECTORY, mode=directories[path]))
            elif path in self.links:
                yield pack.encode(entry.Entry(path.encode(), entry.SYMLINK, mode=0o777,
                                              link=self.links[path].encode()))
            elif path in self.files:
                yield from _file(path, self.files[path])
            else:
                yield pack.file(path, _TEXTS[path].encode())
        yield pack.END


def _file(path: str, host_path: str) -> Iterator[bytes]:
    fd = os.open(host_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        # No set-uid bit is borrowed: su and ping of the host would be root's programs in the container too.
        mode = stat.S_IMODE(found.st_mode) & 0o755
        yield pack.encode(entry.Entry(path.encode(), entry.FILE, mode=mode | 0o444, size=found.st_size))
        left = found.st_size
        while left:
            data = os.read(fd, min(left, 1 << 20)) or bytes(min(left, 1 << 20))
            left -= len(data)
            yield data
        yield bytes(-found.st_size % entry.BLOCK_SIZE)
    finally:
        os.close(fd)


def borrow() -> Borrowed:
    """Look around on this host. Raises Unsupported when it has neither busybox nor a shell."""
    busybox = _busybox()
    if busybox:
        found = _from_busybox(busybox)
        if found.links:
            return found
    found = _from_programs()
    if "bin/sh" not in found.files and "usr/bin/sh" not in found.files:
        raise errors.Unsupported("wharfie/shell is borrowed from the host, and this host has neither busybox nor sh",
                                 action="install busybox-static")
    return found


def _find(name: str) -> str:
    for place in _PLACES:
        path = f"{place}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def _busybox() -> str:
    """A static one is worth more than the first in the path."""
    found = [p for p in (f"{place}/{name}" for name in ("busybox", "busybox.static") for place in _PLACES)
             if os.path.isfile(p) and os.access(p, os.X_OK)]
    kinds = [(path, elf.read(path)) for path in found]
    fitting = [(path, needs) for path, needs in kinds if needs is not None]
    return next((path for path, needs in fitting if not needs.interpreter), fitting[0][0] if fitting else "")


def _from_busybox(path: str) -> Borrowed:
    borrowed = Borrowed(path)
    borrowed.files["bin/busybox"] = os.path.realpath(path)
    for inside, host_path in libraries.closure([path]).items():
        borrowed.files[inside.lstrip("/")] = os.path.realpath(host_path)
    for applet in _applets(path):
        inside = applet.strip("/") if "/" in applet else f"bin/{applet}"
        if posixpath.basename(inside) != "busybox" and ".." not in inside.split("/"):
            borrowed.links[inside] = posixpath.relpath("bin/busybox", posixpath.dirname(inside))
    return borrowed


def _applets(path: str) -> list[str]:
    """Paths of the applets, as this busybox itself wants to be installed."""
    for option in ("--list-full", "--list"):
        try:
            done = subprocess.run([path, option], stdin=subprocess.DEVNULL, capture_output=True, timeout=10,
                                  text=True, env={}, cwd="/")
        except (OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0 and done.stdout:
            return [line for line in done.stdout.split("\n") if line and line.isascii()]
    return []


def _from_programs() -> Borrowed:
    borrowed = Borrowed("sh and everyday programs")
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        if os.path.islink(f"/{name}"):  # a merged /usr: the loader's path leads through this link
            borrowed.links[name] = os.readlink(f"/{name}").lstrip("/")
    taken = [path for path in map(_find, PROGRAMS) if path and _is_taken(path)]
    for path in taken:
        borrowed.files[_inside(borrowed, path)] = os.path.realpath(path)
    for inside, host_path in libraries.closure(taken).items():
        borrowed.files[_inside(borrowed, inside)] = os.path.realpath(host_path)
    return borrowed


def _is_taken(path: str) -> bool:
    """Programs, and scripts of the shell; other interpreters don't come along."""
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head.startswith((b"\x7fELF", b"#!/bin/sh", b"#! /bin/sh"))


def _inside(borrowed: Borrowed, path: str) -> str:
    """The path in the image, with the links of a merged /usr already followed."""
    first, _, rest = path.lstrip("/").partition("/")
    return f"{borrowed.links[first]}/{rest}" if first in borrowed.links else path.lstrip("/")
