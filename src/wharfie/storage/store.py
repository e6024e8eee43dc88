"""The store: everything on disk below one data root, opened by the engine that holds its lock."""

from __future__ import annotations

import os

from wharfie.base import paths

from .content import Content
from .layers import Layers
from .snapshots import Snapshots


class Store:
    """Content, layers and snapshots of one data root. Opening makes the directories and sweeps what was half done;
    so it is opened once, by whoever holds the root's lock. `userxattr` is for an engine inside a user namespace."""

    def __init__(self, root: paths.DataRoot, *, userxattr: bool = False) -> None:
        self.root = root
        for directory in (root.root, root.containers, root.volumes):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        self.content = Content(root)
        self.layers = Layers(root, userxattr=userxattr)
        self.snapshots = Snapshots(root, self.layers, userxattr=userxattr)
        self.content.prepare()
        self.layers.prepare()
