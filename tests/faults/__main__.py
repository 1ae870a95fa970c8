"""The command: `PYTHONPATH=tests python -m faults --files 20000 --kills 1000 --seed 7` (docs/reliability.md)."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from .plan import Options
from .run import run, story


def main() -> int:
    """Run once; 0 if every promise was kept."""
    asked = argparse.ArgumentParser(prog="faults", description=__doc__)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--files", type=int, default=2000)
    asked.add_argument("--kills", type=int, default=100)
    asked.add_argument("--rate", type=float, default=200.0, help="files per second, at most")
    asked.add_argument("--weather", type=float, default=4.0, help="seconds between two faults; 0: none")
    asked.add_argument("--spare", action="store_true", help="with a spare client")
    asked.add_argument(
        "--family", action="store_true", help="every role: mirror, dispatcher, move, fetch, too"
    )
    asked.add_argument("--victims", default="", help="whom to kill, like server,client (default: all)")
    asked.add_argument("--deadline", type=float, default=420.0, help="seconds until all must be quiet")
    asked.add_argument(
        "--folder", type=Path, help="where to do it (kept); else a temporary one, kept on failure"
    )
    asked.add_argument("--json", type=Path, help="write the report there, too")
    said = asked.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleared away
    victims = tuple(filter(None, said.victims.split(",")))
    options = Options(
        seed=said.seed,
        files=said.files,
        kills=said.kills,
        rate=said.rate,
        weather=said.weather,
        spare=said.spare,
        family=said.family,
        victims=victims,
        deadline=said.deadline,
    )
    folder = said.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    report = run(folder, options)
    print(report)
    if said.json:
        said.json.write_text(json.dumps(report.as_dict(), indent=1))
    if not report.wrong:
        if not said.folder:
            shutil.rmtree(folder)
        return 0
    print(*report.wrong[:50], sep="\n")
    print(*(story(folder, options, name) for name in report.names[:5]), sep="\n")
    print(f"the evidence is kept in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
