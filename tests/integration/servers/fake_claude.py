"""A command that plays a script in place of `claude -p` (or `openclaw agent exec`): lines on stdout, words on stderr, an exit status.

`fake_claude.py SCRIPT ARGUMENTS…`: SCRIPT is a JSON file, a list of acts: {"say": event}, {"raw": text}, {"cry": text on stderr},
{"brood": true} (a child in a session of its own, and an event that names both pids), {"hold": true} (until it is ended), {"exit": n}.
What it was given goes to SCRIPT.given: argv, stdin, cwd, environment; one JSON object a line for each start."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def main() -> int:
    script = Path(sys.argv[1])
    given = {"argv": sys.argv[2:], "stdin": sys.stdin.read(), "cwd": os.getcwd(), "env": dict(os.environ)}
    with script.with_suffix(".given").open("a") as file:
        file.write(json.dumps(given) + "\n")
    for act in json.loads(script.read_text()):
        if "say" in act:
            print(json.dumps(act["say"]), flush=True)
        elif "raw" in act:
            print(act["raw"], flush=True)
        elif "cry" in act:
            print(act["cry"], file=sys.stderr, flush=True)
        elif "brood" in act:
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            print(json.dumps({"type": "pids", "subtype": f"{os.getpid()} {child.pid}"}), flush=True)
        elif "hold" in act:
            signal.pause()
        elif "kill" in act:
            os.kill(os.getpid(), signal.SIGKILL)
        elif "exit" in act:
            return int(act["exit"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
