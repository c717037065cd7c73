//! What guests may reach of the network: nothing, unless the pod says so.
//!
//! Addresses are checked here, each time and last: a name is not a right to
//! whatever it resolves to. It is good for public addresses; others (loopback,
//! link-local, private) need a grant of the address as well, so that nobody who
//! controls a name can point it at the node or its neighbours.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use wasmtime_wasi::sockets::SocketAddrUse;

use crate::news::News;
use crate::records;
use crate::streams::Streams;

const LOGGED_AT_MOST: usize = 100;
const TOLD_AT_MOST: usize = 10;
const TARGET_CHARS: usize = 300; // the longest name has 253, and a port

/// As it stands in `spec.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// `host`, `*.host`, address or CIDR, each with `:port` or without.
    pub outgoing_http: Vec<String>,
    /// Address or CIDR, each with `:port`, which may be `*`.
    pub connect: Vec<String>,
    /// Ports of this host.
    pub listen: Vec<u16>,
    /// Whether names may be looked up.
    pub dns: bool,
}

/// What one container's guests may reach; counts and tells what is denied.
pub struct Grants {
    http: Vec<Target>,
    connect: Vec<Target>,
    listen: Vec<u16>,
    dns: bool,
    denied: AtomicU64,
    told: Mutex<HashSet<String>>,
    to: Option<(Streams, &'static News)>,
}

/// What a guest wanted and may not; `wasm_node.agent.model.grants` knows what
/// would allow each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Denied {
    /// To ask by HTTP.
    Ask,
    Connect,
    Send,
    Receive,
    Listen,
    Accept,
    /// To look a name up.
    Resolve,
}

impl Denied {
    /// In words, with its target behind them.
    fn words(self) -> &'static str {
        match self {
            Self::Ask => "HTTP requests to",
            Self::Connect => "connections to",
            Self::Send => "datagrams to",
            Self::Receive => "datagrams from",
            Self::Listen => "listening on",
            Self::Accept => "connections from",
            Self::Resolve => "looking up",
        }
    }
}

#[derive(Debug, PartialEq)]
struct Target {
    host: Host,
    port: Port,
}

#[derive(Debug, PartialEq)]
enum Host {
    Name(String),
    Below(String),
    Network(IpAddr, u8),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Port {
    One(u16),
    Any,
    OfScheme,
}

impl Grants {
    /// Read what is wanted; denials are told on stderr and to the supervisor.
    ///
    /// # Errors
    /// One of them cannot be understood; the text says which, and how to write it.
    pub fn read(
        wanted: Option<&Wanted>,
        streams: &Streams,
        news: &'static News,
    ) -> Result<Arc<Self>, String> {
        let none = Wanted::default();
        let wanted = wanted.unwrap_or(&none);
        let parse = |each: &String| each.parse::<Target>();
        let connect = wanted.connect.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        for (target, text) in connect.iter().zip(&wanted.connect) {
            if !matches!(target.host, Host::Network(..)) || target.port == Port::OfScheme {
                return Err(format!(
                    "cannot grant connections to {text:?}: write ADDRESS:PORT or CIDR:PORT, such \
                     as 10.0.0.0/8:5432 or [fd00::/8]:*"
                ));
            }
        }
        Ok(Arc::new(Self {
            http: wanted.outgoing_http.iter().map(parse).collect::<Result<_, _>>()?,
            connect,
            listen: wanted.listen.clone(),
            dns: wanted.dns,
            to: Some((streams.clone(), news)),
            ..Self::none()
        }))
    }

    /// Nothing, told to nobody.
    pub fn none() -> Self {
        Self {
            http: Vec::new(),
            connect: Vec::new(),
            listen: Vec::new(),
            dns: false,
            denied: AtomicU64::new(0),
            told: Mutex::default(),
            to: None,
        }
    }

    /// How many calls were denied.
    pub fn denied(&self) -> u64 {
        self.denied.load(Relaxed)
    }

    /// Whether a host may be asked by HTTP at all.
    pub fn may_ask(&self, host: &str, port: u16) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.has_address(SocketAddr::new(address, port)),
            Err(_) => self.has_name(host, port),
        }
    }

    /// Whether a host that may be asked may be reached at this address.
    pub fn may_reach(&self, host: &str, address: SocketAddr) -> bool {
        (is_public(address.ip()) && self.has_name(host, address.port()))
            || self.has_address(address)
    }

    /// Whether a socket may be used with an address.
    pub fn allows(&self, address: SocketAddr, r#use: SocketAddrUse) -> bool {
        use SocketAddrUse as Use;
        let listens = self.listen.contains(&address.port());
        let connects = self.connect.iter().any(|each| each.fits_address(address));
        let (allowed, what) = match r#use {
            Use::TcpBind | Use::UdpBind => {
                // Any port is where each connection begins: that is asked for next.
                (address.port() == 0 || listens, Denied::Listen)
            }
            Use::TcpListen => (listens, Denied::Listen),
            Use::TcpAccept => (!self.listen.is_empty(), Denied::Accept),
            Use::TcpConnect => (connects, Denied::Connect),
            Use::UdpSend => (connects, Denied::Send),
            Use::UdpReceive => (connects || !self.listen.is_empty(), Denied::Receive),
        };
        if !allowed {
            self.deny(what, &address.to_string());
        }
        allowed
    }

    /// Whether a name may be looked up; an address is none, and nothing leaves.
    pub fn may_resolve(&self, name: &str) -> bool {
        let allowed = self.dns || name.parse::<IpAddr>().is_ok();
        if !allowed {
            self.deny(Denied::Resolve, name);
        }
        allowed
    }

    /// Count a denial; the first of each target is told.
    pub fn deny(&self, what: Denied, target: &str) {
        self.denied.fetch_add(1, Relaxed);
        let Some((streams, news)) = &self.to else { return };
        let target: String = target.escape_debug().take(TARGET_CHARS).collect();
        let words = format!("{} {target}", what.words());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < LOGGED_AT_MOST && told.insert(words.clone()) {
            streams.say(&format!("denied {words}: the pod's grants do not allow it\n"));
            if told.len() <= TOLD_AT_MOST {
                news.tell(&records::denied(what, &words));
            }
        }
    }

    fn has_name(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.http.iter().any(|each| each.fits_name(&host) && each.port.fits(port))
    }

    fn has_address(&self, address: SocketAddr) -> bool {
        self.http.iter().any(|each| each.fits_address(address))
    }
}

impl Target {
    fn fits_name(&self, host: &str) -> bool {
        match &self.host {
            Host::Name(name) => name == host,
            Host::Below(domain) => {
                host.strip_suffix(domain).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
            }
            Host::Network(..) => false,
        }
    }

    fn fits_address(&self, address: SocketAddr) -> bool {
        let Host::Network(network, bits) = self.host else { return false };
        self.port.fits(address.port()) && is_within(address.ip().to_canonical(), network, bits)
    }
}

impl Port {
    fn fits(self, port: u16) -> bool {
        match self {
            Self::One(wanted) => wanted == port,
            Self::Any => true,
            Self::OfScheme => port == 80 || port == 443,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cannot = || {
            format!(
                "cannot grant {text:?}: write HOST, *.HOST, an address or a CIDR, and :PORT (or \
                 :*) behind it where it is not 80 or 443; IPv6 is in brackets"
            )
        };
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(cannot)?)),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            None => Port::OfScheme,
            Some("*") => Port::Any,
            Some(number) => Port::One(number.parse().map_err(|_| cannot())?),
        };
        Ok(Self { host: read_host(host).ok_or_else(cannot)?, port })
    }
}

fn read_host(text: &str) -> Option<Host> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    if let Ok(address) = address.parse::<IpAddr>() {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).ok().filter(|&bits| bits <= most)?;
        return Some(Host::Network(address, bits));
    }
    let name = text.to_ascii_lowercase();
    let (below, name) = name.strip_prefix("*.").map_or((false, &*name), |rest| (true, rest));
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if !name.split('.').all(is_label) || name.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    Some(if below { Host::Below(name.to_owned()) } else { Host::Name(name.to_owned()) })
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

/// What is not the host's, its network's or its operator's own: IANA's registry
/// of special addresses, as far as they can be somebody's.
fn is_public(address: IpAddr) -> bool {
    let special = match address.to_canonical() {
        IpAddr::V4(_) => SPECIAL_V4.as_slice(),
        IpAddr::V6(_) => SPECIAL_V6.as_slice(),
    };
    !special.iter().any(|&(network, bits)| is_within(address.to_canonical(), network, bits))
}

const fn v4(a: u8, b: u8, c: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, 0))
}

const fn v6(first: u16, second: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0))
}

const SPECIAL_V4: [(IpAddr, u8); 12] = [
    (v4(0, 0, 0), 8),
    (v4(10, 0, 0), 8),
    (v4(100, 64, 0), 10),
    (v4(127, 0, 0), 8),
    (v4(169, 254, 0), 16),
    (v4(172, 16, 0), 12),
    (v4(192, 0, 0), 24),
    (v4(192, 168, 0), 16),
    (v4(198, 18, 0), 15),
    (v4(192, 88, 99), 24),
    (v4(224, 0, 0), 4),
    (v4(240, 0, 0), 4),
];
const SPECIAL_V6: [(IpAddr, u8); 8] = [
    (v6(0, 0), 8),          // unspecified, loopback, mapped and compatible
    (v6(0x64, 0xff9b), 32), // IPv4 behind a translator
    (v6(0x100, 0), 64),
    (v6(0x2001, 0), 32), // Teredo
    (v6(0x2002, 0), 16), // 6to4
    (v6(0xfc00, 0), 7),
    (v6(0xfe80, 0), 9), // link-local, site-local
    (v6(0xff00, 0), 8),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(http: &[&str], connect: &[&str], listen: &[u16]) -> Grants {
        let parse = |each: &&str| each.parse().unwrap();
        Grants {
            http: http.iter().map(parse).collect(),
            connect: connect.iter().map(parse).collect(),
            listen: listen.to_vec(),
            ..Grants::none()
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_is_granted_by_default() {
        use SocketAddrUse as Use;
        let none = Grants::none();

        assert!(!none.may_ask("example.com", 443) && !none.may_ask("1.1.1.1", 443));
        for each in [Use::TcpConnect, Use::TcpBind, Use::TcpListen, Use::UdpSend, Use::UdpReceive] {
            assert!(!none.allows(at("1.1.1.1:80"), each));
        }
        assert!(!none.allows(at("0.0.0.0:0"), Use::TcpListen));
        assert_eq!(none.denied(), 6);
    }

    #[test]
    fn names_are_themselves_or_what_is_below() {
        let some = grants(&["api.example.com:8443", "*.example.org", "Plain.net"], &[], &[]);

        assert!(some.may_ask("API.example.com.", 8443) && some.may_ask("plain.net", 80));
        assert!(some.may_ask("a.b.example.org", 443));
        for (host, port) in [
            ("api.example.com", 443),
            ("example.org", 443),
            ("badexample.org", 443),
            (".example.org", 443),
            ("plain.net", 81),
            ("x.plain.net", 80),
        ] {
            assert!(!some.may_ask(host, port), "{host}:{port}");
        }
    }

    #[test]
    fn a_name_is_no_right_to_the_inside() {
        let by_name = grants(&["example.com:*"], &[], &[]);
        let both = grants(&["example.com:*", "10.0.0.0/8:8080"], &[], &[]);

        assert!(by_name.may_reach("example.com", at("93.184.216.34:80")));
        assert!(by_name.may_reach("example.com", at("[2606:2800::1]:80")));
        for inside in [
            "127.0.0.1:80",
            "10.1.2.3:8080",
            "169.254.169.254:80",
            "100.64.0.1:80",
            "0.0.0.0:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[fd00::1]:80",
            "[fe80::1]:80",
            "[64:ff9b::7f00:1]:80",
        ] {
            assert!(!by_name.may_reach("example.com", at(inside)), "{inside}");
        }
        assert!(both.may_reach("example.com", at("10.1.2.3:8080")));
        assert!(both.may_reach("example.com", at("[::ffff:10.1.2.3]:8080")));
        assert!(!both.may_reach("example.com", at("10.1.2.3:8081")));
        assert!(!both.may_ask("10.1.2.3", 80) && both.may_ask("10.1.2.3", 8080));
    }

    #[test]
    fn sockets_reach_what_is_granted() {
        use SocketAddrUse as Use;
        let some = grants(&[], &["10.0.0.0/8:5432", "[fd00::/8]:*"], &[8080]);

        for (address, each, allowed) in [
            ("10.9.9.9:5432", Use::TcpConnect, true),
            ("10.9.9.9:5433", Use::TcpConnect, false),
            ("10.9.9.9:5432", Use::UdpReceive, true),
            ("11.0.0.1:5432", Use::UdpReceive, true), // it has a port of its own
            ("11.0.0.1:5432", Use::TcpConnect, false),
            ("[fd00::1]:1", Use::UdpSend, true),
            ("[fe80::1]:1", Use::UdpSend, false),
            ("0.0.0.0:0", Use::TcpBind, true),
            ("0.0.0.0:8080", Use::TcpBind, true),
            ("0.0.0.0:8081", Use::TcpBind, false),
            ("0.0.0.0:8080", Use::TcpListen, true),
            ("0.0.0.0:40000", Use::TcpListen, false),
            ("8.8.8.8:999", Use::TcpAccept, true),
        ] {
            assert_eq!(some.allows(at(address), each), allowed, "{address} {each:?}");
        }
    }

    #[test]
    fn names_are_looked_up_where_that_is_granted() {
        let none = Grants::none();
        let some = Grants { dns: true, ..Grants::none() };

        assert!(!none.may_resolve("example.com") && !none.may_resolve("0x7f.1"));
        assert_eq!(none.denied(), 2);
        assert!(none.may_resolve("10.0.0.1") && none.may_resolve("::1"));
        assert!(some.may_resolve("example.com"));
        assert_eq!((none.denied(), some.denied()), (2, 0));
    }

    #[test]
    fn what_cannot_be_a_target_is_told() {
        for bad in [
            "",
            "*",
            "*.",
            "a..b",
            "a:b",
            "a:70000",
            "10.0.0.0/33",
            "[fd00::1",
            "[::1]80",
            "http://x",
            "1.2.3",
            "a b",
            "a/8",
            "x:*:1",
        ] {
            assert!(bad.parse::<Target>().unwrap_err().contains("cannot grant"), "{bad}");
        }
    }
}
