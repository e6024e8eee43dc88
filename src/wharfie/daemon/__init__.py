"""daemon: the engine as a program. `assemble` is the only place that knows every room; `config` reads dockerd's flags
and daemon.json; `listeners` opens the API's sockets; `main` runs until it is told to stop."""
