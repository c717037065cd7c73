//! CGI as text: a request as variables, and a program's head as a response's.
//!
//! RFC 3875, of which this is sections 4.1 and 6. A header never becomes a
//! variable that means something else: `Proxy` would be `HTTP_PROXY`.

use std::net::IpAddr;

use http::response::{Builder, Parts};
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header, request};
use wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS;

/// Variables of a request (4.1); `peer` is who asks, where that is known.
pub fn variables(head: &request::Parts, peer: Option<IpAddr>, port: u16) -> Vec<(String, String)> {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = head.uri.authority().map_or_else(|| text(header::HOST), |at| Some(at.as_str()));
    let host = host.unwrap_or("localhost");
    let (name, said) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    let port = if said.is_empty() { port.to_string() } else { said.to_owned() };
    let protocol = match head.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut all: Vec<(String, String)> = vec![
        ("GATEWAY_INTERFACE".into(), "CGI/1.1".into()),
        ("SERVER_SOFTWARE".into(), "wasm-node".into()),
        ("SERVER_PROTOCOL".into(), protocol.into()),
        ("SERVER_NAME".into(), name.into()),
        ("SERVER_PORT".into(), port),
        ("REQUEST_METHOD".into(), head.method.to_string()),
        ("REQUEST_URI".into(), target.into()),
        ("SCRIPT_NAME".into(), String::new()),
        ("PATH_INFO".into(), decoded(head.uri.path())),
        ("QUERY_STRING".into(), head.uri.query().unwrap_or_default().into()),
        ("REMOTE_ADDR".into(), peer.map(|peer| peer.to_string()).unwrap_or_default()),
    ];
    for name in head.headers.keys() {
        let variable = match name.as_str() {
            "content-type" => "CONTENT_TYPE".to_owned(),
            "content-length" => "CONTENT_LENGTH".to_owned(),
            "proxy" | "transfer-encoding" | "connection" => continue,
            other => format!("HTTP_{}", other.to_ascii_uppercase().replace('-', "_")),
        };
        let values = head.headers.get_all(name).iter();
        let joined: Vec<_> = values.map(|each| String::from_utf8_lossy(each.as_bytes())).collect();
        all.push((variable, joined.join(if name == header::COOKIE { "; " } else { ", " })));
    }
    all.retain(|(_, value)| !value.contains('\0'));
    all
}

/// A path without its escapes; as it is, where they are none.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let escape = behind.get(..2).filter(|_| first == b'%');
        let byte =
            escape.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a program's head ends and its body begins, if that is there yet.
pub fn head_end(text: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte == b'\n' {
            if text[line..at].is_empty() || &text[line..at] == b"\r" {
                return Some(at + 1);
            }
            line = at + 1;
        }
    }
    None
}

/// Read a program's head (6.2, 6.3), of which nothing is about the connection.
///
/// # Errors
/// It is no head; the text says why.
pub fn response(head: &[u8]) -> Result<Parts, String> {
    let mut status = None;
    let mut made = Response::builder();
    let head = std::str::from_utf8(head).map_err(|_| "it is not text".to_owned())?;
    for line in head.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is no header"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse::<u16>().ok());
            let code = code.filter(|code| (200..600).contains(code));
            let code = code.and_then(|code| StatusCode::from_u16(code).ok());
            status = Some(code.ok_or_else(|| format!("{value:?} is no status"))?);
        } else {
            made = with(made, name, value).ok_or_else(|| format!("{line:?} is no header"))?;
        }
    }
    let headers = made.headers_ref().ok_or("it is empty")?;
    let status = match status {
        Some(status) => status,
        None if headers.contains_key(header::LOCATION) => StatusCode::FOUND,
        None if headers.contains_key(header::CONTENT_TYPE) => StatusCode::OK,
        None => return Err("it has no Content-Type, no Location and no Status".into()),
    };
    let made = made.status(status).body(()).map_err(|error| error.to_string())?;
    Ok(made.into_parts().0)
}

fn with(made: Builder, name: &str, value: &str) -> Option<Builder> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let value = HeaderValue::from_str(value).ok()?;
    Some(if DEFAULT_FORBIDDEN_HEADERS.contains(&name) { made } else { made.header(name, value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_variables() {
        let request = http::Request::get("/a%20b/%zz?q=%20")
            .header("host", "here:81")
            .header("content-type", "text/x")
            .header("x-two-words", "1")
            .header("x-two-words", "2")
            .header("proxy", "http://evil")
            .body(())
            .unwrap();

        let all = variables(&request.into_parts().0, Some([10, 0, 0, 1].into()), 80);
        let of = |name: &str| all.iter().find(|(each, _)| each == name).map(|(_, v)| v.as_str());
        for (name, value) in [
            ("REQUEST_METHOD", "GET"),
            ("PATH_INFO", "/a b/%zz"),
            ("QUERY_STRING", "q=%20"),
            ("REQUEST_URI", "/a%20b/%zz?q=%20"),
            ("SERVER_NAME", "here"),
            ("SERVER_PORT", "81"),
            ("REMOTE_ADDR", "10.0.0.1"),
            ("CONTENT_TYPE", "text/x"),
            ("HTTP_X_TWO_WORDS", "1, 2"),
        ] {
            assert_eq!(of(name), Some(value));
        }
        assert_eq!(of("HTTP_PROXY"), None);
    }

    #[test]
    fn a_head_ends_at_an_empty_line() {
        for (text, end) in [
            ("a: b\n\nrest", Some(6)),
            ("a: b\r\n\r\nrest", Some(8)),
            ("\nrest", Some(1)),
            ("a: b\n", None),
            ("", None),
        ] {
            assert_eq!(head_end(text.as_bytes()), end);
        }
    }

    #[test]
    fn heads_become_responses() {
        for (text, status) in [
            ("Content-Type: text/plain\n\n", Some(200)),
            ("Location: /there\n\n", Some(302)),
            ("Status: 404 Not Found\n\n", Some(404)),
            ("Status: 201\r\nX: y\r\n\r\n", Some(201)),
            ("X: y\n\n", None),
            ("\n", None),
            ("Status: 99\n\n", None),
            ("Status: 101\n\n", None),
            ("no header\n\n", None),
            ("a b: c\n\n", None),
            ("a: \u{1}\n\n", None),
        ] {
            let made = response(text.as_bytes());
            assert_eq!(made.ok().map(|head| head.status.as_u16()), status, "{text:?}");
        }
        let made = response(b"Status: 200\nConnection: close\nTransfer-Encoding: x\nA: b\n\n");
        assert_eq!(made.unwrap().headers.len(), 1);
    }
}
