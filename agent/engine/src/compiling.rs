//! Compiling one module, in a process that ends after it.
//!
//! Untrusted bytes are parsed here and nowhere else: as a user of its own where
//! the runtime is root, without new privileges, with bounded memory and time.
//! The answer is one line of JSON; no line means that the process died, which
//! is an answer as well.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Pid, Resource};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::engine::Engine;
use crate::records::{self, Compile, Kind};
use crate::{forks, process};

const CPU_S: u64 = 600;
const MEMORY_BYTES: u64 = 8 << 30;
const MOST_MISSING: usize = 50;

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Compiled { kind: Kind, missing: Vec<String> },
    Invalid { invalid: String },
}

/// Compile what the first of the descriptors holds into the second, answer on
/// the third, and end.
pub fn main(engine: &Engine, order: &Compile, fds: Vec<OwnedFd>, init: Pid) -> std::io::Result<()> {
    let (fds, _) = forks::take::<3>(fds)?;
    let [mut module, output, mut news] = fds.map(File::from);
    process::close_all_but(&mut [&module, &output, &news].map(AsRawFd::as_raw_fd))?;
    process::set_name("wasm-node compile")?;
    process::limit(Resource::Core, 0)?;
    process::limit(Resource::Cpu, CPU_S)?;
    process::limit(Resource::As, MEMORY_BYTES)?;
    process::become_user(order.uid)?;
    process::die_with_parent(init)?;
    let mut wasm = Vec::new();
    module.read_to_end(&mut wasm)?;
    let answer = match compile(engine, &wasm, &order.digest) {
        Ok((code, answer)) => {
            (&output).write_all(&code)?;
            answer
        }
        Err(why) => Answer::Invalid { invalid: records::cut(&why) },
    };
    news.write_all(&records::line(&answer))
}

fn compile(engine: &Engine, wasm: &[u8], digest: &str) -> Result<(Vec<u8>, Answer), String> {
    let mut actual = "sha256:".to_owned();
    for byte in Sha256::digest(wasm) {
        write!(actual, "{byte:02x}").expect("memory takes all that is written");
    }
    if digest != actual {
        return Err(format!("the file's digest is {actual}, and {digest} was asked for"));
    }
    let mut compiled = engine.compile(wasm)?;
    compiled.missing.truncate(MOST_MISSING);
    let answer = Answer::Compiled { kind: compiled.kind, missing: compiled.missing };
    Ok((compiled.code, answer))
}
