"""gate: hostile bytes from the network are handled here, by a process that owns nothing. Now: relays of ports."""
