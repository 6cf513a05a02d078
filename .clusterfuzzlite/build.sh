#!/bin/bash -eu
# Builds every fuzz target into $OUT, each with its seeds and its dictionary. ClusterFuzzLite and OSS-Fuzz run this in
# their image; here it runs with
#
#   SRC=... OUT=... SANITIZER=none FUZZING_LANGUAGE=rust bash .clusterfuzzlite/build.sh
#
# where $SRC/gatecrash is a clone.
cd "$SRC/gatecrash"

# `coverage` and `introspector` of these systems are not cargo-fuzz's: their flags come in RUSTFLAGS.
case "${SANITIZER:-address}" in
    address) sanitizer=address ;;
    *) sanitizer=none ;;
esac
# cargo-fuzz's default: optimised, with debug assertions and overflow checks.
cargo fuzz build -s "$sanitizer"

host=$(rustc -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-fuzz/target}/$host/release
for file in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$file" .rs)
    # The canary fails on purpose, and those to measure against find nothing.
    case $target in canary | baseline_*) continue ;; esac
    cp "$built/$target" "$OUT/"
    zip -jqr "$OUT/${target}_seed_corpus.zip" "fuzz/corpus/$target"
    [ ! -e "fuzz/dict/$target.dict" ] || cp "fuzz/dict/$target.dict" "$OUT/"
    printf '[libfuzzer]\nmax_len = 9000\ntimeout = 10\n' >"$OUT/$target.options"
done
