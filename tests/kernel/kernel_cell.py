"""Run a function in a throw-away child (in new namespaces if asked) and get back what it returned."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

from wharfie.kernel import namespaces, process


def in_child(work: Callable[[], Any], flags: int = 0) -> Any:
    """The JSON-able result of `work()` in a child; AssertionError with the child's traceback when it raised."""
    read, write = os.pipe()
    pid, pidfd = namespaces.clone3(flags)
    if pid == 0:
        os.close(read)
        try:
            answer = {"ok": work()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        with os.fdopen(write, "w") as out:
            json.dump(answer, out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as source:
        raw = source.read()
    ended = process.waitid_pidfd(pidfd, block=True)
    os.close(pidfd)
    answer = json.loads(raw) if raw else {"error": f"the child said nothing and {ended}"}
    if "error" in answer:
        raise AssertionError(answer["error"])
    return answer["ok"]


def errno_of(work: Callable[[], Any]) -> int:
    """The errno that `work()` ends with, 0 if it succeeds."""
    try:
        work()
    except OSError as failed:
        return failed.errno or -1
    return 0
