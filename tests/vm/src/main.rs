//! The guest's program: checks of the sandbox on a kernel with every controller.
//!
//! `check` runs in the guest and prints TAP; `supervise` and `delegated` are
//! run by it; `image DIR BUSYBOX BOMB` prepares the disk on the host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod checks;
mod image;
mod tap;
mod world;

use std::path::Path;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => checks::all(),
        ["supervise"] => checks::ends::supervise(),
        ["delegated"] => checks::places::in_a_unit(),
        ["image", dir, busybox, bomb] => image::write(Path::new(dir), Path::new(busybox), Path::new(bomb)),
        other => panic!("{other:?}"),
    }
}
