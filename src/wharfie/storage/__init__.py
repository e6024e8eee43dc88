"""Truth on disk: the content store, unpacked layers, snapshots, volumes, the state database."""

from .content import Content, Ingest
from .database import Database
from .layers import Layers
from .snapshots import Snapshots
from .store import Store
from .volumes import Volume, Volumes

__all__ = ["Content", "Database", "Ingest", "Layers", "Snapshots", "Store", "Volume", "Volumes"]
