"""--log-opt, parsed once. What is not honoured yet is refused by name, never ignored."""

from __future__ import annotations

from wharfie.base import errors, units
from wharfie.base.value import Value

DRIVERS = ("json-file", "local", "none")
# Docker's own defaults: json-file keeps everything in one file, local keeps five of 20 MB.
_DEFAULTS = {"json-file": (0, 1), "local": (20_000_000, 5)}
_LATER = frozenset(("labels", "labels-regex", "env", "env-regex", "tag", "compress"))


class Options(Value):
    """max_size in bytes, 0 = no limit; max_file counts the live file too."""

    max_size: int = 0
    max_file: int = 1


def parse(driver: str, config: dict[str, str]) -> Options:
    """The options of a driver. Raises Invalid or Unsupported naming the option, in Docker's words. max-file without
    max-size means nothing and is taken, as Docker takes it."""
    if driver not in DRIVERS:
        raise errors.Unsupported(f"logger: no log driver named '{driver}' is registered", name=driver,
                                 action="use json-file, local or none")
    size, files = _DEFAULTS.get(driver, (0, 1))
    for key, value in config.items():
        if key == "max-size":
            size = _size(value)
        elif key == "max-file":
            files = _count(value)
        elif key in _LATER:
            if key == "compress" and value in ("false", "0", ""):
                continue
            raise errors.Unsupported(f"log option '{key}' of driver {driver} is not supported yet", name=key)
        elif key == "mode":
            _check_mode(driver, value)
        elif key == "max-buffer-size" and config.get("mode") == "non-blocking":
            _check_mode(driver, "non-blocking")
        elif key == "max-buffer-size":
            raise errors.Invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'", name=key)
        else:
            raise errors.Invalid(f"unknown log opt '{key}' for {driver} log driver", name=key)
    return Options(size, files)


def _check_mode(driver: str, value: str) -> None:
    """A container whose log cannot be written waits: Docker's `blocking`."""
    if value == "non-blocking":
        raise errors.Unsupported(f"log option 'mode=non-blocking' of driver {driver} is not supported yet", name="mode",
                                 action="leave it out: the log is written as mode=blocking")
    if value not in ("", "blocking"):
        raise errors.Invalid(f"logger: logging mode not supported: {value}", name="mode")


def _size(text: str) -> int:
    if text == "-1":
        return 0
    try:
        size = units.parse_size(text)
    except errors.Invalid as error:
        raise errors.Invalid(f"max-size: {error.message}", name="max-size", action=error.action) from error
    if size <= 0:
        raise errors.Invalid("max-size must be a positive number", name="max-size")
    return size


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 6 or int(text) < 1:
        raise errors.Invalid(f"max-file must be a number of at least 1, not '{text}'", name="max-file")
    return int(text)
