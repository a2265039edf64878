//! PCR selections (Part 2, 10.6) and the digest a quote holds over the selected values.

use crate::alg::HashAlg;
use crate::error::TpmError;
use crate::wire::{Reader, Writer};

/// PCRs of a PC Client TPM (PC Client Platform TPM Profile).
pub const PCR_COUNT: u8 = 24;

/// `TPM2_NUM_PCR_BANKS`: no TPM has more banks.
const MAX_BANKS: u32 = 16;

/// `sizeofSelect` of a PC Client TPM: one bit for each of the 24 PCRs.
const SELECT_SIZE: u8 = 3;

/// A set of PCR indices below [`PCR_COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PcrSet(u32);

impl PcrSet {
    /// The set of these indices, unless one is not below [`PCR_COUNT`].
    #[must_use]
    pub fn from_indices(indices: &[u8]) -> Option<Self> {
        indices
            .iter()
            .try_fold(Self::default(), |set, &index| (index < PCR_COUNT).then_some(Self(set.0 | 1 << index)))
    }

    /// Whether `index` is in the set.
    #[must_use]
    pub const fn contains(self, index: u8) -> bool {
        index < PCR_COUNT && self.0 >> index & 1 == 1
    }

    /// The indices in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..PCR_COUNT).filter(move |&index| self.contains(index))
    }

    /// Whether no PCR is selected.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many PCRs are selected.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }
}

/// `TPMS_PCR_SELECTION`: which PCRs of one bank. Taken from the signed blob and from nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PcrSelection {
    /// The bank.
    pub alg: HashAlg,
    /// The PCRs of that bank.
    pub pcrs: PcrSet,
}

impl PcrSelection {
    fn read(reader: &mut Reader<'_>) -> Result<Self, TpmError> {
        let offset = reader.offset();
        let id = reader.u16("pcrSelect.hash")?;
        let alg = HashAlg::from_id(id).ok_or_else(|| TpmError::Unsupported {
            field: "pcrSelect.hash",
            offset,
            value: id.into(),
        })?;
        let offset = reader.offset();
        let size = reader.u8("pcrSelect.sizeofSelect")?;
        if size != SELECT_SIZE {
            return Err(TpmError::BadValue { field: "pcrSelect.sizeofSelect", offset, value: size.into() });
        }
        // Bit n of byte m is PCR 8 m + n, which is what little-endian gives.
        let mut octet = || reader.u8("pcrSelect.pcrSelect");
        let bits = u32::from_le_bytes([octet()?, octet()?, octet()?, 0]);
        Ok(Self { alg, pcrs: PcrSet(bits) })
    }

    /// `TPML_PCR_SELECTION`: at most sixteen banks, each at most once.
    ///
    /// A second entry for a bank would let one PCR be hashed twice, or hide one in the first entry
    /// from a reader that looks at the second.
    pub(crate) fn read_list(reader: &mut Reader<'_>) -> Result<Vec<Self>, TpmError> {
        let offset = reader.offset();
        let count = reader.u32("pcrSelect.count")?;
        if count > MAX_BANKS {
            return Err(too_many_banks(offset, count));
        }
        let mut list: Vec<Self> = Vec::new();
        for _ in 0..count {
            let offset = reader.offset();
            let entry = Self::read(reader)?;
            if list.iter().any(|seen| seen.alg == entry.alg) {
                return Err(TpmError::DuplicateBank { alg: entry.alg, offset });
            }
            list.push(entry);
        }
        Ok(list)
    }

    pub(crate) fn write_list(list: &[Self], writer: &mut Writer) -> Result<(), TpmError> {
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        if count > MAX_BANKS {
            return Err(too_many_banks(0, count));
        }
        writer.u32(count);
        for entry in list {
            writer.u16(entry.alg.id());
            writer.u8(SELECT_SIZE);
            let [a, b, c, _] = entry.pcrs.0.to_le_bytes();
            writer.bytes(&[a, b, c]);
        }
        Ok(())
    }
}

fn too_many_banks(offset: usize, count: u32) -> TpmError {
    TpmError::TooLarge { field: "pcrSelect.count", offset, size: count.into(), max: MAX_BANKS.into() }
}

/// The digest a TPM computes over the selected PCRs: bank by bank in the order of the selection,
/// ascending within a bank (Part 1, 17), hashed with the signing scheme's `alg`.
///
/// `values` gives a PCR's value; `None` is returned when it lacks one or has one of the wrong
/// length, since values that run together could otherwise be shifted across PCR borders.
#[must_use]
pub fn pcr_digest(
    selection: &[PcrSelection],
    values: &dyn Fn(HashAlg, u8) -> Option<Vec<u8>>,
    alg: HashAlg,
) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    for entry in selection {
        for index in entry.pcrs.iter() {
            let value = values(entry.alg, index).filter(|value| value.len() == entry.alg.digest_len())?;
            joined.extend(value);
        }
    }
    Some(alg.digest(&joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: &[u8]) -> Result<Vec<PcrSelection>, TpmError> {
        let mut reader = Reader::new(bytes);
        let list = PcrSelection::read_list(&mut reader)?;
        reader.finish().map(|()| list)
    }

    #[test]
    fn an_index_twice_is_one_index() {
        let set = PcrSet::from_indices(&[7, 7]).unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn sixteen_banks_are_not_too_many() {
        let many = |count| matches!(list(&[0, 0, 0, count]), Err(TpmError::TooLarge { .. }));
        assert!(!many(16) && many(17));
    }

    #[test]
    fn bits_are_pcr_indices() {
        let parsed = list(&[0, 0, 0, 1, 0, 0x0b, 3, 0x9f, 0x08, 0x80]).unwrap();
        assert_eq!(parsed[0].pcrs.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 7, 11, 23]);
        assert_eq!(parsed[0].pcrs.len(), 8);
        assert_eq!(PcrSet::from_indices(&[0, 1, 2, 3, 4, 7, 11, 23]), Some(parsed[0].pcrs));
        assert_eq!(PcrSet::from_indices(&[24]), None);
        assert!(!parsed[0].pcrs.contains(24) && PcrSet::default().is_empty());
    }

    #[test]
    fn a_bank_twice_is_refused() {
        let twice = [0, 0, 0, 2, 0, 0x0b, 3, 1, 0, 0, 0, 0x0b, 3, 2, 0, 0];
        assert_eq!(list(&twice), Err(TpmError::DuplicateBank { alg: HashAlg::Sha256, offset: 10 }));
    }

    #[test]
    fn odd_sizes_counts_and_banks_are_refused() {
        let size = |n| TpmError::BadValue { field: "pcrSelect.sizeofSelect", offset: 6, value: n };
        assert_eq!(list(&[0, 0, 0, 1, 0, 0x0b, 4, 0, 0, 0, 0]), Err(size(4)));
        assert_eq!(list(&[0, 0, 0, 1, 0, 0x0b, 0]), Err(size(0)));
        let count = TpmError::TooLarge { field: "pcrSelect.count", offset: 0, size: 17, max: 16 };
        assert_eq!(list(&[0, 0, 0, 17]), Err(count));
        let bank = TpmError::Unsupported { field: "pcrSelect.hash", offset: 4, value: 0x0d };
        assert_eq!(list(&[0, 0, 0, 1, 0, 0x0d, 3, 0, 0, 0]), Err(bank));
    }

    #[test]
    fn digest_needs_every_value_at_its_length() {
        let pcrs = PcrSet::from_indices(&[0, 7]).unwrap();
        let selection = [PcrSelection { alg: HashAlg::Sha256, pcrs }];
        let whole = |_: HashAlg, index: u8| Some(vec![index; 32]);
        let expected = HashAlg::Sha384.digest(&[[0; 32], [7; 32]].concat());
        assert_eq!(pcr_digest(&selection, &whole, HashAlg::Sha384), Some(expected));
        let missing = |_: HashAlg, index: u8| (index != 7).then(|| vec![0; 32]);
        assert_eq!(pcr_digest(&selection, &missing, HashAlg::Sha256), None);
        // 31 and 33 bytes join to the same 64 bytes as 32 and 32.
        let shifted = |_: HashAlg, index: u8| Some(vec![0; if index == 0 { 31 } else { 33 }]);
        assert_eq!(pcr_digest(&selection, &shifted, HashAlg::Sha256), None);
    }
}
