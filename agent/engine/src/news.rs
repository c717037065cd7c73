//! What a worker tells the supervisor while its guest runs.
//!
//! A line in its journal is what is told; the bell, one socket for all workers,
//! only says whose journal to look into. A bell that is not heard (nobody
//! there, or too much at once) loses nothing: the journal is read at the end.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::net::{SendFlags, send};

/// This process's way to tell.
pub struct News {
    journal: &'static File,
    bell: RawFd,
}

impl News {
    /// For as long as this process lasts; `journal` appends.
    pub fn install(journal: &'static File, bell: RawFd) -> &'static Self {
        Box::leak(Box::new(Self { journal, bell }))
    }

    /// What must stay open.
    pub fn fds(&self) -> [RawFd; 2] {
        [self.journal.as_raw_fd(), self.bell]
    }

    /// Add a line, and ring.
    pub fn tell(&self, line: &[u8]) {
        let mut journal = self.journal;
        if journal.write_all(line).is_ok() {
            let pid = rustix::process::getpid().as_raw_pid().to_ne_bytes();
            // SAFETY: it stays open for as long as this process lasts.
            let bell = unsafe { BorrowedFd::borrow_raw(self.bell) };
            let _ = send(bell, &pid, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}
