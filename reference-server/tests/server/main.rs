//! The server over the loopback, with a client of another library's making.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod admission;
mod common;
mod faults;
mod http;
mod logs;
mod messages;
