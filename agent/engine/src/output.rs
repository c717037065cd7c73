//! A guest's output on its way into the log, and its one end from outside.
//!
//! There is no second thread: the guest's writes become log lines at once, and
//! SIGTERM is answered in its handler, wherever the guest is. Both touch the
//! same lines under way, so whoever does takes them first, with one atomic
//! step. A handler that comes too late for that leaves word, and the writer
//! ends the process as soon as its line is whole. A log that cannot be written
//! (a full disk) loses lines, not the guest.

use std::cell::UnsafeCell;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering::SeqCst};

use crate::crilog::Stream;
use crate::process;

const STOPPED: u8 = 128 + 15; // as if by SIGTERM
const BATCH_BYTES: usize = 8192;

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const OVER: u8 = 2;

static CURRENT: AtomicPtr<Output> = AtomicPtr::new(ptr::null_mut());

/// Which of the two a guest writes to.
#[derive(Clone, Copy)]
pub enum Which {
    Stdout = 0,
    Stderr = 1,
}

/// Both outputs of the one guest of this process.
pub struct Output {
    state: AtomicU8,
    told: AtomicBool,
    lines: UnsafeCell<Lines>,
}

struct Lines {
    log: OwnedFd,
    streams: [Stream; 2],
    batch: Vec<u8>,
}

// SAFETY: `lines` is touched only by who has moved `state` away from FREE.
unsafe impl Sync for Output {}

impl Output {
    /// Make the output of this process, which lasts as long as it does.
    pub fn install(log: OwnedFd) -> &'static Self {
        let streams = [Stream::new("stdout"), Stream::new("stderr")];
        let made = Box::leak(Box::new(Self {
            state: AtomicU8::new(FREE),
            told: AtomicBool::new(false),
            lines: UnsafeCell::new(Lines { log, streams, batch: Vec::new() }),
        }));
        CURRENT.store(made, SeqCst);
        made
    }

    /// The log's descriptor, which must stay open.
    pub fn fd(&self) -> RawFd {
        // SAFETY: the descriptor is never changed.
        unsafe { (*self.lines.get()).log.as_raw_fd() }
    }

    /// Add what the guest wrote.
    pub fn write(&self, which: Which, data: &[u8]) {
        self.take(TAKEN);
        // SAFETY: `take` has given it to us.
        unsafe { &mut *self.lines.get() }.write(which, data);
        self.state.store(FREE, SeqCst);
        if self.told.load(SeqCst) {
            self.take(OVER);
            // SAFETY: as above, and for good.
            unsafe { &*self.lines.get() }.end();
            process::exit(STOPPED);
        }
    }

    /// Add what one of many guests wrote, whose lines are not to mix.
    pub fn write_of(&self, stream: &mut Stream, data: &[u8]) {
        self.take(TAKEN);
        // SAFETY: `take` has given it to us.
        unsafe { &mut *self.lines.get() }.write_of(stream, data);
        self.state.store(FREE, SeqCst);
    }

    /// End the line that one of many guests has begun.
    pub fn end_of(&self, stream: &Stream) {
        self.take(TAKEN);
        // SAFETY: `take` has given it to us.
        unsafe { &*self.lines.get() }.end_of(stream);
        self.state.store(FREE, SeqCst);
    }

    /// End both streams, and add words of our own; from here on nobody writes,
    /// and a SIGTERM changes nothing.
    pub fn close(&self, trace: &str) {
        self.take(OVER);
        // SAFETY: `take` has given it to us.
        let lines = unsafe { &mut *self.lines.get() };
        lines.end();
        lines.streams[Which::Stderr as usize] = Stream::new("stderr");
        lines.write(Which::Stderr, trace.as_bytes());
    }

    /// Take the lines for ourselves, once whoever has them is done.
    fn take(&self, wanted: u8) {
        while self.state.compare_exchange(FREE, wanted, SeqCst, SeqCst).is_err() {
            std::thread::yield_now(); // another thread: for one line, or until the process ends
        }
    }
}

impl Lines {
    fn write(&mut self, which: Which, data: &[u8]) {
        for part in data.chunks(BATCH_BYTES) {
            self.streams[which as usize].feed(part, process::unix_ns(), &mut self.batch);
            self.put(&mut [IoSlice::new(&self.batch)]);
            self.batch.clear();
        }
    }

    fn write_of(&mut self, stream: &mut Stream, data: &[u8]) {
        for part in data.chunks(BATCH_BYTES) {
            stream.feed(part, process::unix_ns(), &mut self.batch);
            self.put(&mut [IoSlice::new(&self.batch)]);
            self.batch.clear();
        }
    }

    /// Write the lines under way as they are; allocates nothing.
    fn end(&self) {
        self.streams.iter().for_each(|stream| self.end_of(stream));
    }

    fn end_of(&self, stream: &Stream) {
        if !stream.rest().is_empty() {
            let head = stream.head(process::unix_ns());
            let parts = [head.as_bytes(), stream.rest(), b"\n"];
            self.put(&mut parts.map(IoSlice::new));
        }
    }

    fn put(&self, mut parts: &mut [IoSlice<'_>]) {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match rustix::io::writev(&self.log, parts) {
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(rustix::io::Errno::INTR) => (),
                Err(_) => return,
            }
        }
    }
}

/// From here on SIGTERM ends this process, with the output written that is there.
pub fn end_on_sigterm() -> std::io::Result<()> {
    // SAFETY: all zeroes is a valid sigaction, and `answer` calls nothing that
    // a signal handler must not: it allocates nothing and takes no lock.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = answer as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // The guest's own stack may have no room for us.
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigaction(libc::SIGTERM, &raw const action, ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

extern "C" fn answer(_signal: libc::c_int) {
    // SAFETY: what `install` has put there is never freed.
    let Some(output) = (unsafe { CURRENT.load(SeqCst).as_ref() }) else {
        process::exit(STOPPED);
    };
    output.told.store(true, SeqCst);
    if output.state.compare_exchange(FREE, OVER, SeqCst, SeqCst).is_ok() {
        // SAFETY: the exchange has given it to us, for good.
        unsafe { &*output.lines.get() }.end();
        process::exit(STOPPED);
    }
}
