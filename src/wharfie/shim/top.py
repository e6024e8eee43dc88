"""docker top: what ps would print about the processes of one control group. No ps is needed on the host.

Pids are the host's, as in Docker. Understood are "-ef" (the default), "aux" and "-o" with columns named here; anything
else is refused by name.
"""

from __future__ import annotations

import json
import os
import time

from wharfie.base import errors
from wharfie.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Column = tuple[str, Callable[["_Row"], str]]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WIDEST, _NARROWEST = 4096, 32  # characters of a cell
_ROOM = 4 << 20  # bytes of a table


class _Row:
    """One process, read from /proc. Raises OSError when it is gone."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        f = process.stat_fields(pid)
        self.state, self.ppid, self.group, self.session = f[0].decode(), int(f[1]), int(f[2]), int(f[3])
        self.tty, self.ticks, self.nice = int(f[4]), int(f[11]) + int(f[12]), int(f[16])
        self.threads = int(f[17])
        self.age = max(0.0, _uptime() - int(f[19]) / _TICKS)
        self.size, self.resident = int(f[20]) // 1024, int(f[21]) * _PAGE // 1024
        self.uid = os.stat(f"/proc/{pid}").st_uid
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read(1 << 16).rstrip(b"\0").replace(b"\0", b" ")
        with open(f"/proc/{pid}/comm", "rb") as file:
            self.comm = file.read().rstrip(b"\n").decode(errors="replace")
        self.command = line.decode(errors="replace") or f"[{self.comm}]"

    @property
    def busy(self) -> float:
        """Percent of one processor over its life."""
        return 100 * self.ticks / _TICKS / self.age if self.age else 0.0

    @property
    def share(self) -> float:
        """Percent of the host's memory."""
        return 100 * self.resident * 1024 / (os.sysconf("SC_PHYS_PAGES") * _PAGE)

    @property
    def terminal(self) -> str:
        major, minor = os.major(self.tty), os.minor(self.tty)
        return f"pts/{minor}" if major == 136 else "?"

    @property
    def started(self) -> str:
        then = time.localtime(time.time() - self.age)
        return time.strftime("%H:%M" if self.age < 86400 else "%b%d", then)

    def clock(self) -> str:
        seconds = self.ticks // _TICKS
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def short_clock(self) -> str:
        seconds = self.ticks // _TICKS
        return f"{seconds // 60}:{seconds % 60:02d}"


_COLUMNS: dict[str, Column] = {
    "user": ("USER", lambda r: str(r.uid)),
    "uid": ("UID", lambda r: str(r.uid)),
    "pid": ("PID", lambda r: str(r.pid)),
    "ppid": ("PPID", lambda r: str(r.ppid)),
    "pgid": ("PGID", lambda r: str(r.group)),
    "sid": ("SID", lambda r: str(r.session)),
    "c": ("C", lambda r: str(int(r.busy))),
    "pcpu": ("%CPU", lambda r: f"{r.busy:.1f}"),
    "pmem": ("%MEM", lambda r: f"{r.share:.1f}"),
    "vsz": ("VSZ", lambda r: str(r.size)),
    "rss": ("RSS", lambda r: str(r.resident)),
    "nice": ("NI", lambda r: str(r.nice)),
    "nlwp": ("NLWP", lambda r: str(r.threads)),
    "stime": ("STIME", lambda r: r.started),
    "start": ("START", lambda r: r.started),
    "tty": ("TTY", lambda r: r.terminal),
    "stat": ("STAT", lambda r: r.state),
    "time": ("TIME", _Row.clock),
    "shorttime": ("TIME", _Row.short_clock),
    "etimes": ("ELAPSED", lambda r: str(int(r.age))),
    "comm": ("COMMAND", lambda r: r.comm),
    "cmd": ("CMD", lambda r: r.command),
    "command": ("COMMAND", lambda r: r.command),
}
_ALIASES = {"args": "command", "%cpu": "pcpu", "%mem": "pmem", "ni": "nice", "tt": "tty", "tname": "tty", "s": "stat",
            "state": "stat", "euid": "uid", "ruid": "uid", "euser": "user", "ucmd": "comm", "cputime": "time",
            "rsz": "rss", "vsize": "vsz", "start_time": "stime"}
_FULL = ("uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd")
_BSD = ("user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "shorttime", "command")


def table(pids: list[int], args: str) -> dict[str, list[str] | list[list[str]]]:
    """{"titles": [...], "processes": [[...], ...]}; a process that ends meanwhile is left out. Long command lines are
    cut as far as the table needs it to fit into an answer. Raises Unsupported."""
    columns = _parse(args.split())
    rows = []
    for pid in sorted(pids):
        try:
            row = _Row(pid)
        except OSError:
            continue
        rows.append([show(row) for _, show in columns])
    return {"titles": [title for title, _ in columns], "processes": _fitting(rows)}


def _fitting(rows: list[list[str]]) -> list[list[str]]:
    least = _cut(rows, _NARROWEST)
    if len(json.dumps(least)) > _ROOM:
        return least  # thousands of columns: the wire says no to more than it takes
    width = _WIDEST
    while width > _NARROWEST:
        cut = _cut(rows, width)
        if len(json.dumps(cut)) <= _ROOM:
            return cut
        width //= 2
    return least


def _cut(rows: list[list[str]], width: int) -> list[list[str]]:
    return [[cell[:width] for cell in row] for row in rows]


def _parse(words: list[str]) -> list[Column]:
    names: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word in ("-ef", "-e", "-f", "-eF", "ef", "-A"):
            names = names or list(_FULL)
        elif word in ("aux", "-aux", "u", "au", "ax"):
            names = list(_BSD)
        elif word.startswith(("-o", "o")) or word.startswith("-eo"):
            value = word.removeprefix("-e").lstrip("-").removeprefix("o")
            if not value and at < len(words):
                value, at = words[at], at + 1
            names = [] if tuple(names) in (_FULL, _BSD) else names
            names += [n for n in value.replace(" ", ",").split(",") if n]
        else:
            raise errors.Unsupported(f"ps option '{word}' is not supported", name=word, action="use -ef, aux or -o")
    return [_column(n) for n in names or _FULL]


def _column(name: str) -> Column:
    wanted, _, title = name.partition("=")
    found = _COLUMNS.get(_ALIASES.get(wanted, wanted))
    if found is None:
        raise errors.Unsupported(f"ps column '{wanted}' is not supported", name=wanted)
    return (title, found[1]) if title else found


def _uptime() -> float:
    with open("/proc/uptime", "rb") as file:
        return float(file.read().split()[0])
