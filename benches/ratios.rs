//! Ratios from interleaved turns, as a table: the gate to its floor and to `jsonwebtoken`, and the goals that follow.
//!
//! `cargo bench -p gatecrash-benches --bench ratios`; with a part of a name behind `--`, only those. As criterion's benches,
//! it only sees that each runs when `cargo test` calls it, or `--test` is said.

use std::io::{self, Write as _};

use gatecrash_benches::interleaved::{Cost, compare};
use gatecrash_benches::tokens::{Contest, Keys, contests, shapeless};

/// Turns of each. An odd number has a middle.
const ROUNDS: usize = 21;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let says = |word: &str| arguments.iter().any(|argument| argument == word);
    // `cargo bench` says `--bench`; `cargo test` says nothing.
    let rounds = if says("--bench") && !says("--test") { ROUNDS } else { 1 };
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "| token | gate, ns CPU | gate : floor | gate : jsonwebtoken | floor : jsonwebtoken |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    let keys = Keys::generate();
    for Contest { name, tasks } in contests(&keys).into_iter().chain(shapeless()) {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let [gate, floor, library] = &tasks;
        let costs = compare(&[gate, floor, library], rounds);
        let [Cost { nanoseconds, ratios }, floor, _] = &costs[..] else { continue };
        let (to_floor, to_library, floor_to_library) = (ratios[1], ratios[2], floor.ratios[2]);
        writeln!(out, "| {name} | {nanoseconds:.0} | {to_floor:.2} | {to_library:.2} | {floor_to_library:.2} |")?;
        out.flush()?;
    }
    // P8: two tokens before the same gate.
    let all = shapeless();
    if let [short, long, ..] = &all[..] {
        let costs = compare(&[&long.tasks[0], &short.tasks[0]], rounds);
        writeln!(out, "\n64 KB over the cap : 200 bytes without a period = {:.2}", costs[0].ratios[1])?;
    }
    Ok(())
}
