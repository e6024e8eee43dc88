"""Users of an image: strict numbers, names, groups (CVE-2016-3697, CVE-2024-40635, CVE-2022-36109)."""

from __future__ import annotations

import pytest

from wharfie.base import errors
from wharfie.engine import users

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n4294967296:x:0:0::/:/bin/sh\nbad line\n"
GROUP = b"root:x:0:\nwheel:x:10:root\nstaff:x:50:ann,bob\nann:x:1001:\n"


def who(spec: str, add: list[str] | None = None) -> tuple[int, int, tuple[int, ...], str]:
    made = users.resolve(spec, PASSWD, GROUP, add)
    return made.uid, made.gid, made.groups, made.home


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("", (0, 0, (0, 10), "/root")),
        ("root", (0, 0, (0, 10), "/root")),
        ("ann", (1000, 1001, (1001, 50), "/home/ann")),
        ("1000", (1000, 1001, (1001, 50), "/home/ann")),
        ("7", (7, 0, (0,), "/")),
        ("7:50", (7, 50, (50,), "/")),
        ("ann:staff", (1000, 50, (50,), "/home/ann")),
        ("2147483647", (2147483647, 0, (0,), "/")),
    ],
)
def test_who(spec: str, want: tuple[object, ...]) -> None:
    assert who(spec) == want


@pytest.mark.parametrize(
    "spec",
    [
        "4294967296",
        "2147483648",
        "-1",
        "+1",
        " 1",
        "1_000",
        "0x0",
        "٣",
        "1e3",
        "01",
        "nobody-here",
        "ann:nogroup",
        "a:",
        "ann:50:1",
        "ann:4294967296",
        "²",
    ],
)
def test_refused(spec: str) -> None:
    with pytest.raises(errors.Invalid):
        who(spec)


def test_groups_are_added() -> None:
    assert who("ann", ["wheel", "77"])[2] == (1001, 50, 10, 77)
    with pytest.raises(errors.Invalid):
        who("ann", ["absent"])


def test_huge_files_are_bounded() -> None:
    passwd = b"a:x:1:1::/:\n" * 200_000 + b"late:x:9:9::/:\n"
    with pytest.raises(errors.Invalid):
        users.resolve("late", passwd, b"")
    many = b"".join(b"g%d:x:%d:root\n" % (n, n) for n in range(70_000))
    with pytest.raises(errors.Invalid, match="groups"):
        users.resolve("root", PASSWD, many)
