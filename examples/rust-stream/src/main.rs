//! Sends five events, one a second, each as it happens (server-sent events).
//!
//! It is run once per request, as by CGI: what it prints is the answer.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(b"Content-Type: text/event-stream\r\n\r\n")?;
    for number in 1..=5 {
        write!(out, "data: event {number}\n\n")?;
        out.flush()?;
        sleep(Duration::from_secs(1));
    }
    Ok(())
}
