"""The content store: whole or not there, verified, readable as an OCI layout."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wharfie.base import errors, paths
from wharfie.oci import digest
from wharfie.storage.content import Content


@pytest.fixture
def content(tmp_path: Path) -> Content:
    made = Content(paths.DataRoot(str(tmp_path)))
    made.prepare()
    return made


def test_a_blob_goes_in_and_comes_out(content: Content) -> None:
    with content.ingest() as ingest:
        ingest.write(b"hel")
        ingest.write(b"lo")
        found = ingest.commit(digest.of(b"hello"), 5)
    assert content.read(found) == b"hello"
    assert content.size(found) == 5
    assert list(content.walk()) == [found]
    assert content.put(b"hello") == found
    content.delete(found)
    content.delete(found)
    assert not content.has(found)
    with pytest.raises(errors.NotFound):
        content.open(found)


@pytest.mark.parametrize(("expected", "size"), [(digest.of(b"other"), None), (None, 6), (digest.of(b"hello"), 4)])
def test_what_is_not_as_expected_leaves_nothing(content: Content, expected: digest.Digest | None, size: int) -> None:
    ingest = content.ingest()
    ingest.write(b"hello")
    with pytest.raises(errors.Damaged):
        ingest.commit(expected, size)
    assert list(content.walk()) == []
    assert os.listdir(content.ingest_directory) == []


def test_an_ingest_that_is_left_is_aborted(content: Content) -> None:
    with content.ingest() as ingest:
        ingest.write(b"x")
    assert os.listdir(content.ingest_directory) == []


def test_sha512(content: Content) -> None:
    expected = digest.of(b"x", "sha512")
    with content.ingest(expected) as ingest:
        ingest.write(b"x")
        ingest.commit()
    assert content.read(expected) == b"x"


def test_damage_on_disk_is_noticed(content: Content) -> None:
    found = content.put(b"hello")
    os.chmod(content.path(found), 0o600)
    Path(content.path(found)).write_bytes(b"hellO")
    with pytest.raises(errors.Damaged):
        content.read(found)


def test_it_is_an_oci_layout(content: Content, tmp_path: Path) -> None:
    assert json.loads((tmp_path / "images/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((tmp_path / "images/index.json").read_text())["manifests"] == []
    found = content.put(b"{}")
    assert (tmp_path / "images/blobs/sha256" / found.hex).read_bytes() == b"{}"
