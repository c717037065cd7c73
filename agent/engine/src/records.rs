//! What comes in and what goes out: orders, specs, journal lines.
//!
//! The Python side owns these formats (`wasm_node.protocol.records` and
//! `.journal`, `wasm_node.runtime.starts` and `.cache`); this file only repeats
//! the part of them that a worker needs. A field that is not known is passed
//! over, as it is there.

use serde::{Deserialize, Serialize};

use crate::grants::{self, Denied};

/// In an attempt's directory; `wasm_node.protocol.layout` has the names.
pub const SPEC: &str = "spec.json";
pub const JOURNAL: &str = "worker.jsonl";

const MESSAGE_CHARS: usize = 4000;

/// What the supervisor asks of the fork server; descriptors come beside it.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Order {
    Hello,
    Run(Run),
    Exec(Exec),
    Compile(Compile),
}

/// Run one attempt: with its directory, its log and the pipe for its news.
#[derive(Deserialize)]
pub struct Run {
    /// Whom the guest runs as; none: as the runtime does.
    pub uid: Option<u32>,
    /// Files of control groups that take a pid.
    pub cgroups: Vec<String>,
    /// No group bounds its memory, so the engine does.
    pub bounded: bool,
    /// The directory of compiled code, and a name and a kind in there.
    pub cache: String,
    pub artifact: String,
    pub kind: Kind,
}

/// Run a program beside an attempt: with a directory of its own, the pipe for
/// its news, and its streams.
#[derive(Deserialize)]
pub struct Exec {
    #[serde(flatten)]
    pub run: Run,
    /// The exported function to call; empty is the program's start.
    pub export: String,
}

/// Compile one module: with the module, the output and the pipe for the answer.
#[derive(Deserialize)]
pub struct Compile {
    /// Whom the compiler runs as.
    pub uid: Option<u32>,
    /// What the module's bytes must hash to.
    pub digest: String,
}

/// What a `.wasm` file holds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Module,
    Component,
    /// A component that answers HTTP requests, of WASI 0.2.
    Proxy,
    /// The same of WASI 0.3.
    Service,
}

/// The part of `spec.json` that a worker needs.
#[derive(Deserialize)]
pub struct Spec {
    pub id: AttemptId,
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub memory_limit_bytes: Option<usize>,
    #[serde(default)]
    pub http: Option<Http>,
    #[serde(default)]
    pub grants: Option<grants::Wanted>,
}

/// How a guest serves HTTP: `wasm_node.protocol.records.Http`.
#[derive(Clone, Deserialize)]
pub struct Http {
    pub mode: Mode,
    /// Requests that one instance serves, one after another.
    pub reuse: u32,
    /// Requests at a time.
    pub concurrency: u32,
    /// Until a response's head, and then without any progress.
    pub timeout_s: f64,
    pub max_body_bytes: u64,
    pub max_header_bytes: usize,
    /// After so long without a request memory is given back.
    pub idle_s: f64,
    /// How long to go on accepting, once told to end.
    pub linger_s: f64,
}

/// What answers a request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// An instance of a component.
    Proxy,
    /// A run of a module, as by CGI.
    Wagi,
}

#[derive(Deserialize)]
pub struct AttemptId {
    pub container: String,
}

/// A directory of the host that the guest sees under another path.
#[derive(Deserialize)]
pub struct Mount {
    pub host_path: String,
    pub guest_path: String,
    pub read_only: bool,
}

/// Who ended an attempt, as far as a worker can be the one to tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    Itself,
    Stop,
    Memory,
    Crash,
    NeverStarted,
}

/// How an attempt ended: `wasm_node.protocol.records.ExitRecord`.
#[derive(Debug, PartialEq, Serialize)]
pub struct ExitRecord {
    pub code: u8,
    pub ended_by: EndedBy,
    pub reason: &'static str,
    pub message: String,
    pub started_at_ns: u64,
    pub finished_at_ns: u64,
}

#[derive(Serialize)]
struct Claim {
    pid: i32,
    start_ticks: u64,
    claimed_at_ns: u64,
}

#[derive(Serialize)]
struct Entry {
    entered_at_ns: u64,
}

#[derive(Serialize)]
struct Denial<'a> {
    denied: Told<'a>,
}

/// `wasm_node.protocol.records.Denial`.
#[derive(Serialize)]
struct Told<'a> {
    what: Denied,
    words: &'a str,
}

#[derive(Serialize)]
struct End<'a> {
    exit: &'a ExitRecord,
}

/// A worker's first line.
pub fn claimed(pid: i32, start_ticks: u64, claimed_at_ns: u64) -> Vec<u8> {
    line(&Claim { pid, start_ticks, claimed_at_ns })
}

/// The line written just before the guest's first instruction.
pub fn entered(entered_at_ns: u64) -> Vec<u8> {
    line(&Entry { entered_at_ns })
}

/// The line about something of the network that the guest may not reach.
pub fn denied(what: Denied, words: &str) -> Vec<u8> {
    line(&Denial { denied: Told { what, words } })
}

/// A worker's last line.
pub fn ended(exit: &ExitRecord) -> Vec<u8> {
    line(&End { exit })
}

/// One JSON object and a newline, fit for one write.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("strings and numbers are always JSON");
    text.push(b'\n');
    text
}

/// As much of a message as a record takes.
pub fn cut(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS).collect()
}

/// Field 22 of the text of `/proc/PID/stat`: with the pid, an identity.
pub fn start_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn journal_lines_are_what_the_supervisor_reads() {
        let how = ExitRecord {
            code: 128,
            ended_by: EndedBy::NeverStarted,
            reason: "StartError",
            message: "no \"_start\"\n".into(),
            started_at_ns: 1,
            finished_at_ns: 2,
        };

        assert_eq!(text(claimed(7, 8, 9)), "{\"pid\":7,\"start_ticks\":8,\"claimed_at_ns\":9}\n");
        assert_eq!(text(entered(5)), "{\"entered_at_ns\":5}\n");
        assert_eq!(
            text(denied(Denied::Ask, "x 1:2")),
            "{\"denied\":{\"what\":\"ask\",\"words\":\"x 1:2\"}}\n"
        );
        assert_eq!(
            text(ended(&how)),
            "{\"exit\":{\"code\":128,\"ended_by\":\"never-started\",\"reason\":\"StartError\",\
             \"message\":\"no \\\"_start\\\"\\n\",\"started_at_ns\":1,\"finished_at_ns\":2}}\n"
        );
    }

    #[test]
    fn orders_are_what_the_supervisor_sends() {
        let run = r#"{"do": "run", "uid": null, "cgroups": [], "bounded": true, "cache": "/c",
                      "artifact": "a", "kind": "component", "later": 1}"#;

        let Order::Run(run) = serde_json::from_str(run).unwrap() else { panic!("not run") };
        assert!(run.uid.is_none() && run.bounded && run.kind == Kind::Component);
        let exec = r#"{"do": "exec", "uid": 7, "cgroups": ["/g"], "bounded": false, "cache": "/c",
                       "artifact": "a", "kind": "module", "export": "f"}"#;
        let Order::Exec(exec) = serde_json::from_str(exec).unwrap() else { panic!("not exec") };
        assert!(exec.run.uid == Some(7) && exec.run.cgroups == ["/g"] && exec.export == "f");
        assert!(matches!(serde_json::from_str(r#"{"do": "hello"}"#).unwrap(), Order::Hello));
        assert!(serde_json::from_str::<Order>(r#"{"do": "dance"}"#).is_err());
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19424 0";

        assert_eq!(start_ticks(stat), Some(19424));
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(cut(&"\u{e9}".repeat(5000)).chars().count(), MESSAGE_CHARS);
    }
}
