//! Nonces: unpredictable, good once, for two minutes, and bounded in number.

use std::collections::{HashMap, VecDeque};

use assay_ledger::enrolment::{EnrolChallenge, EnrolRequest};
use assay_wire::Digest;
use zeroize::Zeroizing;

/// What a nonce was given for.
#[derive(Debug)]
pub(super) enum Pending {
    /// An enrolment that waits for its answer.
    Enrol(Box<PendingEnrolment>),
    /// A session of this node.
    Session(Digest),
}

/// An enrolment that waits for its answer.
#[derive(Debug)]
pub(super) struct PendingEnrolment {
    pub(super) request: EnrolRequest,
    pub(super) challenge: EnrolChallenge,
    pub(super) secret: Zeroizing<Vec<u8>>,
}

/// The outstanding nonces. In memory only: a restart voids them, which is safe.
#[derive(Debug)]
pub(super) struct Challenges {
    lifetime_ms: u64,
    limit: usize,
    pending: HashMap<Digest, (u64, Pending)>,
    /// Nonces in the order they were given, which is the order in which they end.
    order: VecDeque<(u64, Digest)>,
}

impl Challenges {
    pub(super) fn new(lifetime_ms: u64, limit: usize) -> Self {
        Self { lifetime_ms, limit, pending: HashMap::new(), order: VecDeque::new() }
    }

    /// Whether one more may be given now.
    pub(super) fn has_room(&mut self, now_ms: u64) -> bool {
        while self.order.front().is_some_and(|(ends_ms, _)| *ends_ms <= now_ms) {
            if let Some((_, nonce)) = self.order.pop_front() {
                self.pending.remove(&nonce);
            }
        }
        // Used nonces leave `order` only when they end, and it is memory too.
        self.order.len() < self.limit
    }

    /// Remembers a nonce; the caller has asked for room.
    pub(super) fn insert(&mut self, now_ms: u64, nonce: Digest, pending: Pending) {
        let ends_ms = now_ms.saturating_add(self.lifetime_ms);
        self.pending.insert(nonce, (ends_ms, pending));
        self.order.push_back((ends_ms, nonce));
    }

    /// Takes a nonce: from here on it is used, whatever comes of it.
    pub(super) fn take(&mut self, now_ms: u64, nonce: &Digest) -> Option<Pending> {
        let (ends_ms, pending) = self.pending.remove(nonce)?;
        (now_ms < ends_ms).then_some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(n: u8) -> Digest {
        Digest([n; 32])
    }

    fn given(n: u8) -> Challenges {
        let mut challenges = Challenges::new(100, 2);
        challenges.insert(1000, nonce(n), Pending::Session(nonce(0)));
        challenges
    }

    #[test]
    fn a_nonce_is_good_once() {
        let mut challenges = given(1);
        assert!(challenges.take(1000, &nonce(2)).is_none());
        assert!(challenges.take(1000, &nonce(1)).is_some());
        assert!(challenges.take(1000, &nonce(1)).is_none());
    }

    #[test]
    fn a_nonce_ends() {
        assert!(given(1).take(1099, &nonce(1)).is_some());
        assert!(given(1).take(1100, &nonce(1)).is_none());
    }

    #[test]
    fn room_is_bounded_and_comes_back_when_nonces_end() {
        let mut challenges = given(1);
        assert!(challenges.has_room(1000));
        challenges.insert(1050, nonce(2), Pending::Session(nonce(0)));
        assert!(!challenges.has_room(1050));
        challenges.take(1050, &nonce(1));
        assert!(!challenges.has_room(1099), "a used nonce still counts, or using them would lift the bound");
        assert!(challenges.has_room(1100));
        assert!(challenges.take(1100, &nonce(2)).is_some());
    }
}
