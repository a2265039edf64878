//! What core asks a validator, and what it believes of the answer.
//!
//! An answer is used only after its signature held under the configured key. Answers
//! that are not signed (challenges, nonces) can make an exchange fail and nothing else.

use std::cell::Cell;

use assay_ledger::beacon::{BeaconVerifier as _, ValidatorBeacons, VerifiedBeacon};
use assay_ledger::enrolment::{EnrolAnswer, EnrolChallenge, EnrolRequest};
use assay_ledger::protocol::{self, Accepted, ChallengeRequest, Records, Refusal, SessionChallenge};
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_wire::{Digest, Envelope, Kind, Network, VerifyingKey, WireError, cbor, limits};
use minicbor::{Decode, Encode};

use super::port::Port;
use crate::config;
use crate::ledger::{Delivery, Pending};
use crate::link::frame::Method;

/// Statuses that say "later": request time-out, too many requests, and every 5xx.
const LATER: [u16; 2] = [408, 429];

/// Why an exchange gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExchangeFault {
    /// There was no answer.
    #[error("{0}")]
    Offline(String),
    /// The validator refused.
    #[error("{}: {} (status {status})", refusal.code, refusal.message)]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its reason.
        refusal: Refusal,
    },
    /// The answer does not decode, or is not signed by whom it should be.
    #[error("an answer that means nothing: {0}")]
    Garbage(String),
}

impl ExchangeFault {
    /// The refusal, if asking again would only bring the same one.
    pub(super) fn final_refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { status, refusal } if *status < 500 && !LATER.contains(status) => Some(refusal),
            _ => None,
        }
    }
}

impl From<WireError> for ExchangeFault {
    fn from(error: WireError) -> Self {
        Self::Garbage(error.to_string())
    }
}

/// What a delivery brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivered {
    /// How many records, from the first, the validator has now.
    pub(super) count: usize,
    /// Its receipts, checked.
    pub(super) receipts: Vec<(BeatReceipt, Vec<u8>)>,
    /// Why it did not take the next one.
    pub(super) refusal: Option<Refusal>,
}

/// One configured validator.
pub(super) struct Validator {
    index: u32,
    /// Its name.
    pub(super) name: String,
    /// Its id.
    pub(super) id: Digest,
    key: VerifyingKey,
    network: Network,
    connected: Cell<bool>,
}

impl Validator {
    /// The validators of a configuration.
    pub(super) fn all(configured: &[config::Validator], network: &Network) -> Vec<Self> {
        let one = |(index, validator): (u32, &config::Validator)| Self {
            index,
            name: validator.name.clone(),
            id: validator.key.validator_id(),
            key: validator.key,
            network: network.clone(),
            connected: Cell::new(false),
        };
        (0..).zip(configured).map(one).collect()
    }

    /// Whether the last exchange brought an answer that made sense.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// Its Ed25519 key.
    pub(super) fn key(&self) -> VerifyingKey {
        self.key
    }

    /// The newest beacon, verified, and its bytes.
    pub(super) async fn beacon(&self, port: &Port) -> Result<(VerifiedBeacon, Vec<u8>), ExchangeFault> {
        let bytes = self.exchange(port, Method::Get, protocol::BEACON, vec![]).await?;
        let keys = [(self.id, self.key)].into();
        let verified = ValidatorBeacons { keys: &keys, network: &self.network }.verify(&bytes);
        self.sensible(verified.map(|beacon| (beacon, bytes)))
    }

    /// A challenge for an enrolment.
    pub(super) async fn enrol(
        &self,
        port: &Port,
        request: &EnrolRequest,
    ) -> Result<EnrolChallenge, ExchangeFault> {
        let body = self.exchange(port, Method::Post, protocol::ENROL, cbor::to_vec(request)).await?;
        self.decode("enrolment challenge", &body)
    }

    /// The enrolment record's envelope; whoever uses it checks it.
    pub(super) async fn answer(&self, port: &Port, answer: &EnrolAnswer) -> Result<Vec<u8>, ExchangeFault> {
        self.exchange(port, Method::Post, protocol::ENROL_ANSWER, cbor::to_vec(answer)).await
    }

    /// A nonce to open a session with.
    pub(super) async fn challenge(&self, port: &Port, node: Digest) -> Result<Digest, ExchangeFault> {
        let body = cbor::to_vec(&ChallengeRequest { node });
        let body = self.exchange(port, Method::Post, protocol::CHALLENGE, body).await?;
        self.decode::<SessionChallenge>("challenge", &body).map(|challenge| challenge.nonce)
    }

    /// Delivers evidence or records, and checks the receipts for them.
    pub(super) async fn deliver(&self, port: &Port, delivery: &Delivery) -> Result<Delivered, ExchangeFault> {
        let delivered = match delivery.evidence {
            true => self.deliver_evidence(port, delivery).await,
            false => self.deliver_records(port, delivery).await,
        };
        if matches!(delivered, Err(ExchangeFault::Garbage(_))) {
            self.connected.set(false);
        }
        delivered
    }

    async fn deliver_evidence(&self, port: &Port, delivery: &Delivery) -> Result<Delivered, ExchangeFault> {
        let evidence = delivery.records.first().map(|record| record.bytes.clone()).unwrap_or_default();
        let body = self.exchange(port, Method::Post, protocol::SESSION, evidence).await?;
        let receipt = self.receipt(&body, delivery)?;
        if receipt.subject != Subject::Session {
            return Err(ExchangeFault::Garbage("a receipt for something else than evidence".to_owned()));
        }
        Ok(Delivered { count: 1, receipts: vec![(receipt, body)], refusal: None })
    }

    async fn deliver_records(&self, port: &Port, delivery: &Delivery) -> Result<Delivered, ExchangeFault> {
        let envelopes = delivery.records.iter().map(|record| record.bytes.clone().into()).collect();
        let body = cbor::to_vec(&Records { session: delivery.session, envelopes });
        let body = self.exchange(port, Method::Post, protocol::RECORDS, body).await?;
        let accepted: Accepted = cbor::from_slice("accepted", &body, limits::ENVELOPE)?;
        let count = usize::try_from(accepted.count).unwrap_or(usize::MAX);
        let taken = delivery.records.get(..count);
        let taken = taken.ok_or_else(|| ExchangeFault::Garbage("more taken than was sent".to_owned()))?;
        let mut receipts = Vec::with_capacity(accepted.receipts.len());
        for bytes in accepted.receipts {
            receipts.push((self.receipt(&bytes, delivery)?, bytes.to_vec()));
        }
        covered(taken, &receipts)?;
        if count < delivery.records.len() && accepted.refusal.is_none() {
            return Err(ExchangeFault::Garbage("not everything was taken, and no reason given".to_owned()));
        }
        Ok(Delivered { count, receipts, refusal: accepted.refusal })
    }

    /// A receipt by this validator for something in this delivery.
    fn receipt(&self, bytes: &[u8], delivery: &Delivery) -> Result<BeatReceipt, ExchangeFault> {
        let envelope = Envelope::decode_as(Kind::BeatReceipt, bytes)?;
        if envelope.kid != self.id {
            return Err(ExchangeFault::Garbage("a receipt by another validator".to_owned()));
        }
        envelope.verify(&self.key, &self.network)?;
        let receipt: BeatReceipt = envelope.message()?;
        let sent = delivery.records.iter().any(|record| record.hash == receipt.hash);
        if receipt.session != delivery.session || !sent {
            return Err(ExchangeFault::Garbage("a receipt for something that was not sent".to_owned()));
        }
        Ok(receipt)
    }

    fn decode<T>(&self, what: &'static str, body: &[u8]) -> Result<T, ExchangeFault>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        self.sensible(cbor::from_slice(what, body, limits::ENVELOPE))
    }

    fn sensible<T>(&self, outcome: Result<T, WireError>) -> Result<T, ExchangeFault> {
        if outcome.is_err() {
            self.connected.set(false);
        }
        Ok(outcome?)
    }

    async fn exchange(
        &self,
        port: &Port,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, ExchangeFault> {
        let answer = port.exchange(self.index, method, path, body).await;
        self.connected.set(answer.status != 0);
        match answer.status {
            200 => Ok(answer.body),
            0 => Err(ExchangeFault::Offline(String::from_utf8_lossy(&answer.body).into_owned())),
            status => {
                let refusal = self.decode("refusal", &answer.body)?;
                Err(ExchangeFault::Refused { status, refusal })
            }
        }
    }
}

/// Whether every record that was taken has its receipt: one by one, and the last beat for all.
fn covered(taken: &[Pending], receipts: &[(BeatReceipt, Vec<u8>)]) -> Result<(), ExchangeFault> {
    let receipted = |record: &Pending| receipts.iter().any(|(receipt, _)| receipt.hash == record.hash);
    let beats = taken.iter().rfind(|record| record.beat);
    let others = taken.iter().filter(|record| !record.beat);
    match beats.into_iter().chain(others).all(receipted) {
        true => Ok(()),
        false => Err(ExchangeFault::Garbage("a record was taken without a receipt".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_wire::SigningKey;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    fn validator() -> Validator {
        let key = key(1).verifying_key();
        Validator {
            index: 0,
            name: "v".into(),
            id: key.validator_id(),
            key,
            network: Network::new("n"),
            connected: Cell::new(true),
        }
    }

    fn pending(n: u8, beat: bool) -> Pending {
        Pending { ord: n.into(), beat, hash: Digest([n; 32]), bytes: vec![n] }
    }

    fn delivery() -> Delivery {
        let records = vec![pending(1, true), pending(2, true), pending(3, false)];
        Delivery { session: Digest([9; 32]), evidence: false, records }
    }

    fn receipt(hash: u8) -> BeatReceipt {
        let (session, hash) = (Digest([9; 32]), Digest([hash; 32]));
        BeatReceipt { session, subject: Subject::Beats, seq: 2, hash, at_ms: 5 }
    }

    fn seal(receipt: &BeatReceipt, signer: u8, network: &str) -> Vec<u8> {
        let signer = key(signer);
        let kid = signer.verifying_key().validator_id();
        Envelope::seal(Kind::BeatReceipt, kid, receipt, &signer, &Network::new(network))
    }

    #[test]
    fn only_its_own_receipts_for_what_was_sent_count() {
        let check = |bytes: &[u8]| validator().receipt(bytes, &delivery());
        assert_eq!(check(&seal(&receipt(2), 1, "n")), Ok(receipt(2)));
        for bad in [
            seal(&receipt(2), 2, "n"),
            seal(&receipt(2), 1, "m"),
            seal(&receipt(7), 1, "n"),
            seal(&BeatReceipt { session: Digest([8; 32]), ..receipt(2) }, 1, "n"),
            b"garbage".to_vec(),
        ] {
            assert!(matches!(check(&bad), Err(ExchangeFault::Garbage(_))));
        }
    }

    #[test]
    fn what_was_taken_is_receipted() {
        let records = delivery().records;
        let with = |hashes: &[u8]| hashes.iter().map(|h| (receipt(*h), vec![])).collect::<Vec<_>>();
        assert_eq!(covered(&records, &with(&[2, 3])), Ok(()));
        assert_eq!(covered(&records[..1], &with(&[1])), Ok(()));
        assert_eq!(covered(&[], &[]), Ok(()));
        for missing in [&[1, 3][..], &[2], &[]] {
            assert!(covered(&records, &with(missing)).is_err(), "{missing:?}");
        }
    }

    #[test]
    fn a_validator_in_trouble_is_asked_again_and_one_that_says_no_is_not() {
        let fault = |status| {
            let refusal = Refusal { code: "a.b".into(), message: String::new() };
            ExchangeFault::Refused { status, refusal }.final_refusal().is_some()
        };
        assert_eq!([403, 404, 409].map(fault), [true; 3]);
        assert_eq!([408, 429, 500, 503].map(fault), [false; 4]);
        assert!(ExchangeFault::Offline(String::new()).final_refusal().is_none());
    }
}
