//! The process that all workers are copies of: the engine is loaded, and it waits.
//!
//! It never builds a WASI context (its children would share one randomness),
//! never compiles (its children would hang on threads that fork did not copy)
//! and never runs a guest; before each fork it makes sure that it still has one
//! thread. Children are init's from their first moment, so that they need wait
//! for nothing before they ask to die with it, and nothing is lost with us.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send,
};
use rustix::process::Pid;
use serde::Serialize;

use crate::engine::{Engine, WORLDS};
use crate::records::Order;
use crate::{compiling, process, worker};

const MAX_MESSAGE_BYTES: usize = 1 << 16;
const FDS: usize = 253; // SCM_MAX_FD: an attempt has three, and its listeners

#[derive(Serialize)]
struct Hello {
    engine: String,
    key: String,
    worlds: [&'static str; WORLDS.len()],
}

/// Serve requests for workers until killed.
///
/// # Errors
/// The engine cannot be made, the supervisor's end of the link is broken, or no
/// process can be forked: whoever started this starts it again.
pub fn serve(link: RawFd, bell: RawFd, init: i32) -> io::Result<()> {
    // SAFETY: the link is open for as long as this process is.
    let link = unsafe { BorrowedFd::borrow_raw(link) };
    let init = Pid::from_raw(init).ok_or_else(|| io::Error::other("init has no pid"))?;
    let engine = Engine::new().map_err(|error| io::Error::other(format!("{error:?}")))?;
    let engine: &'static Engine = Box::leak(Box::new(engine)); // as long as its workers
    let key = engine.cache_key().map_err(|error| io::Error::other(format!("{error:?}")))?;
    let about = Hello { engine: Engine::name(), key, worlds: WORLDS };
    let hello = serde_json::to_vec(&about)?;
    send(link, &hello, SendFlags::empty())?;
    loop {
        let (message, fds) = receive(link)?;
        match serde_json::from_slice(&message)? {
            Order::Hello => drop(send(link, &hello, SendFlags::empty())?),
            Order::Run(order) => fork(fds, |fds| worker::main(engine, &order, fds, bell, init))?,
            Order::Exec(order) => fork(fds, |fds| worker::beside(engine, &order, fds, bell, init))?,
            Order::Compile(order) => fork(fds, |fds| compiling::main(engine, &order, fds, init))?,
        }
    }
}

fn receive(link: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut message = vec![0; MAX_MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut message)];
    let got = recvmsg(link, &mut parts, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 || got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("cannot read orders: the link has ended, or one is too long"));
    }
    let mut fds = Vec::with_capacity(FDS);
    for each in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = each {
            fds.extend(passed);
        }
    }
    message.truncate(got.bytes);
    Ok((message, fds))
}

/// Have a child live its life; here the descriptors are closed.
fn fork(fds: Vec<OwnedFd>, life: impl FnOnce(Vec<OwnedFd>) -> io::Result<()>) -> io::Result<()> {
    if process::fork_sibling()? {
        match catch_unwind(AssertUnwindSafe(|| life(fds))) {
            Ok(Ok(())) => process::exit(0),
            Ok(Err(error)) => eprintln!("a worker ended before it began: {error}"),
            Err(_) => (), // the panic has said what it is
        }
        process::exit(1);
    }
    Ok(())
}

/// The first descriptors of an order, as many as it takes, and the rest.
///
/// # Errors
/// There are fewer.
pub fn take<const N: usize>(mut fds: Vec<OwnedFd>) -> io::Result<([OwnedFd; N], Vec<OwnedFd>)> {
    let rest = fds.split_off(N.min(fds.len()));
    let first = fds
        .try_into()
        .map_err(|fds: Vec<_>| io::Error::other(format!("{} descriptors came", fds.len())))?;
    Ok((first, rest))
}
