//! A node: an attester and what it would tell a validator.

use assay_attester::Identity;
use assay_ledger::enrolment::node_id;
use assay_ledger::session::{BootLogs, Head, Simulated};
use assay_wire::Digest;

use crate::Attester;

/// A node of the lab.
#[derive(Debug)]
pub struct Node<T> {
    /// Its TPM.
    pub attester: T,
    /// Its id.
    pub id: Digest,
    /// Its keys and certificates.
    pub identity: Identity,
    /// Its logs.
    pub logs: BootLogs,
    /// What it says is simulated.
    pub simulated: Vec<Simulated>,
    /// Its enrolment record's envelope; empty before it enrolled.
    pub record: Vec<u8>,
    /// Where its ledger stands.
    pub previous: Option<Head>,
}

impl<T: Attester> Node<T> {
    /// A node that has not enrolled yet.
    pub fn new(mut attester: T) -> Self {
        let identity = attester.identity();
        let logs = BootLogs { firmware: Some(attester.log().into()), userspace: None, ima: None };
        Self {
            id: node_id(&identity.ek_public),
            attester,
            identity,
            logs,
            simulated: vec![Simulated::Tpm, Simulated::BootLog],
            record: vec![],
            previous: None,
        }
    }
}
