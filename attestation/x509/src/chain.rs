//! From a certificate to a pinned authority (RFC 5280 6.1, with pinned anchors).
//!
//! Authorities outlive their certificates' dates less than TPMs do: each is judged at the moment the
//! leaf was issued. Names are compared as bytes; key identifiers only save work.

use crate::certificate::{Certificate, Fingerprint};
use crate::signature::SignatureFault;
use crate::store::{Entry, Store};
use crate::time::Seconds;

/// The most authorities between leaf and end of the chain, the anchor included. Firmware TPMs whose
/// authority is on the die have five: the TPM's, two of firmware stages, the die's and its maker's.
pub const MAX_DEPTH: usize = 6;

/// The most signatures that are checked for one leaf.
pub const MAX_CHECKS: usize = 16;

/// How far clocks may differ, in seconds.
const SKEW: Seconds = 300;

/// A chain that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Where it ends.
    pub anchor: &'a Entry,
    /// Authorities in it, the anchor included.
    pub depth: usize,
    /// Signatures that were checked to find it.
    pub checks: usize,
}

/// Why no chain holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Nobody in the store has the issuer's name: the authority is unknown, which is no lie.
    #[error("no pinned authority above {issuer:?}")]
    UnknownRoot {
        /// The issuer that is missing.
        issuer: String,
    },
    /// The issuer's certificate is there and did not sign this, or signed it too weakly.
    #[error("{issuer}: {fault}")]
    Signature {
        /// The authority.
        issuer: String,
        /// Why the signature doesn't count.
        fault: SignatureFault,
    },
    /// The issuer may not sign certificates.
    #[error("{issuer} is not an authority")]
    NotAuthority {
        /// The issuer.
        issuer: String,
    },
    /// More intermediates below the issuer than it allows (RFC 5280 4.2.1.9).
    #[error("{issuer} allows {allowed} intermediates below it")]
    PathLength {
        /// The issuer.
        issuer: String,
        /// Its limit.
        allowed: u32,
    },
    /// The issuer's certificate was not in force when the leaf was issued.
    #[error("{issuer} was not in force when the certificate was issued")]
    IssuerValidity {
        /// The issuer.
        issuer: String,
    },
    /// The issuer has a critical extension that nobody here knows.
    #[error("{issuer} has an unknown critical extension")]
    IssuerExtension {
        /// The issuer.
        issuer: String,
    },
    /// More authorities than [`MAX_DEPTH`] or more signatures than [`MAX_CHECKS`].
    #[error("the chain is too long")]
    TooLong,
}

impl ChainFault {
    /// Whether somebody may just be missing from the store.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::UnknownRoot { .. })
    }

    /// Of several faults the one that says most: an issuer that was there outweighs one that wasn't.
    const fn weight(&self) -> u8 {
        match self {
            Self::UnknownRoot { .. } => 0,
            Self::TooLong => 1,
            Self::Signature { .. } => 3,
            _ => 2,
        }
    }
}

/// Finds a chain from `leaf` to an anchor of `store`, through `extra` and the store's intermediates.
///
/// # Errors
/// [`ChainFault`]: of all ways that were tried the one that says most.
pub fn chain<'a>(
    leaf: &Certificate,
    extra: &[Certificate],
    store: &'a Store,
) -> Result<Chain<'a>, ChainFault> {
    let mut left = MAX_CHECKS;
    chain_within(leaf, extra, store, &mut left)
}

/// As [`chain`], with at most `left` signatures, and no more than [`MAX_CHECKS`]; `left` falls by those
/// that were checked. For whoever follows several certificates of one sender.
///
/// # Errors
/// As [`chain`].
pub fn chain_within<'a>(
    leaf: &Certificate,
    extra: &[Certificate],
    store: &'a Store,
    left: &mut usize,
) -> Result<Chain<'a>, ChainFault> {
    let most = MAX_CHECKS.min(*left);
    let mut search = Search { leaf, extra, store, most, checks: 0, fault: unknown(leaf) };
    let found = search.above(leaf, &mut Vec::new());
    *left -= search.checks.min(*left);
    found.ok_or(search.fault)
}

fn unknown(certificate: &Certificate) -> ChainFault {
    ChainFault::UnknownRoot { issuer: certificate.issuer.to_string() }
}

struct Search<'a, 'b> {
    leaf: &'b Certificate,
    extra: &'b [Certificate],
    store: &'a Store,
    most: usize,
    checks: usize,
    fault: ChainFault,
}

impl<'a> Search<'a, '_> {
    /// A chain above `child`; `path` holds the intermediates so far. Recursion ends at [`MAX_DEPTH`].
    fn above(&mut self, child: &Certificate, path: &mut Vec<Fingerprint>) -> Option<Chain<'a>> {
        let store = self.store;
        for entry in store.entries() {
            let issuer = &entry.certificate;
            if !may_have_signed(issuer, child) || !self.signed(issuer, child, path.len()) {
                continue;
            }
            if entry.is_anchor() {
                return Some(Chain { anchor: entry, depth: path.len() + 1, checks: self.checks });
            }
            if let Some(chain) = self.step(issuer, path) {
                return Some(chain);
            }
        }
        let extra = self.extra;
        for issuer in extra {
            if may_have_signed(issuer, child)
                && self.signed(issuer, child, path.len())
                && let Some(chain) = self.step(issuer, path)
            {
                return Some(chain);
            }
        }
        None
    }

    fn step(&mut self, issuer: &Certificate, path: &mut Vec<Fingerprint>) -> Option<Chain<'a>> {
        let fingerprint = issuer.fingerprint();
        if path.contains(&fingerprint) {
            return None;
        }
        if path.len() + 1 >= MAX_DEPTH {
            self.record(ChainFault::TooLong);
            return None;
        }
        self.record(unknown(issuer));
        path.push(fingerprint);
        let chain = self.above(issuer, path);
        path.pop();
        chain
    }

    /// Whether `issuer` could and did sign `child`, below which `below` intermediates lie.
    fn signed(&mut self, issuer: &Certificate, child: &Certificate, below: usize) -> bool {
        let result = self.check(issuer, child, below);
        result.map_err(|fault| self.record(fault)).is_ok()
    }

    fn check(&mut self, issuer: &Certificate, child: &Certificate, below: usize) -> Result<(), ChainFault> {
        let name = || issuer.subject.to_string();
        if !issuer.is_ca() {
            return Err(ChainFault::NotAuthority { issuer: name() });
        }
        let limit = issuer.extensions.basic_constraints.and_then(|constraints| constraints.path_len);
        if let Some(allowed) = limit
            && usize::try_from(allowed).is_ok_and(|allowed| below > allowed)
        {
            return Err(ChainFault::PathLength { issuer: name(), allowed });
        }
        if issuer.extensions.unknown_critical().is_some() {
            return Err(ChainFault::IssuerExtension { issuer: name() });
        }
        if !issuer.is_valid_at(self.leaf.not_before) {
            return Err(ChainFault::IssuerValidity { issuer: name() });
        }
        if self.checks == self.most {
            return Err(ChainFault::TooLong);
        }
        self.checks += 1;
        child.verify(&issuer.key).map_err(|fault| ChainFault::Signature { issuer: name(), fault })
    }

    fn record(&mut self, fault: ChainFault) {
        // Of equals the later one: the missing issuer is the one furthest up.
        if fault.weight() >= self.fault.weight() {
            self.fault = fault;
        }
    }
}

/// Name and, where both have one, key identifier.
fn may_have_signed(issuer: &Certificate, child: &Certificate) -> bool {
    let ids = (&issuer.extensions.subject_key_id, &child.extensions.authority_key_id);
    let hint = match ids {
        (Some(subject), Some(authority)) => subject == authority,
        _ => true,
    };
    hint && issuer.subject.as_bytes() == child.issuer.as_bytes()
}

/// A certificate's own dates at `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// In force.
    Valid,
    /// Over: a note, since the key is as good as before.
    Expired,
    /// Not begun, so somebody's clock or word is wrong.
    Future,
}

impl Dates {
    /// Where `now`, in seconds since 1970, lies between two dates.
    #[must_use]
    pub const fn of(not_before: Seconds, not_after: Seconds, now: Seconds) -> Self {
        match () {
            () if not_before > now.saturating_add(SKEW) => Self::Future,
            () if not_after < now => Self::Expired,
            () => Self::Valid,
        }
    }
}

/// Where `now`, in seconds since 1970, lies in a certificate's dates.
#[must_use]
pub const fn dates(certificate: &Certificate, now: Seconds) -> Dates {
    Dates::of(certificate.not_before, certificate.not_after, now)
}
