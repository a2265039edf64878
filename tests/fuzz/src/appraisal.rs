//! Verdicts: no changed evidence is accepted, and no changed claim earns more.

use assay_appraisal::Appraisal;
use assay_boot::EventLog;
use assay_ledger::claim::Claim;
use assay_ledger::session::{BootLogs, Evidence, SESSION_PCRS, quote_extra_data, time_extra_data};
use assay_tests::Attester as _;
use assay_wire::{Envelope, Kind, cbor, limits};

use crate::boot::quoted;
use crate::{World, world};

/// How bytes reach a validator: what an attacker holds besides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing: the bytes are sent as they are.
    Raw,
    /// The session key: the bytes are a payload, signed.
    Sealed,
    /// The whole machine: the bytes are a firmware log that its TPM quotes truly.
    Firmware,
    /// The same with a userspace log beside the honest firmware log.
    Userspace,
    /// The same with an IMA log.
    Ima,
}

impl Arrival {
    /// All, in the order of a target's first byte.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Sealed, Self::Firmware, Self::Userspace, Self::Ima];

    /// What a validator gets to see as evidence.
    pub fn envelope(self, world: &World, bytes: &[u8]) -> Vec<u8> {
        let log = || Some(bytes.to_vec().into());
        let honest = world.evidence.logs.clone();
        match self {
            Self::Raw => bytes.to_vec(),
            Self::Sealed => sealed(world, bytes),
            Self::Firmware => booted(world, BootLogs { firmware: log(), ..honest }),
            Self::Userspace => booted(world, BootLogs { userspace: log(), ..honest }),
            Self::Ima => booted(world, BootLogs { ima: log(), ..honest }),
        }
    }
}

fn sealed(world: &World, payload: &[u8]) -> Vec<u8> {
    let session = cbor::from_slice::<Evidence>("evidence", payload, limits::ENVELOPE);
    let kid = session.map_or(world.session.id, |evidence| evidence.session.id());
    Envelope::sign(Kind::Evidence, kid, payload, &world.session.key(), &world.trust.network)
}

/// Evidence of a machine whose PCRs are what the firmware log leads to.
fn booted(world: &World, logs: BootLogs) -> Vec<u8> {
    let mut paper = world.paper.clone();
    if let Some(log) = logs.firmware.as_ref().and_then(|bytes| EventLog::parse(bytes).ok()) {
        paper.pcrs = quoted(&log);
    }
    let mut evidence = world.evidence.clone();
    evidence.session.boot_logs = logs.digest();
    evidence.logs = logs;
    let (id, mono_ms) = (evidence.session.id(), evidence.session.mono_ms);
    (evidence.quote, evidence.pcrs) = paper.quote(&quote_extra_data(&id), &SESSION_PCRS);
    evidence.time = paper.time(&time_extra_data(&id), mono_ms);
    sealed(world, &cbor::to_vec(&evidence))
}

fn twice(world: &World, bytes: &[u8]) -> Option<Appraisal> {
    let verdict = world.appraise(bytes);
    assert_eq!(verdict, world.appraise(bytes), "appraised twice, two verdicts");
    verdict
}

/// Session evidence, arriving as the first byte says.
pub fn evidence(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let arrival = Arrival::ALL[usize::from(*first) % Arrival::ALL.len()];
    let world = world();
    let sent = arrival.envelope(world, bytes);
    let Some(verdict) = twice(world, &sent) else { return };
    assert_eq!(verdict.axes.platform, 0, "no release is trusted");
    assert_eq!(verdict.axes.identity, 0, "a virtual TPM");
    if !verdict.accepted() {
        return;
    }
    match arrival {
        Arrival::Raw => assert!(world.envelopes.contains(bytes), "changed evidence was accepted"),
        Arrival::Sealed => {
            let told: Evidence = cbor::from_slice("evidence", bytes, limits::ENVELOPE).unwrap();
            // Further records are no part of the session: each is judged by itself.
            assert_eq!(Evidence { further: vec![], ..told }, world.evidence, "changed evidence was accepted");
        }
        Arrival::Firmware => assert!(EventLog::parse(bytes).is_ok(), "a log that does not parse"),
        Arrival::Userspace | Arrival::Ima => {}
    }
}

/// A claim or a receipt: raw, or signed by the session that exports it.
pub fn claim(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let world = world();
    let sign = |kind| {
        let (key, network) = (world.session.key(), &world.trust.network);
        Envelope::sign(kind, world.session.id, bytes, &key, network)
    };
    let (sent, raw) = match first % 3 {
        0 => (bytes.to_vec(), true),
        1 => (sign(Kind::Claim), false),
        _ => (sign(Kind::Receipt), false),
    };
    let Some(verdict) = twice(world, &sent).filter(Appraisal::accepted) else { return };
    if raw {
        assert!(world.envelopes.contains(bytes), "a changed file was accepted");
    }
    let earned = verdict.facts.uptime.map_or((0, 0), |uptime| (uptime.powered_s, uptime.reachable_s));
    assert!(earned.0 <= world.claimed_s.0 && earned.1 <= world.claimed_s.1, "{earned:?} s were earned");
    if verdict.kind == Kind::Claim
        && let Ok(claim) = cbor::from_slice::<Claim>("claim", bytes, limits::ENVELOPE)
    {
        assert!(
            claim.powered_s <= earned.0 && claim.reachable_s <= earned.1,
            "it states more than it proves"
        );
    }
}
