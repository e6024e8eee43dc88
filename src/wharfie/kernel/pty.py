"""Pseudo terminals of a given devpts instance, and terminal settings.

The slave is opened through the master (TIOCGPTPEER, Linux 4.13), never by its name: a container may have swapped
/dev/pts/<n> for something else (CVE-2025-52565)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios

from .syscalls import error

_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430
_TIOCGPTPEER = 0x5441
_PTMX_DEVICE = (5, 2)


def openpty(devpts: int = -1) -> tuple[int, int]:
    """(master, slave), both close-on-exec and no controlling terminal yet; of the devpts mounted at the directory fd
    `devpts`, else of /dev/pts. Raises OSError: ENOSPC when there are too many, ENODEV when ptmx is no such device."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    place = ("ptmx", devpts) if devpts >= 0 else ("/dev/ptmx", None)
    master = os.open(place[0], flags | os.O_NOFOLLOW * (devpts >= 0), dir_fd=place[1])
    try:
        seen = os.fstat(master)
        if not stat.S_ISCHR(seen.st_mode) or (os.major(seen.st_rdev), os.minor(seen.st_rdev)) != _PTMX_DEVICE:
            raise error(errno.ENODEV, "ptmx")
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("=i", 0))
        return master, fcntl.ioctl(master, _TIOCGPTPEER, flags)
    except OSError:
        os.close(master)
        raise


def number(master: int) -> int:
    """The number n of the slave's name <devpts>/<n>."""
    (n,) = struct.unpack("=I", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))
    return int(n)


def set_controlling(slave: int) -> None:
    """Make it the controlling terminal of this session leader (setsid first)."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def get_size(fd: int) -> tuple[int, int]:
    """(rows, columns)."""
    rows, columns, _, _ = struct.unpack("=4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set rows and columns (0..65535); the foreground process group gets SIGWINCH when they differ."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("=4H", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def set_raw(fd: int) -> list[object]:
    """Raw mode (cfmakeraw(3)); returns the former settings for restore()."""
    former = termios.tcgetattr(fd)
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(fd)
    iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
               | termios.ICRNL | termios.IXON)
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    cc = list(cc)
    cc[termios.VMIN], cc[termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSADRAIN, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])
    return list(former)


def restore(fd: int, former: list[object]) -> None:
    """Put back what set_raw() returned."""
    termios.tcsetattr(fd, termios.TCSADRAIN, former)  # type: ignore[arg-type]
