#!/usr/bin/env python3
"""Mutation testing in one build: every mutant is compiled in, and an environment variable switches one on.

    mutants.py RESULTS [--seed 1] [--per-crate 150] [--shard 1/1] [--survivors-of RESULTS] [--own] [--longest SECONDS]

Lists the mutants of four crates (`cargo mutants --list`), writes all of them into a copy of the working tree, and drops what
rustc does not compile. Of the rest, it tests the first of each crate in the order of a hash of the seed and the mutant: first in
builds with the crates' own tests, then what is left in one build with the tests of the workspace. Each test
runs alone once and records the mutants that it reaches; then each mutant meets the tests that reach it, the quickest first,
until one fails or takes five times as long. RESULTS is one JSON line per mutant; a run that was stopped goes on where it
was. `--survivors-of` tests again what survived an earlier run. scripts/mutants_report.py makes the report.

The tests are those of CI without libtorch: `cargo test --workspace --release`, and the tests that need captures where
SOUNDALIKE_CAPTURES is set. Needs Linux, and `cargo install cargo-mutants --locked` (27.1). Everything lies in target/mutants.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections import Counter, defaultdict
from pathlib import Path

from mutant_schemata import CRATES, ROOT, SWITCHES, TREE, WORK, Mutant, Source, cargo, write

PARSER = ["tree-sitter==0.26.1", "tree-sitter-rust==0.24.2"]
JOBS = 2
# Tests that take longer, in seconds, run alone.
QUICK = 1.0
# A mutant that allocates without bound must fail rather than take the machine's memory.
ADDRESS_SPACE = 12 << 30


class Test:
    def __init__(self, binary, directory, name, options):
        self.binary, self.directory, self.name, self.options = binary, directory, name, options
        self.seconds, self.reached = 0.0, set()

    def measure(self):
        """Runs alone, without a mutant, and fails if the test does. What was measured is kept for the next run."""
        identity = f"{self.binary} {os.path.getmtime(self.binary)} {self.name}"
        known = WORK / "measured" / hashlib.sha256(identity.encode()).hexdigest()
        if not known.exists():
            file = known.with_suffix(".reached")
            file.write_text("")
            start = time.monotonic()
            if run_tests([self], {"MUTANTS_REACHED": str(file)}, 3600) != "passed":
                print(f"{self.name} of {self.binary} fails without a mutant, and is left out", file=sys.stderr)
                file.write_text("")
            found = {"seconds": time.monotonic() - start, "reached": sorted(set(map(int, file.read_text().split())))}
            known.write_text(json.dumps(found))
            file.unlink()
        found = json.loads(known.read_text())
        self.seconds, self.reached = found["seconds"], set(found["reached"])


def run_tests(tests, variables, timeout):
    first = tests[0]
    command = ["nice", "-n", "10", first.binary, "--exact", "--test-threads=1", *first.options, *(test.name for test in tests)]
    process = subprocess.Popen(
        command, cwd=first.directory, env=os.environ | {"TMPDIR": str(WORK / "tmp")} | variables, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE)),
    )
    try:
        return "failed" if process.wait(timeout) else "passed"
    except subprocess.TimeoutExpired:
        return "timeout"
    finally:
        # Also the programs that a test has started.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def tests_of(packages):
    """The tests of CI of these packages, compiled with the mutants that were written last."""
    messages = cargo(["cargo", "test", *packages, "--release", "--no-run", "--message-format=json"])
    if not messages or not messages[-1].get("success"):
        sys.exit("mutants.py: the tests do not compile with the mutants in them: run `cargo test --no-run` in " + str(TREE))
    kinds = [[]] + ([["--ignored"]] if "SOUNDALIKE_CAPTURES" in os.environ else [])
    for message in messages:
        if message["reason"] != "compiler-artifact" or not message["profile"]["test"] or not message["executable"]:
            continue
        binary, directory = message["executable"], Path(message["manifest_path"]).parent
        for options in kinds:
            listed = subprocess.run([binary, "--list", "--format=terse", *options], capture_output=True, text=True, check=True)
            ignored = subprocess.run([binary, "--list", "--format=terse", "--ignored"], capture_output=True, text=True, check=True)
            names = set(listed.stdout.splitlines()) - (set() if options else set(ignored.stdout.splitlines()))
            for name in sorted(name.removesuffix(": test") for name in names if name.endswith(": test")):
                if not options or "captures::" in name:
                    yield Test(binary, directory, name, options)


def trial(mutant, tests):
    """The outcome of a mutant, and the test or tests that decided it."""
    chunks = defaultdict(list)
    for test in tests:
        if mutant.number in test.reached:
            chunks[test.binary, *test.options, None if test.seconds < QUICK else test.name].append(test)
    for chunk in sorted(chunks.values(), key=lambda chunk: sum(test.seconds for test in chunk)):
        timeout = 20 + 5 * sum(test.seconds for test in chunk)
        outcome = run_tests(chunk, {"MUTANT": str(mutant.number)}, timeout)
        if outcome != "passed":
            by = f"{Path(chunk[0].binary).name.rsplit('-', 1)[0]}: {chunk[0].name}{' and others' * (len(chunk) > 1)}"
            return {"failed": "caught", "timeout": "timeout"}[outcome], by
    return "survived", None


def copy_tree():
    """Copies the working tree but the sources that have mutants. What it lacks is deleted in the copy as well."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = {os.fsdecode(file) for file in listed.stdout.split(b"\0") if file and (ROOT / os.fsdecode(file)).is_file()}
    mutated = tuple(f"crates/{crate}/src/" for crate in CRATES)
    for file in files:
        if not file.startswith(mutated) or not file.endswith(".rs"):
            write(file, (ROOT / file).read_bytes())
            shutil.copymode(ROOT / file, TREE / file)
    for path in list(TREE.rglob("*")):
        if path.is_file() and str(path.relative_to(TREE)) not in files | SWITCHES:
            path.unlink()
    for directory in ["measured", "tmp"]:
        (WORK / directory).mkdir(exist_ok=True)


def listed_mutants():
    packages = [option for crate in CRATES for option in ("-p", f"soundalike-{crate}")]
    found = subprocess.run(["cargo", "mutants", "--list", "--json", *packages], cwd=ROOT, capture_output=True, check=True)
    return [Mutant(number, listed) for number, listed in enumerate(json.loads(found.stdout), 1)]


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if path and Path(path).exists() else []


def run(options):
    copy_tree()
    mutants = listed_mutants()
    source = Source(mutants)
    source.check()
    census = {crate: Counter(mutant.state for mutant in mutants if mutant.crate == crate) for crate in CRATES}
    rank = {mutant: hashlib.sha256(f"{options.seed} {mutant.key}".encode()).hexdigest() for mutant in mutants}
    again = {line["key"] for line in lines_of(options.survivors_of) if line.get("outcome") == "survived"}
    chosen = []
    for crate in CRATES:
        viable = sorted((m for m in mutants if m.crate == crate and m.state == "viable"), key=rank.get)
        chosen += [m for m in viable if m.key in again] if options.survivors_of else viable[: options.per_crate]
    shard, shards = map(int, options.shard.split("/"))
    chosen = chosen[shard - 1 :: shards]
    done = {line.get("key") for line in lines_of(options.results)}
    chosen = [mutant for mutant in chosen if mutant.key not in done]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    left = []
    with open(options.results, "a", buffering=1) as results:
        print(json.dumps({"seed": options.seed, "commit": commit, "census": census}), file=results)

        def record(mutant, outcome, by=None):
            print(json.dumps({"key": mutant.key, "crate": mutant.crate, "outcome": outcome, "by": by}), file=results)

        def survivors(mutants, packages):
            """Runs the tests of `packages` on each mutant. Yields those that no test catches."""
            source.write(set(mutants))
            tests = list(tests_of(packages))
            print(f"{len(mutants)} mutants, {len(tests)} tests", file=sys.stderr)
            with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
                list(pool.map(Test.measure, tests))
                tests = [test for test in tests if test.seconds <= options.longest]
                for mutant, (outcome, by) in zip(mutants, pool.map(lambda mutant: trial(mutant, tests), mutants)):
                    if outcome == "survived":
                        yield mutant
                    else:
                        record(mutant, outcome, by)

        # A switch in the loops of the kernels makes everything slow that depends on them.
        for crates in CRATES[:1], CRATES[1:]:
            own = [mutant for mutant in chosen if mutant.crate in crates]
            if own:
                left += survivors(own, [option for crate in crates for option in ("-p", f"soundalike-{crate}")])
        for mutant in left if options.own or not left else survivors(left, ["--workspace"]):
            record(mutant, "survived")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-crate", type=int, default=150)
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--survivors-of", metavar="RESULTS")
    parser.add_argument("--own", action="store_true", help="only the tests of the mutant's crate, and of those built with it")
    parser.add_argument("--longest", type=float, default=float("inf"), metavar="SECONDS", help="leaves out longer tests")
    options = parser.parse_args()
    python = WORK / "venv/bin/python"
    if Path(sys.prefix) != WORK / "venv":
        venv.create(WORK / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PARSER], check=True)
        os.execv(python, [python, *sys.argv])
    run(options)


main()
