//! The only room with sockets, clock and randomness: it dials, plays sessions, and schedules trials and controls.
//!
//! It collects what happened and leaves every verdict to `judge`.

mod connection;
mod diagnose;
mod dial;
mod listener;
mod pace;
mod probe;
mod revival;
mod schedule;
mod session;
mod wallet;

pub use probe::{Wishes, probe};
pub use revival::{Plea, Revival};
pub use schedule::{Interrupt, Options, Stop, run};
// What a step sends is a function of the step; the pages show it.
pub(crate) use session::{request, written};
