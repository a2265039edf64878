//! Opening a session: nonce, evidence, receipt.

use assay_appraisal::{Appraisal, OpenSession, Severity, State, open_session};
use assay_ledger::protocol::{ChallengeRequest, SessionChallenge};
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::session::Head;
use assay_wire::cbor;

use super::challenge::Pending;
use super::enrol::{no_randomness, no_room, refused, unknown_nonce};
use super::{Answer, Engine, Opening, Refused};
use crate::beacon::random;
use crate::store::{NewSession, SessionRow, StoreError};

impl Engine {
    /// A nonce to open a session with.
    pub(super) fn challenge(&mut self, request: ChallengeRequest) -> Answer {
        let now_ms = self.now_ms();
        if !self.challenges.has_room(now_ms) {
            return Err(no_room());
        }
        let nonce = random().map_err(|_| no_randomness())?;
        self.challenges.insert(now_ms, nonce, Pending::Session(request.node));
        Ok(cbor::to_vec(&SessionChallenge { nonce }))
    }

    /// Appraises evidence and opens its session, or gives the same receipt again.
    pub(super) fn open_session(&mut self, opening: &Opening) -> Result<Answer, StoreError> {
        if let Some(row) = self.parts.store.session(&opening.id)? {
            return Ok(self.already_open(opening, &row));
        }
        let now_ms = self.now_ms();
        match self.challenges.take(now_ms, &opening.challenge) {
            Some(Pending::Session(node)) if node == opening.node => {}
            _ => return Ok(Err(unknown_nonce())),
        }
        let known = self.known_head(opening)?;
        if let Some(fork) = fork(known.as_ref(), opening.previous.as_ref()) {
            return Ok(Err(fork));
        }
        let (trust, policy) = (&self.parts.trust, &self.parts.policy);
        let state = State { known, ..State::default() };
        let appraised = open_session(&opening.bytes, trust, policy, &state, now_ms, Some(&opening.challenge));
        match appraised {
            Ok((_, Some(open))) => self.accept_session(opening, &open, now_ms).map(Ok),
            Ok((appraisal, None)) => Ok(Err(rejected(&appraisal))),
            Err(error) => Ok(Err(Refused::new(400, "request.malformed", error.to_string()))),
        }
    }

    /// The answer to a node that didn't get the first one.
    fn already_open(&self, opening: &Opening, row: &SessionRow) -> Answer {
        if row.evidence_hash != opening.hash {
            return Err(Refused::new(409, "session.exists", "this session was opened with other evidence"));
        }
        Ok(self.session_receipt(opening, row.opened_ms))
    }

    /// The head that the node's ledger must have reached: of the session that it names as its last,
    /// unless this validator holds beats of a later one.
    fn known_head(&self, opening: &Opening) -> Result<Option<Head>, StoreError> {
        let newest = self.parts.store.newest_head(&opening.node)?;
        let named = match &opening.previous {
            Some(previous) => self.parts.store.session(&previous.session)?,
            None => None,
        };
        Ok(match (named, newest) {
            (Some(row), newest)
                if row.node == opening.node && newest.is_none_or(|(number, _)| row.number >= number) =>
            {
                Some(Head { session: row.id, seq: row.seq, head: row.head })
            }
            (_, newest) => newest.map(|(_, head)| head),
        })
    }

    fn accept_session(
        &self,
        opening: &Opening,
        open: &OpenSession,
        now_ms: u64,
    ) -> Result<Vec<u8>, StoreError> {
        self.parts.store.insert_session(&NewSession {
            id: open.id,
            node: open.node,
            key: open.start.key,
            ak_public: open.ak.public().as_bytes(),
            context: &open.context,
            evidence_hash: opening.hash,
            evidence: &opening.bytes,
            mono_ms: opening.mono_ms,
            opened_ms: now_ms,
        })?;
        log::info!("node {} opened session {}", open.node.short(), open.id);
        Ok(self.session_receipt(opening, now_ms))
    }

    fn session_receipt(&self, opening: &Opening, at_ms: u64) -> Vec<u8> {
        let (session, hash) = (opening.id, opening.hash);
        self.receipt(&BeatReceipt { session, subject: Subject::Session, seq: 0, hash, at_ms })
    }
}

/// A ledger that stands where ours does, with another beat there.
fn fork(known: Option<&Head>, previous: Option<&Head>) -> Option<Refused> {
    let (known, previous) = (known?, previous?);
    let same_place = (known.session, known.seq) == (previous.session, previous.seq);
    (same_place && known.head != previous.head).then(|| {
        let message = format!("beat {} of session {} is another one here", known.seq, known.session.short());
        Refused::new(403, "ledger.rollback", message)
    })
}

/// The first finding that decided against the session.
fn rejected(appraisal: &Appraisal) -> Refused {
    let fatal = appraisal.findings.iter().find(|finding| finding.severity == Severity::Fatal);
    let Some(finding) = fatal else {
        return Refused::new(403, "session.incomplete", "not every check could be made");
    };
    let mut refused = refused(finding);
    // Nodes act on this code; the finding keeps its own id in reports.
    if finding.id == "session.previous" {
        refused.refusal.code = "ledger.rollback".to_owned();
    }
    refused
}
