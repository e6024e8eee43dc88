"""shim: one small process per started container, and the zygote that forks it. See DESIGN "The processes"."""
