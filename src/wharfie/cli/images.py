"""wharfie images, rmi, tag, history, pull."""

from __future__ import annotations

import sys

from wharfie.base import errors, flags, units
from wharfie.client import calls

from . import ago, pull, tables
from .command import Command, Exit
from .session import complain, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session

_COLUMNS = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE"}
_TITLES = {"CreatedAt": "CREATED AT", "Digest": "DIGEST", "Containers": "CONTAINERS", "VirtualSize": "SIZE",
           "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE"}
_WITH_DIGEST = {"Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID",
                "CreatedSince": "CREATED", "Size": "SIZE"}
_HISTORY = tables.Listing(
    {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT"},
    {"CreatedAt": "CREATED AT"}, "*formatter.historyContext",
)
_LIST = flags.Table("""
a all bool          Show intermediate images too
- digests bool      Show digests
f filter filter     Show what matches (name=value)
- format string     "table", "table TEMPLATE", "json" or a Go template a row
- no-trunc bool     Do not shorten output
q quiet bool        Show image ids only
- tree bool         List images of several platforms as a tree
""")


def _list(session: Session, parsed: flags.Parsed) -> int:
    wanted = tables.filters(parsed.all("filter"))
    if parsed.args:
        wanted.setdefault("reference", []).append(parsed.args[0])
    found = session.json(calls.image_list(
        all=parsed.on("all"), digests=parsed.on("digests"), filters=wanted))
    trim = not parsed.on("no-trunc")
    form = parsed.text("format") or ("" if parsed.on("quiet") else str(session.config.get("imagesFormat")))
    digests = parsed.on("digests") or ".Digest" in form
    rows = [row for image in found for row in _rows(image, trim=trim, digests=digests)]
    if parsed.on("quiet") and not form:
        for row in rows:
            say(row["ID"])
        return 0
    columns = _WITH_DIGEST if parsed.on("digests") else _COLUMNS
    tables.Listing(columns, _TITLES, "*formatter.imageContext").show(rows, form)
    return 0


def _rows(image: dict[str, Any], *, trim: bool, digests: bool) -> list[dict[str, Any]]:
    """One row a tag; with digests, what is known by digest only has rows too."""
    names = [(t, "") for t in image.get("RepoTags") or () if t != "<none>:<none>"]
    by_repository: dict[str, str] = {}
    for full in image.get("RepoDigests") or ():
        repository, _, digest = full.partition("@")
        by_repository[repository] = digest
    out = []
    for name, _ in names or [("<none>:<none>", "")]:
        repository, _, tag = calls.split_tag(name)
        digest = by_repository.get(repository, "<none>") if digests else "<none>"
        if not names and by_repository:
            repository = next(iter(by_repository))
            digest = by_repository[repository] if digests else "<none>"
        out.append(_row(image, repository, tag, digest, trim=trim))
    return out


def _row(image: dict[str, Any], repository: str, tag: str, digest: str, *, trim: bool) -> dict[str, Any]:
    identifier = image["Id"]
    size = units.human_size(image.get("Size") or 0)
    count = image.get("Containers", -1)
    return {
        "Repository": repository, "Tag": tag, "Digest": digest,
        "ID": identifier.removeprefix("sha256:")[:12] if trim else identifier,
        "CreatedSince": ago.created(image["Created"]) if image.get("Created") else "N/A",
        "CreatedAt": ago.local(image.get("Created") or 0), "Size": size, "VirtualSize": size,
        "Containers": "N/A" if count == -1 else str(count), "SharedSize": "N/A", "UniqueSize": "N/A",
    }


def _remove(session: Session, parsed: flags.Parsed) -> int:
    status = 0
    for name in parsed.args:
        try:
            done = session.json(calls.image_remove(name, force=parsed.on("force"), noprune=parsed.on("no-prune")))
        except errors.NotFound as error:
            if parsed.on("force"):
                complain(f"Error response from daemon: {error.message}")
                continue
            status = 1
            complain(f"Error response from daemon: {error.message}")
        except (errors.Conflict, errors.Invalid) as error:
            status = 1
            complain(f"Error response from daemon: {error.message}")
        else:
            for step in done or ():
                for what, value in step.items():
                    say(f"{what}: {value}")
    return status


def _tag(session: Session, parsed: flags.Parsed) -> int:
    repository, mark, tag = calls.split_tag(parsed.args[1])
    if mark == "@":
        raise Exit(1, "refusing to create a tag with a digest reference")
    session.finish(calls.image_tag(parsed.args[0], repository, tag))
    return 0


def _history(session: Session, parsed: flags.Parsed) -> int:
    trim, human = not parsed.on("no-trunc"), parsed.on("human")
    rows = [_history_row(h, trim=trim, human=human) for h in session.json(calls.image_history(parsed.args[0]))]
    if parsed.on("quiet") and not parsed.text("format"):
        for row in rows:
            say(row["ID"])
        return 0
    _HISTORY.show(rows, parsed.text("format"))
    return 0


def _history_row(step: dict[str, Any], *, trim: bool, human: bool) -> dict[str, Any]:
    identifier = step["Id"]
    command = (step.get("CreatedBy") or "").replace("\t", " ")
    made = step.get("Created") or 0
    size = step.get("Size") or 0
    return {
        "ID": identifier.removeprefix("sha256:")[:12] if trim and identifier != "<missing>" else identifier,
        "CreatedSince": ago.created(made) if human else ago.local(made), "CreatedAt": ago.local(made),
        "CreatedBy": tables.shorten(command, 45) if trim else command,
        "Size": units.human_size(size) if human else str(size), "Comment": step.get("Comment") or "",
    }


def _pull(session: Session, parsed: flags.Parsed) -> int:
    pull.pull(session, parsed.args[0], parsed.text("platform"), quiet=parsed.on("quiet"), out=sys.stdout)
    return 0


LIST = Command("[OPTIONS] [REPOSITORY[:TAG]]", "List images", _LIST, _list, 0, 1,
               later=frozenset(("tree",)))
REMOVE = Command("[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images", flags.Table("""
f force bool      Remove even if it is used by stopped containers or has several tags
- no-prune bool   Keep untagged parents
- platform strings  Remove these platforms only
"""), _remove, 1, later=frozenset(("platform",)))
TAG = Command("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
              flags.Table(""), _tag, 2, 2)
HISTORY = Command("[OPTIONS] IMAGE", "Show the history of an image", flags.Table("""
- format string     "table", "table TEMPLATE", "json" or a Go template a row
H human bool=true   Sizes and dates for people
- no-trunc bool     Do not shorten output
- platform string   Platform of the image
q quiet bool        Show image ids only
"""), _history, 1, 1)
PULL = Command("[OPTIONS] NAME[:TAG|@DIGEST]", "Download an image from a registry", flags.Table("""
a all-tags bool     Download all tags
- disable-content-trust bool=true  Accepted for docker's sake
- platform string   Platform of the image (os/arch)
q quiet bool        No progress
"""), _pull, 1, 1)
