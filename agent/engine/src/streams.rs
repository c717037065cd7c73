//! Where a guest's streams go: into the log of its attempt, or to descriptors of
//! whoever runs it beside an attempt.
//!
//! Such a descriptor is somebody else's as well, so its mode is left as it is. To
//! wait for it is to ask the kernel first, and then to read or write no more than
//! goes through at once; a file is always ready. Nothing is kept here: a reader
//! that is slow holds the guest, not memory, and what was written is out.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_io::bytes::Bytes;

use crate::guest;
use crate::output::{Output, Which};

const READ_BYTES: usize = 1 << 16;
const WRITE_BYTES: usize = 4096; // what a pipe that says it is ready takes at once

/// The streams of the one guest of this process.
#[derive(Clone)]
pub enum Streams {
    /// No input, and output as lines of a log.
    Logged(&'static Output),
    /// Input, output and errors, as they are.
    Given([Given; 3]),
}

impl Streams {
    /// These descriptors: stdin, stdout, stderr.
    pub fn given(descriptors: [OwnedFd; 3]) -> Self {
        Self::Given(descriptors.map(|fd| Given(Arc::new(Shared { fd, waiting: OnceLock::new() }))))
    }

    /// What must stay open.
    pub fn fds(&self) -> Vec<RawFd> {
        match self {
            Self::Logged(output) => vec![output.fd()],
            Self::Given(all) => all.iter().map(|each| each.0.fd.as_raw_fd()).collect(),
        }
    }

    /// Have a guest use them.
    pub fn give(&self, wasi: &mut WasiCtxBuilder) {
        match self {
            Self::Logged(output) => guest::log(wasi, output),
            Self::Given([stdin, stdout, stderr]) => {
                wasi.stdin(stdin.clone()).stdout(stdout.clone()).stderr(stderr.clone());
            }
        }
    }

    /// Add words of our own to what the guest says on stderr.
    pub fn say(&self, words: &str) {
        match self {
            Self::Logged(output) => output.write(Which::Stderr, words.as_bytes()),
            Self::Given([_, _, stderr]) => drop(stderr.put(words.as_bytes())), // it has gone
        }
    }
}

/// A descriptor of somebody else.
#[derive(Clone)]
pub struct Given(Arc<Shared>);

struct Shared {
    fd: OwnedFd,
    /// To wait with; none for what is always ready.
    waiting: OnceLock<Option<AsyncFd<RawFd>>>,
}

impl Given {
    fn is_ready(&self, to: PollFlags) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.0.fd, to)], Some(&now)) != Ok(0)
    }

    async fn until_ready(&self, to: PollFlags, interest: Interest) {
        while !self.is_ready(to) {
            let waiting = self.0.waiting.get_or_init(|| {
                let fd = self.0.fd.as_raw_fd();
                // SAFETY: it is open for as long as this is there.
                unsafe { AsyncFd::register_with_interest(fd, interest) }.ok()
            });
            let Some(waiting) = waiting else { return };
            let Ok(mut guard) = waiting.ready(interest).await else { return };
            if !self.is_ready(to) {
                guard.clear_ready();
            }
        }
    }

    fn get(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.0.fd, &mut *room) {
                Err(Errno::INTR) => (),
                got => return Ok(got?),
            }
        }
    }

    /// Write all of it, however long that takes.
    fn put(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            match rustix::io::write(&self.0.fd, data) {
                Ok(written) => data = &data[written..],
                Err(Errno::INTR) => (),
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::new(&self.0.fd, PollFlags::OUT)], None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(error.into()),
    }
}

impl IsTerminal for Given {
    fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&self.0.fd.as_fd())
    }
}

impl StdinStream for Given {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(Input(self.clone()))
    }
}

impl StdoutStream for Given {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Outlet(self.clone()))
    }
}

/// As WASI reads it.
struct Input(Given);

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        self.0.until_ready(PollFlags::IN, Interest::READABLE).await;
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 || !self.0.is_ready(PollFlags::IN) {
            return Ok(Bytes::new());
        }
        let mut data = vec![0; size.min(READ_BYTES)];
        match self.0.get(&mut data) {
            Ok(0) => Err(StreamError::Closed),
            Ok(read) => {
                data.truncate(read);
                Ok(data.into())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => Err(failed(error)),
        }
    }
}

/// As WASI writes to it.
struct Outlet(Given);

#[wasmtime_wasi::async_trait]
impl Pollable for Outlet {
    async fn ready(&mut self) {
        self.0.until_ready(PollFlags::OUT, Interest::WRITABLE).await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Outlet {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.put(&bytes).map_err(failed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.0.is_ready(PollFlags::OUT) { WRITE_BYTES } else { 0 })
    }

    /// Unlike the default this does not wait for room for the next write.
    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        for part in bytes.chunks(WRITE_BYTES) {
            self.ready().await;
            self.0.put(part).map_err(failed)?;
        }
        Ok(())
    }
}

impl AsyncRead for Given {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.get(room.initialize_unfilled())?;
        room.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Given {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.put(data)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
