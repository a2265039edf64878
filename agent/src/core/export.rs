//! Exported files: what anyone can check, signed by the running session.

mod claim;

use assay_ledger::ByteVec;
use assay_ledger::job::{JobReceipt, ReceiptBundle};
use assay_wire::{Digest, Envelope, Kind};

use super::answer::Answer;
use super::error::chain;
use super::node::Node;
use crate::control::Export;
use crate::ledger::{Ledger, LedgerError, Stored};

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
enum ExportFault {
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    #[error("this node is not enrolled yet")]
    NotEnrolled,
    #[error("no session is open: wait until a validator has been reached")]
    NoSession,
    #[error("no job receipt matches")]
    NoJob,
    #[error("{0} different jobs match")]
    ManyJobs(usize),
    #[error("the ledger holds no {0}")]
    Missing(&'static str),
    #[error("the ledger holds a record that does not decode")]
    Decode(#[from] assay_wire::WireError),
    #[error("working out the claim's sums failed")]
    Sums,
}

impl ExportFault {
    fn code(&self) -> &'static str {
        match self {
            Self::NotEnrolled => "enrolment.none",
            Self::NoSession => "session.none",
            Self::NoJob => "job.unknown",
            Self::ManyJobs(_) => "job.ambiguous",
            Self::Ledger(_) | Self::Missing(_) | Self::Decode(_) | Self::Sums => "ledger.failed",
        }
    }
}

/// Makes an exported file.
pub(super) async fn export(node: &Node, what: &Export) -> Answer {
    let made = match what {
        Export::Enrolment => enrolment(node),
        Export::Evidence => evidence(node),
        Export::Claim => claim::claim(node).await,
        Export::Receipt { job } => receipt(node, job.as_deref()),
    };
    match made {
        Ok((kind, envelope)) => {
            Answer::Exported { kind: kind.name().to_owned(), envelope: hex::encode(envelope) }
        }
        Err(fault) => Answer::refused(fault.code(), chain(&fault)),
    }
}

type Made = Result<(Kind, Vec<u8>), ExportFault>;

fn enrolment(node: &Node) -> Made {
    let validator = node.validators.first().ok_or(ExportFault::NotEnrolled)?;
    let record = node.ledger.borrow().enrolment(&validator.id)?;
    record.map(|bytes| (Kind::Enrolment, bytes)).ok_or(ExportFault::NotEnrolled)
}

fn evidence(node: &Node) -> Made {
    let session = node.session.borrow();
    let session = session.as_ref().ok_or(ExportFault::NoSession)?;
    evidence_of(&node.ledger.borrow(), &session.id).map(|bytes| (Kind::Evidence, bytes))
}

fn evidence_of(ledger: &Ledger, session: &Digest) -> Result<Vec<u8>, ExportFault> {
    let evidence = ledger.records(session, Kind::Evidence)?.into_iter().next();
    evidence.map(|stored| stored.bytes).ok_or(ExportFault::Missing("evidence of the session"))
}

/// One job's receipt with the evidence of its session and of the one that exports.
fn receipt(node: &Node, job: Option<&str>) -> Made {
    let session = node.session.borrow();
    let session = session.as_ref().ok_or(ExportFault::NoSession)?;
    let ledger = node.ledger.borrow();
    let stored = pick(ledger.jobs()?, job)?;
    let mut evidence = vec![ByteVec::from(evidence_of(&ledger, &stored.session)?)];
    if stored.session != session.id {
        evidence.push(evidence_of(&ledger, &session.id)?.into());
    }
    let seen = ledger.receipts(&stored.session, stored.seq, Some(&stored.hash))?;
    let seen = seen.into_iter().map(ByteVec::from).collect();
    let bundle = ReceiptBundle { evidence, receipt: stored.bytes, seen };
    Ok((Kind::Receipt, session.seal(Kind::Receipt, &bundle)))
}

/// The newest receipt of the one job that is named, or of all.
fn pick(stored: Vec<Stored>, job: Option<&str>) -> Result<Stored, ExportFault> {
    let prefix = job.unwrap_or_default().to_ascii_lowercase();
    let named = stored.into_iter().filter_map(|stored| Some((job_of(&stored)?, stored)));
    let mut matching: Vec<_> = named.filter(|(job, _)| job.to_string().starts_with(&prefix)).collect();
    let first = matching.first().ok_or(ExportFault::NoJob)?.0;
    let others = matching.iter().filter(|(job, _)| *job != first).count();
    match (job, others) {
        (Some(_), 1..) => Err(ExportFault::ManyJobs(others + 1)),
        _ => Ok(matching.swap_remove(0).1),
    }
}

fn job_of(stored: &Stored) -> Option<Digest> {
    let envelope = Envelope::decode_as(Kind::JobReceipt, &stored.bytes).ok()?;
    envelope.message().ok().map(|receipt: JobReceipt| receipt.job)
}
