//! wasm-node's own engine, as a Python extension that Python calls once.
//!
//! A worker costs what it copies of its parent. With an interpreter in it that
//! is 3.6 MiB and 8 ms of CPU, most of it pages of Python's heap that are copied
//! when a reference count changes. So from the fork server's loop on nothing
//! here is Python's: `serve` never returns to the interpreter, whose pages its
//! children share and leave alone. `wasm_node.runtime.forkserver` is the same
//! for hosts without this; `docs/architecture.md` says which does what.

#![cfg_attr(not(feature = "python"), allow(dead_code))] // what tests do not reach

mod compiling;
mod crilog;
mod engine;
mod forks;
mod grants;
mod guest;
mod lookups;
mod news;
mod outcomes;
mod outgoing;
mod output;
mod process;
mod records;
mod serving;
mod streams;
mod worker;

#[cfg(feature = "python")]
#[pyo3::pymodule]
mod wasm_node_engine {
    use pyo3::prelude::*;

    /// Be the fork server, until killed; raises `OSError` if it cannot go on.
    ///
    /// `link` is the descriptor of its end of the socket to the supervisor,
    /// `bell` where workers say that there is news of them, `init` the pid of
    /// its parent, whose children the workers are to be.
    #[pyfunction]
    fn serve(link: i32, bell: i32, init: i32) -> PyResult<()> {
        Ok(crate::forks::serve(link, bell, init)?)
    }
}
