#!/bin/sh
# Installs what the interop servers need into target/interop: a Python venv, and a Node directory.
#
# usage: setup.sh [python|node]...      both when none is named
#
# Run again, it does nothing while the requirement files are the ones it installed.
# PYTHON names another interpreter than python3.11 or python3.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../../.." && pwd)
out=$root/target/interop

say() { printf 'interop setup: %s\n' "$*"; }
die() { printf 'interop setup: error: %s\n' "$*" >&2; exit 1; }

setup_python() {
    if [ -z "${PYTHON:-}" ]; then
        PYTHON=python3.11
        "$PYTHON" -c '' 2>/dev/null || PYTHON=python3
    fi
    "$PYTHON" -c '' 2>/dev/null ||
        die "$PYTHON does not run: install Python 3.11 or later, or name one in PYTHON"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$PYTHON is older than Python 3.11: name another one in PYTHON"

    venv=$out/venv
    stamp=$venv/requirements.stamp
    if cmp -s "$here/python/requirements.txt" "$stamp" &&
        "$venv/bin/python" -c 'import fastapi, joserfc, jwt, uvicorn' 2>/dev/null; then
        say "python: up to date"
        return
    fi

    say "python: installing into target/interop/venv"
    rm -rf "$venv"
    "$PYTHON" -m venv "$venv" ||
        die "$PYTHON cannot make a venv: on Debian and Ubuntu, install python3-venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        -r "$here/python/requirements.txt" || die "pip install failed"
    "$venv/bin/python" -m pip check --quiet --disable-pip-version-check ||
        die "requirements.txt does not list every dependency"
    cp "$here/python/requirements.txt" "$stamp"
}

setup_node() {
    command -v node >/dev/null 2>&1 || die "node is not there: install Node.js 20 or later"
    command -v npm >/dev/null 2>&1 || die "npm is not there: it comes with Node.js"
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' ||
        die "node is older than 20: $(node --version)"

    dir=$out/node
    mkdir -p "$dir"
    # Beside node_modules, where their imports are found; a copy costs nothing and is never stale.
    cp "$here"/node/*.mjs "$dir/"
    if [ -d "$dir/node_modules" ] &&
        cmp -s "$here/node/package.json" "$dir/package.json" &&
        cmp -s "$here/node/package-lock.json" "$dir/lock.stamp"; then
        say "node: up to date"
        return
    fi

    say "node: installing into target/interop/node"
    rm -f "$dir/lock.stamp"
    cp "$here/node/package.json" "$here/node/package-lock.json" "$dir/"
    npm ci --prefix "$dir" --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error ||
        die "npm ci failed"
    cp "$here/node/package-lock.json" "$dir/lock.stamp"
}

[ $# -gt 0 ] || set -- python node
for part in "$@"; do
    case $part in
        python) setup_python ;;
        node) setup_node ;;
        *) die "unknown part '$part': python or node" ;;
    esac
done
