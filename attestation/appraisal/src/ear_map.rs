//! From axes and findings to AR4SI's trustworthiness vector (draft-ietf-rats-ar4si-09, 2.3).
//!
//! Values rise with trouble: 2 to 31 affirm, 32 to 95 warn, from 96 on they speak against the node, and 99
//! is cryptography that did not hold. Where several findings speak about one claim the worst one stays.
//! A claim that nothing speaks about is absent; of memory and storage encryption Assay says nothing.
//!
//! | claim | affirmed by |
//! |---|---|
//! | instance-identity | I1 or I2: 2 |
//! | configuration | P1 or P2, Secure Boot on: 2 |
//! | executables | P1 or P2: 3, approved at boot |
//! | hardware | P2: 2, the firmware is its vendor's |
//! | sourced-data | G3: 2, the GPU's maker signed a report |
//!
//! What speaks against each is [`AGAINST`].

use crate::axes::Axes;
use crate::ear::Vector;
use crate::finding::{Finding, Severity};

/// The claims of the vector that Assay makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Instance,
    Configuration,
    Executables,
    Hardware,
    SourcedData,
}

use Claim::{Configuration, Executables, Hardware, Instance, SourcedData};

/// Signatures and hashes that do not hold (AR4SI 2.3.1, common values).
const CRYPTO: i8 = 99;

/// Checks by the beginning of their ids, the claim that they bear on, and its value when one is fatal
/// or a warning. The first row that fits counts.
#[rustfmt::skip]
const AGAINST: &[(&str, Claim, i8, i8)] = &[
    ("enrolment.revoked",     Instance,      96,     32),
    ("enrolment.validity",    Instance,      97,     32),
    ("enrolment.identity",    Instance,      97,     32),
    ("enrolment.",            Instance,      CRYPTO, 32),
    ("identity.",             Instance,      97,     32),
    ("evidence.",             Instance,      CRYPTO, 32),
    ("session.previous",      SourcedData,   96,     32),
    ("session.end",           SourcedData,   CRYPTO, 32),
    ("session.simulated",     Hardware,      97,     32),
    ("session.",              Instance,      CRYPTO, 32),
    ("quote.signature",       Instance,      CRYPTO, 32),
    ("quote.",                Executables,   CRYPTO, 33),
    ("boot.log-hash",         Executables,   CRYPTO, 33),
    ("boot.secure-boot",      Configuration, 96,     32),
    ("boot.quirk",            Configuration, 96,     32),
    ("boot.firmware-changed", Hardware,      97,     32),
    ("boot.crtm-unproven",    Hardware,      96,     32),
    ("boot.virtual-machine",  Hardware,      96,     32),
    ("boot.",                 Executables,   96,     33),
    ("ima.quote",             Executables,   CRYPTO, 33),
    ("ima.",                  Executables,   96,     33),
    ("policy.firmware",       Hardware,      96,     32),
    ("receipt.limits",        Configuration, 96,     32),
    ("receipt.",              SourcedData,   CRYPTO, 32),
    ("receipts.",             SourcedData,   CRYPTO, 32),
    ("claim.",                SourcedData,   CRYPTO, 32),
    ("chain.",                SourcedData,   CRYPTO, 32),
    ("anchor.",               SourcedData,   CRYPTO, 32),
    ("gpu.",                  SourcedData,   96,     32),
];

/// The vector of an appraisal.
pub(crate) fn vector(axes: Axes, findings: &[Finding]) -> Vector {
    let mut vector = affirmed(axes, findings);
    for finding in findings {
        let row = AGAINST.iter().find(|(prefix, ..)| finding.id.starts_with(prefix));
        let Some((_, claim, fatal, warning)) = row else { continue };
        match finding.severity {
            Severity::Fatal => worse(&mut vector, *claim, *fatal),
            Severity::Warning => worse(&mut vector, *claim, *warning),
            Severity::Pass | Severity::Info => {}
        }
    }
    vector
}

fn affirmed(axes: Axes, findings: &[Finding]) -> Vector {
    let passed = |id| findings.iter().any(|f| f.id == id && f.severity == Severity::Pass);
    let mut vector = Vector::default();
    let rows = [
        (axes.identity >= 1, Instance, 2),
        (axes.platform >= 1 && passed("boot.secure-boot"), Configuration, 2),
        (axes.platform >= 1, Executables, 3),
        (axes.platform >= 2, Hardware, 2),
        (axes.gpu >= 3, SourcedData, 2),
    ];
    for (_, claim, value) in rows.into_iter().filter(|(holds, ..)| *holds) {
        worse(&mut vector, claim, value);
    }
    vector
}

fn worse(vector: &mut Vector, claim: Claim, value: i8) {
    let slot = match claim {
        Instance => &mut vector.instance_identity,
        Configuration => &mut vector.configuration,
        Executables => &mut vector.executables,
        Hardware => &mut vector.hardware,
        SourcedData => &mut vector.sourced_data,
    };
    *slot = (*slot).max(Some(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::CHECKS;

    fn found(id: &'static str, severity: Severity) -> Finding {
        Finding::new(id, severity, "", "")
    }

    #[test]
    fn every_check_that_can_fail_bears_on_a_claim() {
        for check in CHECKS.iter().filter(|check| check.severity >= Severity::Warning) {
            let vector = vector(Axes::default(), &[found(check.id, check.severity)]);
            // A missed floor says nothing that the axes don't; bytes without a form have no result.
            let silent = ["policy.floor", "file.form"].contains(&check.id);
            assert_eq!(vector == Vector::default(), silent, "{}", check.id);
        }
    }

    #[test]
    fn every_row_is_reached() {
        for (prefix, ..) in AGAINST {
            let first = |id: &str| AGAINST.iter().find(|(p, ..)| id.starts_with(p)).map(|row| row.0);
            let reached = CHECKS.iter().any(|check| first(check.id) == Some(prefix));
            assert!(reached, "{prefix}");
        }
    }

    #[test]
    fn axes_affirm_and_the_worst_finding_stays() {
        let secure = found("boot.secure-boot", Severity::Pass);
        let top = vector(Axes { identity: 2, platform: 2, gpu: 3 }, std::slice::from_ref(&secure));
        let all = Vector {
            instance_identity: Some(2),
            configuration: Some(2),
            executables: Some(3),
            hardware: Some(2),
            sourced_data: Some(2),
            ..Vector::default()
        };
        assert_eq!(top, all);
        let p1 = vector(Axes { identity: 0, platform: 1, gpu: 2 }, &[]);
        assert_eq!(p1, Vector { executables: Some(3), ..Vector::default() });
        let off = [found("boot.secure-boot", Severity::Warning), found("boot.quirk", Severity::Info)];
        let warned = vector(Axes { identity: 1, platform: 1, gpu: 0 }, &off);
        assert_eq!((warned.configuration, warned.instance_identity), (Some(32), Some(2)));
        let both = [found("enrolment.revoked", Severity::Fatal), found("quote.signature", Severity::Fatal)];
        assert_eq!(vector(Axes::default(), &both).instance_identity, Some(CRYPTO));
    }
}
