//! What guests ask of others by HTTP, as far as they are granted to.
//!
//! The name is checked before it is looked up, and each address that comes of
//! it before it is connected to; the connection goes to an address that was
//! checked, not to the name again.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Interval, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};
use wasmtime_wasi_io::bytes::Bytes;

use crate::grants::{Denied, Grants};

/// Of a step that the guest sets no time for: the container's own bounds apply.
const LONGEST: Duration = Duration::from_mins(10);

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Driver), Error>;

/// Requests of guests to others.
#[derive(Clone)]
pub struct Calls(pub Arc<Grants>);

impl WasiHttpHooks for Calls {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Driver,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let grants = Arc::clone(&self.0);
        Box::new(async move { send(&grants, request, options.unwrap_or_default()).await })
    }
}

async fn send(grants: &Grants, mut request: Request<WasiBody>, options: RequestOptions) -> Sent {
    let secure = request.uri().scheme() == Some(&Scheme::HTTPS);
    let host = request.uri().host().ok_or(Error::HttpRequestUriInvalid)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = request.uri().port_u16().unwrap_or(if secure { 443 } else { 80 });
    if !grants.may_ask(&host, port) {
        grants.deny(Denied::Ask, &format!("{host}:{port}"));
        return Err(Error::HttpRequestDenied);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    let patience = options.connect_timeout.unwrap_or(LONGEST);
    let connecting = connect(grants, &host, port);
    let plain = timeout(patience, connecting).await.map_err(|_| Error::ConnectionTimeout)??;
    if !secure {
        return exchange(plain, request, options).await;
    }
    let name = ServerName::try_from(host).map_err(|_| Error::HttpRequestUriInvalid)?;
    let shaking = tls().connect(name, plain);
    let secured = timeout(patience, shaking).await.map_err(|_| Error::ConnectionTimeout)?;
    exchange(secured.map_err(Error::Tls)?, request, options).await
}

/// Connect to the first address that is granted and answers.
async fn connect(grants: &Grants, host: &str, port: u16) -> Result<TcpStream, Error> {
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| Error::DnsError { rcode: Some(error.to_string()), info_code: None })?
            .collect(),
    };
    let mut failed = Error::DestinationNotFound;
    for address in addresses {
        if !grants.may_reach(host, address) {
            grants.deny(Denied::Ask, &format!("{host} at {address}"));
            failed = Error::DestinationIpProhibited;
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true); // it has gone: reading says so
                return Ok(stream);
            }
            Err(error) => failed = Error::Connect(error),
        }
    }
    Err(failed)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Sent {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver: AbortOnDropJoinHandle<_> = spawn(connection);
    let first = options.first_byte_timeout.unwrap_or(LONGEST);
    let response = timeout(first, sender.send_request(request)).await;
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let between = options.between_bytes_timeout.unwrap_or(LONGEST).max(Duration::from_nanos(1));
    let mut patience = tokio::time::interval(between);
    patience.reset();
    let response = response.map(|body| Bounded { body, patience }.boxed_unsync());
    Ok((response, Box::new(async move { driver.await.map_err(Error::from) })))
}

/// A response's body whose bytes may not be too long in coming.
struct Bounded {
    body: Incoming,
    patience: Interval,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.patience.reset();
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => {
                self.patience.poll_tick(cx).map(|_| Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }
}

/// Mozilla's roots, as they were when this was built.
fn tls() -> TlsConnector {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        Arc::new(config.with_no_client_auth())
    });
    TlsConnector::from(Arc::clone(config))
}
