"""`python -m bench [LINE...]`: print ours, theirs, ratio and spread for every budget; exit 1 when a line is missed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from . import engines, lines
from .report import Row


def main() -> int:
    # A shell that forbids byte code would have every process of ours compile its modules anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the engines are taken down
    wanted = sys.argv[1:]
    chosen: dict[str, Callable[[engines.Engine, engines.Engine], Row]] = {
        name: line for name, line in lines.LINES.items() if not wanted or name in wanted
    }
    if not chosen:
        print(f"no such line; there are: {', '.join(lines.LINES)}", file=sys.stderr)
        return 2
    ours, theirs = engines.wharfie(), engines.dockerd()
    missed = []
    try:
        ours.up()
        theirs.up()
        print(f"{'work':44} {'ours':>12} {'theirs':>12} {'ratio':>7}  {'budget':20} spread of ours")
        for name, line in chosen.items():
            try:
                row = line(ours, theirs)
            except Exception as error:
                print(f"{name:44} failed: {error}", flush=True)
                missed.append(name)
                continue
            print(row.text(), flush=True)
            if not row.kept:
                missed.append(name)
    finally:
        for engine in (ours, theirs):
            if engine.process is not None:
                engine.down()
    print(f"missed: {', '.join(missed)}" if missed else "every budget is kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
