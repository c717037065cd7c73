//! A worker that serves HTTP: many guests of one program, on one thread.
//!
//! `server` accepts from its `doors` and ends; `answering` is one request, and
//! `exchange` what bounds it; `instances` (with `service` for WASI 0.3) and
//! `runs` (with `cgi`) are what answers; `admin` is the agent's way in, and `ticking` takes the thread from
//! guests that would keep it. What idles has no timer.

mod admin;
mod answering;
mod cgi;
mod doors;
mod exchange;
mod instances;
mod runs;
mod server;
mod service;
mod stats;
mod ticking;

pub use doors::Doors;
pub use server::{Server, Source};
