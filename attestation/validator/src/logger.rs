//! Log lines on standard error: time, level, message.

use std::io::{self, Write as _};

use log::{LevelFilter, Log, Metadata, Record};

use crate::civil;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = one_line(&record.args().to_string());
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{} {:5} {line}", civil::format(civil::now_ms()), record.level());
        }
    }

    fn flush(&self) {}
}

/// Text of strangers can't start a line of its own or move the cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Starts logging; a second call changes nothing.
pub fn start(level: LevelFilter) {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_stays_one_line() {
        assert_eq!(super::one_line("a\nERROR b\u{1b}[2J"), "a ERROR b [2J");
    }
}
