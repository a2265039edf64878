//! What an IMA log extends, and which of its entries a quoted value covers.

use std::collections::BTreeMap;

use sha1::Sha1;
use sha2::digest::Output;
use sha2::{Sha256, Sha384, Sha512};

use super::fields::{IMA_DIGEST_LEN, IMA_NAME_LEN_LEN, IMA_NAME_MAX, Template};
use super::hasher::Hasher;
use super::{ImaEntry, ImaLog};
use crate::{EventLog, HashAlg, PCR_COUNT, Quirk};

const PCRS: usize = PCR_COUNT as usize;
const NAME_PADDING: [u8; IMA_NAME_MAX + 1] = [0; IMA_NAME_MAX + 1];

/// How the kernel makes a bank's digest of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExtendRule {
    /// The bank's hash of the template data; ones for a violation (kernel 5.8 and later).
    PerBank,
    /// The SHA-1 hash, padded with zeros ([`Quirk::ImaPaddedSha1`]).
    PaddedSha1,
}

/// One PCR on its way through the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Track {
    /// Value before the log's first entry, and after its last one that was read.
    pub(crate) value: Vec<u8>,
    /// Value looked for.
    pub(crate) target: Option<Vec<u8>>,
    /// How many entries of the log lead to `target`, at the least.
    pub(crate) matched: Option<usize>,
    /// Index of the last entry that extended the PCR.
    pub(crate) last: Option<usize>,
}

impl Track {
    /// A PCR that holds `value` before the log's first entry.
    pub(crate) fn starting(value: Vec<u8>) -> Self {
        Self { value, ..Self::default() }
    }
}

/// The part of a log that a quoted value covers. The kernel logs before it extends, and goes on while
/// the TPM quotes: what follows is a claim that a later quote will cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImaPrefix {
    /// Number of entries from the start, at the least.
    pub entries: usize,
    /// [`Quirk::ImaPaddedSha1`], where only that leads to the value.
    pub quirk: Option<Quirk>,
}

impl ImaLog<'_> {
    /// PCR values of one bank after the last entry, for the PCRs that the log touches, which are taken
    /// to start at zeros. Empty for an algorithm that this crate does not compute.
    ///
    /// Template hashes are computed from template data, never taken from the log.
    #[must_use]
    pub fn replay(&self, alg: HashAlg) -> BTreeMap<u8, Vec<u8>> {
        let mut tracks = BTreeMap::new();
        self.walk(alg, ExtendRule::PerBank, &mut tracks);
        let touched = tracks.into_iter().filter(|(_, track)| track.last.is_some());
        touched.map(|(pcr, track)| (pcr, track.value)).collect()
    }

    /// The entries after which a PCR of a bank, from zeros, holds `value`. `None` where no number of
    /// entries leads there.
    #[must_use]
    pub fn matching_prefix(&self, alg: HashAlg, pcr: u8, value: &[u8]) -> Option<ImaPrefix> {
        let zeros = vec![0; alg.digest_len()?];
        let try_rule = |rule, quirk| {
            let track = Track { target: Some(value.to_vec()), ..Track::starting(zeros.clone()) };
            let mut tracks = BTreeMap::from([(pcr, track)]);
            self.walk(alg, rule, &mut tracks);
            tracks.get(&pcr)?.matched.map(|entries| ImaPrefix { entries, quirk })
        };
        let padded = || try_rule(ExtendRule::PaddedSha1, Some(Quirk::ImaPaddedSha1));
        try_rule(ExtendRule::PerBank, None).or_else(|| padded().filter(|_| alg != HashAlg::Sha1))
    }

    /// The first entry whose logged template hash is not that of its data, by index. Violations and
    /// logs that replay have none.
    #[must_use]
    pub fn first_altered(&self) -> Option<usize> {
        match self.hash_alg {
            HashAlg::Sha1 => self.altered::<Sha1>(),
            HashAlg::Sha256 => self.altered::<Sha256>(),
            HashAlg::Sha384 => self.altered::<Sha384>(),
            HashAlg::Sha512 => self.altered::<Sha512>(),
            HashAlg::Other(_) => None,
        }
    }

    fn altered<D: Hasher>(&self) -> Option<usize> {
        let altered = |entry: ImaEntry<'_>| {
            !entry.is_violation() && data_digest::<D>(&entry).as_slice() != entry.template_hash
        };
        self.entries().position(altered)
    }

    /// Algorithm and digest of the log's first entry, if it is the boot aggregate.
    #[must_use]
    pub fn logged_boot_aggregate(&self) -> Option<(HashAlg, &[u8])> {
        let fields = self.entries().next()?.fields()?;
        let algs = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
        let alg = algs.into_iter().find(|alg| alg.name() == fields.digest_alg)?;
        (fields.path == b"boot_aggregate").then_some((alg, fields.digest))
    }

    /// Whether the boot aggregate is that of the firmware log's PCRs: the kernel takes it before any
    /// userspace record. `None` without one, and for a bank that the firmware log does not carry.
    #[must_use]
    pub fn follows(&self, firmware: &EventLog) -> Option<bool> {
        let (alg, logged) = self.logged_boot_aggregate()?;
        if !firmware.carries(alg) {
            return None;
        }
        let zeros = vec![0; alg.digest_len()?];
        let replayed = firmware.replay(alg);
        let start = firmware.start_of(0, alg);
        let untouched = |pcr| if pcr == 0 { start.as_slice() } else { zeros.as_slice() };
        let value = |pcr| replayed.get(&pcr).map_or_else(|| untouched(pcr), Vec::as_slice);
        boot_aggregate(alg, value).map(|aggregate| aggregate == logged)
    }

    /// Replays every entry into the tracks, at a hash of its data and an extend each; tracks of PCRs
    /// that the caller has no interest in are added, from zeros. Stops once every target is met.
    pub(crate) fn walk(&self, alg: HashAlg, rule: ExtendRule, tracks: &mut BTreeMap<u8, Track>) {
        match alg {
            HashAlg::Sha1 => self.walk_with::<Sha1>(rule, tracks),
            HashAlg::Sha256 => self.walk_with::<Sha256>(rule, tracks),
            HashAlg::Sha384 => self.walk_with::<Sha384>(rule, tracks),
            HashAlg::Sha512 => self.walk_with::<Sha512>(rule, tracks),
            HashAlg::Other(_) => {}
        }
    }

    fn walk_with<D: Hasher>(&self, rule: ExtendRule, tracks: &mut BTreeMap<u8, Track>) {
        let mut registers: [Register<D>; PCRS] = std::array::from_fn(|_| Register::default());
        for (&pcr, track) in tracks.iter() {
            if let Some(register) = registers.get_mut(usize::from(pcr)) {
                register.load(track);
            }
        }
        let searching = registers.iter().any(|register| register.target.is_some());
        let mut open = registers.iter().filter(|register| register.is_open()).count();
        for (index, entry) in self.entries().enumerate() {
            if searching && open == 0 {
                break;
            }
            let Some(register) = registers.get_mut(usize::from(entry.pcr)) else { continue };
            if register.extend(index, &digest::<D>(&entry, rule)) {
                open -= 1;
            }
        }
        for (pcr, register) in (0u8..).zip(&registers) {
            if register.last.is_some() || tracks.contains_key(&pcr) {
                register.store(tracks.entry(pcr).or_default());
            }
        }
    }
}

/// A [`Track`] without allocations.
struct Register<D: Hasher> {
    value: Output<D>,
    target: Option<Output<D>>,
    matched: Option<usize>,
    last: Option<usize>,
}

impl<D: Hasher> Default for Register<D> {
    fn default() -> Self {
        Self { value: Output::<D>::default(), target: None, matched: None, last: None }
    }
}

impl<D: Hasher> Register<D> {
    fn load(&mut self, track: &Track) {
        self.value = Output::<D>::from_exact_iter(track.value.iter().copied()).unwrap_or_default();
        self.target =
            track.target.as_ref().and_then(|value| Output::<D>::from_exact_iter(value.iter().copied()));
        self.matched = (self.target.as_ref() == Some(&self.value)).then_some(0);
    }

    fn store(&self, track: &mut Track) {
        track.value = self.value.to_vec();
        track.matched = self.matched;
        track.last = self.last;
    }

    fn is_open(&self) -> bool {
        self.target.is_some() && self.matched.is_none()
    }

    /// Extends; whether that met the target.
    #[inline]
    fn extend(&mut self, index: usize, digest: &Output<D>) -> bool {
        self.value = D::extend(&self.value, digest);
        self.last = Some(index);
        let met = self.is_open() && self.target.as_ref() == Some(&self.value);
        if met {
            self.matched = Some(index + 1);
        }
        met
    }
}

/// What the kernel extends for an entry.
#[inline]
fn digest<D: Hasher>(entry: &ImaEntry<'_>, rule: ExtendRule) -> Output<D> {
    let mut digest = Output::<D>::default();
    if entry.is_violation() {
        digest.fill(0xff);
    } else if rule == ExtendRule::PerBank {
        digest = data_digest::<D>(entry);
    } else {
        let short = data_digest::<Sha1>(entry);
        digest.iter_mut().zip(short).for_each(|(byte, hashed)| *byte = hashed);
    }
    digest
}

/// The template hash that the data has.
#[inline]
fn data_digest<D: Hasher>(entry: &ImaEntry<'_>) -> Output<D> {
    if entry.template != Template::Ima {
        return D::hash(entry.data);
    }
    let (digest, rest) = entry.data.split_at_checked(IMA_DIGEST_LEN).unwrap_or_default();
    let name = rest.get(IMA_NAME_LEN_LEN..).unwrap_or_default();
    let padding = NAME_PADDING.get(name.len()..).unwrap_or_default();
    D::new().chain_update(digest).chain_update(name).chain_update(padding).finalize()
}

/// The kernel's boot aggregate: the hash over PCRs 0 to 7 of the bank, and 8 and 9 for banks other
/// than SHA-1 (kernel 5.8 and later). `None` for an algorithm that this crate does not compute.
pub fn boot_aggregate<'a>(alg: HashAlg, value: impl Fn(u8) -> &'a [u8]) -> Option<Vec<u8>> {
    let pcrs = if alg == HashAlg::Sha1 { 0..8 } else { 0..10 };
    let values: Vec<&[u8]> = pcrs.map(value).collect();
    alg.hash(&values)
}
