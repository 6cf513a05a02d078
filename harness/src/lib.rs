//! Conformance harness for WebSocket endpoints that authenticate with a JWT.

pub mod token;
