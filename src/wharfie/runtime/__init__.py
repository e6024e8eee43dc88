"""runtime: the OCI runtime. validate -> plan (both pure) -> parent / init / join, and the sandbox they live in."""
