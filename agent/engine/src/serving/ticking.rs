//! Ends an epoch every few milliseconds of CPU time that this thread takes.
//!
//! A clock of CPU time stands still while nothing runs: there is no thread that
//! wakes up for it, and a worker that idles is never woken. The signal comes to
//! the thread that guests run on, so that it cannot find a clock that is gone.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

use wasmtime::Engine;

const EPOCH_NS: libc::c_long = 4_000_000;
const SIGNAL: libc::c_int = libc::SIGPROF;

static CURRENT: AtomicPtr<Engine> = AtomicPtr::new(ptr::null_mut());

/// The clock of this thread; there is one at a time.
pub struct Ticker {
    timer: usize, // a pointer's value or a number: only the C library knows
}

impl Ticker {
    /// Let it run, for this thread and until it is dropped on this thread.
    pub fn start(engine: &Engine) -> io::Result<Self> {
        let every = libc::timespec { tv_sec: 0, tv_nsec: EPOCH_NS };
        let schedule = libc::itimerspec { it_interval: every, it_value: every };
        CURRENT.store(Box::into_raw(Box::new(engine.clone())), SeqCst);
        // SAFETY: all zeroes is valid for both structs; all pointers are valid
        // for the calls; `tick` does only what a signal handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = tick as extern "C" fn(libc::c_int) as libc::sighandler_t;
            // The guest's own stack may have no room for us.
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = SIGNAL;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer: libc::timer_t = ptr::null_mut();
            let clock = libc::CLOCK_THREAD_CPUTIME_ID;
            if libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) != 0
                || libc::timer_create(clock, &raw mut event, &raw mut timer) != 0
            {
                return Err(io::Error::last_os_error());
            }
            let made = Self { timer: timer.expose_provenance() };
            match libc::timer_settime(timer, 0, &raw const schedule, ptr::null_mut()) {
                0 => Ok(made),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // SAFETY: the timer is ours. After the swap the handler, which runs on
        // this thread, finds nothing.
        unsafe {
            libc::timer_delete(ptr::with_exposed_provenance_mut(self.timer));
            drop(Box::from_raw(CURRENT.swap(ptr::null_mut(), SeqCst)));
        }
    }
}

extern "C" fn tick(_signal: libc::c_int) {
    // SAFETY: what is there is dropped by this thread alone, after it is gone
    // from there.
    if let Some(engine) = unsafe { CURRENT.load(SeqCst).as_ref() } {
        engine.increment_epoch();
    }
}
