#!/bin/sh
# Installs what the interop servers need into target/interop: a Python venv, a Node directory, a server in Rust, and
# haproxy. Nothing is installed on the machine itself.
#
# usage: setup.sh [python|node|axum|haproxy]...      all when none is named
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
        "$venv/bin/python" -c 'import aiohttp, fastapi, hypercorn, joserfc, jwt, uvicorn' 2>/dev/null; then
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

# In the target folder of the workspace, where most of what it needs is built already.
setup_axum() {
    say "axum: building"
    cargo build --quiet --locked --manifest-path "$here/axum/Cargo.toml" --target-dir "$root/target" ||
        die "cargo build failed"
    mkdir -p "$out/axum"
    # Another name first: a copy of the program may be running.
    cp "$root/target/debug/gatecrash-interop-axum" "$out/axum/new"
    mv "$out/axum/new" "$out/axum/gatecrash-interop-axum"
}

# The verdicts are those of one release line, which is Debian 12's. Its packages are unpacked, not installed, so that no
# service starts and no rights are needed. Where they cannot be had, the other servers are judged without it.
HAPROXY_LINE=2.6
HAPROXY_PACKAGES='haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 libpcre2-8-0 libcrypt1'

setup_haproxy() {
    dir=$out/haproxy
    if haproxy_fits "$dir/haproxy"; then
        say "haproxy: up to date"
        return
    fi
    rm -rf "$dir"
    mkdir -p "$dir/packages"
    if program=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v haproxy) && haproxy_fits "$program"; then
        ln -s "$program" "$dir/haproxy"
        say "haproxy: the one of this machine"
        return
    fi
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 ||
        { without_haproxy "no haproxy $HAPROXY_LINE is installed, and there is no apt to get it from"; return; }
    say "haproxy: unpacking into target/interop/haproxy"
    if ! haproxy_download; then
        # A fresh machine has no package lists; to make them, one must be root.
        apt-get update -qq >/dev/null 2>&1 || true
        haproxy_download || { without_haproxy "apt-get download failed: $(tail -n 1 "$dir/log")"; return; }
    fi
    for package in "$dir"/packages/*.deb; do
        dpkg-deb -x "$package" "$dir/unpacked" || { without_haproxy "dpkg-deb cannot unpack $package"; return; }
    done
    libraries=$(find "$dir/unpacked" -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec "%s" "$@"\n' "$libraries" "$dir/unpacked/usr/sbin/haproxy" >"$dir/haproxy"
    chmod +x "$dir/haproxy"
    haproxy_fits "$dir/haproxy" || without_haproxy "what apt gives is not $HAPROXY_LINE: $("$dir/haproxy" -v 2>&1 | head -n 1)"
}

haproxy_fits() {
    "$1" -v 2>/dev/null | grep -q "^HAProxy version $HAPROXY_LINE\."
}

haproxy_download() {
    # shellcheck disable=SC2086 # several words
    (cd "$dir/packages" && apt-get download -qq $HAPROXY_PACKAGES) >"$dir/log" 2>&1
}

without_haproxy() {
    rm -rf "$dir"
    printf '%s\n' '' "interop setup: SKIPPED: haproxy is NOT judged: $1" '' >&2
}

[ $# -gt 0 ] || set -- python node axum haproxy
for part in "$@"; do
    case $part in
        python) setup_python ;;
        node) setup_node ;;
        axum) setup_axum ;;
        haproxy) setup_haproxy ;;
        *) die "unknown part '$part': python, node, axum or haproxy" ;;
    esac
done
