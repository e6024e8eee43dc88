"""client: the Engine API from outside.

`endpoint` finds the engine (DOCKER_HOST, contexts), `wire` speaks HTTP to it over `_socket` alone (the command line's
fast path: no http.client, no json, no typing), `calls` says what to ask as plain values, `sync` and `aio` are the typed
clients of Python programs, both over the same calls."""
