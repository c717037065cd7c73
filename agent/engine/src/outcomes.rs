//! How a guest ended by itself, in the words of `wasm_node.runtime.engines.outcomes`.

use crate::records::EndedBy;

/// What becomes an exit record, once the times are known.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub code: u8,
    pub ended_by: EndedBy,
    pub reason: &'static str,
    /// For people; empty where the code says it all.
    pub message: String,
    /// For the log: all that the engine can tell of a trap.
    pub trace: String,
}

impl Outcome {
    fn new(code: u8, ended_by: EndedBy, reason: &'static str, message: String) -> Self {
        Self { code, ended_by, reason, message, trace: String::new() }
    }
}

/// The guest gave an exit code. A process has the low eight bits of it; but a
/// failure never becomes a success by that: 256 is 255.
pub fn exited(code: impl Into<i128>) -> Outcome {
    let code = code.into();
    let low = match code.to_le_bytes()[0] {
        0 if code != 0 => 255,
        low => low,
    };
    let message = if i128::from(low) == code {
        String::new()
    } else {
        format!("the guest asked for exit code {code}; a process has 0-255")
    };
    let reason = if code == 0 { "Completed" } else { "Error" };
    Outcome::new(low, EndedBy::Itself, reason, message)
}

/// The guest's function returned an error, perhaps with a text.
pub fn refused(why: String) -> Outcome {
    let trace = if why.is_empty() { String::new() } else { format!("{why}\n") };
    Outcome { trace, ..Outcome::new(1, EndedBy::Itself, "Error", why) }
}

/// A server was told to end, and did.
pub fn stopped() -> Outcome {
    Outcome::new(0, EndedBy::Stop, "Completed", String::new())
}

/// A trap is an abort: 128 + SIGABRT. The engine tells first where it was and
/// then what happened; a person wants to read it the other way round.
pub fn trapped(told: &str) -> Outcome {
    let (place, what) = told.split_once("\n\nCaused by:\n").unwrap_or((told, ""));
    let place = place.strip_prefix("error while executing at ").unwrap_or(place);
    let message = format!("{}\n{place}", what.trim()).trim().to_owned();
    let trace = format!("{message}\n");
    Outcome { trace, ..Outcome::new(134, EndedBy::Itself, "WasmTrap", message) }
}

/// The engine itself failed under the guest.
pub fn failed(how: &str) -> Outcome {
    Outcome::new(255, EndedBy::Crash, "Error", format!("the engine failed: {how}"))
}

/// An abnormal outcome again, as one that came of memory that was denied.
pub fn out_of_memory(before: Outcome, wanted_bytes: usize, limit_bytes: usize) -> Outcome {
    let how = match before.reason {
        "WasmTrap" => "trapped".to_owned(),
        _ => format!("ended with code {}", before.code),
    };
    let message = format!(
        "the guest {how} right after it was denied memory: it asked for {wanted_bytes} bytes in \
         all, and its limit is {limit_bytes}. {}",
        before.message
    );
    let message = message.trim().to_owned();
    let trace = before.trace;
    Outcome { trace, ..Outcome::new(137, EndedBy::Memory, "OOMKilled", message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_low_eight_bits() {
        for (asked, given) in [(0, 0), (1, 1), (255, 255), (256, 255), (257, 1), (u32::MAX, 255)] {
            let outcome = exited(asked);

            assert_eq!(outcome.code, given);
            assert_eq!(outcome.message.is_empty(), u32::from(given) == asked);
            assert_eq!(outcome.reason == "Completed", asked == 0);
        }
        assert_eq!(exited(-1).code, 255);
        assert_eq!(exited(1_i64 << 32).code, 255);
    }

    #[test]
    fn a_trap_begins_with_what_happened() {
        let told = "error while executing at wasm backtrace:\n    0: 0x1 - m!f\n\nCaused by:\n    \
                    wasm trap: unreachable";

        assert_eq!(
            trapped(told).message,
            "wasm trap: unreachable\nwasm backtrace:\n    0: 0x1 - m!f"
        );
        assert_eq!(trapped("no more is known").message, "no more is known");
    }

    #[test]
    fn denied_memory_keeps_what_was_said() {
        let outcome = out_of_memory(trapped("here"), 70, 64);

        assert_eq!(
            (outcome.code, outcome.reason, outcome.trace.as_str()),
            (137, "OOMKilled", "here\n")
        );
        assert!(outcome.message.starts_with("the guest trapped right after it was denied memory"));
        assert!(outcome.message.ends_with("here"));
    }
}
