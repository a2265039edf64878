//! What a bad job does, on demand. Runs inside jobs only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["memory"] => memory(),
        ["threads"] => threads(),
        ["forks"] => forks(),
        ["spin", seconds] => spin(seconds.parse().unwrap()),
        ["read", path] => read(path),
        ["write", path, bytes] => write(path, bytes.parse().unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Takes and touches memory until somebody stops it.
fn memory() {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Starts threads until one is refused, and says how many there were.
fn threads() {
    let start =
        || thread::Builder::new().stack_size(64 << 10).spawn(|| thread::sleep(Duration::from_secs(1000)));
    let count = std::iter::from_fn(|| start().ok()).take(100_000).count();
    println!("threads {count}");
}

/// Starts copies of itself, which do the same, for ever.
fn forks() {
    loop {
        // Refused, it tries again.
        let _ = Command::new("/bin/bomb").arg("forks").spawn();
    }
}

/// Two threads that compute for so many seconds.
fn spin(seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let work = move || {
        while Instant::now() < end {
            black_box((0..10_000_u64).sum::<u64>());
        }
    };
    let other = thread::spawn(work);
    work();
    other.join().unwrap();
}

fn read(path: &str) {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    println!("read {}", bytes.len());
}

fn write(path: &str, bytes: usize) {
    let mut file = File::create(path).unwrap();
    (0..bytes >> 20).for_each(|_| file.write_all(&[7; 1 << 20]).unwrap());
    file.sync_all().unwrap();
}
