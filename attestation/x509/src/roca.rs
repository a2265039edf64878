//! The fingerprint of RSA keys made by the RSALib of CVE-2017-15361, "ROCA".

/// The odd primes whose residues the library's 512-bit to 4096-bit keys all share the structure of
/// (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, 3.1 and 3.3).
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus has the fingerprint.
///
/// Both primes of such a key are powers of 65537 modulo a product of small primes, so the modulus is
/// one modulo each of them. A sound modulus passes all of these tests with a chance below 2^-27.
#[must_use]
pub fn is_roca(modulus: &[u8]) -> bool {
    !modulus.is_empty() && PRIMES.iter().all(|prime| is_power(remainder(modulus, *prime), *prime))
}

fn remainder(number: &[u8], prime: u32) -> u32 {
    number.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % prime)
}

/// Whether `value` is a power of 65537 modulo `prime`.
fn is_power(value: u32, prime: u32) -> bool {
    let generator = 65_537 % prime;
    let powers = std::iter::successors(Some(1), |power| Some(power * generator % prime));
    // Powers repeat after at most prime - 1 steps (Fermat).
    powers.take(prime as usize).any(|power| power == value)
}
