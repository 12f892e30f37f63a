#!/usr/bin/env python3
"""Kills sweeps at random moments and compares what they reach with an undisturbed one.

Usage: scripts/kill_test.py EXPERIMENT [KILLS] [MODES] [--seed N] [--sweep PATH] [--keep DIR]
                            [-- ARGUMENTS OF `sweep run`]

Runs EXPERIMENT undisturbed into folder A. Then runs the same command into folder B and kills
(SIGKILL) KILLS times at random moments: the coordinator, a worker, or both (MODES: any of
`coordinator,worker,both`; default all), each time giving the same command again. Then lets it
end and compares, bit for bit: the metrics of every score (from the journals) and the sha256 of
every adapter. Then deletes B's index, rebuilds it, and compares the tables of A, B and rebuilt B.

Prints a summary. Exit code 0: no difference; 1: differences; 2: it could not be tried.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MODES = ["coordinator", "worker", "both"]
# Number of times that the command may be run again at the end before it must have finished.
TRIES_AT_THE_END_MAX = 10


class Sweep:
    """The command under test, on one results folder."""

    def __init__(self, program, experiment, results, arguments):
        self.results = results
        self.program = program
        self.run = [program, "run", experiment, "--results", str(results), *arguments]

    def start(self):
        log = open(self.results.with_suffix(".log"), "ab")
        return subprocess.Popen(
            self.run, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def finish(self):
        """Runs to the end; returns the exit code and the seconds it took."""
        start = time.monotonic()
        code = self.start().wait()
        return code, time.monotonic() - start

    def table(self, experiment_name):
        command = [self.program, "table", experiment_name, "--format", "csv"]
        command += ["--results", str(self.results)]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def rebuild(self):
        for path in self.results.glob("sweep.db*"):
            path.unlink()
        command = [self.program, "index", "rebuild", "--results", str(self.results)]
        subprocess.run(command, check=True, capture_output=True)


def lines(path):
    """The whole lines of a journal; a torn last line is not one."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)["event"]


def scores(results):
    """(run, score) -> metrics, as canonical JSON; a score journalled twice must be equal."""
    found, unequal = {}, []
    for path in sorted(results.glob("runs/*/events.*.jsonl")):
        for event in lines(path):
            if event["kind"] == "score_ended":
                key = (path.parent.name, event["score"])
                metrics = json.dumps(event["metrics"], sort_keys=True)
                if found.setdefault(key, metrics) != metrics:
                    unequal.append(f"score {key[1]} of run {key[0]} was made twice, unequally")
    return found, unequal


def adapters(results):
    paths = sorted(results.glob("runs/*/adapter.safetensors"))
    return {p.parent.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def workers(results):
    """Process ids of the workers of this results folder."""
    found = []
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # It ended while we looked.
        if b"worker" in words[:2] and any(w.startswith(os.fsencode(results)) for w in words):
            found.append(int(proc.name))
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def disturb(sweep, kills, modes, rng, length_s):
    """Kills at random moments; returns what was hit. Stops early when the sweep has finished."""
    hits = dict.fromkeys(modes, 0)
    # Moments spread over the whole sweep, so that all its phases are met.
    gap_s = max(length_s / (kills + 1), 0.05)
    process = sweep.start()
    for number in range(1, kills + 1):
        mode = modes[(number - 1) % len(modes)]
        time.sleep(rng.uniform(0.2, 1.8) * gap_s)
        if process.poll() is not None and process.returncode == 0:
            print(f"  the sweep finished before kill {number}", flush=True)
            return hits, process
        victims = workers(sweep.results) if mode in ("worker", "both") else []
        hit = [kill(pid) for pid in victims]
        if mode in ("coordinator", "both") and process.poll() is None:
            hit.append(kill(process.pid))
        hits[mode] += any(hit)
        print(f"  kill {number}: {mode}, {sum(hit)} process(es)", flush=True)
        if mode in ("coordinator", "both"):
            process.wait()
        if process.poll() is not None:
            process = sweep.start()
    return hits, process


def compare(name, a, b):
    """Differences between two dicts, in words."""
    out = [f"{name} {key}: only in {'A' if key in a else 'B'}" for key in sorted(a.keys() ^ b.keys())]
    out += [f"{name} {key}: {a[key]} != {b[key]}" for key in sorted(a.keys() & b.keys()) if a[key] != b[key]]
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("kills", nargs="?", type=int, default=20)
    parser.add_argument("modes", nargs="?", default=",".join(MODES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sweep", default="target/release/sweep")
    parser.add_argument("--keep", type=pathlib.Path, help="work in this folder and keep it")
    own = sys.argv[1:]
    arguments = own[own.index("--") + 1 :] if "--" in own else []
    args = parser.parse_args(own[: own.index("--")] if "--" in own else own)
    modes = args.modes.split(",")
    if not set(modes) <= set(MODES):
        parser.error(f"modes are {', '.join(MODES)}")
    if not arguments:
        arguments = ["--device", "cpu"]
    folder = args.keep or pathlib.Path(tempfile.mkdtemp(prefix="sweep_kill_"))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {args.seed}, {args.kills} kills of {args.modes}, in {folder}", flush=True)
    a, b = (Sweep(args.sweep, args.experiment, folder / n, arguments) for n in ("A", "B"))

    code, length_s = a.finish()
    if code != 0:
        print(f"the undisturbed sweep ended with {code}; see {folder / 'A.log'}")
        return 2
    print(f"A: undisturbed, {length_s:.1f} s", flush=True)

    hits, process = disturb(b, args.kills, modes, random.Random(args.seed), length_s)
    code = process.wait()
    tries = 0
    while code != 0 and tries < TRIES_AT_THE_END_MAX:
        tries += 1
        code, _ = b.finish()
    problems = []
    if code != 0:
        problems.append(f"the killed sweep does not finish: exit code {code}")

    (scores_a, unequal_a), (scores_b, unequal_b) = scores(a.results), scores(b.results)
    adapters_a, adapters_b = adapters(a.results), adapters(b.results)
    problems += unequal_a + unequal_b
    problems += compare("score", scores_a, scores_b)
    problems += compare("adapter", adapters_a, adapters_b)
    if not scores_a or not adapters_a:
        problems.append("the undisturbed sweep made no scores or no adapters: nothing is compared")

    names = [p.parent.name for p in a.results.glob("experiments/*/journal.jsonl")]
    for name in names:
        table_a, table_b = a.table(name), b.table(name)
        b.rebuild()
        rebuilt = b.table(name)
        if table_a != table_b:
            problems.append(f"table of {name}: B differs from A")
        if table_b != rebuilt:
            problems.append(f"table of {name}: rebuilt B differs from B")

    attempts = sum(1 for _ in b.results.glob("runs/*/events.*.jsonl"))
    print(f"B: {sum(hits.values())} kills hit ({hits}), {attempts} attempts of {len(adapters_b)} runs,")
    print(f"   {tries} more tries at the end")
    print(f"compared {len(scores_a)} scores, {len(adapters_a)} adapters, {len(names)} table(s) three ways")
    for problem in problems:
        print(f"DIFFERENT: {problem}")
    if problems:
        print(f"FAILED, {len(problems)} differences; kept in {folder}")
        return 1
    if not args.keep:
        shutil.rmtree(folder)
    print("PASSED: no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
