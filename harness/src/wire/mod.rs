//! The wire: opening requests, answers and frames as bytes, legal or illegal.
//!
//! Everything here is a total function between bytes and plain values. Nothing is refused because it breaks a rule:
//! illegal input is data, and what the server really sent is kept whatever a library would think of it. No sockets.

pub mod answer;
pub mod deflate;
pub mod frame;
pub mod opening;
