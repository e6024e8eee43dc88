"""Write src/wharfie/oci/seccomp_default.py's tables from a default profile in Docker's JSON form.

    python tools/make_seccomp_default.py PROFILE.json > tables.txt

The facts (which system call is allowed under which condition) come from the profile; form and resolver are ours.
"""

from __future__ import annotations

import json
import sys
import textwrap


def words(names: list[str]) -> str:
    body = textwrap.fill(" ".join(sorted(names)), 112)
    if "\n" not in body:
        return f'"{body}"'
    return '"""\n' + textwrap.indent(body, "    ") + '\n"""'


def main(path: str) -> None:
    with open(path) as file:
        profile = json.load(file)
    print("SUBARCHITECTURES: dict[str, tuple[str, ...]] = {")
    for row in profile["archMap"]:
        print(f'    "{row["architecture"]}": {tuple(row["subArchitectures"] or ())!r},'.replace("'", '"'))
    print("}\n\nRULES: tuple[Rule, ...] = (")
    for row in profile["syscalls"]:
        parts = [words(row["names"])]
        if row["action"] != "SCMP_ACT_ALLOW":
            parts.append(f'action="{row["action"]}"')
        if "errnoRet" in row:
            parts.append(f"errno={row['errnoRet']}")
        if row.get("args"):
            (a,) = row["args"]
            parts.append(f'arg=({a["index"]}, "{a["op"]}", {a["value"]}, {a.get("valueTwo", 0)})')
        includes, excludes = row.get("includes", {}), row.get("excludes", {})
        for key, value in (("caps", includes.get("caps")), ("arches", includes.get("arches")),
                           ("without_caps", excludes.get("caps")), ("without_arches", excludes.get("arches"))):
            if value:
                parts.append(f"{key}={tuple(value)!r}".replace("'", '"'))
        if "minKernel" in includes:
            parts.append(f"kernel={tuple(int(p) for p in includes['minKernel'].split('.'))!r}")
        line = f"    Rule({', '.join(parts)}),"
        if len(line) > 120 and "\n" not in line:
            line = "    Rule(\n        " + ",\n        ".join(parts) + ",\n    ),"
        print(line)
    print(")")


if __name__ == "__main__":
    main(sys.argv[1])
