//! A JWT-guarded WebSocket server that is right, and can be told to be wrong in exactly one named way.
//!
//! It speaks four dialects, the documented interfaces of four real systems, and refuses in either of two styles. Every
//! decision about a token is taken before anything is served. The rooms, in the order a request walks through them:
//!
//! | room | its question |
//! |---|---|
//! | [`server`](Server) | who may connect at all, for how long, and when does it end? |
//! | `transport` | are its bytes encrypted, and for which host? |
//! | `opening` | is this a WebSocket handshake (RFC 6455 §4.2.1)? |
//! | `carrier` | where in the request is the token? |
//! | [`gate`] | is the token believed? |
//! | `auth_service` | what does the service that issued it say? |
//! | `hub` | is there room for one more connection of this user? |
//! | `refusal` | how is a refusal told in this dialect and style? |
//! | `talk` | what is answered to a message? |
//! | `deflate` | is compression agreed on, and what does it make of a message? |
//! | `session` | the socket after the upgrade: reading, writing, closing |
//! | `http` | everything that is not the WebSocket endpoint |
//!
//! A [`Fault`] makes one of these decisions wrong; what takes more than a line lies in `faulty`, what is
//! wrong about frames in `wire_faults`, on a layer (`stream`) that is there for nothing else but it and compression,
//! and what is wrong about the head of a request in `head_faults`, before hyper reads it.

mod admission;
mod app;
mod auth_service;
mod carrier;
mod clock;
mod config;
mod deflate;
mod dialect;
pub mod fault;
mod faulty;
mod fetch;
mod first_message;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
mod head_faults;
mod http;
mod hub;
mod opening;
mod origin;
mod refusal;
mod server;
mod session;
mod socket;
mod stream;
mod talk;
mod transport;
mod wire_faults;

pub use carrier::Carrier;
pub use clock::Clock;
pub use config::{Config, ConfigError, Environment, Limits, PlanLimit, RefusalStyle, UnknownRefusalStyle, User};
pub use dialect::{Dialect, UnknownDialect};
pub use fault::{Fault, UnknownFault};
pub use jsonwebtoken;
pub use server::Server;
pub use transport::Tls;
