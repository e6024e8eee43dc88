"""Go templates as the docker client's users write them. The expected texts are Go's."""

from __future__ import annotations

import sys

import pytest

from wharfie.base import errors
from wharfie.template import text

DATA = {
    "Id": "sha256:abcdef0123456789",
    "Name": "/web",
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"b": "2", "a": "1"}, "Cmd": None, "Tty": False, "Image": "x<y>&z"},
    "State": {"Running": True, "ExitCode": 0, "Pid": 1234, "Health": None},
    "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
                        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None}},
    "Mounts": [], "Size": 1.5, "Big": 1e21, "Label": lambda name: f"<{name}>", "Method": lambda: "called",
}

CASES = [
    ("plain", "plain"),
    ("{{.Name}}", "/web"),
    ("{{ .Config.Env }}", "[A=1 B=2]"),
    ("{{.Config.Labels}}", "map[a:1 b:2]"),
    ("{{.State.Running}} {{.State.Pid}} {{.Size}} {{.Big}}", "true 1234 1.5 1e+21"),
    ("{{.Config.Cmd}}", "<no value>"),
    ("{{.Nothing}}", "<no value>"),
    ("{{json .Config.Env}}", '["A=1","B=2"]'),
    ("{{json .Config.Image}}", '"x<y>&z"'),
    ("{{.Config.Env | json}}", '["A=1","B=2"]'),
    ("{{json .Config.Cmd}}{{json .Mounts}}", "null[]"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{if .Config.Tty}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
    ("{{if not .Config.Tty}}no{{end}}", "no"),
    ("{{with .Config.Cmd}}x{{else}}none{{end}}", "none"),
    ("{{with .NetworkSettings}}{{.Networks.bridge.IPAddress}}{{end}}", "172.17.0.2"),
    ("{{range .Config.Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
    ("{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$i}}={{$e}}{{end}}", "0=A=1, 1=B=2"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
    ("{{range .Mounts}}x{{else}}empty{{end}}", "empty"),
    ("{{range .Config.Env}}{{if eq . \"B=2\"}}{{continue}}{{end}}{{.}}{{end}}", "A=1"),
    ("{{range .Config.Env}}{{.}}{{break}}{{end}}", "A=1"),
    ("{{range $n := 3}}{{$n}}{{end}}", "012"),
    ("{{index .Config.Env 1}}", "B=2"),
    ('{{index .Config.Labels "b"}}', "2"),
    ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
    ("{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{with $conf}}{{(index . 0).HostPort}}{{end}} {{end}}",
     " 80/tcp -> 8080  81/tcp ->  "),
    ("{{len .Config.Env}}{{len .Name}}", "24"),
    ('{{eq .State.ExitCode 0}}{{ne .Name "a"}}{{lt 1 2}}{{le 2 2}}{{gt 1.5 2.5}}{{ge "b" "a"}}',
     "truetruetruetruefalsetrue"),
    ("{{eq 3 1 2 3}}", "true"),
    ("{{and 1 0 2}}{{or 0 \"\" 5}}{{and true}}", "05true"),
    ("{{and .Config.Cmd (index .Config.Cmd 0)}}", "<no value>"),
    ('{{join .Config.Env ","}}', "A=1,B=2"),
    ('{{split "a,b" ","}}', "[a b]"),
    ("{{title \"hello my world\"}} {{upper .Name}} {{lower \"ABC\"}}", "Hello My World /WEB abc"),
    ("[{{pad .Name 1 2}}][{{pad \"\" 1 2}}]", "[ /web  ][]"),
    ("{{truncate .Id 12}} {{truncate \"ab\" 5}}", "sha256:abcde ab"),
    ("{{slice .Id 7 19}}", "abcdef012345"),
    ('{{printf "%s|%d|%v|%q|%t" .Name .State.Pid .Config.Env "a\\"b" true}}', '/web|1234|[A=1 B=2]|"a\\"b"|true'),
    ('{{printf "%-8s|%8s|%05d|%.2f|%x|%X|%%|%c" "ab" "cd" 42 3.14159 255 255 65}}',
     "ab      |      cd|00042|3.14|ff|FF|%|A"),
    ('{{printf "%d %s" "x"}}', "%!d(string=x) %!s(MISSING)"),
    ('{{printf "%.3s" "abcdef"}}', "abc"),
    ('{{print "a" 1 2 "b"}}{{println "x" 1}}', "a1 2bx 1\n"),
    ("{{.Name | printf \"%s-%s\" \"a\" | len}}", "6"),
    ("a {{- .Name -}} b", "a/webb"),
    ("a {{/* nothing */}} b{{- /* x */ -}} c", "a  bc"),
    ("{{$x := .Name}}{{$x}}{{$x = \"y\"}}{{$x}}", "/weby"),
    ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
    ("{{$.Name}}{{range .Config.Env}}{{$.Name}}{{end}}", "/web/web/web"),
    ('{{define "T"}}<{{.}}>{{end}}{{template "T" .Name}}', "</web>"),
    ('{{block "B" .Name}}[{{.}}]{{end}}', "[/web]"),
    ('{{.Label "x.y"}}{{.Method}}', "<x.y>called"),
    ("{{`raw \\n`}}{{\"tab\\t\\u00e9\\x41\"}}{{'a'}}", "raw \\ntab\té" + "A97"),
    ("{{html \"<a&b>\"}}{{urlquery \"a b/c\"}}{{js \"it's\"}}", "&lt;a&amp;b&gt;a+b%2Fcit\\'s"),
    ("{{true}}{{0x10}}{{-5}}{{1e3}}", "true16-51000"),
    ("{{if eq .State.Health nil}}none{{end}}", "none"),
]


@pytest.mark.parametrize(("source", "expected"), CASES, ids=range(len(CASES)))
def test_renders_as_go_does(source: str, expected: str) -> None:
    assert text.Template(source).render(DATA) == expected


@pytest.mark.parametrize(("source", "error"), [
    ("{{.Name", "template: :1: unclosed action"),
    ("{{end}}", "template: :1: unexpected {{end}}"),
    ("{{if .A}}", "template: :1: unexpected EOF"),
    ("x\n{{nope .A}}", 'template: :2: function "nope" not defined'),
    ("{{$x}}", 'template: :1: undefined variable "$x"'),
    ("{{if true}}{{$x := 1}}{{end}}{{$x}}", 'template: :1: undefined variable "$x"'),
    ("{{}}", "template: :1: missing value for command"),
    ("{{if}}{{end}}", "template: :1: missing value for if"),
    ("{{break}}", "template: :1: {{break}} outside {{range}}"),
    ('{{"a}}', "template: :1: unterminated quoted string"),
    ("{{/* x}}", "template: :1: unclosed comment"),
    ("{{.A | 3}}", "template: :1: non executable command in pipeline stage 2"),
    ("{{(.A}}", 'template: :1: unexpected "}}" in parenthesized pipeline'),
    ("{{" + "(" * 5000, "template: :1: unclosed action"),
])
def test_does_not_parse(source: str, error: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        text.Template(source)
    assert str(caught.value) == error


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    for source in ("{{if 1}}" * 5000 + "{{end}}" * 5000, "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}"):
        with pytest.raises(errors.Invalid):
            text.Template(source).render({})


@pytest.mark.parametrize(("source", "error"), [
    ("{{.State.Nope}}", 'template: :1:2: executing "" at <.State.Nope>: map has no entry for key "Nope"'),
    ("{{index .Mounts 3}}",
     'template: :1:2: executing "" at <index>: error calling index: reflect: slice index out of range: 3'),
    ("{{lt 1 \"a\"}}",
     'template: :1:2: executing "" at <lt>: error calling lt: incompatible types for comparison'),
    ("{{.Name.Foo}}", 'template: :1:2: executing "" at <.Name.Foo>: can\'t evaluate field Foo in type string'),
])
def test_fails_on_the_data(source: str, error: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        text.Template(source, missing="error").render(DATA)
    assert str(caught.value) == error


def test_an_unknown_column_names_the_type() -> None:
    with pytest.raises(errors.Invalid, match=r"can't evaluate field Nope in type \*formatter.ContainerContext"):
        text.Template("{{.Nope}}", typed="*formatter.ContainerContext").render({"ID": "x"})


def test_header_row_keeps_titles() -> None:
    template = text.Template('{{json .ID}}\t{{upper .Names}}\t{{truncate .Image 2}}\t{{.Label "x"}}')
    titles = {"ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Label": lambda name: name}
    assert template.render_header(titles) == "CONTAINER ID\tNAMES\tIMAGE\tx"


def test_loads_nothing_heavy() -> None:
    import subprocess

    code = ("import sys; from wharfie.template import text; text.Template('{{.A}}').render({'A': 1});"
            "print([m for m in ('re','typing','dataclasses','json','asyncio') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True,
                          env={"PYTHONPATH": __import__("os").path.dirname(__import__("wharfie").__path__[0])})
    assert done.stdout.strip() == "[]", done.stderr
