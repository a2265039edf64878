//! Log lines on standard error: time, level, message.

use std::io::{self, Write as _};

use log::{LevelFilter, Log, Metadata, Record};

use crate::civil;
use crate::text::plain;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = plain(&record.args().to_string());
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{} {:5} {line}", civil::format(civil::now_ms()), record.level());
        }
    }

    fn flush(&self) {}
}

/// Starts logging; a second call changes nothing.
pub fn start(level: LevelFilter) {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
