//! One request, from what is refused of it at once to the end of its guest.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, WasiBody};

use super::doors::Via;
use super::exchange::{Answer, Asked, Exchange, content_length, refusal};
use super::instances::{Answered, Failure};
use super::server::{InFlight, MOST_CONCURRENCY, PRIVATE_REQUESTS, Program, Server, seconds};
use super::stats::Held;

const TOO_LONG: &str = "the request's body is too long\n";
const LATE: &str = "the guest has not answered in time\n";
const FAILED: &str = "the guest failed; its log says how\n";

/// A status, and a line of text.
type Refused = (StatusCode, &'static str);

impl Server {
    /// Answer one request.
    pub(super) async fn serve(
        self: &Arc<Self>,
        request: Request<Incoming>,
        via: Via,
    ) -> Response<Answer> {
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
            Ok(Err(Error::HttpRequestBodySize(_))) => {
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
                Program::Component(instances) => {
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
        let Program::Component(instances) = &self.program else { return }; // runs leave nothing
        while let Some(at) = instances.give_back(&self.live, seconds(self.wanted.idle_s)) {
            tokio::time::sleep_until(at.into()).await;
        }
        self.sweeping.store(false, Relaxed);
    }
}

/// Ends the guest with it: nobody waits for its answer any more.
struct EndsGuest<'a>(&'a Exchange);

impl Drop for EndsGuest<'_> {
    fn drop(&mut self) {
        self.0.end_guest();
    }
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
