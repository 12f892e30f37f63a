"""The steps of scripts/gpu_check.sh.

Each step is a program with a time limit of its own. A step's result is one line of the table: passed,
failed or out of time, seconds, and what it measured. The table is written after each step. Steps that
the time left does not allow are left out, and said so.
"""

import argparse
import glob
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
ALL_S = 420
MODELS = [  # name, side, batch, steps
    ("dinov2_vits14_reg", 518, 16, 20),
    ("dinov2_vitb14_reg", 518, 16, 12),
    ("dinov2_vitl14_reg", 518, 16, 6),
    ("dinov3_vits16", 512, 16, 20),
    ("dinov3_vitb16", 512, 16, 12),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=os.environ.get("OUT", "results/gpu"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--kit", default=str(REPO / "target/gpu_kit/kit.tar.xz"))
    parser.add_argument("--programs", help="a folder with the programs, instead of a kit")
    parser.add_argument("--tiny", action="store_true", help="tiny networks: to try this script")
    return parser.parse_args()


def first(*patterns):
    """The first file that one of the patterns finds."""
    return next((path for pattern in patterns for path in sorted(glob.glob(pattern))), None)


def environment(folder):
    """Where programs find the driver's and NVIDIA's other parts."""
    variables = dict(os.environ)
    packages = [path for path in sys.path if path.endswith("-packages")]
    toolkit = os.environ.get("CUDA_PATH") or first("/usr/local/cuda")
    if not toolkit or not os.path.exists(f"{toolkit}/include/crt/mma.h"):
        toolkit = str(folder)
    variables["CUDA_PATH"] = toolkit
    nvrtc = first(
        f"{toolkit}/lib/libnvrtc.so*", f"{toolkit}/lib64/libnvrtc.so*",
        f"{toolkit}/targets/*/lib/libnvrtc.so*",
        *(f"{path}/nvidia/cuda_nvrtc/lib/libnvrtc.so*" for path in packages),
        *(f"{path}/nvidia/cu1*/lib/libnvrtc.so*" for path in packages),
        *(f"{path}/torch/lib/libnvrtc*.so*" for path in packages),
    )
    if nvrtc:
        library = os.path.dirname(nvrtc)
        # The program asks for names without version, or with 12.
        links = folder / "links"
        links.mkdir(exist_ok=True)
        if not (links / "libnvrtc.so").exists():
            os.symlink(nvrtc, links / "libnvrtc.so")
        variables["LD_LIBRARY_PATH"] = ":".join(
            [str(links), library, os.environ.get("LD_LIBRARY_PATH", "")])
    return variables


class Memory(threading.Thread):
    """The most memory of the GPU that was in use, sampled; MiB, or None without nvidia-smi."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.over = None, threading.Event()
        self.start()

    def run(self):
        ask = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not self.over.wait(0.2):
            try:
                said = subprocess.run(ask, capture_output=True, text=True, timeout=5).stdout
                self.peak = max(self.peak or 0, int(said.split()[0]))
            except (OSError, ValueError, IndexError, subprocess.SubprocessError):
                return


class Check:
    def __init__(self, args):
        self.args = args
        self.begin = time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix="gpu_check"))
        if args.programs:
            self.programs = Path(args.programs).resolve()
        else:
            subprocess.run(["tar", "xf", args.kit, "-C", str(self.folder)], check=True)
            self.programs = self.folder
        self.variables = environment(self.folder)
        self.variables.setdefault("XDG_RUNTIME_DIR", str(self.folder))
        # For the tests alone: the program refuses variables that it does not know.
        self.for_tests = {
            "SWEEP_TEST_DEVICE": args.device,
            "SWEEP_TEST_DATA": str(REPO / "tests/data"),
            "SWEEP_TEST_PROGRAM": str(self.programs / "sweep"),
        }
        self.rows, self.name = [], self.gpu_name()

    def gpu_name(self):
        try:
            ask = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
            return subprocess.run(ask, capture_output=True, text=True, timeout=20).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return ""

    def left_s(self):
        return ALL_S - (time.monotonic() - self.begin)

    def run(self, command, limit_s, kill_after_s=None, **variables):
        """Runs a program; (exit code or None when it ran out of time, its output)."""
        process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=self.folder, env={**self.variables, **variables}, start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=kill_after_s or min(limit_s, self.left_s()))
            return process.returncode, said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            return None, said

    def step(self, name, limit_s, work):
        if self.left_s() < 15:
            self.rows.append({"step": name, "result": "left out: no time", "seconds": 0, "found": ""})
        else:
            begin = time.monotonic()
            try:
                result, found = work(limit_s)
            except Exception as error:  # The table must be written whatever happens.
                result, found = "failed", f"{type(error).__name__}: {error}"
            seconds = round(time.monotonic() - begin, 1)
            self.rows.append({"step": name, "result": result, "seconds": seconds, "found": found})
        print(json.dumps(self.rows[-1]), flush=True)
        self.write()

    def write(self):
        out = Path(self.args.out)
        out.mkdir(parents=True, exist_ok=True)
        title = self.name or self.args.device
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        head = {"gpu": title, "device": self.args.device, "commit": commit(), "steps": self.rows}
        (out / f"{slug}.json").write_text(json.dumps(head, indent=1) + "\n")
        cell = lambda text: str(text).replace("|", "/").replace("\n", "<br>")
        lines = [f"# {title}", "",
                 f"`scripts/gpu_check.sh` at commit {head['commit']}, device `{self.args.device}`.", "",
                 "| step | result | seconds | found |", "| :-- | :-- | --: | :-- |"]
        lines += ["| {} | {} | {} | {} |".format(*(cell(row[key]) for key in
                                                    ("step", "result", "seconds", "found")))
                  for row in self.rows]
        (out / f"{slug}.md").write_text("\n".join(lines) + "\n")

    # The steps.

    def doctor(self, limit_s):
        code, said = self.run([self.programs / "sweep", "doctor"], limit_s)
        lines = [line for line in said.splitlines() if re.match(r"\S+ +device", line)]
        return outcome(code in (0, 3), code), "\n".join(lines)

    def tests(self, program, *arguments):
        def work(limit_s):
            command = [self.programs / program, *arguments, "--test-threads=2"]
            code, said = self.run(command, limit_s, **self.for_tests)
            bad = re.findall(r"^test (\S+) \.\.\. FAILED", said, re.M)
            why = re.findall(r"panicked at [^\n]*\n([^\n]*)", said)
            passed = len(re.findall(r"^test \S+ \.\.\. ok", said, re.M))
            found = [f"{passed} passed"]
            if code:
                found += [f"failed: {', '.join(bad) or said[-300:]}", *why[:6]]
            return outcome(code == 0, code), "\n".join(found)
        return work

    def quickstart(self, limit_s):
        """Killed once, then run to its table; two cells."""
        command = [self.programs / "sweep", "run", REPO / "experiments/quickstart.toml", "--device",
                   self.args.device, "--set", "epochs=2", "--set", "tune={ kind = 'lora', rank = 4 }",
                   "--set", "decoder=linear"]
        quick = {"SWEEP_SCHEDULE_CHECKPOINT_EVERY_S": "1"}
        self.run(command, limit_s, kill_after_s=20, **quick)
        time.sleep(2)
        code, said = self.run(command, limit_s, **quick)
        journals = [path.read_text() for path in self.folder.glob("results/runs/*/events.*.jsonl")]
        resumed = sum("resumed" in journal for journal in journals)
        means = re.findall(r"mIoU ([\d.]+)", said)
        return outcome(code == 0, code), f"attempts that resumed: {resumed}; mIoU {', '.join(means[-2:])}" \
            if code == 0 else said[-400:]

    def start(self, limit_s):
        """Seconds of two runs of two steps one after the other: what a worker must compile."""
        seconds = []
        for seed in (1, 2):
            begin = time.monotonic()
            code, said = self.run(
                [self.programs / "sweep", "run", REPO / "experiments/quickstart.toml", "--device",
                 self.args.device, "--set", "epochs=1", "--set", f"seed={seed}", "--set",
                 "data.n_train=16", "--set", "data.n_val=4", "--set", "dino_type=dinov2", "--set",
                 "tune=frozen", "--set", "decoder=linear", "--set",
                 "eval.corruption={ suite = 'none' }"], limit_s)
            if code:
                return outcome(False, code), said[-400:]
            seconds.append(time.monotonic() - begin)
        return "passed", f"first worker {seconds[0]:.1f} s, second {seconds[1]:.1f} s, in all"

    def throughput(self, model, px, batch, steps, precision):
        def work(limit_s):
            memory = Memory()
            command = [self.programs / "model_step", "--device", self.args.device, "--model", model,
                       "--px", px, "--batch", batch, "--iterations", steps, "--precision", precision]
            code, said = self.run(command, limit_s)
            memory.over.set()
            if code != 0:
                return outcome(False, code), said[-400:]
            ms = json.loads(said.splitlines()[-1])["wall_ms_median"]
            peak = f", {memory.peak / 1024:.1f} GiB" if memory.peak else ""
            return "passed", f"{ms:.1f} ms a step, {batch * 1e3 / ms:.0f} images/s{peak}"
        return work

    def pytorch(self, model, px, batch, steps, compiled):
        def work(limit_s):
            command = [sys.executable, REPO / "scripts/compare_speed.py", "--pytorch-side", "--model",
                       model, "--px", px, "--batch", batch, "--iterations", steps, "--device", "cuda:0",
                       "--precision", "bf16", *(["--compile"] if compiled else [])]
            code, said = self.run(command, limit_s, LD_LIBRARY_PATH=os.environ.get("LD_LIBRARY_PATH", ""))
            if code != 0:
                return outcome(False, code), said.strip().splitlines()[-1][-300:] if said else ""
            found = json.loads(said.splitlines()[-1])
            ms = found["wall_ms_median"]
            return "passed", f"{ms:.1f} ms a step, {batch * 1e3 / ms:.0f} images/s, " \
                             f"{found['gpu_mib'] / 1024:.1f} GiB"
        return work

    def two_at_once(self, limit_s):
        model, px, batch, steps = self.models()[0]
        command = [str(part) for part in (
            self.programs / "model_step", "--device", self.args.device, "--model", model, "--px", px,
            "--batch", batch, "--iterations", 2 * steps, "--precision", self.narrow())]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.variables)
                for _ in range(2)]
        deadline, times = time.monotonic() + min(limit_s, self.left_s()), []
        for process in both:
            try:
                said, _ = process.communicate(timeout=max(1, deadline - time.monotonic()))
                times.append(json.loads(said.splitlines()[-1])["wall_ms_median"])
            except (subprocess.TimeoutExpired, IndexError, ValueError):
                for one in both:
                    one.kill()
                return "failed", "one of two did not end"
        return "passed", f"{sum(batch * 1e3 / ms for ms in times):.0f} images/s together"

    def models(self):
        return [("dinov2_tiny14_reg", 112, 4, 3)] if self.args.tiny else MODELS

    def narrow(self):
        return "bf16" if self.args.device.startswith("cuda") else "f16"


def commit():
    asked = subprocess.run(["git", "-C", str(REPO), "rev-parse", "--short", "HEAD"],
                           capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def outcome(passed, code):
    return "passed" if passed else "out of time" if code is None else f"failed ({code})"


def main():
    args = arguments()
    check = Check(args)
    narrow = check.narrow()
    try:
        check.step("doctor", 30, check.doctor)
        check.step("operations and networks against the CPU's", 130, check.tests(
            "gpu", "--skip", "a_run", "--skip", "a_killed", "--skip", "every_kernel"))
        for model, px, batch, steps in check.models()[:3]:
            check.step(f"{model}, {px} px, batch {batch}, {narrow}", 60,
                       check.throughput(model, px, batch, steps, narrow))
            if args.device.startswith("cuda"):
                check.step(f"PyTorch eager, {model}, bf16", 60,
                           check.pytorch(model, px, batch, steps, False))
        check.step("golden numbers of PyTorch", 60,
                   check.tests("parity", "--skip", "fifty_steps"))
        check.step("quickstart, killed and resumed", 80, check.quickstart)
        check.step("a worker's start", 60, check.start)
        for model, px, batch, steps in check.models()[:1]:
            check.step(f"{model}, {px} px, batch {batch}, f32", 60,
                       check.throughput(model, px, batch, steps, "f32"))
            if args.device.startswith("cuda"):
                check.step(f"PyTorch compiled, {model}, bf16", 90,
                           check.pytorch(model, px, batch, steps, True))
        check.step("two workers on one GPU", 60, check.two_at_once)
        for model, px, batch, steps in check.models()[3:]:
            check.step(f"{model}, {px} px, batch {batch}, {narrow}", 60,
                       check.throughput(model, px, batch, steps, narrow))
    finally:
        shutil.rmtree(check.folder, ignore_errors=True)
    sys.exit(0 if all(row["result"] == "passed" for row in check.rows) else 1)


if __name__ == "__main__":
    main()
