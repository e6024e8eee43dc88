"""The log on disk: rotation, tail, since, until, follow, and torn lines."""

from __future__ import annotations

import os

import pytest

from wharfie.base import errors
from wharfie.logs import options, reader, writer

SECOND = 10**9
START = 1_700_000_000 * SECOND


def _write(path: str, lines: list[bytes], **named: int) -> writer.Writer:
    made = writer.Writer(path, options.Options(**named))
    for n, line in enumerate(lines):
        made.write(1 + n % 2, line, START + n * SECOND)
    return made


def _text(path: str, **named: object) -> bytes:
    return b"".join(e[2] for e in reader.read(path, **named))


@pytest.fixture
def log(tmp_path) -> str:
    return str(tmp_path / "x-json.log")


def test_read_back(log):
    _write(log, [b"a\n", b"b\n", b"c\n"])
    assert [(s, d) for s, _, d in reader.read(log)] == [(1, b"a\n"), (2, b"b\n"), (1, b"c\n")]


def test_a_log_that_is_not_there_is_empty(log):
    assert _text(log) == b""


@pytest.mark.parametrize("count", [0, 1, 3, 10, 25, 100])
def test_tail_over_rotated_files(log, count):
    lines = [b"line %d\n" % n for n in range(20)]
    _write(log, lines, max_size=400, max_file=10)
    assert len(reader.segments(log)) > 2
    assert _text(log, tail=count) == b"".join(lines[-count:] if count else [])


def test_rotation_keeps_max_file_files_and_sizes(log):
    made = _write(log, [], max_size=1000, max_file=3)
    for n in range(50):
        made.write(1, b"".join(b"%04d\n" % (n * 20 + i) for i in range(20)), START)
    names = reader.segments(log)
    assert len(names) == 3
    assert all(1000 <= os.path.getsize(n) < 1100 for n in names[:-1])
    assert _text(log).endswith(b"0998\n0999\n")
    numbers = [int(x) for x in _text(log).split()]
    assert numbers == list(range(numbers[0], 1000))


def test_max_file_one_empties_the_file(log):
    _write(log, [b"x" * 90 + b"%02d\n" % n for n in range(30)], max_size=1000, max_file=1)
    assert reader.segments(log) == [log]
    assert os.path.getsize(log) < 1200
    assert _text(log).endswith(b"29\n")


def test_since_and_until(log):
    _write(log, [b"%d\n" % n for n in range(10)])
    assert _text(log, since=START + 3 * SECOND, until=START + 5 * SECOND) == b"3\n4\n5\n"


def test_follow_through_rotations_loses_nothing(log):
    made = _write(log, [b"0\n"], max_size=300, max_file=4)
    written = 1

    def follow() -> bool:
        nonlocal written
        for _ in range(3):
            made.write(1, b"%d\n" % written, START + written)
            written += 1
        return written < 200

    got = _text(log, follow=follow).split()
    assert [int(x) for x in got] == list(range(written))


def test_a_half_written_line_waits_for_its_end(log):
    _write(log, [b"a\n"])
    whole = b'{"log":"b\\n","stream":"stdout","time":"2023-11-14T22:13:20Z"}\n'
    with open(log, "ab") as f:
        f.write(whole[:20])
    assert _text(log) == b"a\n"

    def follow() -> bool:
        with open(log, "ab") as f:
            f.write(whole[20:])
        return False

    assert _text(log, follow=follow) == b"a\nb\n"


def test_a_torn_end_is_closed_by_the_next_writer(log):
    _write(log, [b"a\n"]).close()
    with open(log, "ab") as f:
        f.write(b'{"log":"tor')
    _write(log, [b"b\n"])
    assert _text(log) == b"a\nb\n"


def test_a_full_disk_loses_lines_and_nothing_else(log):
    made = _write(log, [b"a\n"])
    os.close(made._fd)
    made._fd = os.open("/dev/full", os.O_WRONLY)
    made.write(1, b"lost\n", START)
    assert made.lost > 0
    made.close()
    made.write(1, b"b\n", START)
    assert _text(log) == b"a\nb\n"


def test_timestamps_before_each_line():
    assert reader.stamped(b"a\nb\n", b"T") == b"T a\nT b\n"
    assert reader.stamped(b"part", b"T") == b"T part"
    assert reader.stamped(b"\n", b"T") == b"T \n"


@pytest.mark.parametrize(
    ("driver", "config", "kind"),
    [
        ("json-file", {"max-size": "x"}, errors.Invalid), ("json-file", {"max-file": "x"}, errors.Invalid),
        ("json-file", {"max-size": "1k", "max-file": "0"}, errors.Invalid), ("gelf", {}, errors.Unsupported),
        ("json-file", {"nonsense": "1"}, errors.Invalid), ("json-file", {"tag": "x"}, errors.Unsupported),
    ],
)
def test_options_are_refused_by_name(driver, config, kind):
    with pytest.raises(kind):
        options.parse(driver, config)


def test_options():
    assert options.parse("json-file", {"max-size": "10m", "max-file": "3"}) == options.Options(10 << 20, 3)
    assert options.parse("json-file", {"max-file": "3"}) == options.Options(0, 3)
    assert options.parse("json-file", {"max-size": "-1"}) == options.Options(0, 1)
    assert options.parse("local", {}) == options.Options(20_000_000, 5)


@pytest.mark.parametrize(("tail", "expected"), [(1, b"c\n"), (2, b"b\nc\n"), (None, b"a\nb\nc\n")])
def test_a_log_that_grows_while_it_is_read_is_read_to_where_it_ended(log, monkeypatch, tail, expected):
    """Written between the look at the end and the first block: not the reader's any more, whether or not it rotates."""
    made = _write(log, [b"a\n", b"b\n", b"c\n"], max_size=300, max_file=3)
    block, left = reader.Reader.block, iter(range(12))

    def late(self):
        for n, _ in zip(range(4), left, strict=False):
            made.write(1, b"late\n", START + (9 + n) * SECOND)
        return block(self)

    monkeypatch.setattr(reader.Reader, "block", late)
    assert _text(log, tail=tail) == expected


def test_following_goes_on_where_the_tail_ended(log):
    made = _write(log, [b"a\n", b"b\n"])
    more = iter([b"c\n", b"d\n"])

    def follow() -> bool:
        line = next(more, None)
        if line is not None:
            made.write(1, line, START + 9 * SECOND)
        return line is not None

    assert _text(log, tail=1, follow=follow) == b"b\nc\nd\n"
