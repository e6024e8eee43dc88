"""kernel: system calls as small functions under the kernel's own names. Raises only OSError; knows nothing above it."""
