#!/usr/bin/env python3
"""Writes what a run of mutants.py found: reports/mutants.md.

    mutants_report.py BEFORE [AFTER] [--note TEXT] > reports/mutants.md

BEFORE is a run's results, AFTER those of a later run with `--survivors-of BEFORE`. TEXT says what this run left out.
scripts/mutants_equivalent.toml holds
the mutants that no test can tell from the program, each with the reason.
"""

import argparse
import json
import tomllib
from collections import Counter
from pathlib import Path

from mutant_schemata import CRATES, ROOT

EQUIVALENT = ROOT / "scripts/mutants_equivalent.toml"
CAUGHT = ("caught", "timeout")
TEXT = """# Mutation testing

`scripts/mutants.py` changes one operator, match arm, struct field or function body at a time, and runs the tests: a mutant
that no test notices is a hole in the tests, or *equivalent*: it computes the same. Seed {seed}; before: commit {before}; after:
commit {after}, which tested again what survived before. The score is caught / (tested - equivalent), with the 95 % interval of
Wilson; a mutant that makes a test take five times as long is caught.

The score before estimates that of all viable mutants, from a random sample of them. The score after does not: the new tests
were written for the survivors of this sample. *Not switchable*: in a constant or a pattern, or a body that returns an
`impl Trait`. *Not compiled*: code for Metal; the code for aarch64 is in the count only where it is shared. *Unviable*: rustc
refuses it. The tests are those of CI without libtorch, with captures and without assets.
"""
def wilson(caught, of):
    """The 95 % interval of a proportion. E. B. Wilson (1927), J. Am. Stat. Assoc. 22, 209-212."""
    if of == 0:
        return "-"
    z, p = 1.959964, caught / of
    middle, half = p + z * z / (2 * of), z * (p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5
    low, high = ((middle + sign * half) / (1 + z * z / of) for sign in (-1, 1))
    return f"{100 * p:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def table(rows):
    header, *rows = [" | ".join(map(str, row)) for row in rows]
    return "\n".join(f"| {row} |" for row in [header, "---" + " | ---:" * header.count("|"), *rows]) + "\n"


def report(before, again, note):
    equivalent = {entry["key"]: entry["because"] for entry in tomllib.loads(EQUIVALENT.read_text())["mutant"]}
    head, outcome = before[0], {line["key"]: line for line in before if "key" in line}
    after = outcome | {line["key"]: line for line in again if "key" in line}
    counts = [["crate", "listed", "not switchable", "not compiled", "unviable", "viable", "tested", "caught", "timed out", "survived"]]
    scores = [["crate", "equivalent", "score before", "score after", "open"]]
    for crate in CRATES:
        states, keys = head["census"][crate], [key for key, line in outcome.items() if line["crate"] == crate]
        states = [states.get(state, 0) for state in ("not switchable", "not compiled", "unviable", "viable")]
        outcomes = Counter(outcome[key]["outcome"] for key in keys)
        counts.append([crate, sum(states), *states, len(keys), outcomes["caught"], outcomes["timeout"], outcomes["survived"]])
        real = [key for key in keys if key not in equivalent]
        caught = [sum(found[key]["outcome"] in CAUGHT for key in real) for found in (outcome, after)]
        scores.append([crate, len(keys) - len(real), *(wilson(count, len(real)) for count in caught), len(real) - caught[1]])
    print(TEXT.format(seed=head["seed"], before=head["commit"], after=(again or before)[0]["commit"]))
    print(*([note, ""] if note else []), table(counts), table(scores), sep="\n")
    survivors = [key for key, line in outcome.items() if line["outcome"] not in CAUGHT]
    sections = {
        "Equivalent": [f"{key}`: {equivalent[key]}" for key in survivors if key in equivalent],
        "Caught after": [f"{key}`: `{after[key]['by']}`" for key in survivors if after[key]["outcome"] in CAUGHT],
        "Open": [f"{key}`" for key in survivors if key not in equivalent and after[key]["outcome"] not in CAUGHT],
    }
    for title, lines in sections.items():
        print("\n".join([f"## {title}: {len(lines)}", "", *(f"- `{line}" for line in sorted(lines)), ""]))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("before")
parser.add_argument("after", nargs="?")
parser.add_argument("--note", default="")
options = parser.parse_args()
report(lines_of(options.before), lines_of(options.after) if options.after else [], options.note)
