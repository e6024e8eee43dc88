"""What goes wrong in another process, brought home: init and joiners describe their failure in one message, the parent
raises it as an error with a meaning."""

from __future__ import annotations

import errno
import os

from wharfie.base import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class StepFailed(errors.WharfieError):
    """A step of making a container failed in the kernel: which step (the plan's words), errno, on which path."""

    def __init__(self, step: str, number: int, path: str = "", detail: str = "") -> None:
        where = f" {path}" if path and path not in step else ""
        super().__init__(f"{step}{where}: {detail or (os.strerror(number) if number else 'failed')}", name=path)
        self.step = step
        self.errno = number
        self.path = path
        self.detail = detail


class NotInside(OSError):
    """A path leads out of the container's root (CVE-2024-21626 and its kin)."""


def describe(error: BaseException, step: str) -> dict[str, Any]:
    """The report of a failure as a JSON object. Pure. Called in init, so nothing is imported or looked up here."""
    if isinstance(error, StepFailed):
        return {"step": error.step, "errno": error.errno, "path": error.path, "detail": error.detail}
    if isinstance(error, errors.WharfieError):
        return {"step": step, "kind": error.kind, "message": error.message, "name": error.name, "action": error.action}
    if isinstance(error, OSError):
        path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        return {"step": step, "errno": error.errno or errno.EIO, "path": path, "detail": error.strerror or str(error)}
    return {"step": step, "errno": 0, "path": "", "detail": f"{type(error).__name__}: {error}"}


def revive(report: dict[str, Any]) -> errors.WharfieError:
    """The error that `describe` described, in the process that reads the report."""
    kind = report.get("kind")
    if kind:
        made = errors.from_wire(str(kind), str(report.get("message", "")))
        made.name, made.action = str(report.get("name", "")), str(report.get("action", ""))
        return made
    return StepFailed(
        str(report.get("step", "")), int(report.get("errno", 0)), str(report.get("path", "")),
        str(report.get("detail", "")),
    )
