//! What answers requests by WAGI: one run of a module each, as by CGI.
//!
//! Code of modules does not give way, so each run is a process of its own, a
//! copy of this one: one that loops is killed, and takes nothing with it. Body
//! in by its standard input, head and body out by its standard output. This
//! process has never drawn randomness, so that its copies do not share any.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::oneshot;
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_io::bytes::Bytes;

use super::cgi;
use super::exchange::Asked;
use super::instances::{Answered, Failure, Live};
use super::stats::{Held, Stats};
use crate::engine::{Code, Engine};
use crate::guest::Guests;
use crate::process;

const TRAPPED: i32 = 134;
const PIECE_BYTES: usize = 1 << 16;

/// A module and those who run it.
pub struct Runs {
    engine: &'static Engine,
    code: Code,
    kept: Vec<RawFd>,
    port: u16,
    most_head_bytes: usize,
}

impl Runs {
    /// Descriptors in `kept` stay open in runs, and no others of this process.
    pub fn new(
        engine: &'static Engine,
        code: Code,
        kept: Vec<RawFd>,
        port: u16,
        most_head_bytes: usize,
    ) -> Self {
        Self { engine, code, kept, port, most_head_bytes }
    }

    /// Have one answer, and see it to its end, which may come later.
    pub async fn answer(
        &self,
        guests: &Guests,
        live: Live,
        request: Request<Asked>,
        peer: Option<IpAddr>,
        to: oneshot::Sender<Answered>,
        stats: &Stats,
    ) -> Result<(), Failure> {
        let cannot = |error: std::io::Error| Failure(format!("cannot run the guest: {error}\n"));
        let (head, body) = request.into_parts();
        let variables = cgi::variables(&head, peer, self.port);
        let (input, feed) = std::io::pipe().map_err(cannot)?;
        let (source, output) = std::io::pipe().map_err(cannot)?;
        let _live = Held::new(live);
        stats.instances.add();
        let child = self.fork(guests, &variables, input.into(), output.into()).map_err(cannot)?;
        let feed = Sender::from_owned_fd(feed.into()).map_err(cannot)?;
        let source = Receiver::from_owned_fd(source.into()).map_err(cannot)?;
        let _feeding = spawn(pour(body, feed));
        let answered = self.head(source).await;
        let (ended_well, verdict) = oneshot::channel();
        let said = match answered {
            Ok((head, first, source)) => {
                let body = Said { first, source, verdict };
                let _ = to.send(Ok(Response::from_parts(head, body.boxed_unsync()))); // it has gone
                Ok(())
            }
            Err(why) => Err(why),
        };
        let code = child.ended().await.map_err(cannot)?;
        if code == Some(TRAPPED) {
            stats.traps.add(); // its own process has told how
        }
        let _ = ended_well.send(code == Some(0));
        match (said, code) {
            (Err(why), Some(0)) => Err(Failure(format!("cannot use the guest's answer: {why}\n"))),
            (_, Some(0 | TRAPPED)) => Ok(()),
            (_, Some(code)) => Err(Failure(format!("the guest ended with code {code}\n"))),
            (_, None) => Err(Failure("the guest was killed\n".into())),
        }
    }

    fn fork(
        &self,
        guests: &Guests,
        variables: &[(String, String)],
        input: OwnedFd,
        output: OwnedFd,
    ) -> std::io::Result<Child> {
        let threads = process::thread_count()?;
        if threads != 1 {
            let text = format!("cannot fork with {threads} threads: a child of it could hang");
            return Err(std::io::Error::other(text));
        }
        let parent = rustix::process::getpid();
        // SAFETY: there is one thread, so nobody holds a lock that the child needs.
        match unsafe { libc::fork() } {
            -1 => Err(std::io::Error::last_os_error()),
            0 => {
                let life = || self.live(guests, variables, input.into(), output.into(), parent);
                // A thread of its own: this one is in the midst of the parent's affairs.
                let code = std::thread::scope(|scope| scope.spawn(life).join());
                process::exit(code.unwrap_or(255));
            }
            pid => {
                let pid = Pid::from_raw(pid).expect("a child has a pid");
                let fd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
                // SAFETY: the descriptor is owned, and stays the same and open.
                Ok(Child { pid: Some((pid, unsafe { AsyncFd::register(fd) }?)) })
            }
        }
    }

    /// Be the process of one run; give its exit code.
    fn live(
        &self,
        guests: &Guests,
        variables: &[(String, String)],
        input: File,
        output: File,
        parent: Pid,
    ) -> u8 {
        let mut kept = self.kept.clone();
        kept.extend([input.as_raw_fd(), output.as_raw_fd()]);
        if process::close_all_but(&mut kept).and(process::die_with_parent(parent)).is_err() {
            return 255;
        }
        let outcome = guests
            .run(variables, input, output)
            .and_then(|guest| self.engine.run(&self.code, guest, "", || ()));
        match outcome {
            Ok(outcome) => {
                guests.log(&outcome.trace);
                outcome.code
            }
            Err(why) => {
                guests.log(&format!("{why}\n"));
                255
            }
        }
    }

    async fn head(
        &self,
        source: Receiver,
    ) -> Result<(http::response::Parts, Bytes, Receiver), String> {
        let mut text = Vec::new();
        loop {
            if let Some(end) = cgi::head_end(&text) {
                let head = cgi::response(&text[..end])?;
                return Ok((head, Bytes::from(text).slice(end..), source));
            }
            if text.len() > self.most_head_bytes {
                return Err("its head is too long".into());
            }
            source.readable().await.map_err(|error| error.to_string())?;
            match read_some(&source, &mut text) {
                Ok(0) => return Err("it ended before its head did".into()),
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                    return Err(error.to_string());
                }
                _ => (),
            }
        }
    }
}

fn read_some(source: &Receiver, into: &mut Vec<u8>) -> std::io::Result<usize> {
    let before = into.len();
    into.resize(before + PIECE_BYTES, 0);
    let got = source.try_read(&mut into[before..]);
    into.truncate(before + *got.as_ref().unwrap_or(&0));
    got
}

/// Give a guest the request's body, as fast as it takes it.
async fn pour(mut body: Asked, mut feed: Sender) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data()
            && feed.write_all(&data).await.is_err()
        {
            return; // it reads no more
        }
    }
}

/// What a guest says behind its head.
struct Said {
    first: Bytes,
    source: Receiver,
    verdict: oneshot::Receiver<bool>,
}

impl Body for Said {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        let mut piece = Vec::new();
        loop {
            ready!(self.source.poll_read_ready(cx)).map_err(Error::Connect)?;
            match read_some(&self.source, &mut piece) {
                Ok(0) => break,
                Ok(_) => return Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => (),
                Err(error) => return Poll::Ready(Some(Err(Error::Connect(error)))),
            }
        }
        match ready!(Pin::new(&mut self.verdict).poll(cx)) {
            Ok(true) => Poll::Ready(None),
            _ => Poll::Ready(Some(Err(Error::HttpResponseIncomplete))),
        }
    }
}

/// The process of a run; killed where it is dropped before its end.
struct Child {
    pid: Option<(Pid, AsyncFd<OwnedFd>)>,
}

impl Child {
    /// Await its end; None: it was killed.
    async fn ended(mut self) -> std::io::Result<Option<i32>> {
        let Some((pid, fd)) = &self.pid else { return Ok(None) };
        let (pid, readable) = (*pid, fd.readable().await.map(drop));
        readable?;
        self.pid = None;
        let status = rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
        Ok(status.and_then(|(_, status)| status.exit_status()))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some((pid, fd)) = self.pid.take() {
            let _ = rustix::process::kill_process(pid, Signal::KILL); // ours until it is waited for
            tokio::spawn(async move {
                let _ = fd.readable().await;
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
            });
        }
    }
}
