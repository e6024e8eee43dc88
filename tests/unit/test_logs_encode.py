"""Docker's json-file lines: our batches against json read back, and Go's rules for what is not UTF-8."""

from __future__ import annotations

import json
import random

import pytest

from wharfie.logs import decode, encode

NOW = 1_700_000_000_123_456_789


def _written(pieces: list[bytes], stream: int = 1) -> bytes:
    lines = encode.Lines(stream)
    out = b"".join(lines.feed(p, NOW + n) for n, p in enumerate(pieces))
    return out + lines.finish(NOW + len(pieces))


def _texts(data: bytes) -> list[str]:
    return [json.loads(line)["log"] for line in data.splitlines()]


def test_a_line_is_dockers_line():
    assert _written([b"hello\n"]) == (
        b'{"log":"hello\\n","stream":"stdout","time":"2023-11-14T22:13:20.123456789Z"}\n'
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a\tb\n", "a\tb\n"),
        (b'"q" \\ <&>\r\n', '"q" \\ <&>\r\n'),
        (b"\x00\x1b[0m\x7f\n", "\x00\x1b[0m\x7f\n"),
        ("h\u00e9\u2028\U0001f600 \\u2028\n".encode(), "h\u00e9\u2028\U0001f600 \\u2028\n"),
        (b"\xff\xfe\n", "\ufffd\ufffd\n"),
        (b"\xe2\x82\n", "\ufffd\ufffd\n"),  # one per byte, where Python's "replace" gives one for both
        (b"\xed\xa0\x80\n", "\ufffd" * 3 + "\n"),
        (b"?\xf0\x9f?\xbf\n", "?\ufffd\ufffd?\ufffd\n"),
        (b"back\\n\nslash\\\n", "back\\n\n"),
    ],
)
def test_escapes_and_replacements(raw: bytes, text: str):
    assert _texts(_written([raw]))[0] == text


def test_html_characters_are_escaped_as_by_go():
    assert b"\\u003c\\u0026\\u003e" in _written([b"<&>\n"])


@pytest.mark.parametrize(
    ("size", "parts"),
    [(16383, [16384]), (16384, [16384, 1]), (20000, [16384, 3617]), (40000, [16384, 16384, 7233])],
)
def test_long_lines_are_cut_in_parts(size: int, parts: list[int]):
    texts = _texts(_written([b"x" * size + b"\n"]))
    assert [len(t) for t in texts] == parts
    assert "".join(texts) == "x" * size + "\n"


def test_a_part_never_tears_a_character():
    texts = _texts(_written(["\u20ac".encode() * 10000 + b"\n"]))
    assert "".join(texts) == "\u20ac" * 10000 + "\n"


def test_an_unfinished_last_line_has_no_newline():
    assert _texts(_written([b"one\ntw", b"o"])) == ["one\n", "two"]


def test_decoding_gives_back_what_was_encoded():
    dice = random.Random(7)
    alphabet = [b"a", b"\n", b"\\", b'"', b"n", b"\t", "\u00e9".encode(), b'","stream":"', b"x" * 9000, b"<", b"}\n{"]
    for _ in range(300):
        whole = b"".join(dice.choice(alphabet) for _ in range(dice.randrange(40)))
        cuts = sorted(dice.randrange(len(whole) + 1) for _ in range(3))
        pieces = [whole[i:j] for i, j in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        data = _written(pieces, 2)
        for line in data.splitlines():
            json.loads(line)
        back = list(decode.entries(data))
        got = b"".join(e[2] for e in back)
        # a cut may fall inside a character: then it is only the same after Go's replacement
        assert got == whole or "\ufffd".encode() in got
        assert {e[0] for e in back} <= {2}


def test_bulk_and_single_decoding_agree():
    one = encode.tail(1, NOW)
    two = encode.tail(2, NOW)
    data = b"".join(b'{"log":"' + t for t in (b"a\\n" + one, b"b\\n" + two, b"c\\n" + one, b"d" + one, b"e" + one))
    assert [(s, t) for s, _, t in decode.entries(data)] == [
        (1, b"a\n"), (2, b"b\n"), (1, b"c\n"), (1, b"d"), (1, b"e"),
    ]


def test_foreign_and_broken_lines():
    data = (b'{"stream":"stderr","time":"2020-01-01T00:00:00+01:00","log":"x\\n","attrs":{"a":"b"}}\n'
            b'{"log":"to\n' b"\n" b"null\n" b'{"log":"ok\\n","stream":"stdout","time":"2020-01-01T00:00:00Z"}\n')
    assert [(s, t) for s, _, t in decode.entries(data)] == [(2, b"x\n"), (1, b"ok\n")]
