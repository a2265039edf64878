//! One honest node, enrolled and running, and the validators that it met: what targets start from.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use assay_appraisal::{Appraisal, Policy, State, Trust, appraise};
use assay_ledger::enrolment::{EnrolAnswer, EnrolChallenge, EnrolRequest};
use assay_ledger::session::Evidence;
use assay_tests::{Lab, Paper, Session, accepted, answer_knowing, gpu};
use assay_tpm::{Public, Signature};
use assay_wire::{Digest, Envelope};

/// Everything that is fixed while bytes change. The node's TPM is a key in memory, so that the world
/// is the same in every process.
#[derive(Debug)]
pub struct World {
    /// Whom verdicts believe.
    pub trust: Trust,
    /// What they ask for.
    pub policy: Policy,
    /// Unix time of every verdict, in ms.
    pub now_ms: u64,
    /// The attestation key.
    pub ak: Public,
    /// The node's TPM.
    pub paper: Paper,
    /// The session, open to change and with its key.
    pub session: Session,
    /// Its evidence as decoded.
    pub evidence: Evidence,
    /// The quote's signature as parsed.
    pub quote_signature: Signature,
    /// The exported claim over the session.
    pub claim: Vec<u8>,
    /// Powered and reachable seconds that it states.
    pub claimed_s: (u64, u64),
    /// The exported job receipt.
    pub receipt: Vec<u8>,
    /// The node's enrolment.
    pub enrolment: Enrolment,
    /// Every envelope that a key of this world has signed.
    pub envelopes: BTreeSet<Vec<u8>>,
}

/// An enrolment, complete and good.
#[derive(Debug)]
pub struct Enrolment {
    /// What the node asks.
    pub request: EnrolRequest,
    /// What the validator answers.
    pub challenge: EnrolChallenge,
    /// The secret in the challenge.
    pub secret: Digest,
    /// What the node's TPM makes of it.
    pub answer: EnrolAnswer,
}

/// The world, made on first use.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> Self {
        let mut lab = Lab::with_validators(&[1, 2], 2);
        let mut node = lab.paper(3);
        let request = lab.request(&node);
        let (challenge, secret) = lab.challenge(&request).unwrap();
        let answer = answer_knowing(&secret.0, &mut node, &request, &challenge);
        let enrolment = Enrolment { request, challenge, secret, answer };
        let mut session = lab.open_with(&mut node, |start| start.gpus = vec![gpu(0)], |_, _| {});
        lab.run(&mut node, &mut session, 4, 20_000);
        lab.serve_slot(&mut node, &mut session);
        lab.job(&mut session);
        lab.end(&mut node, &mut session);
        let (claim, receipt) = (lab.export(&[&session]), lab.bundle(&session));
        for file in [&node.record, &session.records.evidence, &claim, &receipt] {
            accepted(&lab.appraise(file));
        }
        let stated = lab.claim(&[&session]);
        Self {
            ak: Public::parse(&node.identity.ak_public).unwrap(),
            evidence: session.evidence.clone(),
            quote_signature: Signature::parse(&session.evidence.quote.signature).unwrap(),
            claimed_s: (stated.powered_s, stated.reachable_s),
            envelopes: envelopes(&lab, &session, [&node.record, &claim, &receipt]),
            paper: node.attester,
            trust: lab.trust,
            policy: lab.policy,
            now_ms: lab.unix_ms,
            session,
            claim,
            receipt,
            enrolment,
        }
    }

    /// The verdict on an exported file; `None` for bytes that are none.
    pub fn appraise(&self, bytes: &[u8]) -> Option<Appraisal> {
        appraise(bytes, &self.trust, &self.policy, &State::default(), self.now_ms).ok()
    }

    /// The payload of an envelope of this world.
    pub fn payload(envelope: &[u8]) -> Vec<u8> {
        Envelope::decode(envelope).unwrap().payload
    }
}

fn envelopes(lab: &Lab, session: &Session, exported: [&Vec<u8>; 3]) -> BTreeSet<Vec<u8>> {
    let records = &session.records;
    let lists = [&records.beats, &records.anchors, &records.receipts, &records.jobs];
    let listed = lists.into_iter().flatten().chain(&records.end).map(|bytes| bytes.to_vec());
    let beacons = lab.beacons.values().map(|(bytes, _)| bytes.clone());
    let whole = exported.into_iter().chain([&records.evidence]).cloned();
    listed.chain(beacons).chain(whole).collect()
}
