//! One request and its response, on their way between client and guest.
//!
//! Both bodies are streams that count: what passes is progress, and a guest
//! without any for too long is ended, whoever is to blame. A client that goes
//! ends its guest; one that has got all of the response does not.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::task::AbortHandle;
use wasmtime_wasi_http::{Error, WasiBody};
use wasmtime_wasi_io::bytes::Bytes;

use super::stats::Stats;

/// What all parts of an exchange know of it.
pub struct Exchange {
    began: Instant,
    progress: AtomicU64,
    /// The request's body was longer than allowed.
    pub too_long: AtomicBool,
    /// Nothing has passed for too long, and the guest has been ended for that.
    pub stalled: AtomicBool,
    guest: Mutex<Option<AbortHandle>>,
}

impl Exchange {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            progress: AtomicU64::new(0),
            too_long: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            guest: Mutex::new(None),
        })
    }

    /// Say what is to be ended where the client goes.
    pub fn runs(&self, guest: AbortHandle) {
        *self.guest.lock().expect("no holder of it panics") = Some(guest);
    }

    pub fn end_guest(&self) {
        if let Some(guest) = self.guest.lock().expect("no holder of it panics").take() {
            guest.abort();
        }
    }

    /// Await a guest for as long as there is progress; None: it stalled.
    pub async fn within<T>(&self, timeout: Duration, guest: impl Future<Output = T>) -> Option<T> {
        let mut guest = std::pin::pin!(guest);
        loop {
            let before = self.progress.load(Relaxed);
            match tokio::time::timeout(timeout, &mut guest).await {
                Ok(done) => return Some(done),
                Err(_) if before == self.progress.load(Relaxed) => {
                    self.stalled.store(true, Relaxed);
                    return None;
                }
                Err(_) => (),
            }
        }
    }
}

/// A request's body, as far as it is allowed.
pub struct Asked {
    pub body: Incoming,
    pub left_bytes: u64,
    pub exchange: Arc<Exchange>,
}

impl Body for Asked {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.exchange.progress.fetch_add(1, Relaxed);
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(Error::Hyper)?;
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(left_bytes) = self.left_bytes.checked_sub(length) else {
            self.exchange.too_long.store(true, Relaxed);
            return Poll::Ready(Some(Err(Error::HttpRequestBodySize(None))));
        };
        self.left_bytes = left_bytes;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body; the end of it is the end of the exchange.
pub struct Answer {
    body: WasiBody,
    status: StatusCode,
    left_bytes: Option<u64>,
    ended: bool,
    exchange: Arc<Exchange>,
    stats: Arc<Stats>,
}

impl Answer {
    /// Make a response that is accounted for.
    pub fn of(
        response: Response<WasiBody>,
        exchange: Arc<Exchange>,
        stats: Arc<Stats>,
    ) -> Response<Self> {
        let (head, body) = response.into_parts();
        let left_bytes = content_length(&head.headers);
        let answer = Self { body, status: head.status, left_bytes, ended: false, exchange, stats };
        Response::from_parts(head, answer)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.exchange.progress.fetch_add(1, Relaxed);
        match &frame {
            None => self.ended = true,
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left_bytes = self.left_bytes.map(|left| left.saturating_sub(length));
            }
            Some(Err(_)) => (),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&self.status);
        let whole = bodiless || self.left_bytes == Some(0) || self.body.is_end_stream();
        if !self.ended && !whole {
            self.exchange.end_guest(); // nobody reads it
        }
        self.stats.answered(self.status.as_u16(), self.exchange.began.elapsed());
    }
}

/// The length that a head declares.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A response of our own: a line of text.
pub fn refusal(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let body = Full::from(text).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
