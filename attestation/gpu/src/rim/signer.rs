//! The certificates behind a RIM's signature.

use assay_wire::Digest;
use assay_x509::{Certificate, OcspStatus, Quirk, Seconds, X509Error};

use super::model::Rim;
use crate::device::chain::{form, link, role};
use crate::device::{ChainFault, HoldPolicy, judge_rim};

/// The fewest certificates: a signer and the root.
const LEAST: usize = 2;

/// The most certificates; RIMs have four.
pub(super) const MOST: usize = 5;

/// Deviations from DER that are overlooked: dates before 2050 in the longer form, a default that is written, and random
/// serial numbers.
const OVERLOOKED: [Quirk; 5] = [
    Quirk::GeneralizedTime,
    Quirk::ExplicitDefault,
    Quirk::PaddedSerial,
    Quirk::NonPositiveSerial,
    Quirk::LongSerial,
];

/// Certificates as they came, the signer's first: read, not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerChain {
    certificates: Vec<Certificate>,
}

impl SignerChain {
    /// Reads certificates from their DER, in their order.
    ///
    /// # Errors
    /// The position of the first that can't be read, and why. A list of no or too many certificates is read up to the
    /// most, and [`SignerChain::judge`] says so.
    pub fn from_der<'a>(list: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, (usize, X509Error)> {
        let read = |(index, der)| Certificate::parse(der).map_err(|error| (index, error));
        let certificates = list.into_iter().take(MOST + 1).enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { certificates })
    }

    /// The certificates, the signer's first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The certificate whose key signs.
    #[must_use]
    pub fn leaf(&self) -> Option<&Certificate> {
        self.certificates.first()
    }

    /// SHA-256 of the signer's certificate.
    #[must_use]
    pub fn signer(&self) -> Option<Digest> {
        self.leaf().map(|leaf| Digest(leaf.fingerprint().0))
    }

    /// The time in which every certificate is in force: first and last second, the last before the first where there is
    /// no such time.
    #[must_use]
    pub fn validity(&self) -> (Seconds, Seconds) {
        let first = self.certificates.iter().map(|one| one.not_before).max();
        let last = self.certificates.iter().map(|one| one.not_after).min();
        (first.unwrap_or(Seconds::MAX), last.unwrap_or(Seconds::MIN))
    }

    /// Whether each certificate is signed by the next, up to one that is `root` byte for byte. Dates are a question of
    /// their own: see [`SignerChain::validity`].
    ///
    /// # Errors
    /// The first [`ChainFault`], cheap rules before signatures.
    pub fn judge(&self, root: &[u8]) -> Result<(), ChainFault> {
        let seen = self.certificates.len();
        if !(LEAST..=MOST).contains(&seen) {
            return Err(ChainFault::Count { seen });
        }
        if self.certificates.last().map(Certificate::der) != Some(root) {
            return Err(ChainFault::Root);
        }
        for (index, certificate) in self.certificates.iter().enumerate() {
            form(index, certificate, &OVERLOOKED)?;
            role(index, certificate)?;
        }
        for (index, pair) in self.certificates.windows(2).enumerate() {
            if let [child, issuer] = pair {
                link(index, child, issuer)?;
            }
        }
        Ok(())
    }
}

/// What is known about the certificates of a RIM's signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignerStatus {
    /// There is no usable answer about one of them.
    Unchecked,
    /// Every certificate is good, or on hold where the policy lets that pass.
    Good,
    /// One is on hold.
    Hold,
    /// One is revoked, or its responder does not know it.
    Revoked,
}

impl SignerStatus {
    /// Its name for JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Good => "good",
            Self::Hold => "hold",
            Self::Revoked => "revoked",
        }
    }

    /// The status at `at`, by the answers that the RIM carries. Its certificates were judged by whoever made it.
    #[must_use]
    pub fn of(rim: &Rim, at: Seconds, hold: HoldPolicy) -> Self {
        let chain = SignerChain::from_der(rim.proof.certificates.iter().map(|der| der.as_slice()));
        let Some(chain) = chain.ok().filter(|chain| chain.signer() == Some(rim.signer)) else {
            return Self::Unchecked;
        };
        let answers: Vec<Vec<u8>> = rim.proof.ocsp.iter().map(|answer| answer.to_vec()).collect();
        let judged = judge_rim(chain.certificates(), &answers, at, hold);
        let each = judged.certificates.iter().map(|one| match one.status {
            Some(OcspStatus::Revoked(_) | OcspStatus::Unknown) => Self::Revoked,
            Some(OcspStatus::Hold(_)) if !hold.rim => Self::Hold,
            Some(OcspStatus::Good | OcspStatus::Hold(_)) => Self::Good,
            Some(OcspStatus::NotUsable(_)) | None => Self::Unchecked,
        });
        let each: Vec<Self> = each.collect();
        // The worst that is known decides; what is not known comes after it.
        let worst = each.iter().copied().max().filter(|status| *status > Self::Good);
        worst.or_else(|| each.iter().copied().min()).unwrap_or(Self::Unchecked)
    }
}
