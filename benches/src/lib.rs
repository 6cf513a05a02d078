//! Criterion benches of the token parser and the handshake.
