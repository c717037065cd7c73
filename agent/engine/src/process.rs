//! What a process can ask of the kernel about itself.
//!
//! The order in a worker matters. NB: a change of uid clears the parent-death
//! signal, so `die_with_parent` comes after `become_user`; and both come before
//! there is a second thread, since all of this is per thread.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::{Gid, Uid};

/// Make a copy of this process that is a child of this one's parent.
///
/// `CLONE_PARENT` spares the second fork (and its copy of all page tables) that
/// it otherwise takes to become somebody else's child. That flag is not to be
/// had through the C library's `fork()`, so this does what that does of it:
/// * the child's thread descriptor gets the child's own tid: the kernel writes
///   it where the C library has told it that the tid lives;
/// * locks of the allocator: nobody can hold one, as we have one thread;
/// * the robust list and rseq: no robust mutex exists here, the kernel clears
///   the one and keeps the other for a copy with memory of its own;
/// * fork handlers: those of libraries in here are for randomness of theirs
///   that no child uses.
///
/// The exit signal is that of our own process. Gives true in the child.
///
/// # Errors
/// There are other threads, whose locks the child could wait for for ever; or
/// the kernel has no room for a process.
pub fn fork_sibling() -> io::Result<bool> {
    let threads = thread_count()?;
    if threads != 1 {
        let text = format!("cannot fork with {threads} threads: a child of it could hang");
        return Err(io::Error::other(text));
    }
    let mut tid: *mut libc::c_int = ptr::null_mut();
    let mut flags = libc::c_long::from(libc::CLONE_PARENT);
    // SAFETY: the call writes one pointer, to where we say.
    let known = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut tid) } == 0;
    if known && !tid.is_null() {
        flags |= libc::c_long::from(libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID);
    }
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: without CLONE_VM the child has memory and a stack of its own, as
    // after any fork; of one thread nothing is left behind (see above).
    #[cfg(target_arch = "x86_64")]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, tid, none) };
    // SAFETY: the same, with the last two the other way round.
    #[cfg(not(target_arch = "x86_64"))]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, tid) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid == 0),
    }
}

/// How many threads this process has: a directory has two links, and one per
/// directory in it.
pub fn thread_count() -> io::Result<u64> {
    let tasks = rustix::fs::stat("/proc/self/task")?;
    Ok(tasks.st_nlink - 2)
}

/// End at once: nothing is flushed, no destructor runs.
pub fn exit(code: u8) -> ! {
    // SAFETY: it does not return, so nothing can be left in a bad state.
    unsafe { libc::_exit(code.into()) }
}

/// Unix time in nanoseconds; may be called by a signal handler.
pub fn unix_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Name this process for `ps`; 15 bytes are kept.
pub fn set_name(name: &str) -> io::Result<()> {
    Ok(rustix::thread::set_name(&CString::new(name)?)?)
}

/// Put nothing in place of the three descriptors that every process has.
pub fn null_stdio() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    rustix::stdio::dup2_stdout(null.as_fd())?;
    Ok(rustix::stdio::dup2_stderr(null.as_fd())?)
}

/// The descriptors that are open.
pub fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let names = std::fs::read_dir("/proc/self/fd")?;
    let numbers = names.filter_map(|each| each.ok()?.file_name().to_str()?.parse().ok());
    let listed: Vec<RawFd> = numbers.collect();
    // SAFETY: it reads a flag of a number; that of the listing is gone by now.
    Ok(listed.into_iter().filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1).collect())
}

/// Close every descriptor above the three standard ones that is not named.
pub fn close_all_but(kept: &mut [RawFd]) -> io::Result<()> {
    kept.sort_unstable();
    let mut first = 3;
    for &fd in &*kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: those who own one of these say so by naming it to the caller.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lower a resource limit for good, as far as it is not lower already.
pub fn limit(which: Resource, most: u64) -> io::Result<()> {
    let hard = rustix::process::getrlimit(which).maximum;
    let most = Some(hard.map_or(most, |hard| hard.min(most)));
    Ok(rustix::process::setrlimit(which, Rlimit { current: most, maximum: most })?)
}

/// Give up all privileges for good: run as this user, or as we are.
pub fn become_user(uid: Option<u32>) -> io::Result<()> {
    if let Some(number) = uid {
        let (uid, gid) = (Uid::from_raw(number), Gid::from_raw(number));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Have the kernel kill us when our parent dies; exit if it has.
pub fn die_with_parent(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        exit(1);
    }
    Ok(())
}

/// Have SIGTERM wait in a descriptor instead of ending this process.
///
/// Threads made after this leave it to the descriptor, too.
pub fn sigterm_as_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: the set is valid for both calls, and the descriptor is ours.
    unsafe {
        let mut only: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const only, ptr::null_mut());
        match libc::signalfd(-1, &raw const only, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Let every signal come.
pub fn unblock_signals() {
    // SAFETY: both are valid for the call, which cannot fail with them.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}
