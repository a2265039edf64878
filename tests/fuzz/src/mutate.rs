//! Seeded mutations: the same bytes on every machine.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};

/// Values at which lengths, counts and signs turn.
const EDGES: [u64; 14] =
    [0, 1, 2, 0x17, 0x18, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
/// The most changes in one input.
const STACKED: usize = 4;
/// What mutations may add to an input, in bytes.
const ROOM: usize = 4096;

/// Endless inputs made from `seeds`, each changed in one to four places; the same for the same `name`
/// and seeds.
pub fn mutations<'a>(name: &str, seeds: &'a [Vec<u8>]) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    const NOTHING: &[Vec<u8>] = &[Vec::new()];
    let mut mutator = Mutator { rng: ChaCha20Rng::from_seed(named(name)) };
    let seeds = if seeds.is_empty() { NOTHING } else { seeds };
    std::iter::repeat_with(move || {
        let mut bytes = seeds[mutator.below(seeds.len())].clone();
        let room = bytes.len() + ROOM;
        for _ in 0..=mutator.below(STACKED) {
            mutator.change(&mut bytes, seeds);
        }
        bytes.truncate(room);
        bytes
    })
}

fn named(name: &str) -> [u8; 32] {
    let mut seed = [0; 32];
    seed.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    seed
}

struct Mutator {
    rng: ChaCha20Rng,
}

impl Mutator {
    /// A number below `end`, 0 when there is none.
    fn below(&mut self, end: usize) -> usize {
        let drawn = usize::try_from(self.rng.next_u32()).unwrap();
        drawn.checked_rem(end).unwrap_or_default()
    }

    /// A short run inside `len` bytes.
    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let from = self.below(len + 1);
        let most = if self.below(8) == 0 { len } else { 64 };
        let run = self.below(most.min(len - from) + 1);
        from..from + run
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        match self.below(8) {
            0 | 1 if !bytes.is_empty() => {
                let at = self.below(bytes.len());
                bytes[at] ^= 1 << self.below(8);
            }
            2 => bytes.truncate(self.below(bytes.len() + 1)),
            3 => drop(bytes.drain(self.range(bytes.len()))),
            4 => self.insert(bytes),
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let (to, from) = (self.range(bytes.len()), self.range(other.len()));
                bytes.splice(to, other[from].iter().copied());
            }
            6 => {
                let run = bytes[self.range(bytes.len())].to_vec();
                let at = self.below(bytes.len() + 1);
                bytes.splice(at..at, run);
            }
            _ => self.number(bytes),
        }
    }

    fn insert(&mut self, bytes: &mut Vec<u8>) {
        let mut run = vec![0; self.below(16) + 1];
        self.rng.fill_bytes(&mut run);
        let at = self.below(bytes.len() + 1);
        bytes.splice(at..at, run);
    }

    /// Overwrites one, two, four or eight bytes by a number at an edge, or by one near the number that
    /// stands there: what breaks lengths and counts.
    fn number(&mut self, bytes: &mut [u8]) {
        let width = 1 << self.below(4);
        let at = self.below((bytes.len() + 1).saturating_sub(width));
        let Some(field) = bytes.get_mut(at..at + width) else { return };
        let (little, edge, near) = (self.below(2) == 0, self.below(2 * EDGES.len()), self.below(5));
        let shift = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let old = if little { field.iter().rev().fold(0, shift) } else { field.iter().fold(0, shift) };
        let by = u64::try_from(near).unwrap().wrapping_sub(2);
        let new = EDGES.get(edge).copied().unwrap_or_else(|| old.wrapping_add(by)).to_le_bytes();
        for (nth, byte) in field.iter_mut().enumerate() {
            *byte = if little { new[nth] } else { new[width - 1 - nth] };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_are_the_same_every_time_and_differ_by_name() {
        let seeds = [b"a seed of some length".to_vec(), vec![0; 64]];
        let take = |name| mutations(name, &seeds).take(200).collect::<Vec<_>>();
        assert_eq!(take("a"), take("a"));
        assert_ne!(take("a"), take("b"));
        let changed = take("a").into_iter().filter(|bytes| !seeds.contains(bytes)).count();
        assert!(changed > 180, "{changed}");
    }

    #[test]
    fn nothing_to_start_from_gives_inputs_too() {
        assert!(mutations("a", &[]).take(100).any(|bytes| !bytes.is_empty()));
        assert!(mutations("a", &[vec![]]).take(100).any(|bytes| !bytes.is_empty()));
    }
}
