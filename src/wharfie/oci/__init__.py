"""oci: the standards' values (digest, reference, manifest, config, runtime spec), parsed once at the door. No I/O."""
