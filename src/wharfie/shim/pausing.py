"""docker pause: every process of the container is told to stop, and looked at until they have. One in state D stops
when the kernel lets go of it; the shim serves everybody else meanwhile."""

from __future__ import annotations

from wharfie.base import errors

from .connections import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .life import Life
    from .loop import Loop, Timer

PATIENCE_SECONDS = 5.0
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.05


class Pausing:
    """One container's. `Life.paused` is set from the first moment on: nothing new may begin in it."""

    def __init__(self, loop: Loop, life: Life) -> None:
        self._loop = loop
        self._life = life
        self._answer: Later | None = None
        self._look = 0.0
        self._left = 0.0
        self._timer: Timer | None = None

    def pause(self) -> Later | None:
        """Begin; None when all have stopped at once. Else the answer comes when they have; Unavailable when one does
        not for PATIENCE_SECONDS (then they all run again), Conflict when the container is let go meanwhile. Raises
        Conflict while another is under way; Unsupported, OSError."""
        limits = self._life.limits()
        if self._answer is not None:
            raise errors.Conflict("the container is being paused already")
        frozen = limits.begin_freeze()
        self._life.paused = True
        if frozen:
            return None
        self._answer, self._look, self._left = Later(), _FIRST_LOOK, PATIENCE_SECONDS
        self._wait(self._look)
        return self._answer

    def resume(self) -> None:
        """Let all run again. Raises Conflict, Unsupported, OSError."""
        self._life.limits().thaw()
        self._life.paused = False
        self._over(errors.Conflict("the container was resumed before all of it had stopped"))

    def killed(self) -> None:
        """SIGKILL has been sent: what is half stopped could not die of it (v1)."""
        if self._answer is not None:
            self.resume()

    def _wait(self, seconds: float) -> None:
        self._left -= seconds
        self._timer = self._loop.after(seconds, self._see)

    def _see(self) -> None:
        try:
            if self._life.limits().begin_freeze():
                self._over(None)
            elif self._left > 0:
                self._look = min(self._look * 2, _LAST_LOOK)
                self._wait(self._look)
            else:
                self._life.limits().thaw()
                self._life.paused = False
                self._over(errors.Unavailable(f"the container did not stop within {PATIENCE_SECONDS:g} s: one of its "
                                              "processes may be stuck in the kernel (state D)"))
        except (errors.WharfieError, OSError) as error:  # it has ended
            self._over(error)

    def _over(self, error: Exception | None) -> None:
        answer, self._answer = self._answer, None
        if self._timer is not None:
            self._timer.cancel()
        if answer is None:
            return
        if error is None:
            answer.give({})
        else:
            answer.refuse(error)
