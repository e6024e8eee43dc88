"""cli: the `wharfie` command. `main` reads global flags and finds the command in `tree`; each command is a `Command`
value (flags, argument rule, function) in the file of its resource, imported only when it is called. Fast commands must
stay free of re, typing, dataclasses, json, asyncio, http.client: tests/unit/test_cli_imports.py holds that."""
