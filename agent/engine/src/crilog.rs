//! Guest output as lines of a CRI log: `TIME stdout F text`.
//!
//! Pure, and the same as `wasm_node.runtime.crilog`: a line longer than 16 KiB
//! is cut into pieces tagged P (partial), the last one F, as container runtimes
//! do; what has no newline when the guest ends is a line of its own. The head
//! of a line is made without allocating, since a signal handler makes one.

/// A longer line is cut into pieces of this size.
pub const PIECE_BYTES: usize = 16384;

/// What stands before a line's text.
pub struct Head {
    bytes: [u8; 48],
    length: usize,
}

impl Head {
    /// The head of a whole line, or of its last piece; `now_ns` is unix time.
    pub fn new(stream: &str, now_ns: u64) -> Self {
        let mut head = Self { bytes: [0; 48], length: 0 };
        head.stamp(now_ns);
        for part in [" ", stream, " F "] {
            head.push(part.as_bytes());
        }
        head
    }

    /// The head of all pieces of a line but the last.
    pub fn partial(&self) -> Self {
        let mut head = Self { ..*self };
        head.bytes[head.length - 2] = b'P';
        head
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// RFC 3339 with nine digits.
    fn stamp(&mut self, now_ns: u64) {
        let (seconds, nanos) = (now_ns / 1_000_000_000, now_ns % 1_000_000_000);
        let (days, second) = (seconds / 86400, seconds % 86400);
        let (year, month, day) = civil(days);
        self.number(year, 4, b"-");
        self.number(month, 2, b"-");
        self.number(day, 2, b"T");
        self.number(second / 3600, 2, b":");
        self.number(second / 60 % 60, 2, b":");
        self.number(second % 60, 2, b".");
        self.number(nanos, 9, b"Z");
    }

    fn number(&mut self, mut value: u64, digits: usize, then: &[u8]) {
        for at in (0..digits).rev() {
            self.bytes[self.length + at] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.length += digits;
        self.push(then);
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
    }
}

/// Year, month and day of a count of days since 1970-01-01: years that begin
/// in March have their leap day last, and repeat every 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// One of a guest's two outputs: what of its line under way is not out yet.
pub struct Stream {
    name: &'static str,
    rest: Vec<u8>,
}

impl Stream {
    pub const fn new(name: &'static str) -> Self {
        Self { name, rest: Vec::new() }
    }

    pub fn head(&self, now_ns: u64) -> Head {
        Head::new(self.name, now_ns)
    }

    /// The line that was never ended, if there is one.
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Take output and add the log lines that it completes to `out`.
    pub fn feed(&mut self, mut data: &[u8], now_ns: u64, out: &mut Vec<u8>) {
        let full = self.head(now_ns);
        let partial = full.partial();
        while let Some(end) = data.iter().position(|&byte| byte == b'\n') {
            let last = self.pieces(&data[..end], &partial, out);
            out.extend_from_slice(full.as_bytes());
            out.extend_from_slice(&self.rest);
            out.extend_from_slice(last);
            out.push(b'\n');
            self.rest.clear();
            data = &data[end + 1..];
        }
        let begun = self.pieces(data, &partial, out);
        self.rest.extend_from_slice(begun);
    }

    /// Put out full pieces of the line; return what of it comes behind them.
    fn pieces<'a>(&mut self, mut line: &'a [u8], partial: &Head, out: &mut Vec<u8>) -> &'a [u8] {
        while self.rest.len() + line.len() > PIECE_BYTES {
            let (piece, behind) = line.split_at(PIECE_BYTES - self.rest.len());
            out.extend_from_slice(partial.as_bytes());
            out.extend_from_slice(&self.rest);
            out.extend_from_slice(piece);
            out.push(b'\n');
            self.rest.clear();
            line = behind;
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NS: u64 = 1_795_431_605_000_000_042; // 2026-11-23T11:00:05Z by `date -u -d @...`
    const HEAD: &str = "2026-11-23T11:00:05.000000042Z stdout ";

    fn fed(parts: &[&[u8]]) -> (String, String) {
        let mut stream = Stream::new("stdout");
        let mut out = Vec::new();
        for part in parts {
            stream.feed(part, NOW_NS, &mut out);
        }
        let rest = String::from_utf8(stream.rest().to_vec()).unwrap();
        (String::from_utf8(out).unwrap(), rest)
    }

    #[test]
    fn lines_are_told_apart_wherever_writes_end() {
        let lines = format!("{HEAD}F one\n{HEAD}F \n{HEAD}F two\n");

        assert_eq!(fed(&[b"one\n\ntwo\nthree"]), (lines.clone(), "three".into()));
        assert_eq!(
            fed(&[b"o", b"ne\n", b"", b"\n", b"two", b"\nth", b"ree"]),
            (lines, "three".into())
        );
    }

    #[test]
    fn a_long_line_is_cut_and_tagged() {
        let piece = "x".repeat(PIECE_BYTES);
        let long = "x".repeat(2 * PIECE_BYTES + 1);
        let lines = format!("{HEAD}P {piece}\n{HEAD}P {piece}\n{HEAD}F x\n");

        assert_eq!(fed(&[long.as_bytes(), b"\n"]), (lines.clone(), String::new()));
        let (first, second) = long.as_bytes().split_at(PIECE_BYTES - 1);
        assert_eq!(fed(&[first, second, b"\n"]), (lines, String::new()));
    }

    #[test]
    fn a_line_of_just_one_piece_is_whole() {
        let piece = "x".repeat(PIECE_BYTES);

        assert_eq!(fed(&[piece.as_bytes()]), (String::new(), piece.clone()));
        assert_eq!(fed(&[piece.as_bytes(), b"\n"]).0, format!("{HEAD}F {piece}\n"));
    }

    #[test]
    fn days_have_their_dates() {
        // By `date -u -d '1970-01-01 N days'`.
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11016, (2000, 2, 29)),
            (19782, (2024, 2, 29)),
            (19783, (2024, 3, 1)),
            (20453, (2025, 12, 31)),
            (47540, (2100, 2, 28)),
            (47541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date);
        }
    }
}
