//! Where a round's randomness comes from.

use assay_wire::Digest;

/// A source of public randomness, asked once per round.
///
/// How far an answer can be trusted is the source's to say: nobody may be able to
/// predict it before the round, and a source that its operator knows in advance
/// binds everyone but that operator.
pub trait BeaconSource: Send {
    /// The randomness of a round that has begun.
    ///
    /// # Errors
    /// [`getrandom::Error`] when there is none now; the round is asked for again later.
    fn randomness(&mut self, round: u64) -> Result<Digest, getrandom::Error>;
}

/// The operating system's random numbers.
///
/// Unpredictable to everyone until the validator hands them out; the validator could
/// draw until it likes the result. Nodes' slots and not-before times need no more.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsBeacons;

impl BeaconSource for OsBeacons {
    fn randomness(&mut self, _: u64) -> Result<Digest, getrandom::Error> {
        random()
    }
}

/// 32 bytes from the operating system.
pub(crate) fn random() -> Result<Digest, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Digest(bytes))
}
