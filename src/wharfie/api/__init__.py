"""api: the Docker Engine API, 1.24 to 1.50, server side. `app.build(services)` makes the handler for `web`.

One routes table (`routes`), one table from error meanings to statuses (`faults`), the versions (`versions`), the JSON
door (`body`), query words (`query`), what answers look like (`shapes_*`), and one file per resource.
"""
