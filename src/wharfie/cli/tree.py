"""Every command: its path, the module and name of its Command, and one line for help. Nothing is imported here."""

from __future__ import annotations

# path: (module below wharfie.cli, attribute)
COMMANDS: dict[str, tuple[str, str]] = {
    "container attach": ("attach", "ATTACH"),
    "container commit": ("changes", "COMMIT"),
    "container create": ("run", "CREATE"),
    "container diff": ("changes", "DIFF"),
    "container exec": ("execs", "EXEC"),
    "container export": ("changes", "EXPORT"),
    "container inspect": ("inspect", "CONTAINER"),
    "container kill": ("lifecycle", "KILL"),
    "container logs": ("logs", "LOGS"),
    "container ls": ("containers", "LIST"),
    "container pause": ("lifecycle", "PAUSE"),
    "container port": ("containers", "PORT"),
    "container prune": ("lifecycle", "PRUNE"),
    "container rename": ("lifecycle", "RENAME"),
    "container restart": ("lifecycle", "RESTART"),
    "container rm": ("lifecycle", "REMOVE"),
    "container run": ("run", "RUN"),
    "container start": ("start", "START"),
    "container stop": ("lifecycle", "STOP"),
    "container top": ("containers", "TOP"),
    "container unpause": ("lifecycle", "UNPAUSE"),
    "container update": ("changes", "UPDATE"),
    "container wait": ("lifecycle", "WAIT"),
    "daemon": ("daemon", "DAEMON"),
    "image history": ("images", "HISTORY"),
    "image import": ("archives", "IMPORT"),
    "image inspect": ("inspect", "IMAGE"),
    "image load": ("archives", "LOAD"),
    "image ls": ("images", "LIST"),
    "image prune": ("prune", "IMAGES"),
    "image pull": ("images", "PULL"),
    "image rm": ("images", "REMOVE"),
    "image save": ("archives", "SAVE"),
    "image tag": ("images", "TAG"),
    "inspect": ("inspect", "ANY"),
    "install service": ("service", "SERVICE"),
    "network inspect": ("inspect", "NETWORK"),
    "network ls": ("networks", "LIST"),
    "system events": ("events", "EVENTS"),
    "system info": ("system", "INFO"),
    "version": ("system", "VERSION"),
    "volume create": ("volumes", "CREATE"),
    "volume inspect": ("inspect", "VOLUME"),
    "volume ls": ("volumes", "LIST"),
    "volume prune": ("prune", "VOLUMES"),
    "volume rm": ("volumes", "REMOVE"),
}

# other spellings: docker's short commands, and its aliases
ALIASES: dict[str, str] = {
    **{n: f"container {n}" for n in (
        "attach", "commit", "create", "diff", "exec", "export", "kill", "logs", "pause", "port", "rename", "restart",
        "rm", "run", "start", "stop", "top", "unpause", "update", "wait")},
    **{n: f"image {n}" for n in ("history", "import", "load", "pull", "save", "tag")},
    "ps": "container ls", "container list": "container ls", "container ps": "container ls",
    "container remove": "container rm", "images": "image ls", "image list": "image ls", "rmi": "image rm",
    "image remove": "image rm", "events": "system events", "info": "system info", "volume list": "volume ls",
    "volume remove": "volume rm", "network list": "network ls",
}

GROUPS: dict[str, str] = {
    "container": "Manage containers",
    "image": "Manage images",
    "install": "Set wharfie up on this machine",
    "network": "Manage networks",
    "system": "Manage the engine",
    "volume": "Manage volumes",
}

COMMON = ("run", "exec", "ps", "images", "load", "version", "info", "daemon")

# docker's commands that wharfie does not have yet: said by name, never "unknown command"
LATER = frozenset((
    "build", "builder", "buildx", "checkpoint", "compose", "config", "container cp", "container stats", "context", "cp",
    "image build", "image push", "login", "logout", "manifest", "network connect", "network create",
    "network disconnect", "network prune", "network rm", "node", "plugin", "push", "search", "secret", "service",
    "stack", "stats", "swarm", "system df", "system prune", "trust", "volume update",
))


def resolve(words: list[str]) -> tuple[str, int]:
    """The canonical path of the command that `words` begin with, and how many words it takes; "" when none."""
    two = " ".join(words[:2])
    for path, used in ((two, 2), (words[0], 1)):
        if len(words) >= used and (path in COMMANDS or path in ALIASES):
            return ALIASES.get(path, path), used
    return "", 0


def spellings(path: str) -> list[str]:
    """All ways to write a command, for its help page."""
    group, _, name = path.partition(" ")
    others = [a for a, p in ALIASES.items() if p == path]
    return [path, *sorted(others, key=lambda a: (not a.startswith(group + " "), a))] if name and others else []
