//! Hashing of many short messages: for SHA-256, the bank that matters, straight through the
//! compression function, as buffering costs as much as hashing at two blocks a message.

use sha2::digest::Output;
use sha2::digest::generic_array::GenericArray;
use sha2::digest::typenum::U64;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash function that digests template data and extends PCRs.
pub(super) trait Hasher: Digest + Sized {
    /// Hash of `data`.
    fn hash(data: &[u8]) -> Output<Self> {
        Self::digest(data)
    }

    /// Hash of `value`, then `digest`.
    fn extend(value: &Output<Self>, digest: &Output<Self>) -> Output<Self> {
        Self::new().chain_update(value).chain_update(digest).finalize()
    }
}

impl Hasher for sha1::Sha1 {}
impl Hasher for Sha384 {}
impl Hasher for Sha512 {}

impl Hasher for Sha256 {
    #[inline]
    fn hash(data: &[u8]) -> Output<Self> {
        let (whole, rest) = data.as_chunks::<BLOCK>();
        let mut blocks = [Block::default(); SHORT_BLOCKS];
        let len = whole.len() + if rest.len() < BLOCK - 8 { 1 } else { 2 };
        let Some(blocks) = blocks.get_mut(..len) else { return Self::digest(data) };
        for (block, part) in blocks.iter_mut().zip(whole) {
            block.copy_from_slice(part);
        }
        // FIPS 180-4, section 5.1.1: a one bit, zeros, and the length in bits.
        if let Some((head, tail)) =
            blocks.get_mut(whole.len()).and_then(|block| block.split_at_mut_checked(rest.len()))
        {
            head.copy_from_slice(rest);
            tail.iter_mut().take(1).for_each(|end| *end = 0x80);
        }
        if let Some(bits) = blocks.last_mut().and_then(|block| block.last_chunk_mut()) {
            *bits = u64::try_from(data.len()).unwrap_or(u64::MAX).wrapping_mul(8).to_be_bytes();
        }
        let mut state = START;
        sha2::compress256(&mut state, blocks);
        bytes(state)
    }

    #[inline]
    fn extend(value: &Output<Self>, digest: &Output<Self>) -> Output<Self> {
        let mut state = START;
        let mut block = Block::default();
        let (head, tail) = block.split_at_mut(BLOCK / 2);
        head.copy_from_slice(value);
        tail.copy_from_slice(digest);
        sha2::compress256(&mut state, &[block, PADDING.into()]);
        bytes(state)
    }
}

type Block = GenericArray<u8, U64>;
const BLOCK: usize = 64;
/// Blocks of the longest padded message that is hashed at one go: most template data has two.
const SHORT_BLOCKS: usize = 4;
/// What follows a message of one block.
const PADDING: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    block[0] = 0x80;
    block[BLOCK - 2] = 2; // 512 bits
    block
};

/// FIPS 180-4, section 5.3.3.
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

#[inline]
fn bytes(state: [u32; 8]) -> Output<Sha256> {
    let mut hash = Output::<Sha256>::default();
    for (to, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_hashes_as_the_plain_function_does() {
        let data: Vec<u8> = (0..600u32).map(|byte| byte.to_le_bytes()[0]).collect();
        for len in 0..data.len() {
            assert_eq!(Sha256::hash(&data[..len]), Sha256::digest(&data[..len]), "{len}");
        }
    }

    #[test]
    fn extending_is_hashing_both() {
        let (value, digest) = (Sha256::digest(b"a"), Sha256::digest(b"b"));
        let plain = Sha256::new().chain_update(value).chain_update(digest).finalize();
        assert_eq!(Sha256::extend(&value, &digest), plain);
    }
}
