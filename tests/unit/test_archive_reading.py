"""The tar reader against Python's own writer, and against bytes that no writer makes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wharfie.archive import compression, header, limits, pack, pax, reader
from wharfie.archive.entry import Entry
from wharfie.base import errors


def entries(data: bytes, bounds: limits.Limits = limits.DEFAULT) -> list[tuple[Entry, bytes]]:
    return [(e, e.content(1 << 20)) for e in reader.read(io.BytesIO(data), bounds)]


def written(form: int, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_others_write(form: int) -> None:
    info = tarfile.TarInfo("d" * 60 + "/" + "f" * 90)
    info.uid, info.gid, info.mode, info.mtime = 1000, 1001, 0o4755, 1_700_000_000
    (entry, data), = entries(written(form, (info, b"hello")))
    assert (entry.name.decode(), data) == (info.name, b"hello")
    assert (entry.uid, entry.gid, entry.mode, entry.mtime) == (1000, 1001, 0o4755, 1_700_000_000 * 10**9)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_large_numbers_and_long_links(form: int) -> None:
    info = tarfile.TarInfo("x" * 300)
    info.type, info.linkname, info.uid = tarfile.SYMTYPE, "y" * 300, 3_000_000
    (entry, _), = entries(written(form, (info, b"")))
    assert (entry.kind, entry.name, entry.link, entry.uid) == ("symlink", b"x" * 300, b"y" * 300, 3_000_000)


def test_reads_pax_times_and_attributes() -> None:
    info = tarfile.TarInfo("f")
    info.pax_headers = {"SCHILY.xattr.user.a": "b\n=c", "mtime": "-1.5"}
    (entry, _), = entries(written(tarfile.PAX_FORMAT, (info, b"")))
    assert entry.xattrs == {"user.a": b"b\n=c"}
    assert entry.mtime == -1_500_000_000


def test_directories_and_devices_have_no_data() -> None:
    block = header.build(b"d/", b"5", size=512) + header.build(b"c", b"3", device=(5, 1), size=99)
    found = [e for e, _ in entries(block + pack.END)]
    assert [(e.kind, e.size, e.device) for e in found] == [("dir", 0, (0, 0)), ("char", 0, (5, 1))]


SPARSE_1_0 = [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.name", b"f"),
              ("GNU.sparse.realsize", b"4096")]
SPARSE_0_1 = [("GNU.sparse.map", b"1024,512"), ("GNU.sparse.size", b"4096"), ("GNU.sparse.name", b"f")]
SPARSE_0_0 = [("GNU.sparse.size", b"4096"), ("GNU.sparse.numblocks", b"1"), ("GNU.sparse.offset", b"1024"),
              ("GNU.sparse.numbytes", b"512")]


def extended(records: list[tuple[str, bytes]], data: bytes, name: bytes = b"f") -> bytes:
    body = pax.encode(records)
    return (header.build(b"p", b"x", size=len(body)) + pack.padded(body)
            + header.build(name, b"0", size=len(data)) + pack.padded(data) + pack.END)


@pytest.mark.parametrize(("records", "front"), [
    (SPARSE_1_0, pack.padded(b"1\n1024\n512\n")), (SPARSE_0_1, b""), (SPARSE_0_0, b"")])
def test_sparse_pax(records: list[tuple[str, bytes]], front: bytes) -> None:
    (entry, data), = entries(extended(records, front + b"x" * 512))
    assert (entry.name, entry.size, entry.holes) == (b"f", 4096, [(1024, 512)])
    assert data == bytes(1024) + b"x" * 512 + bytes(4096 - 1536)


def test_sparse_old() -> None:
    block = bytearray(header.build(b"f", b"S", size=512))
    block[386:398], block[398:410] = header.octal(1024, 12), header.octal(512, 12)
    block[483:495] = header.octal(4096, 12)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (entry, data), = entries(bytes(block) + b"x" * 512 + pack.END)
    assert entry.size == 4096
    assert data == bytes(1024) + b"x" * 512 + bytes(2560)


def bad(name: bytes = b"x", kind: bytes = b"0", size: int = 0) -> bytes:
    return header.build(name, kind, size=size)


@pytest.mark.parametrize(("data", "what"), [
    (b"", "no tar"), (b"x" * 600, "no tar"), (bad(size=5), "too early"), (bad()[:400], "no tar"),
    (bad() + b"junk" * 128, "checksum"), (bad() + b"ju", "inside a header"),
    (bad(kind=b"L", size=4 << 30), "claims"), (bad(kind=b"x", size=2 << 20), "claims"),
    (extended([("size", b"9" * 30)], b""), "no number"), (extended([("path", b"a\0b")], b""), "NUL"),
    (extended([*SPARSE_0_1[1:], ("GNU.sparse.map", b"0,512,0,512")], b"x" * 1024), "out of order"),
    (extended([*SPARSE_0_1[:1], ("GNU.sparse.size", b"100")], b"x" * 512), "fit"),
    (extended(SPARSE_1_0, pack.padded(b"99999999\n")), "holes"), (extended(SPARSE_1_0, b"x" * 512), "no number|longer"),
    (header.build(b"x", b"x", size=4) + pack.padded(b"9 a=") + bad(), "length"),
    (bad(name=b""), "no name"),
])
def test_broken_archives_are_refused(data: bytes, what: str) -> None:
    with pytest.raises(errors.Damaged, match=what):
        entries(data)


def test_field_row_25_pax_bombs_are_bounded() -> None:
    many = pax.encode([(f"k{i}", b"") for i in range(5000)])
    with pytest.raises(errors.Damaged, match="pax records"):
        entries(header.build(b"p", b"x", size=len(many)) + pack.padded(many) + bad())
    huge = (header.build(b"p", b"g", size=1 << 20) + pack.padded(pax.encode([("a", b"x" * ((1 << 20) - 12))]))) * 4
    with pytest.raises(errors.Damaged, match="claims"):
        entries(huge, limits.Limits(headers=3 << 20))


def test_field_row_25_counts_and_sizes_are_bounded() -> None:
    with pytest.raises(errors.Damaged, match="larger than allowed"):
        entries(bad() * 4, limits.Limits(entries=3))
    with pytest.raises(errors.Damaged, match="larger than allowed"):
        entries(extended([("GNU.sparse.map", b"0,512"), ("GNU.sparse.size", b"9" * 18)], b"x" * 512))


PLAIN = bytes(range(256)) * 5000
GZIPPED = gzip.compress(PLAIN, mtime=0)
TWO_MEMBERS = gzip.compress(PLAIN[:100], mtime=0) + gzip.compress(PLAIN[100:], mtime=0)


@pytest.mark.parametrize(("name", "packed"), [
    ("", PLAIN), ("gzip", GZIPPED), ("gzip", TWO_MEMBERS),
    ("xz", lzma.compress(PLAIN)), ("bzip2", bz2.compress(PLAIN)), ("gzip", GZIPPED + bytes(1000)),
])
def test_compression_is_detected(name: str, packed: bytes) -> None:
    stream = compression.open_stream(io.BytesIO(packed))
    assert stream.compression == name
    out = b"".join(iter(lambda: stream.read(7777), b""))
    assert out == PLAIN


def test_zstd() -> None:
    zstd = pytest.importorskip("backports.zstd")
    two = zstd.compress(PLAIN[:9]) + zstd.compress(PLAIN[9:])
    stream = compression.open_stream(io.BytesIO(two))
    assert b"".join(iter(lambda: stream.read(100_000), b"")) == PLAIN


@pytest.mark.parametrize("packed", [GZIPPED[:-20], lzma.compress(PLAIN)[:-20], bz2.compress(PLAIN)[:-20],
                                    GZIPPED[:50] + b"xxxxxxxxxxxxxxxxxxxxxxxxxx"])
def test_cut_or_broken_compression_is_refused(packed: bytes) -> None:
    stream = compression.open_stream(io.BytesIO(packed))
    with pytest.raises(errors.Damaged):
        list(iter(lambda: stream.read(1 << 16), b""))


def test_field_row_25_compression_bombs_come_in_small_pieces() -> None:
    stream = compression.open_stream(io.BytesIO(gzip.compress(bytes(50 << 20))))
    assert 0 < len(stream.read(1 << 30)) <= 1 << 18


def test_gzipper_is_reproducible() -> None:
    whole, small = compression.Gzipper(), compression.Gzipper()
    one = whole.feed(PLAIN) + whole.finish()
    two = b"".join(small.feed(PLAIN[i : i + 1000]) for i in range(0, len(PLAIN), 1000)) + small.finish()
    assert one == two
    assert gzip.decompress(one) == PLAIN


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2048), st.integers(0, 2047), st.integers(0, 255))
def test_no_bytes_make_the_reader_fall_over(data: bytes, at: int, byte: int) -> None:
    good = bytearray(extended(SPARSE_1_0, pack.padded(b"1\n1024\n512\n") + b"x" * 512))
    good[at] = byte
    for candidate in (data, bytes(good), header.build(b"a", b"0", size=600) + data):
        try:
            entries(candidate)
        except (errors.Damaged, errors.Invalid):
            pass


@given(st.lists(st.tuples(st.sampled_from(["path", "a", "k.ü"]), st.binary(max_size=120)), max_size=6))
def test_pax_records_come_back(records: list[tuple[str, bytes]]) -> None:
    assert pax.parse(pax.encode(records), limits.DEFAULT) == records


def test_what_is_packed_can_be_read(tmp_path: os.PathLike[str]) -> None:
    base = os.fspath(tmp_path)
    os.mkdir(f"{base}/d")
    with open(f"{base}/d/{'n' * 200}", "wb") as f:
        f.write(b"data")
    os.link(f"{base}/d/{'n' * 200}", f"{base}/z")
    os.symlink("t" * 150, f"{base}/s")
    fd = os.open(base, os.O_RDONLY)
    out = b"".join(pack.pack(fd))
    os.close(fd)
    assert out == b"".join([out])
    got = {e.name: (e.kind, data, e.link) for e, data in entries(out)}
    assert got[b"d/" + b"n" * 200] == ("file", b"data", b"")
    assert got[b"z"] == ("link", b"", b"d/" + b"n" * 200)
    assert got[b"s"] == ("symlink", b"", b"t" * 150)
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert {m.name for m in tar} == {".", "d", "d/" + "n" * 200, "s", "z"}
