"""The images that come with the install: made on first use, ordinary images afterwards. They are never looked up in a
registry; the prefix is reserved."""

from __future__ import annotations

import os
import threading

from wharfie.archive import entry, pack, streams
from wharfie.base import errors
from wharfie.oci import reference

from . import hello, shell
from .catalog import Catalog
from .image import Image
from .making import DEFAULT_PATH, from_rootfs

# Fixed, so that the same program gives the same image id everywhere.
_CREATED = "2026-01-01T00:00:00Z"
NAMES = ("hello", "shell")


class Builtin:
    """Makes them, one at a time."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()

    def make(self, ref: reference.Reference) -> Image | None:
        """The image with this reserved name, made now if it is not there; None when the name is not one of ours.
        Raises Unsupported when this host cannot give it."""
        if not ref.reserved or ref.tag != reference.DEFAULT_TAG or ref.digest or ref.path not in NAMES:
            return None
        with self._lock:
            target = self._catalog.target(ref)
            found = self._catalog.image(target) if target else None
            return found or (self._hello(ref) if ref.path == "hello" else self._shell(ref))

    def _hello(self, ref: reference.Reference) -> Image:
        machine = os.uname().machine
        try:
            program = hello.program(machine)
        except KeyError as error:
            raise errors.Unsupported(f"wharfie/hello has no program for {machine} yet") from error
        tar = [pack.encode(entry.Entry(b".", entry.DIRECTORY, mode=0o755)), pack.file("hello", program, mode=0o755),
               pack.END]
        settings = {"Cmd": ["/hello"], "Env": [DEFAULT_PATH]}
        return from_rootfs(self._catalog, streams.Pieces(tar), [ref], settings, created=_CREATED,
                           comment="assembled by wharfie", created_by="wharfie builtin hello")

    def _shell(self, ref: reference.Reference) -> Image:
        borrowed = shell.borrow()
        settings = {"Cmd": ["sh"], "Env": [DEFAULT_PATH]}
        return from_rootfs(self._catalog, streams.Pieces(borrowed.tar()), [ref], settings, created=_CREATED,
                           comment=f"borrowed from this host: {borrowed.source}", created_by="wharfie builtin shell")
