//! The agent's way in: whether to accept, and figures.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use wasmtime_wasi_io::bytes::Bytes;

use super::server::Server;

const BODY_BYTES: usize = 16;

/// Answer on the agent's socket, for ever.
pub async fn serve(server: Arc<Server>, door: UnixListener) {
    loop {
        let Ok((connection, _)) = door.accept().await else { continue };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&server, request));
            let io = TokioIo::new(connection);
            let _ = http1::Builder::new().serve_connection(io, service).await; // it has gone
        });
    }
}

async fn answer(
    server: &Arc<Server>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (status, text) = match (&head.method, head.uri.path()) {
        (&Method::PUT, "/accepting") => {
            let body = Limited::new(body, BODY_BYTES).collect().await;
            let said = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            match said.trim_ascii() {
                b"true" => accept(server, true),
                b"false" => accept(server, false),
                _ => (StatusCode::BAD_REQUEST, "the body is true or false\n".into()),
            }
        }
        (&Method::GET, "/stats") => (StatusCode::OK, server.stats().to_string()),
        (_, "/accepting" | "/stats") => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    Ok(response)
}

fn accept(server: &Arc<Server>, accepting: bool) -> (StatusCode, String) {
    match server.set_accepting(accepting) {
        Ok(()) => (StatusCode::NO_CONTENT, String::new()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot accept: {error}\n")),
    }
}
