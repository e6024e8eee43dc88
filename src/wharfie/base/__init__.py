"""base: the words every room shares. Standard library only, cheap to import, no I/O beyond atomic files."""
