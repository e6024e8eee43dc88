"""The one maker of paths. Nothing else joins names below the roots.

Data root (`/var/lib/wharfie`), survives a reboot:

    lock                         held by the engine that owns this root
    state.db                     SQLite: containers, tags, volumes, networks, events
    images/                      an OCI image layout
        oci-layout  index.json   index.json is regenerated from state.db by rename
        blobs/sha256/<hex>
        ingest/<random>          blobs on their way in; swept at start
    layers/<diff id hex>/        unpacked once, shared by images, never edited
    layers/.tmp-<random>/        on its way in; swept at start
    mount-points/                the lowest layer of every started container: what is mounted over
    containers/<id>/             what belongs to one container
        upper/ work/             its writable layer
        hosts hostname resolv.conf
        <id>-json.log            its log
    volumes/<name>/_data/        local volumes

Run root (`/run/wharfie`), gone after a reboot:

    docker.sock  wharfie.pid     the API's socket and the engine's pid
    lock                         held by the engine of this run root
    seccomp/<key>                compiled filters
    c/<first 16 of id>/          one run directory per started container, owned by its shim
        lock                     flock held as long as the shim lives
        shim.sock                the shim's verbs (SOCK_SEQPACKET)
        config.json              the OCI runtime spec
        launch.json              what the engine asked for (read by the undertaker too)
        init.json                pid and start time of the container's init
        exit.json                the exit record
        exec/<first 16 of id>.json   exit records of execs

Unix socket paths end at 107 bytes, hence the short names.
"""

from __future__ import annotations

import os


class DataRoot:
    """Paths below the data root. Makes names only; creates nothing."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.lock = f"{self.root}/lock"
        self.database = f"{self.root}/state.db"
        self.images = f"{self.root}/images"
        self.blobs = f"{self.images}/blobs/sha256"
        self.ingest = f"{self.images}/ingest"
        self.layers = f"{self.root}/layers"
        self.mount_points = f"{self.root}/mount-points"
        self.containers = f"{self.root}/containers"
        self.volumes = f"{self.root}/volumes"

    @property
    def instance(self) -> str:
        """Eight hex digits naming this engine on the host: on its bridge, veths, nft table and cgroups. Derived from
        the data root, so that two engines on one host never touch each other's things."""
        import hashlib  # here: shims make paths too, and it would map OpenSSL into each

        return hashlib.sha256(self.root.encode()).hexdigest()[:8]

    def blob(self, hex_digest: str) -> str:
        return f"{self.blobs}/{hex_digest}"

    def layer(self, hex_diff_id: str) -> str:
        return f"{self.layers}/{hex_diff_id}"

    def container(self, identifier: str) -> str:
        return f"{self.containers}/{identifier}"

    def log(self, identifier: str) -> str:
        return f"{self.containers}/{identifier}/{identifier}-json.log"

    def volume(self, name: str) -> str:
        return f"{self.volumes}/{name}/_data"


class RunRoot:
    """Paths below the run root."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.lock = f"{self.root}/lock"
        self.socket = f"{self.root}/docker.sock"
        self.pidfile = f"{self.root}/wharfie.pid"
        self.seccomp = f"{self.root}/seccomp"
        self.containers = f"{self.root}/c"

    def container(self, identifier: str) -> RunDirectory:
        return RunDirectory(f"{self.containers}/{identifier[:16]}")


class RunDirectory:
    """Paths of one container's run directory."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.lock = f"{root}/lock"
        self.socket = f"{root}/shim.sock"
        self.config = f"{root}/config.json"
        self.launch = f"{root}/launch.json"
        self.init = f"{root}/init.json"
        self.exit = f"{root}/exit.json"
        self.execs = f"{root}/exec"

    def exec_record(self, identifier: str) -> str:
        return f"{self.execs}/{identifier[:16]}.json"
