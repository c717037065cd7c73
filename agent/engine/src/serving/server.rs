//! Accepts connections, bounds what comes in by them, and ends in good order.
//!
//! Ports are shared with other workers, so what this one has no room for is
//! left in the queue for them. Told to end, it goes on until clients have
//! heard of it: one second without a new connection, or `linger_s`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::AbortHandle;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use super::admin;
use super::exchange::{Answer, Asked, Exchange, content_length, refusal};
use super::instances::{Answered, Failure, Instances, Live};
use super::runs::Runs;
use super::stats::{Gauge, Held, Stats};
use crate::engine::{Code, Engine};
use crate::guest::Guests;
use crate::process;
use crate::records::Http;

/// Connections from ports; each costs a descriptor and some KiB.
const CONNECTIONS: usize = 4096;
/// Connections of the agent's, and instances kept for them: a probe is to be
/// answered however many clients there are.
const PRIVATE_CONNECTIONS: usize = 64;
const PRIVATE_REQUESTS: u32 = 8;
/// Of pool slots: each reserves address space.
const MOST_CONCURRENCY: u32 = 1024;
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

/// The listeners of a worker.
pub struct Doors {
    guest: StdUnixListener,
    admin: StdUnixListener,
    ports: Vec<StdTcpListener>,
}

impl Doors {
    /// As they come with an order: guest, admin, ports.
    ///
    /// # Errors
    /// There are fewer than two.
    pub fn of(fds: Vec<OwnedFd>) -> Result<Self, String> {
        let mut fds = fds.into_iter();
        let (Some(guest), Some(admin)) = (fds.next(), fds.next()) else {
            return Err("cannot serve: it was given no sockets".into());
        };
        let ports = fds.map(StdTcpListener::from).collect();
        Ok(Self { guest: guest.into(), admin: admin.into(), ports })
    }

    /// Descriptors of this process that are none of these.
    fn all_others(&self) -> io::Result<Vec<RawFd>> {
        let mut all = process::open_descriptors()?;
        let private = [self.guest.as_raw_fd(), self.admin.as_raw_fd()];
        all.retain(|fd| !private.contains(fd));
        all.retain(|&fd| self.ports.iter().all(|port| port.as_raw_fd() != fd));
        Ok(all)
    }
}

/// What a worker is to serve.
pub enum Source {
    /// Compiled code, to be mapped when it is needed.
    Component(OwnedFd),
    Module(&'static Engine, Code),
}

/// A worker's server.
pub struct Server {
    wanted: Http,
    program: Program,
    guests: Guests,
    live: Live,
    stats: Arc<Stats>,
    ports: Vec<StdTcpListener>,
    accepting: Mutex<Vec<AbortHandle>>,
    room: Arc<Semaphore>,
    open: Open,
    last_connection: Mutex<Instant>,
    sweeping: AtomicBool,
    draining: AtomicBool,
    closing: watch::Sender<bool>,
}

/// What answers requests.
enum Program {
    Proxy(Instances),
    Wagi(Runs),
}

#[derive(Clone, Default)]
struct Open(Arc<[Gauge; 2]>);

impl AsRef<Gauge> for Open {
    fn as_ref(&self) -> &Gauge {
        &self.0[0]
    }
}

/// Requests that are not answered yet.
struct InFlight(Open);

impl AsRef<Gauge> for InFlight {
    fn as_ref(&self) -> &Gauge {
        &self.0.0[1]
    }
}

/// A status, and a line of text.
type Refused = (StatusCode, &'static str);

/// Where a connection came from.
#[derive(Clone, Copy, PartialEq)]
enum Via {
    Port(IpAddr),
    Agent,
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
            Source::Component(file) => Program::Proxy(Instances::new(file, most, wanted.reuse)),
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

    /// Answer one request.
    async fn serve(self: &Arc<Self>, request: Request<Incoming>, via: Via) -> Response<Answer> {
        let exchange = Exchange::new();
        let version = request.version();
        let mut closes = false;
        let mut response = match self.admit(&request, via) {
            Ok(held) => self.ask(request, via, &exchange, held).await,
            Err((status, text)) => {
                self.stats.denied.add_if(status == StatusCode::SERVICE_UNAVAILABLE);
                // Where a request ends that is not understood is not known, either.
                closes = [StatusCode::BAD_REQUEST, StatusCode::NOT_IMPLEMENTED].contains(&status);
                refusal(status, text)
            }
        };
        if version <= Version::HTTP_11 && (closes || self.draining.load(Relaxed)) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Answer::of(response, exchange, Arc::clone(&self.stats))
    }

    /// Take in a request, or say with what it is refused.
    fn admit(&self, request: &Request<Incoming>, via: Via) -> Result<Held<InFlight>, Refused> {
        let headers = request.headers();
        let header_bytes: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let kept = if via == Via::Agent { PRIVATE_REQUESTS } else { 0 };
        let room = self.wanted.concurrency.min(MOST_CONCURRENCY) + kept;
        if self.open.0[1].get() >= u64::from(room) {
            Err((StatusCode::SERVICE_UNAVAILABLE, "too many requests at a time\n"))
        } else if header_bytes > self.wanted.max_header_bytes {
            Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long\n"))
        } else if content_length(headers).is_some_and(|long| long > self.wanted.max_body_bytes) {
            Err((StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG))
        } else if wants_websocket(headers) || request.method() == Method::CONNECT {
            Err((StatusCode::NOT_IMPLEMENTED, "websockets and tunnels are not served here\n"))
        } else if !has_one_host(request) {
            Err((StatusCode::BAD_REQUEST, "a request names one host\n"))
        } else {
            Ok(Held::new(InFlight(self.open.clone())))
        }
    }

    /// Have an instance answer; its end may come after its answer.
    async fn ask(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        via: Via,
        exchange: &Arc<Exchange>,
        held: Held<InFlight>,
    ) -> Response<WasiBody> {
        let headless = request.method() == Method::HEAD;
        if !request.headers().contains_key(header::HOST) && request.uri().authority().is_none() {
            let here = HeaderValue::from_static("localhost"); // HTTP/1.0 need not say
            request.headers_mut().insert(header::HOST, here);
        }
        let left_bytes = self.wanted.max_body_bytes;
        let request =
            request.map(|body| Asked { body, left_bytes, exchange: Arc::clone(exchange) });
        let (to, answer) = oneshot::channel();
        let guest =
            tokio::spawn(Arc::clone(self).guest(request, via, Arc::clone(exchange), to, held));
        exchange.runs(guest.abort_handle());
        let leaves = EndsGuest(exchange);
        let timeout = seconds(self.wanted.timeout_s);
        let Ok(answered) = tokio::time::timeout(timeout, answer).await else {
            self.stats.timeouts.add();
            return refusal(StatusCode::GATEWAY_TIMEOUT, LATE);
        };
        let response = self.answered(answered, exchange);
        std::mem::forget(leaves);
        if headless { without_body(response) } else { response }
    }

    fn answered(
        &self,
        answered: Result<Answered, oneshot::error::RecvError>,
        exchange: &Exchange,
    ) -> Response<WasiBody> {
        match answered {
            _ if exchange.too_long.load(Relaxed) => {
                refusal(StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG)
            }
            Err(_) if exchange.stalled.load(Relaxed) => refusal(StatusCode::GATEWAY_TIMEOUT, LATE),
            Ok(Ok(response)) => response,
            Ok(Err(ErrorCode::HttpRequestBodySize(_))) => {
                refusal(StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG)
            }
            Ok(Err(error)) => {
                self.guests.log(&format!("the guest answered with an error: {error:?}\n"));
                refusal(StatusCode::INTERNAL_SERVER_ERROR, FAILED)
            }
            Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, FAILED),
        }
    }

    async fn guest(
        self: Arc<Self>,
        request: Request<Asked>,
        via: Via,
        exchange: Arc<Exchange>,
        to: oneshot::Sender<Answered>,
        held: Held<InFlight>,
    ) {
        let run = async {
            let (guests, live) = (&self.guests, self.live.clone());
            let peer = if let Via::Port(peer) = via { Some(peer) } else { None };
            match &self.program {
                Program::Proxy(instances) => {
                    instances.answer(guests, live, request, to, &self.stats).await
                }
                Program::Wagi(runs) => {
                    runs.answer(guests, live, request, peer, to, &self.stats).await
                }
            }
        };
        match exchange.within(seconds(self.wanted.timeout_s), run).await {
            Some(Ok(())) => (),
            Some(Err(Failure(why))) => self.guests.log(&why),
            None => self.stats.timeouts.add(),
        }
        drop(held);
        if *self.closing.borrow() {
            self.closing.send_modify(|_| ());
        }
        if !self.sweeping.swap(true, Relaxed) {
            tokio::spawn(async move { self.sweep().await });
        }
    }

    /// Give memory back once there have been no requests for a while; this
    /// ends with that, so that nothing wakes a worker that idles.
    async fn sweep(&self) {
        let Program::Proxy(instances) = &self.program else { return }; // runs leave nothing
        while let Some(at) = instances.give_back(&self.live, seconds(self.wanted.idle_s)) {
            tokio::time::sleep_until(at.into()).await;
        }
        self.sweeping.store(false, Relaxed);
    }
}

const TOO_LONG: &str = "the request's body is too long\n";
const LATE: &str = "the guest has not answered in time\n";
const FAILED: &str = "the guest failed; its log says how\n";

/// Ends the guest with it: nobody waits for its answer any more.
struct EndsGuest<'a>(&'a Exchange);

impl Drop for EndsGuest<'_> {
    fn drop(&mut self) {
        self.0.end_guest();
    }
}

/// What can be accepted from.
trait Door: Send + 'static {
    type Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Connection, Via)>>;
}

impl Door for TcpListener {
    type Connection = TcpStream;

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Via)>> {
        self.poll_accept(cx).map_ok(|(connection, peer)| {
            let _ = connection.set_nodelay(true); // it has gone: reading says so
            (connection, Via::Port(peer.ip().to_canonical()))
        })
    }
}

impl Door for UnixListener {
    type Connection = UnixStream;

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Via)>> {
        self.poll_accept(cx).map_ok(|(connection, _)| (connection, Via::Agent))
    }
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX)
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    let upgrades = headers.get_all(header::UPGRADE).iter();
    upgrades.filter_map(|each| each.to_str().ok()).any(|each| {
        each.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
    })
}

/// RFC 9112, 3.2: none or several are a bad request, as ways around a proxy.
fn has_one_host(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => false,
        (Some(host), None) => host.to_str().is_ok(),
        (None, None) => request.version() != Version::HTTP_11,
    }
}

/// The head of a response to HEAD; its guest may write the body nevertheless.
fn without_body(response: Response<WasiBody>) -> Response<WasiBody> {
    let (head, mut body) = response.into_parts();
    tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
    Response::from_parts(head, Empty::new().map_err(|never| match never {}).boxed_unsync())
}
