//! How much memory hostile inputs make the parsers and the appraisal ask for.
//!
//! One test, as the counter counts the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_fuzz::{Arrival, MESSAGES, TARGETS, data, world};
use assay_wire::limits;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a function may hold at once for an input of this many bytes: copies, decoded values,
/// encodings to compare with. A short item may decode to a value of many bytes, but there are no more
/// of them than [`limits::ITEMS`], and TOML's parser keeps some eighty bytes for each of a text of brackets.
fn limit(len: usize) -> usize {
    (64 << 10) + (96 * len).min((12 << 20) + 8 * len)
}

/// Bytes held at the worst moment of `work` beyond what was held before it.
fn peak(work: impl FnOnce()) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    work();
    MEMORY.peak_usage().saturating_sub(before)
}

/// What every input made a function hold.
#[derive(Default)]
struct Held {
    inputs: usize,
    worst: Vec<String>,
    most: usize,
}

impl Held {
    fn over(&mut self, name: &str, run: &dyn Fn(&[u8]), inputs: &[Vec<u8>]) {
        // What a function keeps for good is not an input's.
        run(&[]);
        for (nth, bytes) in inputs.iter().enumerate() {
            let held = peak(|| run(bytes));
            self.inputs += 1;
            self.most = self.most.max(held);
            if held > limit(bytes.len()) {
                self.worst.push(format!("{name} #{nth}: {held} for {} bytes", bytes.len()));
            }
        }
    }

    fn end(self) {
        eprintln!("{} inputs, at most {} KiB held", self.inputs, self.most >> 10);
        assert!(self.worst.is_empty(), "{:#?}", self.worst);
    }
}

/// Inputs that say more than they are, for every format we read.
fn liars() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    // CBOR: strings, arrays and maps of any declared length, bare and inside a map's first entries.
    for head in [0x5a, 0x7a, 0x9a, 0xba] {
        for len in [0xffff_u32, 0x7fff_ffff, u32::MAX] {
            let item = [vec![head], len.to_be_bytes().to_vec()].concat();
            inputs.push(item.clone());
            inputs.push([&[head | 1][..], &[0xff; 8]].concat());
            for key in 0..12 {
                inputs.push([&[0xa1, key][..], &item].concat());
            }
        }
    }
    // Logs, TPM structures and DER: every width of length, either end first, all ones.
    for zeros in [0, 4, 8, 28, 32] {
        for ones in [1, 2, 4, 8, 64] {
            inputs.push([vec![0; zeros], vec![0xff; ones]].concat());
        }
    }
    for len in [&[0x82, 0xff, 0xff][..], &[0x84, 0xff, 0xff, 0xff, 0xff], &[0x88; 9]] {
        inputs.push([&[0x30], len].concat());
        inputs.push([&[0x30, 0x10, 0x30], len, &[0; 10]].concat());
    }
    inputs
}

/// Inputs of `len` bytes that nest or repeat as fast as a format allows.
fn deep(len: usize) -> Vec<Vec<u8>> {
    let units: [&[u8]; 12] = [
        &[0x81],
        &[0xa1, 0x00],
        &[0xd2],
        &[0x30, 0x80],
        &[0x30, 0x82, 0xff, 0xff],
        b"[",
        b"{\"a\":",
        b"a.",
        b"[[a]]\n",
        b"\"",
        &[0x00],
        &[0xff],
    ];
    units.iter().map(|unit| unit.repeat(len / unit.len())).collect()
}

/// Messages whose every list is as long as `len` bytes allow, of the smallest items there are.
fn crowds(len: usize) -> Vec<Vec<u8>> {
    let items: [&[u8]; 7] =
        [&[0x00], &[0x40], &[0x60], &[0x80], &[0xa0], &[0xa2, 0, 0, 1, 0], &[0xa2, 0, 0, 1, 0x40]];
    let count = |item: &[u8]| u32::try_from((len - 64) / item.len()).unwrap().to_be_bytes();
    let lists = items.map(|item| [&[0x9a][..], &count(item), &item.repeat((len - 64) / item.len())].concat());
    lists.iter().flat_map(|list| (0..9).map(|key| [&[0xa1, key][..], list].concat())).collect()
}

#[test]
fn memory_is_bounded_by_the_input() {
    // A verifier's own files are not here: they come from nobody else. Neither is what a node unpacks: it has
    // decoders with windows, in a process with a limit of its own.
    let others = ["policy", "trust", "layer"];
    let targets: Vec<_> = TARGETS.iter().filter(|(name, _)| !others.contains(name)).collect();
    let (mut held, world) = (Held::default(), world());
    let short: Vec<_> = [liars(), deep(64 << 10)].concat();
    for (name, target) in &targets {
        held.over(name, target, &short);
    }
    let long = deep(limits::ENVELOPE);
    for (name, target) in &targets {
        held.over(name, target, &long);
    }
    let crowds = [crowds(limits::ITEMS), crowds(limits::ENVELOPE)].concat();
    for (name, _, read) in MESSAGES {
        held.over(name, &read, &liars());
        held.over(name, &read, &crowds);
    }
    if data().is_none() {
        eprintln!("SKIPPED: no data folder; set ASSAY_DATA");
    }
    for (path, bytes) in data().unwrap_or_default() {
        for arrival in Arrival::ALL {
            let sent = arrival.envelope(world, &bytes);
            held.over(&path.to_string_lossy(), &|bytes| drop(world.appraise(bytes)), &[sent]);
        }
    }
    held.end();
}
