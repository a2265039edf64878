//! Where log lines go: the journal with its fields when we are connected to it, else standard error.

use std::io::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::JournalLog;

/// Sets the process's logger. Called once; a second call changes nothing.
pub(super) fn start(level: LevelFilter) {
    let journal = || JournalLog::new().and_then(|log| log.install().map_err(std::io::Error::other)).is_ok();
    if !(systemd_journal_logger::connected_to_journal() && journal()) {
        // The only error is that a logger is there already.
        let _ = log::set_logger(&Lines);
    }
    log::set_max_level(level);
}

/// The level for a command: daemons tell what they do, the rest only what went wrong.
pub(super) fn level(is_daemon: bool, verbose: u8) -> LevelFilter {
    match (is_daemon, verbose) {
        (false, 0) => LevelFilter::Warn,
        (true, 0) | (false, 1) => LevelFilter::Info,
        (true, 1) => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// One line per record on standard error, with a priority that systemd understands when it is asked to.
struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // A log that cannot be written is nobody's to know about.
        let _ = std::io::stderr().lock().write_all(line(record).as_bytes());
    }

    fn flush(&self) {}
}

/// A record as one line; a message of several lines could pass for several records.
fn line(record: &Record<'_>) -> String {
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let message = record.args().to_string().replace(|c: char| c.is_control(), " ");
    format!("{level}: {message}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_it_says() {
        let args = format_args!("a\nerror: b\x1b[2J\r");
        let record = Record::builder().level(Level::Info).args(args).build();
        assert_eq!(line(&record), "info: a error: b [2J \n");
    }

    #[test]
    fn daemons_tell_more_than_commands() {
        assert_eq!(level(false, 0), LevelFilter::Warn);
        assert_eq!(level(true, 0), LevelFilter::Info);
        assert_eq!((level(false, 9), level(true, 9)), (LevelFilter::Trace, LevelFilter::Trace));
    }
}
