//! A line that shows that something still goes on.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::print::plain;

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
