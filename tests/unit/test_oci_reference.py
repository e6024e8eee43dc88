"""Digests and references: exactly the specification's grammar, and Docker's normal form."""

from __future__ import annotations

import pytest

from wharfie.base import errors
from wharfie.oci import digest
from wharfie.oci.digest import Digest
from wharfie.oci.reference import Reference

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(("text", "full", "familiar"), [
    ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
    ("user/app", "docker.io/user/app:latest", "user/app:latest"),
    ("docker.io/user/app", "docker.io/user/app:latest", "user/app:latest"),
    ("index.docker.io/library/x", "docker.io/library/x:latest", "x:latest"),
    ("library/x", "docker.io/library/x:latest", "x:latest"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
    ("reg.example/a/b__c.d-e--f:T_1.x-", "reg.example/a/b__c.d-e--f:T_1.x-", "reg.example/a/b__c.d-e--f:T_1.x-"),
    ("Reg/x", "Reg/x:latest", "Reg/x:latest"),
    ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
    (f"x@{SHA}", f"docker.io/library/x@{SHA}", f"x@{SHA}"),
    (f"x:1@{SHA}", f"docker.io/library/x:1@{SHA}", f"x:1@{SHA}"),
    ("wharfie/hello", "wharfie/hello:latest", "wharfie/hello:latest"),
    ("docker.io/wharfie/hello:2", "wharfie/hello:2", "wharfie/hello:2"),
    ("reg.example/wharfie/hello", "reg.example/wharfie/hello:latest", "reg.example/wharfie/hello:latest"),
])
def test_normal_form(text: str, full: str, familiar: str) -> None:
    ref = Reference.parse(text)
    assert (str(ref), ref.familiar()) == (full, familiar)
    assert Reference.parse(str(ref)) == ref
    assert Reference.parse(familiar) == ref


@pytest.mark.parametrize("text", [
    "", ":", "x:", "x:.a", "x:-a", "x:" + "a" * 129, "x@", "x@sha256:ab", f"x@{SHA.upper()}", "x@md5:" + "a" * 32,
    "a//b", "/a", "a/", "-a", "a-", "a..b", "a___b", "a._b", "a b", "a\nb", "a\0", "ä", "a/../b", "../a", "x:1:2/y",
    "x.y:z/a", "a" * 256, "a" * 64, "user/UP", "UP", "[::1/x", "[xyz]/x", "http://x/y", "x:1@2", "x:\uff11",
])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(errors.Invalid):
        Reference.parse(text)


def test_upper_case_is_told_apart() -> None:
    with pytest.raises(errors.Invalid, match="must be lowercase"):
        Reference.parse("BusyBox")


@pytest.mark.parametrize("text", ["", "sha256:", SHA[:-1], SHA + "a", "sha256:" + "A" * 64, "sha256:../../" + "a" * 58,
                                  "sha1:" + "a" * 40, SHA + "\n", " " + SHA, None, 5, "sha512:" + "a" * 64])
def test_field_row_39_what_is_no_digest(text: object) -> None:
    with pytest.raises(errors.Invalid):
        Digest.parse(text)


def test_digests() -> None:
    made = digest.of(b"abc", "sha512")
    assert (made.algorithm, len(made.hex), Digest.parse(str(made))) == ("sha512", 128, made)
    assert digest.of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
