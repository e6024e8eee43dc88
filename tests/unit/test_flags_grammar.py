"""pflag's grammar and pflag's words."""

from __future__ import annotations

import pytest

from wharfie.base import flags

TEXT = """
i interactive bool        Keep STDIN open
t tty bool
d detach bool
e env list                Set environment variables
p publish list
v volume list
m memory bytes            Memory limit
n last int=-1
- rm bool                 Remove
- cpus decimal
- health-interval duration
- pull string=missing
- color string?always
- sig-proxy bool=true
- net-old! string
- network list
"""
RUN = flags.Table(TEXT, interspersed=False, aliases={"net": "network"})
PS = flags.Table(TEXT)


def test_the_trial_of_docker_run() -> None:
    line = "-itd --rm=false -e A=1 -eB=2 --env=C=3 -p80:80 -v /a:/b IMAGE sh -c x -it --rm"
    got = flags.parse(RUN, line.split())
    assert (got.on("interactive"), got.on("tty"), got.on("detach"), got.on("rm")) == (True, True, True, False)
    assert got.all("env") == ["A=1", "B=2", "C=3"]
    assert (got.all("publish"), got.all("volume")) == (["80:80"], ["/a:/b"])
    assert got.args == ["IMAGE", "sh", "-c", "x", "-it", "--rm"]
    assert {"rm", "tty"} <= got.changed
    assert "memory" not in got.changed


def test_interspersed_arguments_and_the_double_dash() -> None:
    got = flags.parse(PS, ["a", "-i", "b", "--", "-t", "--x"])
    assert (got.args, got.on("interactive"), got.on("tty")) == (["a", "b", "-t", "--x"], True, False)
    got = flags.parse(RUN, ["--", "-t"])
    assert (got.args, got.on("tty")) == (["-t"], False)
    assert flags.parse(RUN, ["a", "--", "b"]).args == ["a", "--", "b"]
    assert flags.parse(PS, ["-"]).args == ["-"]


def test_values_and_defaults() -> None:
    line = "-m=64m -n 3 --cpus 1.5 --health-interval=1m30s -it=false --color x"
    got = flags.parse(PS, line.split())
    assert (got.number("memory"), got.number("last"), got.number("cpus")) == (64 << 20, 3, 1_500_000_000)
    assert got.number("health-interval") == 90 * 10**9
    assert (got.on("interactive"), got.on("tty")) == (True, False)
    assert (got.text("color"), got.args) == ("always", ["x"])
    assert (got.text("pull"), got.on("sig-proxy")) == ("missing", True)
    empty = flags.parse(PS, [])
    assert (empty.number("last"), empty.all("env"), empty.number("cpus"), empty.text("color")) == (-1, [], 0, "")
    assert flags.parse(RUN, ["--net=none"]).all("network") == ["none"]
    assert flags.parse(PS, ["-n-1"]).number("last") == -1


@pytest.mark.parametrize(("line", "text"), [
    ("--foo", "unknown flag: --foo"),
    ("-itz x", "unknown shorthand flag: 'z' in -z"),
    ("-m", "flag needs an argument: 'm' in -m"),
    ("-im", "flag needs an argument: 'm' in -m"),
    ("--memory", "flag needs an argument: --memory"),
    ("--=x", "bad flag syntax: --=x"),
    ("--rm=maybe", 'invalid argument "maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
    ("-m abc", 'invalid argument "abc" for "-m, --memory" flag: invalid size: \'abc\''),
    ("-n x", 'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'),
    ("-n 1.5", 'invalid argument "1.5" for "-n, --last" flag: strconv.ParseInt: parsing "1.5": invalid syntax'),
    ("-n 99999999999999999999",
     'invalid argument "99999999999999999999" for "-n, --last" flag: strconv.ParseInt: parsing '
     '"99999999999999999999": value out of range'),
    ("--cpus x", 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'),
    ("--health-interval 5",
     'invalid argument "5" for "--health-interval" flag: time: missing unit in duration "5"'),
])
def test_errors_are_pflags(line: str, text: str) -> None:
    with pytest.raises(flags.Bad) as caught:
        flags.parse(PS, line.split())
    assert str(caught.value) == text


def test_help() -> None:
    for line, shorthand in (("--help", False), ("-h", True), ("-ih", True)):
        with pytest.raises(flags.HelpAsked) as caught:
            flags.parse(PS, [line])
        assert caught.value.shorthand is shorthand
