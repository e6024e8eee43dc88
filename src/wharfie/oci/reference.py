"""Image references, as Docker reads them: `[domain/]path[:tag][@digest]` (distribution/reference, normalised form).

    busybox              docker.io/library/busybox:latest
    localhost:5000/x:1   localhost:5000/x:1
    wharfie/hello        wharfie/hello:latest       the reserved prefix: never a name in a registry

Docker's clients may spell a short name out as `docker.io/...` before it reaches the engine, and print
`docker.io/wharfie/hello` short; so that spelling is the reserved one too.
"""

from __future__ import annotations

from wharfie.base import errors
from wharfie.base.value import Value

from .digest import Digest

RESERVED = "wharfie"
DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
MAX_NAME = 255
MAX_TAG = 128

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TAG = _ALNUM | frozenset("_.-")
_HEX = frozenset("0123456789abcdef")


class Reference(Value):
    """A normalised reference. `tag` is "" only where a digest is given without one."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that `text` spells, with Docker's defaults filled in. Raises Invalid with Docker's words."""
        name, tag, digest = _split(text)
        if len(name) == 64 and _HEX.issuperset(name):
            raise errors.Invalid(f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")
        domain, path = _split_domain(name)
        if path != path.lower():
            raise errors.Invalid(f"invalid reference format: repository name ({path}) must be lowercase", name=text)
        if len(name) > MAX_NAME:
            raise errors.Invalid(f"repository name must not be more than {MAX_NAME} characters", name=name[:300])
        if not _is_domain(domain) or not path or not all(_is_component(c) for c in path.split("/")):
            raise _bad(text)
        return cls(domain, path, tag if tag or digest else DEFAULT_TAG, digest)

    @property
    def name(self) -> str:
        """Domain and path, the repository: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def reserved(self) -> bool:
        """Whether this name belongs to the images that come with the install."""
        return self.domain == RESERVED

    def familiar_name(self) -> str:
        """The repository as people write it: `busybox`, `user/app`, `localhost:5000/x`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix("library/")
        return self.path if "/" in rest else rest

    def familiar(self) -> str:
        """The reference as people write it, tag and digest included: `busybox:latest`."""
        return self.familiar_name() + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag


def _bad(text: str) -> errors.Invalid:
    return errors.Invalid("invalid reference format", name=text[:300])


def _split(text: str) -> tuple[str, str, Digest | None]:
    """(name, tag or "", digest or None), tag and digest checked."""
    rest, at, digest_text = text.partition("@")
    digest = None
    if at:
        try:
            digest = Digest.parse(digest_text)
        except errors.Invalid as error:
            raise _bad(text) from error
    slash, colon = rest.rfind("/"), rest.rfind(":")
    name, tag = (rest[:colon], rest[colon + 1 :]) if colon > slash else (rest, "")
    if not name or (colon > slash and not is_tag(tag)):
        raise _bad(text)
    return name, tag, digest


def is_tag(tag: str) -> bool:
    """Whether `tag` follows the grammar `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`."""
    return 0 < len(tag) <= MAX_TAG and tag[0] not in ".-" and _TAG.issuperset(tag)


def _split_domain(name: str) -> tuple[str, str]:
    """Docker's rule: the first part is a domain when it has a dot, a colon, an upper-case letter, or is localhost."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        domain, path = DEFAULT_DOMAIN, name
    else:
        domain, path = first, rest
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN:
        if path.startswith(RESERVED + "/"):
            return RESERVED, path[len(RESERVED) + 1 :]
        if "/" not in path:
            path = f"library/{path}"
    return domain, path


def _is_component(text: str) -> bool:
    """`[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*`"""
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    separator = ""
    for c in text:
        if c in _LOWER:
            if separator and separator not in (".", "_", "__") and separator.strip("-"):
                return False
            separator = ""
        elif c in "._-":
            separator += c
        else:
            return False
    return True


def _is_domain(text: str) -> bool:
    """Host names, dotted or not, `[v6 address]`, each with an optional port."""
    if text.startswith("["):
        address, closed, port = text[1:].partition("]")
        inside = bool(address) and frozenset("0123456789abcdefABCDEF:").issuperset(address)
        return bool(closed) and inside and (not port or (port[0] == ":" and port[1:].isdecimal() and port.isascii()))
    host, colon, port = text.partition(":")
    if colon and not (port.isdecimal() and port.isascii()):
        return False
    return all(part and part[0] in _ALNUM and part[-1] in _ALNUM and _ALNUM.issuperset(part.replace("-", ""))
               for part in host.split("."))
