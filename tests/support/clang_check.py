"""Compiles every source of a build that gcc has configured with clang too, for its warnings alone: nothing is written.

    clang_check.py BUILD_DIR JOBS

Needs the build's compile_commands.json and its generated sources. Ends with "N passed, N failed"."""

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

CLANG = "clang-14"


def clang_command(entry):
    words = shlex.split(entry["command"])
    out = words.index("-o")
    return [CLANG, "-Wno-unknown-warning-option", "-fsyntax-only", *words[compiler_words(words):out], *words[out + 2:]]


def compiler_words(words):
    """1, or 2 behind a launcher such as ccache."""
    return 1 if words[1].startswith("-") else 2


def check(entry):
    done = subprocess.run(clang_command(entry), cwd=entry["directory"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    return entry["file"], done.returncode == 0, done.stdout


def main():
    build, jobs = sys.argv[1], int(sys.argv[2])
    with open(os.path.join(build, "compile_commands.json")) as f:
        entries = {entry["file"]: entry for entry in json.load(f)}  # one of those that are in several programs
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(check, entries.values()))
    failed = [(file, text) for file, ok, text in results if not ok]
    for file, text in failed:
        print(f"FAILED  {file}\n{text}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


sys.exit(main())
