//! One request to a component of WASI 0.3, whose handler is a task.
//!
//! It returns a response and goes on: it writes the body, or works beside it.
//! The instance is run until all of its tasks have ended and the body is out,
//! as streams between host and guest move only while it runs.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use http::uri::{Authority, Scheme};
use http::{Request, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, FieldMap, WasiBody, WasiHttpView};
use wasmtime_wasi_io::bytes::Bytes;

use super::exchange::Asked;
use super::instances::Answered;
use crate::guest::Guest;

/// Have it answer, and see it to its end, which may come later.
pub async fn answer(
    store: &mut Store<Guest>,
    service: &Service,
    request: Request<Asked>,
    to: oneshot::Sender<Answered>,
) -> wasmtime::Result<()> {
    let (head, body) = request.into_parts();
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().cloned();
    let authority = authority.or_else(|| host?.parse::<Authority>().ok());
    let path = head.uri.path_and_query().cloned();
    let headers = FieldMap::new_immutable(store.data_mut().http().hooks, head.headers);
    let (request, received) =
        p3::Request::new(head.method, Some(Scheme::HTTP), authority, path, headers, None, body);
    let gone = Gone(Arc::default());
    let whole = async |tasks: &Accessor<Guest>| -> wasmtime::Result<()> {
        match service.handle(tasks, request).await? {
            Ok(response) => {
                let response = tasks.with(|store| response.into_http(store, received))?;
                let (open, read) = oneshot::channel();
                let gone = Arc::clone(&gone.0);
                let response =
                    response.map(|body| Written { body, gone, _open: open }.boxed_unsync());
                let _ = to.send(Ok(response)); // nobody waits any more: the body is dropped
                let _ = read.await; // nothing is sent: it ends with the body
            }
            Err(error) => drop(to.send(Err(Error::from(error)))),
        }
        poll_fn(|cx| tasks.poll_no_interesting_tasks(cx)).await;
        Ok(())
    };
    store.run_concurrent(whole).await?
}

/// Tells with its end that the guest is gone, however that came.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What a guest writes of a response. If it is gone before the end, that is no
/// end: the client is not to take a part for the whole.
struct Written {
    body: WasiBody,
    gone: Arc<AtomicBool>,
    _open: oneshot::Sender<()>,
}

impl Body for Written {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            None if self.gone.load(Relaxed) => Some(Err(Error::HttpResponseIncomplete)),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        !self.gone.load(Relaxed) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
