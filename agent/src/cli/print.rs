//! What people see: aligned columns, colour on terminals only, a progress line.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::Serialize;

/// Version of every `--json` output of this program.
pub(crate) const SCHEMA: u32 = 1;

/// How a word is shown on a terminal (ECMA-48 8.3.117, SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it comes.
    Plain,
    /// A heading.
    Bold,
    /// Less important.
    Dim,
    /// Good.
    Green,
    /// Look here.
    Yellow,
    /// Bad.
    Red,
}

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// Colour on a terminal, unless `NO_COLOR` is set to something.
    pub(crate) fn stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// `text` in `tone`.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            _ if !self.0 => return text.to_owned(),
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Green => "32",
            Tone::Yellow => "33",
            Tone::Red => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What others chose (device names, paths, a validator's words) without what would move the cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A page of sections.
#[derive(Debug)]
pub(crate) struct Page {
    paint: Paint,
    text: String,
}

impl Page {
    /// An empty page.
    pub(crate) fn new(paint: Paint) -> Self {
        Self { paint, text: String::new() }
    }

    /// Starts a section.
    pub(crate) fn section(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}{}", self.paint.tone(Tone::Bold, title));
    }

    /// `key  value`, keys in a column of their own.
    pub(crate) fn fact(&mut self, key: &str, value: &str) {
        self.toned(key, Tone::Plain, value);
    }

    /// As [`Page::fact`], the value in `tone`.
    pub(crate) fn toned(&mut self, key: &str, tone: Tone, value: &str) {
        let value = self.paint.tone(tone, &plain(value));
        let _ = writeln!(self.text, "  {}  {value}", self.paint.tone(Tone::Dim, &format!("{key:<14}")));
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, tone: Tone, text: &str) {
        let _ = writeln!(self.text, "  {}", self.paint.tone(tone, &plain(text)));
    }

    /// A mark in `tone`, a code and a text, in columns.
    pub(crate) fn marked(&mut self, tone: Tone, mark: &str, code: &str, text: &str) {
        let mark = self.paint.tone(tone, &format!("{mark:<4}"));
        let _ = writeln!(self.text, "  {mark}  {code:<24}  {}", plain(text));
    }

    /// Rows under a heading, each column as wide as its widest cell.
    pub(crate) fn table(&mut self, heading: &[&str], rows: &[Vec<String>]) {
        let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        let widths = widths(&heading, &rows);
        let head = aligned(&heading, &widths);
        let _ = writeln!(self.text, "  {}", self.paint.tone(Tone::Dim, &head));
        for row in &rows {
            let _ = writeln!(self.text, "  {}", aligned(row, &widths));
        }
    }

    /// Prints the page.
    pub(crate) fn print(self) -> io::Result<()> {
        out(&self.text)
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn widths(heading: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let cell = |row: &[String], column: usize| row.get(column).map_or(0, |text| text.chars().count());
    (0..heading.len())
        .map(|column| rows.iter().map(|row| cell(row, column)).chain([cell(heading, column)]).max().unwrap_or(0))
        .collect()
}

fn aligned(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> =
        row.iter().zip(widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
    cells.join("  ").trim_end().to_owned()
}

/// Writes to standard output. A reader that left early (`| head`) is no error.
pub(crate) fn out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    out(&format!("{text}\n"))
}

/// Unix milliseconds as `YYYY-MM-DD HH:MM:SS UTC` (civil-from-days over the proleptic Gregorian calendar).
pub(crate) fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Milliseconds as people say them.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// Bytes with a binary unit.
pub(crate) fn bytes(count: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
        None => format!("{count} B"),
    }
}

/// How long something may take before it shows that it lives.
const QUIET: Duration = Duration::from_secs(2);
const REDRAW: Duration = Duration::from_millis(250);

/// A line on standard error that says what is being waited for; on terminals only, gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    texts: Option<Sender<String>>,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts waiting; nothing shows for the first two seconds.
    pub(crate) fn start(text: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self { texts: None, drawing: None };
        }
        let (texts, said) = channel();
        let text = text.to_owned();
        let drawing = std::thread::spawn(move || draw(text, &said));
        Self { texts: Some(texts), drawing: Some(drawing) }
    }

    /// Changes what the line says.
    pub(crate) fn say(&self, text: &str) {
        if let Some(texts) = &self.texts {
            // The drawing thread ends only after this sender.
            let _ = texts.send(text.to_owned());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.texts.take());
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

fn draw(mut text: String, said: &Receiver<String>) {
    let start = Instant::now();
    let mut drawn = false;
    loop {
        match said.recv_timeout(REDRAW) {
            Ok(new) => text = new,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if start.elapsed() > QUIET {
            let _ = write!(io::stderr(), "\r\x1b[K{} ({} s)", plain(&text), start.elapsed().as_secs());
            drawn = true;
        }
    }
    if drawn {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_asked_and_never_lets_foreign_escapes_through() {
        assert_eq!(Paint(false).tone(Tone::Red, "x"), "x");
        assert_eq!(Paint(true).tone(Tone::Red, "x"), "\x1b[31mx\x1b[0m");
        let mut page = Page::new(Paint(false));
        page.fact("name", "GPU\x1b[2J\n");
        assert!(!page.text().contains('\x1b') && page.text().lines().count() == 1);
    }

    #[test]
    fn columns_line_up() {
        let mut page = Page::new(Paint(false));
        page.section("Jobs");
        page.table(&["job", "state"], &[vec!["a".into(), "exit 0".into()], vec!["long".into(), "".into()]]);
        assert_eq!(page.text(), "Jobs\n  job   state\n  a     exit 0\n  long\n");
    }

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_735_689_599_999), "2024-12-31 23:59:59 UTC");
        assert_eq!(utc(4_102_444_800_000), "2100-01-01 00:00:00 UTC");
        assert_eq!((duration(12), duration(1_950)), ("12 ms".into(), "1.9 s".into()));
        assert_eq!((duration(61_000), duration(7_260_000)), ("1 min 1 s".into(), "2 h 1 min".into()));
        assert_eq!((bytes(1023), bytes(1536)), ("1023 B".into(), "1.5 KiB".into()));
        assert_eq!((bytes(1 << 20), bytes(u64::MAX)), ("1.0 MiB".into(), "17179869183.9 GiB".into()));
    }
}
