//! The texts under `scenarios/`, as they were when this crate was built.

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
