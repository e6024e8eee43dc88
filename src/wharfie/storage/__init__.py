"""Truth on disk: the content store, unpacked layers, snapshots, volumes, the state database."""
