"""engine: the life of containers on one host. Async; it never sees the kernel, it asks shims and the zygote."""
