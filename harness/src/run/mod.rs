//! The only room with sockets, clock and randomness: it dials, plays sessions, and schedules trials and controls.
//!
//! It collects what happened and leaves every verdict to `judge`.

mod connection;
mod diagnose;
mod dial;
mod group;
mod listener;
mod options;
mod pace;
mod played;
mod probe;
mod revival;
mod runner;
mod schedule;
mod session;
mod wallet;

pub use options::{Interrupt, Options, Stop};
pub use probe::{Wishes, probe};
pub use revival::{Plea, Revival};
pub use schedule::run;
// What a step sends is a function of the step; the pages show it.
pub(crate) use session::{request, written};
