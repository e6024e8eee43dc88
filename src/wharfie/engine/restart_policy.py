"""Whether a container that has ended is started again, and when: a pure function.

The wait doubles from 100 ms to one minute; a run of ten seconds or more starts it anew (moby's restartmanager).
"""

from __future__ import annotations

from wharfie.base import errors
from wharfie.base.value import Value

from .model import RestartPolicy

FIRST_WAIT, LONGEST_WAIT = 0.1, 60.0
GOOD_RUN = 10.0
NAMES = ("no", "always", "unless-stopped", "on-failure")


class Verdict(Value):
    """`again`: start it once more after `wait` seconds; `backoff` is to be kept for the next question."""

    again: bool
    wait: float = 0.0
    backoff: float = 0.0


def check(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Raises Invalid with Docker's words for a policy that cannot be."""
    name = policy.name or "no"
    if name not in NAMES:
        raise errors.Invalid(f"invalid restart policy: unknown policy '{policy.name}'; use one of {', '.join(NAMES)}")
    if policy.maximum_retry_count < 0:
        raise errors.Invalid("invalid restart policy: maximum retry count cannot be negative")
    if policy.maximum_retry_count and name != "on-failure":
        raise errors.Invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if auto_remove and name != "no":
        raise errors.Invalid("can't create 'AutoRemove' container with restart policy")


def decide(
    policy: RestartPolicy, *, code: int, stopped_by_user: bool, restarts: int, ran: float, backoff: float
) -> Verdict:
    """`restarts` already made, `ran` seconds of the run that ended, `backoff` of the verdict before (0 at first)."""
    wanted = policy.name in ("always", "unless-stopped") or (
        policy.name == "on-failure"
        and code != 0
        and (policy.maximum_retry_count == 0 or restarts < policy.maximum_retry_count)
    )
    if not wanted or stopped_by_user:
        return Verdict(False)
    wait = FIRST_WAIT if ran >= GOOD_RUN or backoff == 0 else min(backoff * 2, LONGEST_WAIT)
    return Verdict(True, wait, wait)


def at_engine_start(policy: RestartPolicy, *, code: int, stopped_by_user: bool, restarts: int) -> bool:
    """Whether a container found ended is started when the engine starts: "always" even after a `docker stop`."""
    if policy.name == "always":
        return True
    return decide(policy, code=code, stopped_by_user=stopped_by_user, restarts=restarts, ran=0, backoff=0).again
