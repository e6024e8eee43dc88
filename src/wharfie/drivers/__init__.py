"""drivers: what runs a bundle. `contract` says what every driver promises; `native` keeps it with our own runtime."""
