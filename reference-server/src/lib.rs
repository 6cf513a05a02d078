//! A JWT-guarded WebSocket server that is right, and can be told to be wrong in exactly one named way.

pub mod fault;
pub mod gate;
