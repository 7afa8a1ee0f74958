"""Runs the tests: each theme of each client is a process of its own, with servers of its own."""

import argparse
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

THEMES = ("kills", "cuts", "records", "reading", "topics", "refusals", "sizes", "access", "json", "trimmed")
# What kafkajs is left out of: it reads in groups alone.
READING = ("reading", "trimmed")
NAMES = ("kcat", "confluent", "kafka-python", "aiokafka", "kafkajs")
# Seconds for one theme of one client.
LIMIT = 400


def options():
    parser = argparse.ArgumentParser(prog="run")
    parser.add_argument("command")
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--dir", help=argparse.SUPPRESS)
    return parser.parse_args()


def jobs(only):
    """Themes with their clients. Names of clients choose among them, and names of themes too."""
    wanted = {name for name in only.split(",") if name}
    unknown = wanted - set(THEMES) - set(NAMES)
    if unknown:
        sys.exit(f"there is no {', '.join(sorted(unknown))}; --list shows what there is")
    themes = [theme for theme in THEMES if theme in wanted] or THEMES
    names = [name for name in NAMES if name in wanted] or NAMES
    return [(theme, name) for theme in themes for name in names if name != "kafkajs" or theme not in READING]


def job(given):
    """One theme of one client, in this process."""
    import server
    import theme_kills

    server.settings.update(command=given.command, dir=given.dir)
    theme_kills.settings["seed"] = given.seed
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    from clients import CLIENTS

    theme, name = given.job
    client = next(client for client in CLIENTS if client.name == name)
    import_module(f"theme_{theme}").run(client)
    print("done", flush=True)
    # Threads of clients do not hold the process up.
    os._exit(0)


class Results:
    def __init__(self):
        self.lock = threading.Lock()
        self.passed = 0
        self.failed = []

    def line(self, text):
        with self.lock:
            print(text, flush=True)

    def take(self, theme, name, line):
        kind, _, text = line.partition(" ")
        full = f"{theme}, {name}: {text}"
        if kind == "ok":
            self.passed += 1
            self.line(f"ok    {full}")
        elif kind == "FAIL":
            self.fail(full)
        elif kind == "note":
            self.line(f"      {full}")
        elif line.startswith("     "):
            self.line(line)

    def fail(self, text):
        with self.lock:
            self.failed.append(text)
            print(f"FAIL  {text}", flush=True)


def start(given, directory, results, theme, name):
    """A job in a process group of its own, so that its servers end with it."""
    errors = directory / f"{theme}-{name}.log"
    args = [sys.executable, __file__, given.command, "--job", theme, name, "--dir", str(directory)]
    with open(errors, "wb") as log:
        process = subprocess.Popen(
            [*args, "--seed", str(given.seed)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            text=True, start_new_session=True,
        )
    clock = threading.Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
    clock.start()
    done = False
    for line in process.stdout:
        line = line.rstrip("\n")
        done |= line == "done"
        results.take(theme, name, line)
    process.wait()
    clock.cancel()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if not done:
        tail = errors.read_text(errors="replace")[-1500:]
        results.fail(f"{theme}, {name}: did not come to its end (status {process.returncode})\n{tail}")


def main():
    given = options()
    chosen = jobs(given.only)
    if given.list:
        print("themes:", *THEMES)
        print("clients:", *NAMES)
        return 0
    if given.job:
        return job(given)
    if not os.access(given.command, os.X_OK):
        sys.exit(f"{given.command} is no program")
    given.command = str(Path(given.command).resolve())
    directory = Path(tempfile.mkdtemp(prefix="kafka-clients-"))
    began = time.monotonic()
    results = Results()
    print(f"seed {given.seed}", flush=True)
    try:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda one: start(given, directory, results, *one), chosen))
    finally:
        if given.keep:
            print(f"logs: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"\nKafka clients, {time.monotonic() - began:.0f} s")
    for text in results.failed:
        print(f"FAIL  {text}")
    print(f"{results.passed} passed, {len(results.failed)} failed")
    return 1 if results.failed or not results.passed else 0


if __name__ == "__main__":
    sys.exit(main())
