//! One device's evidence, judged.

use assay_x509::{Certificate, Seconds};

use super::architecture::Architecture;
use super::chain::{DEVICE, DeviceChain, DeviceIdentity, certificate};
use super::error::DeviceError;
use super::evidence::DeviceEvidence;
use super::facts::ReportFacts;
use super::fwid;
use super::judgement::{Check, Checks, DeviceFacts, Judgement, Note};
use super::opaque::OpaqueField;
use super::report::Report;
use super::revocation::{HoldPolicy, Revocation, judge_device};
use super::roots::Roots;
use crate::rim::{Rim, compare};

/// What evidence is judged against.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The nonce that the report must be for; `None` when nobody asked for one.
    pub nonce: Option<[u8; 32]>,
    /// When, in seconds since 1970.
    pub at: Seconds,
    /// Where chains may end.
    pub roots: &'a Roots,
    /// Reference values at hand, which somebody has verified.
    pub rims: &'a [Rim],
    /// What a certificate on hold means.
    pub hold: HoldPolicy,
}

/// Judges one device's evidence. Whatever is malformed fails the check that needed it.
#[must_use]
pub fn verify(evidence: &DeviceEvidence, expect: &Expectation<'_>) -> Judgement {
    let report = Report::parse(&evidence.report);
    let chain = DeviceChain::from_der(&evidence.chain);
    // What one certificate says does not hang on whether the others can be read.
    let one = |index| match &chain {
        Ok(chain) => chain.certificates().get(index).cloned().ok_or(DeviceError::NoCertificate { index }),
        Err(_) => certificate(&evidence.chain, index),
    };
    let leaf = one(0);
    let identity = one(DEVICE).and_then(|certificate| DeviceIdentity::of(&certificate));
    let chain_holds = chain_check(&chain, &identity, &report, evidence.architecture, expect);
    let revocation = revocation(&chain, &chain_holds, evidence, expect);
    let comparison = report
        .as_ref()
        .map(|report| compare(report, evidence.architecture, expect.rims, expect.at, expect.hold));
    let checks = Checks {
        signature: signature(&report, &leaf),
        chain: chain_holds,
        fwid: fwid_check(&report, &leaf),
        nonce: nonce(&report, expect.nonce.as_ref()),
        measurements: match &comparison {
            Ok(comparison) => Check { result: comparison.result(), reason: comparison.reason() },
            Err(error) => Check::no(error),
        },
        revocation: revocation.check,
    };
    let facts = facts(evidence, report.as_ref().ok(), identity.ok());
    let mut findings = notes(evidence, report.as_ref().ok());
    let unread = revocation.unread.into_iter();
    findings.extend(unread.map(|(place, detail)| Note::OcspUnread { place, detail }));
    let (certificates, comparison) = (revocation.certificates, comparison.ok());
    Judgement { checks, facts, findings, certificates, comparison }
}

type Parsed<T> = Result<T, DeviceError>;

fn signature(report: &Parsed<Report>, leaf: &Parsed<Certificate>) -> Check {
    let judged = || -> Result<(), String> {
        let report = report.as_ref().map_err(ToString::to_string)?;
        let leaf = leaf.as_ref().map_err(|error| format!("no key to check it under: {error}"))?;
        report.verify(&leaf.key).map_err(|fault| fault.to_string())
    };
    judged().map_or_else(Check::no, |()| Check::yes("signed by the first certificate's key"))
}

/// The chain itself, and that it is the one of this device.
fn chain_check(
    chain: &Parsed<DeviceChain>,
    identity: &Parsed<DeviceIdentity>,
    report: &Parsed<Report>,
    architecture: Architecture,
    expect: &Expectation<'_>,
) -> Check {
    let judged = || -> Result<(), String> {
        let chain = chain.as_ref().map_err(ToString::to_string)?;
        chain.judge(expect.roots, expect.at).map_err(|fault| fault.to_string())?;
        let identity = identity.as_ref().map_err(ToString::to_string)?;
        if !identity.is(architecture) {
            return Err(format!("{} with serial {} is no {architecture}", identity.model, identity.serial));
        }
        report.as_ref().map_or(Ok(()), |report| same_device(report.facts(), identity, architecture))
    };
    judged().map_or_else(Check::no, |()| Check::yes("five certificates to the pinned root"))
}

/// Whether the report speaks of the device that the certificate is for.
fn same_device(
    facts: &ReportFacts,
    identity: &DeviceIdentity,
    architecture: Architecture,
) -> Result<(), String> {
    if facts.is_switch() != architecture.is_switch() {
        return Err("the report is one of another kind of device".into());
    }
    match facts.own_pdi {
        Some(own) if own != identity.pdi => {
            Err(format!("the report names device {own}, the certificate {}", identity.pdi))
        }
        _ => Ok(()),
    }
}

/// Answers mean something below issuers that have been judged, and nowhere else.
fn revocation(
    chain: &Parsed<DeviceChain>,
    holds: &Check,
    evidence: &DeviceEvidence,
    expect: &Expectation<'_>,
) -> Revocation {
    match chain {
        Ok(chain) if holds.holds() => {
            judge_device(chain.certificates(), &evidence.ocsp, expect.at, expect.hold)
        }
        _ => Revocation {
            check: Check::none("the chain does not hold"),
            certificates: Vec::new(),
            unread: Vec::new(),
        },
    }
}

fn fwid_check(report: &Parsed<Report>, leaf: &Parsed<Certificate>) -> Check {
    let report = match report {
        Ok(report) => report,
        Err(error) => return Check::no(error),
    };
    let Some(digest) = report.facts().fwid else {
        return Check::none("the report names no firmware");
    };
    match leaf {
        Ok(leaf) => fwid::check(leaf, &digest)
            .map_or_else(Check::no, |()| Check::yes("the firmware that the certificate names")),
        Err(error) => Check::no(error),
    }
}

fn nonce(report: &Parsed<Report>, expected: Option<&[u8; 32]>) -> Check {
    match (report, expected) {
        (_, None) => Check::none("no nonce was asked for"),
        (Err(error), Some(_)) => Check::no(error),
        (Ok(report), Some(nonce)) if report.request_nonce() == nonce => {
            Check::yes("the nonce that was asked for")
        }
        (Ok(_), Some(_)) => Check::no("another nonce than the one that was asked for"),
    }
}

fn facts(
    evidence: &DeviceEvidence,
    report: Option<&Report>,
    identity: Option<DeviceIdentity>,
) -> DeviceFacts {
    let request_nonce = report.map(|report| *report.request_nonce());
    let said = report.map(|report| report.facts().clone()).unwrap_or_default();
    let (model, device_serial, pdi) = match identity {
        Some(identity) => (Some(identity.model), Some(identity.serial), Some(identity.pdi)),
        None => (None, None, None),
    };
    DeviceFacts {
        architecture: evidence.architecture,
        vbios: said.vbios,
        driver: said.driver,
        project: said.project,
        project_sku: said.project_sku,
        chip_sku: said.chip_sku,
        chip_id: said.chip_id,
        model,
        device_serial,
        pdi,
        switch_pdis: said.switch_pdis,
        gpu_pdis: said.gpu_pdis,
        request_nonce,
        protected_pcie: said.protected_pcie,
        feature_flag: said.feature_flag,
        simulated: evidence.simulated,
    }
}

fn notes(evidence: &DeviceEvidence, report: Option<&Report>) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some(report) = report {
        if report.trailing() > 0 {
            notes.push(Note::TrailingBytes { count: report.trailing() });
        }
        notes.extend(report.opaque().iter().filter_map(|field| match field {
            OpaqueField::Unknown { kind, .. } => Some(Note::UnknownOpaque { kind: *kind }),
            _ => None,
        }));
        if report.facts().fwid.is_none() {
            notes.push(Note::FwidAbsent);
        }
    }
    if evidence.simulated {
        notes.push(Note::Simulated);
    }
    notes
}
