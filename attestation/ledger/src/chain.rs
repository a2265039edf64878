//! The hash chain of a session's beats, checked as it grows.

use assay_wire::{Batch, Digest, Envelope, Kind, Network, VerifyingKey, WireError, limits};

use crate::beat::Beat;

/// Why a beat does not continue the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// It does not decode.
    #[error("beat {seq}: {source}")]
    Decode {
        /// The sequence number that was due.
        seq: u64,
        /// Why.
        source: WireError,
    },
    /// It names another session.
    #[error("beat {seq} is of session {seen}")]
    Session {
        /// The sequence number that was due.
        seq: u64,
        /// The session it names.
        seen: Digest,
    },
    /// A beat is missing, doubled or out of order.
    #[error("beat {seen} where {seq} was due")]
    Sequence {
        /// The sequence number that was due.
        seq: u64,
        /// The one that came.
        seen: u64,
    },
    /// It does not name the beat before it.
    #[error("beat {seq} does not follow the beat before it")]
    Link {
        /// Its sequence number.
        seq: u64,
    },
    /// Its monotonic time is before that of the beat before it.
    #[error("beat {seq}: time went backwards")]
    Time {
        /// Its sequence number.
        seq: u64,
    },
    /// Its signature does not hold under the session key.
    #[error("beat {seq}: signature does not hold")]
    Signature {
        /// Its sequence number.
        seq: u64,
    },
}

impl ChainFault {
    /// The sequence number that was due when the chain broke.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Decode { seq, .. }
            | Self::Session { seq, .. }
            | Self::Sequence { seq, .. }
            | Self::Link { seq }
            | Self::Time { seq }
            | Self::Signature { seq } => *seq,
        }
    }
}

/// A beat whose place in the chain and signature were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBeat {
    /// Its content.
    pub beat: Beat,
    /// Its envelope hash.
    pub hash: Digest,
}

/// The end of a chain, ready to be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    session: Digest,
    key: VerifyingKey,
    seq: u64,
    head: Digest,
    mono_ms: u64,
}

impl Chain {
    /// The empty chain of a session that opened at `mono_ms`.
    pub fn new(session: Digest, key: VerifyingKey, mono_ms: u64) -> Self {
        Self { session, key, seq: 0, head: session, mono_ms }
    }

    /// A chain known to reach `seq` with this head.
    pub fn resume(session: Digest, key: VerifyingKey, seq: u64, head: Digest, mono_ms: u64) -> Self {
        Self { session, key, seq, head, mono_ms }
    }

    /// Sequence number of the head; 0 when empty.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Envelope hash of the head; the session's id when empty.
    pub fn head(&self) -> Digest {
        self.head
    }

    /// Monotonic time of the head, in ms since boot.
    pub fn mono_ms(&self) -> u64 {
        self.mono_ms
    }

    /// Continues the chain by all of `beats`, or leaves it as it was.
    ///
    /// Signatures are checked in one batch; when it fails, one by one to name the first bad beat.
    ///
    /// # Errors
    /// The first [`ChainFault`].
    pub fn extend<T: AsRef<[u8]>>(
        &mut self,
        beats: &[T],
        network: &Network,
    ) -> Result<Vec<VerifiedBeat>, ChainFault> {
        let mut next = self.clone();
        let mut batch = Batch::default();
        let mut verified = Vec::with_capacity(beats.len());
        let mut envelopes = Vec::with_capacity(beats.len());
        for bytes in beats {
            let (envelope, beat) = next.step(bytes.as_ref())?;
            envelope.add_to(&mut batch, &self.key, network);
            verified.push(beat);
            envelopes.push(envelope);
        }
        if !batch.verify() {
            let bad = envelopes.iter().position(|e| e.verify(&self.key, network).is_err());
            let seq = bad.and_then(|at| verified.get(at)).map_or(next.seq, |v| v.beat.seq);
            return Err(ChainFault::Signature { seq });
        }
        *self = next;
        Ok(verified)
    }

    /// Everything about the next beat but its signature.
    fn step(&mut self, bytes: &[u8]) -> Result<(Envelope, VerifiedBeat), ChainFault> {
        let seq = self.seq + 1;
        let decode = |source| ChainFault::Decode { seq, source };
        if bytes.len() > limits::BEAT {
            return Err(decode(WireError::TooLong { what: "beat", len: bytes.len(), limit: limits::BEAT }));
        }
        let envelope = Envelope::decode_as(Kind::Beat, bytes).map_err(decode)?;
        if envelope.kid != self.session {
            return Err(ChainFault::Session { seq, seen: envelope.kid });
        }
        let beat: Beat = envelope.message().map_err(decode)?;
        if beat.seq != seq {
            return Err(ChainFault::Sequence { seq, seen: beat.seq });
        }
        if beat.prev != self.head {
            return Err(ChainFault::Link { seq });
        }
        if beat.mono_ms < self.mono_ms {
            return Err(ChainFault::Time { seq });
        }
        let hash = envelope.hash();
        *self = Self { seq, head: hash, mono_ms: beat.mono_ms, ..*self };
        Ok((envelope, VerifiedBeat { beat, hash }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_wire::SigningKey;

    const SESSION: Digest = Digest([5; 32]);

    fn network() -> Network {
        Network::new("test")
    }

    fn beat(seq: u64, prev: Digest, mono_ms: u64) -> Beat {
        Beat {
            seq,
            prev,
            mono_ms,
            beacon: Digest([1; 32]).into(),
            samples: Digest([2; 32]),
            gpus: vec![],
            jobs: vec![],
            flags: 0,
        }
    }

    fn seal(beat: &Beat, session: Digest, key: u8) -> Vec<u8> {
        Envelope::seal(Kind::Beat, session, beat, &SigningKey::from_seed(&[key; 32]), &network())
    }

    fn fresh() -> Chain {
        Chain::new(SESSION, SigningKey::from_seed(&[1; 32]).verifying_key(), 1000)
    }

    fn beats(n: u64) -> Vec<Vec<u8>> {
        let mut prev = SESSION;
        (1..=n)
            .map(|seq| {
                let bytes = seal(&beat(seq, prev, 1000 + seq), SESSION, 1);
                prev = Envelope::decode(&bytes).unwrap().hash();
                bytes
            })
            .collect()
    }

    #[test]
    fn a_good_chain_grows() {
        let all = beats(5);
        let mut chain = fresh();
        assert_eq!(chain.extend(&all[..2], &network()).unwrap().len(), 2);
        assert_eq!(chain.extend(&all[2..], &network()).unwrap()[2].beat.seq, 5);
        assert_eq!((chain.seq(), chain.mono_ms()), (5, 1005));
    }

    #[test]
    fn dropped_doubled_and_reordered_beats_break_it() {
        let all = beats(4);
        let run = |order: &[usize]| {
            let picked: Vec<_> = order.iter().map(|i| all[*i].clone()).collect();
            fresh().extend(&picked, &network()).unwrap_err()
        };
        assert_eq!(run(&[0, 2]), ChainFault::Sequence { seq: 2, seen: 3 });
        assert_eq!(run(&[0, 0]), ChainFault::Sequence { seq: 2, seen: 1 });
        assert_eq!(run(&[1, 0]), ChainFault::Sequence { seq: 1, seen: 2 });
    }

    #[test]
    fn a_beat_of_another_session_link_time_or_key_breaks_it() {
        let refuse = |bytes: Vec<u8>| {
            let mut chain = fresh();
            let fault = chain.extend(&[bytes], &network()).unwrap_err();
            assert_eq!(chain, fresh());
            fault
        };
        let other = Digest([6; 32]);
        assert_eq!(
            refuse(seal(&beat(1, other, 1001), other, 1)),
            ChainFault::Session { seq: 1, seen: other }
        );
        assert_eq!(refuse(seal(&beat(1, other, 1001), SESSION, 1)), ChainFault::Link { seq: 1 });
        assert_eq!(refuse(seal(&beat(1, SESSION, 999), SESSION, 1)), ChainFault::Time { seq: 1 });
        assert_eq!(refuse(seal(&beat(1, SESSION, 1001), SESSION, 2)), ChainFault::Signature { seq: 1 });
    }

    #[test]
    fn a_beats_length_is_bounded_and_time_may_stand_still() {
        let refuse = |len| fresh().extend(&[vec![0; len]], &network()).unwrap_err();
        let decode = |source| ChainFault::Decode { seq: 1, source };
        let long = |len| WireError::TooLong { what: "beat", len, limit: limits::BEAT };
        for len in [limits::BEAT + 1, limits::BEAT + 2] {
            assert_eq!(refuse(len), decode(long(len)));
        }
        assert_eq!(refuse(limits::BEAT), decode(WireError::Header("no COSE_Sign1 tag")), "it is read");
        let still = seal(&beat(1, SESSION, 1000), SESSION, 1);
        assert!(fresh().extend(&[still], &network()).is_ok());
    }

    #[test]
    fn a_chain_goes_on_where_it_ended() {
        let all = beats(3);
        let mut chain = fresh();
        let ends = chain.extend(&all[..2], &network()).unwrap();
        assert_eq!(chain.head(), ends[1].hash);
        let key = SigningKey::from_seed(&[1; 32]).verifying_key();
        let mut resumed = Chain::resume(SESSION, key, 2, chain.head(), 1002);
        assert_eq!(resumed, chain);
        assert!(resumed.extend(&all[2..], &network()).is_ok());
        assert_eq!(fresh().head(), SESSION);
    }

    #[test]
    fn the_first_bad_signature_is_named() {
        let mut all = beats(3);
        let last = all[1].len() - 1;
        all[1][last] ^= 1;
        // The third beat names the second by its bytes, so sign it anew over the changed one.
        let prev = Envelope::decode(&all[1]).unwrap().hash();
        all[2] = seal(&beat(3, prev, 1003), SESSION, 1);
        assert_eq!(fresh().extend(&all, &network()), Err(ChainFault::Signature { seq: 2 }));
    }
}
