"""The pure parts of create: mounts, ports, security, resources, merging, what is honoured."""

from __future__ import annotations

import json

import msgspec
import pytest

from wharfie.base import errors
from wharfie.engine import checks, honoured, merge, model, mounts, ports, resources, security
from wharfie.oci import defaults, seccomp_default

HERE = resources.Host(cpus=4)


def planned(**host: object) -> dict[str, mounts.Planned]:
    volumes = host.pop("volumes", None)
    config = model.Config(volumes=volumes)  # type: ignore[arg-type]
    return {m.destination: m for m in mounts.plan(config, msgspec.convert(host, model.HostConfig), [])}


def test_binds() -> None:
    made = planned(Binds=["/a/../b:/x:ro", "vol:/y:nocopy", "/c:/z:rshared"])
    assert made["/x"].source == "/b"
    assert made["/x"].readonly
    assert made["/x"].create
    assert made["/y"].kind == "volume"
    assert not made["/y"].copy
    assert made["/z"].propagation == "rshared"


@pytest.mark.parametrize(
    "bind",
    [
        "", ":", "/a:", "a:b", "/a:/", "/a:/x:zz", "/a:/x:ro,rw", "../a:/x", "/a:/x:ro:z", "v:/x:shared", "/a:/x:ro,ro",
        "/a\0:/x",
    ],
)
def test_bad_binds(bind: str) -> None:
    with pytest.raises(errors.Invalid):
        planned(Binds=[bind])


def test_volumes_of_the_image_come_last_and_cleaned() -> None:
    made = planned(Binds=["/a:/data"], volumes={"/data": {}, "/../../etc": {}})
    assert made["/data"].kind == "bind"
    assert made["/etc"].source == ""
    with pytest.raises(errors.Invalid):
        planned(Binds=["/a:/x", "/b:/x/"])


def test_mounts() -> None:
    made = planned(
        Mounts=[
            {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True},
            {"Type": "volume", "Source": "vol", "Target": "/c", "VolumeOptions": {"NoCopy": True}},
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 0o1770}},
        ],
        Tmpfs={"/s": "exec,size=1m"},
    )
    assert not made["/b"].create
    assert not made["/c"].copy
    assert made["/t"].options == ("noexec", "nosuid", "nodev", "size=4096", "mode=1770")
    assert made["/s"].options == ("nosuid", "nodev", "exec", "size=1m")
    for bad in (
        {"Type": "x", "Target": "/a"},
        {"Type": "bind", "Source": "a", "Target": "/a"},
        {"Type": "tmpfs", "Source": "/a", "Target": "/a"},
        {"Type": "volume", "Target": ""},
        {"Type": "bind", "Source": "/a\0", "Target": "/a"},
        {"Type": "tmpfs", "Target": "/a", "TmpfsOptions": {"SizeBytes": -1}},
        {"Type": "tmpfs", "Target": "/a", "TmpfsOptions": {"Mode": -1}},
    ):
        with pytest.raises(errors.Invalid):
            planned(Mounts=[bad])
    with pytest.raises(errors.Unsupported, match="image"):
        planned(Mounts=[{"Type": "image", "Source": "x", "Target": "/a"}])


def test_parents_come_before_children() -> None:
    assert list(planned(Binds=["/a:/x/y/z", "/b:/x", "/c:/w/v"])) == ["/x", "/w/v", "/x/y/z"]


def test_ports() -> None:
    host = msgspec.convert(
        {
            "PortBindings": {
                "80/tcp": [{"HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "9000-9002"}],
                "53/udp": [],
            },
            "PublishAllPorts": True,
        },
        model.HostConfig,
    )
    made = ports.wanted({"80/tcp": {}, "443": {}}, host)
    assert made == [
        ports.Wanted("udp", 53),
        ports.Wanted("tcp", 80, "", 8080, 8080),
        ports.Wanted("tcp", 80, "127.0.0.1", 9000, 9002),
        ports.Wanted("tcp", 443),
    ]
    for bad in ("0/tcp", "65536", "x", "80/icmp", "-1", "+80", ""):
        with pytest.raises(errors.Invalid):
            ports.parse(bad)


def test_capabilities() -> None:
    assert set(security.capabilities(None, None, privileged=False)) == set(defaults.CAPABILITIES)
    assert len(security.capabilities(["all"], ["NET_ADMIN"], privileged=False)) == 40
    assert security.capabilities(["chown"], ["ALL"], privileged=False) == ("CAP_CHOWN",)
    assert len(security.capabilities(None, ["ALL"], privileged=True)) == 41
    with pytest.raises(errors.Invalid, match="unknown capability"):
        security.capabilities(["CAP_FOO"], None, privileged=False)


def test_capabilities_that_cannot_be_given() -> None:
    assert "CAP_MKNOD" not in security.capabilities(None, None, privileged=False, devices=False)
    assert "CAP_MKNOD" in security.capabilities(None, None, privileged=True, devices=False)

    def check(*add: str, privileged: bool = False, devices: bool = True) -> list[str]:
        return security.check_held(list(add), None, privileged=privileged, devices=devices,
                                   withheld=("CAP_SYS_RESOURCE",))

    assert check() == check("NET_ADMIN") == []
    assert ["CAP_SYS_RESOURCE" in w for w in (*check("ALL"), *check(privileged=True))] == [True, True]
    with pytest.raises(errors.Unsupported, match="CAP_SYS_RESOURCE"):
        check("sys_resource")
    with pytest.raises(errors.Unsupported, match="CAP_MKNOD"):
        check("MKNOD", devices=False)


def test_security_options() -> None:
    made = security.parse_options(["no-new-privileges", "seccomp=unconfined", "apparmor:unconfined", "label=disable"])
    assert made.no_new_privileges
    assert made.seccomp == "unconfined"
    profile = json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": ["chmod"], "action": "SCMP_ACT_ERRNO"},
                {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_PTRACE"]}},
            ],
        }
    )
    custom = security.seccomp(
        security.parse_options([f"seccomp={profile}"]), ("CAP_CHOWN",), privileged=True, machine="x86_64", kernel=(6, 1)
    )
    assert custom == {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]}
    assert security.seccomp(security.Options(), (), privileged=True, machine="x86_64", kernel=(6, 1)) is None
    for bad, kind in (
        ("seccomp={", errors.Invalid),
        ("foo=bar", errors.Invalid),
        ("apparmor=x", errors.Unsupported),
        ("no-new-privileges=2", errors.Invalid),
    ):
        with pytest.raises(kind):
            security.parse_options([bad])


def test_the_default_profile_by_capability_arch_and_kernel() -> None:
    def names(caps: tuple[str, ...], machine: str = "x86_64", kernel: tuple[int, int] = (6, 1)) -> dict[str, list[str]]:
        out: dict[str, list[str]] = {}
        for row in seccomp_default.resolve(caps, machine, kernel)["syscalls"]:
            for name in row["names"]:
                out.setdefault(name, []).append(row["action"])
        return out

    plain = names(defaults.CAPABILITIES)
    assert plain["clone3"] == ["SCMP_ACT_ERRNO"]
    assert len(plain["socket"]) == 3
    assert "mount" not in plain
    assert "arch_prctl" in plain
    assert "chroot" in plain
    assert "ptrace" in plain
    assert "ptrace" not in names(defaults.CAPABILITIES, kernel=(4, 4))
    admin = names(("CAP_SYS_ADMIN",))
    assert admin["clone3"] == ["SCMP_ACT_ALLOW"]
    assert "mount" in admin
    assert "chroot" not in admin
    arm = seccomp_default.resolve((), "aarch64", (6, 1))
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "arch_prctl" not in names((), "aarch64")


def test_memory_and_cpu_are_checked_as_docker_does() -> None:
    def check(**fields: object) -> list[str]:
        here = HERE.replace(processors="0,2-3", nodes="0")
        return resources.check(model.HostConfig(**fields), here)  # type: ignore[arg-type]

    check(memory=6 << 20, nano_cpus=1_500_000_000, pids_limit=10, cpuset_cpus="2-3,0", cpuset_mems="0")
    for bad in (
        {"memory": 1},
        {"memory": 8 << 20, "memory_swap": 7 << 20},
        {"memory_swap": 1 << 30},
        {"nano_cpus": 5 * 10**9},
        {"nano_cpus": 10**9, "cpu_quota": 1000},
        {"cpu_period": 10},
        {"cpuset_cpus": "a"},
        {"cpuset_cpus": "0-3"},
        {"cpuset_mems": "1"},
        {"memory_reservation": 7 << 20, "memory": 6 << 20},
        {"ulimits": [model.Ulimit(name="nofile", soft=2, hard=1)]},
        {"ulimits": [model.Ulimit(name="x")]},
    ):
        with pytest.raises(errors.Invalid):
            check(**bad)
    with pytest.raises(errors.Unsupported, match="pids"):
        resources.check(model.HostConfig(pids_limit=5), HERE.replace(pids=False))


def test_resources() -> None:
    host = model.HostConfig(memory=64 << 20, nano_cpus=500_000_000, pids_limit=7, cpuset_cpus="0-1")
    made = resources.resources(host, [], swap=True)
    assert made["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert made["cpu"] == {"period": 100_000, "quota": 50_000, "cpus": "0-1"}
    assert made["pids"] == {"limit": 7}
    assert "swap" not in resources.resources(host, [], swap=False)["memory"]
    limits = resources.rlimits(
        [model.Ulimit(name="nofile", soft=-1, hard=-1)],
        [model.Ulimit(name="core"), model.Ulimit(name="nofile", soft=1, hard=1)],
    )
    assert limits == [
        {"type": "RLIMIT_CORE", "hard": 0, "soft": 0},
        {"type": "RLIMIT_NOFILE", "hard": (1 << 64) - 1, "soft": (1 << 64) - 1},
    ]


def test_merging_with_the_image() -> None:
    image = {
        "Env": ["PATH=/i", "A=1", "HOME", "*"],
        "Cmd": ["sh"],
        "Entrypoint": ["/e"],
        "User": "ann",
        "WorkingDir": "/w",
        "Volumes": {"/v": {}},
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"a": "1", "b": "1"},
    }
    config = model.Config(env=["A=2", "GONE"], labels={"a": "2"})
    merge.with_image(config, image)
    assert config.env == ["A=2", "GONE", "PATH=/i"]
    assert (config.entrypoint, config.cmd, config.user) == (["/e"], ["sh"], "ann")
    assert config.labels == {"a": "2", "b": "1"}
    assert merge.command(config) == ("/e", ["sh"])
    env = merge.environment(config, hostname="h", home="/root")
    assert env == ["PATH=/i", "HOSTNAME=h", "A=2", "HOME=/root"]
    only_cmd = model.Config(cmd=["x"])
    merge.with_image(only_cmd, image)
    assert merge.command(only_cmd) == ("/e", ["x"])
    cleared = model.Config(entrypoint=[""], cmd=["x"])
    merge.with_image(cleared, image)
    assert merge.command(cleared) == ("x", [])
    own = model.Config(entrypoint=["/mine"])
    merge.with_image(own, image)
    assert merge.command(own) == ("/mine", [])
    with pytest.raises(errors.Invalid, match="no command"):
        merge.with_image(model.Config(), {})
    for said, clean in (("/a/../../b", "/b"), ("//x/", "/x"), ("rel", "/rel"), ("", "/w")):
        where = model.Config(working_dir=said)
        merge.with_image(where, image)
        assert where.working_dir == clean


def test_every_field_that_is_not_honoured_is_refused() -> None:
    values = {int: 5, str: "x"}
    for attribute, (name, _) in honoured.REFUSED.items():
        kind = model.HostConfig.__annotations__[attribute]
        value: object = values[int] if kind.startswith("int") else "x" if kind.startswith("str") else True
        if kind.startswith("list"):
            value = ["x"]
        elif kind.startswith("dict"):
            value = {"x": "y"}
        host = model.HostConfig(**{attribute: value})
        with pytest.raises(errors.Unsupported, match=name):
            honoured.check(model.Config(), host, model.NetworkingConfig())
    honoured.check(model.Config(), model.HostConfig(), model.NetworkingConfig())
    for here, value in ((resources.Host(), 0), (resources.Host(memory=False, cgroup_mode="hybrid"), 40)):
        with pytest.raises(errors.Unsupported, match="MemorySwappiness"):
            resources.check(model.HostConfig(memory_swappiness=value), here)
    resources.check(model.HostConfig(memory_swappiness=-1), resources.Host())
    kept = model.HostConfig(memory_swappiness=0)
    resources.check(kept, resources.Host(cgroup_mode="v1"))
    assert resources.resources(kept, [], swap=True)["memory"] == {"swappiness": 0}
    with pytest.raises(errors.Invalid, match="0-100"):
        resources.check(model.HostConfig(memory_swappiness=101), resources.Host(cgroup_mode="v1"))


@pytest.mark.parametrize(
    ("config", "host"),
    [
        ({"Hostname": "a b"}, {}),
        ({"StopSignal": "SIGFOO"}, {}),
        ({"WorkingDir": "x"}, {}),
        ({"Env": ["=x"]}, {}),
        ({}, {"Dns": ["x"]}),
        ({}, {"ExtraHosts": ["a"]}),
        ({}, {"Sysctls": {"kernel.core_pattern": "|x"}}),
        ({}, {"Sysctls": {"net.ipv4.ip_forward": "1\n2"}}),
        ({}, {"Sysctls": {"net/../kernel/x": "1"}}),
        ({}, {"OomScoreAdj": 1001}),
        ({}, {"ShmSize": -1}),
        ({}, {"PidMode": "x"}),
        ({}, {"IpcMode": "container:"}),
        ({}, {"RestartPolicy": {"Name": "sometimes"}}),
        ({}, {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}),
        ({}, {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}),
        ({}, {"CapAdd": ["X"]}),
        ({}, {"PortBindings": {"99999/tcp": []}}),
        ({}, {"LogConfig": {"Type": "json-file", "Config": {"max-size": "x"}}}),
        ({"MacAddress": "02:42"}, {}),
        ({}, {"NetworkMode": "container:x", "PublishAllPorts": True}),
        ({}, {"DeviceCgroupRules": ["x"]}),
        ({}, {"CgroupParent": "/a/../../b"}),
        ({}, {"Runtime": "runc"}),
        ({"Domainname": "x" * 65}, {}),
        ({"WorkingDir": "/" + "x" * 256}, {}),
        ({"WorkingDir": "/x" * 3000}, {}),
        ({}, {"CgroupParent": "x" * 300}),
        ({}, {"Devices": [{"PathOnHost": "/dev/\0", "PathInContainer": "/dev/x"}]}),
        ({}, {"MaskedPaths": ["/" + "x" * 256]}),
        ({}, {"CpuQuota": (1 << 63) - 1}),
        ({}, {"PidsLimit": (1 << 63) - 1}),
        ({}, {"ConsoleSize": [70000, 1]}),
    ],
)
def test_bad_values(config: dict[str, object], host: dict[str, object]) -> None:
    with pytest.raises(errors.Invalid):
        checks.check(
            msgspec.convert(config, model.Config),
            msgspec.convert(host, model.HostConfig),
            model.NetworkingConfig(),
            HERE,
        )


def test_log_drivers() -> None:
    honoured.check_log("json-file", {"max-size": "1m", "max-file": "3"})
    with pytest.raises(errors.Unsupported):
        honoured.check_log("syslog", {})
    with pytest.raises(errors.Invalid, match="no log driver named 'asdf' is registered"):
        honoured.check_log("asdf", {})
    with pytest.raises(errors.Invalid, match="max-size"):
        honoured.check_log("none", {"max-size": "1m"})
    honoured.check_log("json-file", {"mode": "blocking", "compress": "false"})
    for key, value in (("mode", "non-blocking"), ("labels", "a"), ("labels-regex", "a"), ("env", "A"),
                       ("env-regex", "A"), ("tag", "x"), ("compress", "true")):
        with pytest.raises(errors.Unsupported, match=f"'{key}"):
            honoured.check_log("json-file", {key: value})
    with pytest.raises(errors.Unsupported, match="non-blocking"):
        honoured.check_log("json-file", {"max-buffer-size": "1m", "mode": "non-blocking"})
    for key, value in (("max-buffer-size", "1m"), ("max-size", "-5"), ("max-file", "0"), ("foo", "1")):
        with pytest.raises(errors.Invalid, match=key):
            honoured.check_log("json-file", {key: value})


@pytest.mark.parametrize("word", [
    "size=-1", "size=", "size=x", "size=1z", "size=99999999999999999999", "size=-5%", "mode=9", "mode=z",
    "mode=77777",
    "uid=-5", "uid=4294967295", "gid=x", "nr_inodes=-1", "nr_blocks=5%", "mpol=wat", "mpol=bind", "mpol=bind:x",
    "remount", "bind", "foo", "foo=1", "ro=1",
])
def test_bad_tmpfs_options_are_named_at_create(word: str) -> None:
    with pytest.raises(errors.Invalid, match=f'Invalid tmpfs option "{word}"'):
        mounts.plan(model.Config(), model.HostConfig(tmpfs={"/x": f"rw,{word}"}), [])


@pytest.mark.parametrize("word", [
    "size=64m", "size=1g", "size=50%", "size=0x1000", "size=0", "mode=1777", "mode=0", "uid=1000", "gid=0x10",
    "nr_inodes=5k", "mpol=local", "mpol=interleave", "mpol=bind=static:0-1", "noexec", "shared",
])
def test_good_tmpfs_options(word: str) -> None:
    (made,) = mounts.plan(model.Config(), model.HostConfig(tmpfs={"/x": word}), [])
    assert word in made.options


@pytest.mark.parametrize(("text", "where"), [
    ("[]", "defaultAction"), ('{"defaultAction": "X"}', "defaultAction"), ("[" * 100000, "nested too deep"),
    *((f'{{"defaultAction": "SCMP_ACT_ALLOW", {more}}}', where) for more, where in (
        ('"architectures": 3', "architectures"), ('"flags": [3]', "flags"), ('"archMap": 3', "archMap"),
        ('"archMap": [{"subArchitectures": 3}]', r"archMap\[0\]"), ('"syscalls": 3', "syscalls"),
        ('"syscalls": [3]', "syscalls"), ('"syscalls": [{"names": ["read"], "action": "Z"}]', r"syscalls\[0\].action"),
        *((f'"syscalls": [{{"action": "SCMP_ACT_ALLOW", {row}}}]', name) for row, name in (
            ('"names": 3', "names"), ('"includes": 3', "includes"), ('"excludes": {"caps": [1]}', "excludes.caps"),
            ('"args": 3', "args"), ('"args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]', "index"),
            ('"args": [{"index": 1, "op": "SCMP_CMP_EQ"}]', "value"), ('"args": [{"index": 1, "value": 1}]', "op"),
            ('"errnoRet": "x"', "errnoRet"))))),
])
def test_bad_seccomp_profiles_are_named_at_create(text: str, where: str) -> None:
    with pytest.raises(errors.Invalid, match=f"Decoding seccomp profile failed: .*{where}"):
        security.parse_options([f"seccomp={text}"])
