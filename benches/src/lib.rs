//! What the benches measure, and with what: the gate and its yardsticks, the harness's rooms, and a way to compare.
//!
//! A bench that compares two different things is worse than none; the tests here hold every yardstick to the answers of
//! what it is held against.

pub mod interleaved;
pub mod pipe;
pub mod rooms;
pub mod tokens;

use std::fmt;

/// Something that is done over and over: its set-up is over when it is here.
pub struct Task {
    /// Its name in every output.
    pub name: String,
    run: Box<dyn Fn()>,
}

impl Task {
    /// A task that does this.
    pub fn new(name: impl Into<String>, run: impl Fn() + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }

    /// Does it once.
    pub fn run(&self) {
        (self.run)();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name).finish_non_exhaustive()
    }
}
