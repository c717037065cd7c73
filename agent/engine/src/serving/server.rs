//! Accepts connections, bounds what comes in by them, and ends in good order.
//!
//! Ports are shared with other workers, so what this one has no room for is
//! left in the queue for them. Told to end, it goes on until clients have
//! heard of it: one second without a new connection, or `linger_s`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::admin;
use super::doors::{Door, Doors, Via};
use super::instances::{Instances, Live};
use super::runs::Runs;
use super::stats::{Gauge, Held, Stats};
use crate::engine::{Code, Engine};
use crate::guest::Guests;
use crate::process;
use crate::records::{Http, Kind};

/// Connections from ports; each costs a descriptor and some KiB.
const CONNECTIONS: usize = 4096;
/// Connections of the agent's, and instances kept for them: a probe is to be
/// answered however many clients there are.
const PRIVATE_CONNECTIONS: usize = 64;
pub(super) const PRIVATE_REQUESTS: u32 = 8;
/// Of pool slots: each reserves address space.
pub(super) const MOST_CONCURRENCY: u32 = 1024;
/// A connection's first request must be there after this, ...
const FIRST_HEAD: Duration = Duration::from_secs(10);
/// ... and each next one: longer than the keep-alive of common proxies.
const NEXT_HEAD: Duration = Duration::from_secs(75);
const HEADERS: usize = 128;
const LEAST_BUFFER_BYTES: usize = 8192; // hyper's
const STREAMS: u32 = 128; // of one HTTP/2 connection
const RESETS: usize = 20; // of streams, unanswered: CVE-2023-44487
/// Turns of tasks after which sockets are looked at: a guest that loops has one
/// of some milliseconds each time.
const EVENTS_AFTER: u32 = 4;
const QUIET: Duration = Duration::from_secs(1);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a worker is to serve.
pub enum Source {
    /// Compiled code, to be mapped when it is needed.
    Component(OwnedFd, Kind),
    Module(&'static Engine, Code),
}

/// A worker's server.
pub struct Server {
    pub(super) wanted: Http,
    pub(super) program: Program,
    pub(super) guests: Guests,
    pub(super) live: Live,
    pub(super) stats: Arc<Stats>,
    ports: Vec<StdTcpListener>,
    accepting: Mutex<Vec<AbortHandle>>,
    room: Arc<Semaphore>,
    pub(super) open: Open,
    last_connection: Mutex<Instant>,
    pub(super) sweeping: AtomicBool,
    pub(super) draining: AtomicBool,
    pub(super) closing: watch::Sender<bool>,
}

/// What answers requests.
pub(super) enum Program {
    Component(Instances),
    Wagi(Runs),
}

#[derive(Clone, Default)]
pub(super) struct Open(pub(super) Arc<[Gauge; 2]>);

impl AsRef<Gauge> for Open {
    fn as_ref(&self) -> &Gauge {
        &self.0[0]
    }
}

/// Requests that are not answered yet.
pub(super) struct InFlight(pub(super) Open);

impl AsRef<Gauge> for InFlight {
    fn as_ref(&self) -> &Gauge {
        &self.0.0[1]
    }
}

impl Server {
    /// Serve until SIGTERM, and what was asked before it to the end;
    /// `entering` is called when all is ready.
    ///
    /// # Errors
    /// A socket cannot be used; nothing has been served.
    pub fn run(
        wanted: Http,
        doors: Doors,
        code: Source,
        guests: Guests,
        entering: impl FnOnce(),
    ) -> Result<(), String> {
        let most = wanted.concurrency.min(MOST_CONCURRENCY) + PRIVATE_REQUESTS;
        let program = match code {
            Source::Component(file, kind) => {
                Program::Component(Instances::new(file, kind, most, wanted.reuse))
            }
            Source::Module(engine, code) => {
                let port = doors.ports.first().and_then(|port| port.local_addr().ok());
                let port = port.map_or(80, |address| address.port());
                let kept = doors.all_others().map_err(|error| format!("cannot serve: {error}"))?;
                Program::Wagi(Runs::new(engine, code, kept, port, wanted.max_header_bytes))
            }
        };
        let server = Arc::new(Self {
            wanted,
            program,
            guests,
            live: Live::default(),
            stats: Arc::default(),
            ports: doors.ports,
            accepting: Mutex::default(),
            room: Arc::new(Semaphore::new(CONNECTIONS)),
            open: Open::default(),
            last_connection: Mutex::new(Instant::now()),
            sweeping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        });
        let serving = async {
            let terms = process::sigterm_as_descriptor()?;
            // SAFETY: it owns the descriptor, which stays the same and open.
            let terms = unsafe { AsyncFd::register(terms) }?;
            let guest = UnixListener::from_std(doors.guest)?;
            let room = Arc::new(Semaphore::new(PRIVATE_CONNECTIONS));
            let private = tokio::spawn(Arc::clone(&server).accept(guest, room));
            tokio::spawn(admin::serve(Arc::clone(&server), UnixListener::from_std(doors.admin)?));
            entering();
            terms.readable().await?.retain_ready();
            server.drain(&private.abort_handle()).await
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENTS_AFTER)
            .build()
            .and_then(|waiting| waiting.block_on(serving))
            .map_err(|error| format!("cannot serve: {error}"))
    }

    /// Accept connections from ports from now on, or not.
    pub fn set_accepting(self: &Arc<Self>, wanted: bool) -> io::Result<()> {
        let mut tasks = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        if !wanted {
            tasks.drain(..).for_each(|task| task.abort());
        } else if tasks.is_empty() && !*self.closing.borrow() {
            for port in &self.ports {
                port.set_nonblocking(true)?;
                let port = TcpListener::from_std(port.try_clone()?)?;
                let room = Arc::clone(&self.room);
                let task = tokio::spawn(Arc::clone(self).accept(port, room));
                tasks.push(task.abort_handle());
            }
        }
        Ok(())
    }

    pub fn stats(&self) -> serde_json::Value {
        let [open, in_flight] = &*self.open.0;
        let denied_calls = self.guests.grants.denied();
        self.stats.to_json(in_flight.get(), self.live.0.get(), open.get(), denied_calls)
    }

    /// SIGTERM has come: leave without losing anything.
    async fn drain(self: &Arc<Self>, private: &AbortHandle) -> io::Result<()> {
        self.draining.store(true, Relaxed);
        let is_accepting = || !self.accepting.lock().is_ok_and(|tasks| tasks.is_empty());
        let told_at = Instant::now();
        let last = told_at + seconds(self.wanted.linger_s);
        while is_accepting() {
            let heard = *self.last_connection.lock().unwrap_or_else(PoisonError::into_inner);
            let until = (heard.max(told_at) + QUIET).min(last);
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep_until(until.into()).await;
        }
        self.closing.send_replace(true);
        self.set_accepting(false)?;
        private.abort();
        let mut closing = self.closing.subscribe();
        while self.open.0.iter().any(|each| each.get() > 0) {
            closing.mark_unchanged();
            closing.changed().await.map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn accept<D: Door>(self: Arc<Self>, door: D, room: Arc<Semaphore>) {
        loop {
            let room = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
            let Ok((connection, via)) = poll_fn(|cx| door.poll_take(cx)).await else {
                tokio::time::sleep(ACCEPT_AGAIN).await; // no descriptors, or it has gone again
                continue;
            };
            self.stats.connected.add();
            *self.last_connection.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            let held = Held::new(self.open.clone());
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                server.connection(connection, via).await;
                drop((held, room));
                server.closing.send_modify(|_| ()); // if it is waited for
            });
        }
    }

    /// Serve one connection to its end.
    async fn connection<T>(self: &Arc<Self>, connection: T, via: Via)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = Arc::new(AtomicBool::new(false));
        let server = Arc::clone(self);
        let seen = Arc::clone(&asked);
        let service = service_fn(move |request| {
            seen.store(true, Relaxed);
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.serve(request, via).await) }
        });
        let builder = self.protocol();
        let serving = builder.serve_connection(TokioIo::new(connection), service);
        let mut serving = pin!(serving);
        let mut closing = self.closing.subscribe();
        let mut closing = pin!(closing.wait_for(|closing| *closing));
        let mut first = pin!(tokio::time::sleep(FIRST_HEAD));
        let mut waits = true;
        let has_gone = poll_fn(|cx| {
            if serving.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            waits = waits && !asked.load(Relaxed);
            if waits {
                // It has its time, also while we end: its request may be on the way.
                return first.as_mut().poll(cx).map(|()| true);
            }
            closing.as_mut().poll(cx).map(|_| false)
        });
        if !has_gone.await {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await; // whatever it ended of, it has gone
        }
    }

    fn protocol(&self) -> auto::Builder<TokioExecutor> {
        let header_bytes = self.wanted.max_header_bytes;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(NEXT_HEAD)
            .max_headers(HEADERS)
            .max_buf_size(header_bytes.max(LEAST_BUFFER_BYTES));
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(NEXT_HEAD)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX));
        builder
    }
}

pub(super) fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX)
}
