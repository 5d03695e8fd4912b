"""All mutants of the four crates in one copy of the tree, each behind a switch (mutant schemata). mutants.py imports it.

A mutant is written as `(if !on(17) { a + b } else { a - b })`, where `on` reads an environment variable once.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "mutants"
TREE = WORK / "tree"
CRATES = ["kernels", "model", "diarize", "convert"]
SWITCHES = {f"crates/{crate}/src/mutants.rs" for crate in CRATES}

# The switch, a module of each crate. `0` is no mutant; the two largest are states, so that a test costs one comparison.
SWITCH = """
//! Which mutant is on.
use std::{collections::BTreeSet, io::Write, sync::{Mutex, atomic::{AtomicU32, Ordering::Relaxed}}};
static ON: AtomicU32 = AtomicU32::new(u32::MAX);
static REACHED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
#[deprecated]
#[inline(always)]
pub(crate) fn on(mutant: u32) -> bool {
    let on = ON.load(Relaxed);
    on == mutant || (on >= u32::MAX - 1 && record(mutant))
}
#[cold]
fn record(mutant: u32) -> bool {
    let number = std::env::var("MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(0);
    let Ok(file) = std::env::var("MUTANTS_REACHED") else {
        ON.store(number, Relaxed);
        return number == mutant;
    };
    ON.store(u32::MAX - 1, Relaxed);
    if REACHED.lock().unwrap().insert(mutant) {
        let mut file = std::fs::File::options().append(true).create(true).open(file).unwrap();
        file.write_all(format!("{mutant}\\n").as_bytes()).unwrap();
    }
    false
}
"""


class Mutant:
    """A change of one expression, arm or body, and what became of it: `state`."""

    def __init__(self, number, listed):
        self.number, self.file, self.genre = number, listed["file"], listed["genre"]
        self.crate = self.file.split("/")[1]
        self.span, self.replacement = listed["span"], listed["replacement"]
        self.returns = (listed["function"] or {}).get("return_type", "")
        self.what = listed["name"].split(": ", 1)[1]
        self.state = "viable"
        self.key = None


def expression(mutant, text, root):
    """The node that a mutant changes, and the node's text with the change."""
    lines = text.split(b"\n")

    def offset(at):
        line = lines[at["line"] - 1].decode()[: at["column"] - 1]
        return sum(len(line) + 1 for line in lines[: at["line"] - 1]) + len(line.encode())

    start, end = offset(mutant.span["start"]), offset(mutant.span["end"])
    node = root.descendant_for_byte_range(start, end)
    kinds = {
        "BinaryOperator": ["binary_expression", "compound_assignment_expr"],
        "UnaryOperator": ["unary_expression"],
        "MatchArm": ["match_arm"],
        "MatchArmGuard": [node.type],
        "StructField": ["struct_expression"],
        "FnValue": ["function_item"],
    }[mutant.genre]
    while node and node.type not in kinds:
        # Tokens of a macro have no structure, and its expressions may not be one.
        node = None if node.type == "token_tree" else node.parent
    if node is None:
        return None, None
    if mutant.genre == "StructField" and text[end:end + 1] == b",":
        end += 1
    changed = text[node.start_byte : start] + mutant.replacement.encode() + text[end : node.end_byte]
    return node, (mutant.replacement.encode() if mutant.genre == "FnValue" else changed)


def instrument(text, mutants, root):
    """The source with the mutants in it. Comments mark where each one's text is, `/*<17*/ .. /*17>*/`, and what it changes,
    `/*[17*/ .. /*17]*/`: there, the compiler's errors are its own."""
    before, after = defaultdict(list), defaultdict(list)
    for mutant in mutants:
        node, changed = expression(mutant, text, root)
        n = mutant.number
        switch = "crate::mutants::on(%d)" % n
        opening, closing = "/*[%d*/" % n, "/*%d]*/" % n
        alternative = "/*<%d*/%s/*%d>*/" % (n, changed.decode(), n)
        if mutant.genre == "FnValue":
            body = node.child_by_field_name("body")
            before[body.start_byte + 1, -10**9].append(f"{opening}if {switch} {{ return {alternative}; }}{closing}")
        elif mutant.genre == "MatchArm":
            pattern = node.child_by_field_name("pattern")
            guard = pattern.child_by_field_name("condition")
            at = guard or pattern
            # Before the guard's own mutants, which lie within the parentheses.
            open_, close = (f"!{switch} && (", ")") if guard else ("", f" if !{switch}")
            before[at.start_byte, -10**9].append(open_)
            after[at.end_byte, 10**9].append(close)
            # Where an arm cannot be missing, rustc names the whole match.
            match = node.parent.parent
            before[match.start_byte, match.start_byte - match.end_byte].append(opening)
            after[match.end_byte, 0].append(closing)
        else:
            # Of two that begin at one place, the longer opens first; of two that end at one place, it closes last.
            length = node.end_byte - node.start_byte
            before[node.start_byte, -length].insert(0, f"{opening}(if !{switch} {{ ")
            after[node.end_byte, length].append(f" }} else {{ {alternative} }}){closing}")
    pieces, last = [], 0
    marks = [(at, 1, order, marks) for (at, order), marks in before.items()]
    marks += [(at, 0, order, marks) for (at, order), marks in after.items()]
    for at, _, _, found in sorted(marks, key=lambda mark: mark[:3]):
        pieces += [text[last:at], "".join(found).encode()]
        last = at
    return b"".join(pieces) + text[last:]


class Source:
    """The four crates of the copy, written anew with the mutants that are still viable."""

    def __init__(self, mutants):
        import tree_sitter
        import tree_sitter_rust

        parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
        self.mutants = mutants
        files = [file for crate in CRATES for file in sorted((ROOT / f"crates/{crate}/src").rglob("*.rs"))]
        self.text = {str(file.relative_to(ROOT)): file.read_bytes() for file in files}
        self.root = {file: parser.parse(text).root_node for file, text in self.text.items()}
        # Two mutants of one text, such as `a * b` twice in a function, differ by their place among them.
        seen = Counter()
        for mutant in mutants:
            node, _ = expression(mutant, self.text[mutant.file], self.root[mutant.file])
            if node is None or (mutant.genre == "FnValue" and "impl " in mutant.returns):
                mutant.state = "not switchable"
            source = " ".join(node.text.decode().split())[:80] if node else ""
            key = f"{mutant.file}: {mutant.what}: {source}"
            seen[key] += 1
            mutant.key = f"{key} #{seen[key]}"

    def write(self, chosen=None):
        for file in SWITCHES:
            write(file, SWITCH.encode())
        for file, text in self.text.items():
            own = [mutant for mutant in self.mutants if mutant.file == file and mutant.state == "viable"]
            text = instrument(text, [mutant for mutant in own if chosen is None or mutant in chosen], self.root[file])
            write(file, text + b"\nmod mutants;\n" * file.endswith("src/lib.rs"))

    def check(self):
        """Asks rustc until it compiles what is left. `mutants::on` is deprecated so that rustc names all calls it compiled.
        The answer is kept for the next run on the same sources."""
        cache = WORK / "states.json"
        sources = hashlib.sha256(repr(sorted(self.text.items())).encode()).hexdigest()
        known = json.loads(cache.read_text()) if cache.exists() else {}
        if known.get("sources") == sources:
            for mutant in self.mutants:
                mutant.state = known["states"][mutant.key]
            return
        while True:
            self.write()
            command = ["cargo", "check", "--release", "--message-format=json"]
            found = cargo(command + [option for crate in CRATES for option in ("-p", f"soundalike-{crate}")])
            messages = [line["message"] for line in found if line["reason"] == "compiler-message"]
            errors = [message for message in messages if message["level"].startswith("error") and message["spans"]]
            if not errors:
                break
            dropped = sum(self.drop(span) for error in errors for span in error["spans"] if span["is_primary"])
            print(f"{len(errors)} errors, {dropped} mutants dropped", file=sys.stderr)
            if not dropped:
                sys.exit("mutants.py: " + errors[0]["rendered"])
        compiled = set()
        for message in messages:
            for span in message["spans"]:
                call = (TREE / span["file_name"]).read_bytes()[span["byte_start"] :][:20]
                compiled |= {int(number) for number in re.findall(rb"^on\((\d+)\)", call)}
        for mutant in self.mutants:
            if mutant.state == "viable" and mutant.number not in compiled:
                mutant.state = "not compiled"
        cache.write_text(json.dumps({"sources": sources, "states": {mutant.key: mutant.state for mutant in self.mutants}}))

    def drop(self, span):
        """Gives up the mutant in whose text an error is; else the innermost around it, which cannot be switched there."""
        text = (TREE / span["file_name"]).read_bytes()
        for opening, closing, state in [(b"<", b">", "unviable"), (b"[", b"]", "not switchable")]:
            pattern = rb"/\*%b(\d+)\*/" % re.escape(opening)
            around = []
            for found in re.finditer(pattern, text[: span["byte_start"] + 1]):
                end = text.find(b"/*%b%b*/" % (found[1], closing), found.end())
                if end >= span["byte_start"]:
                    around.append(int(found[1]))
            if around:
                mutant = self.mutants[around[-1] - 1]
                dropped, mutant.state = mutant.state == "viable", state
                return dropped
        return False


def write(file, text):
    """Writes a file of the copy, unless it has this text already: cargo goes by the time."""
    path = TREE / file
    if not path.exists() or path.read_bytes() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def cargo(command, cwd=TREE):
    """The messages of a command of cargo, which may fail."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(WORK / "build"), "CARGO_INCREMENTAL": "0"}
    found = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith(b"{")]
