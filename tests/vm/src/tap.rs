//! The Test Anything Protocol, version 13, on standard output.

use std::io::{Write, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Counts and prints checks.
#[derive(Default)]
pub(crate) struct Tap {
    count: u32,
}

impl Tap {
    /// Runs one check; a panic in it is its failure.
    pub(crate) fn check(&mut self, name: &str, body: impl FnOnce()) {
        self.count += 1;
        let began = Instant::now();
        let verdict = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(()) => "ok",
            Err(_) => "not ok",
        };
        println!("{verdict} {} - {name} # {} ms", self.count, began.elapsed().as_millis());
        stdout().flush().unwrap();
    }

    /// Says how many checks there were: without it, the guest did not finish.
    pub(crate) fn plan(&self) {
        println!("1..{}", self.count);
    }
}
