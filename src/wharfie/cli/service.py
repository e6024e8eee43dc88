"""wharfie install service: the systemd unit of the engine."""

from __future__ import annotations

import os
import sys

from wharfie.base import atomic, flags

from .command import Command, Exit
from .session import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

_UNIT = """\
[Unit]
Description=wharfie container engine
Documentation=https://pypi.org/project/wharfie/
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={command}
# containers and shims live in cgroups of their own, beside the engine's; they live on while it restarts
Delegate=yes
KillMode=process
Restart=always
RestartSec=2
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""


def unit(python: str, arguments: list[str]) -> str:
    """The unit's text. systemd splits at spaces and expands "%" and "$": both are escaped."""
    words = [python, "-m", "wharfie.daemon", *arguments]
    return _UNIT.format(command=" ".join(_quote(w) for w in words))


def _quote(word: str) -> str:
    word = word.replace("%", "%%").replace("$", "$$")
    if any(c in word for c in " \t\"'\\;"):
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return word


def _service(session: Session, parsed: flags.Parsed) -> int:
    text = unit(sys.executable, parsed.args)
    if parsed.on("print"):
        sys.stdout.write(text)
        return 0
    path = parsed.text("path")
    if os.geteuid() != 0:
        raise Exit(1, f"only root can write {path}; see what it would be with 'wharfie install service --print'")
    try:
        atomic.write(path, text.encode(), mode=0o644)
    except FileNotFoundError as error:
        raise Exit(1, f"{os.path.dirname(path)} does not exist: this machine does not seem to run systemd; "
                      "start the engine with 'wharfie daemon'") from error
    say(f"wrote {path}\nnow: systemctl daemon-reload && systemctl enable --now {os.path.basename(path)}")
    return 0


SERVICE = Command("[OPTIONS] [-- DAEMON OPTIONS...]", "Write the systemd unit of the engine", flags.Table("""
- path string=/etc/systemd/system/wharfie.service   Where to write it
- print bool                                        Print it instead
"""), _service)
