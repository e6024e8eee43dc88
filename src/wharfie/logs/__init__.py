"""logs: a container's output on disk, written by its shim, read by the API: Docker's json-file format."""
