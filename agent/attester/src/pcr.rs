//! PCRs of the SHA-256 bank.

use tss_esapi::{
    Context, Error as TssError,
    handles::PcrHandle,
    interface_types::{algorithm::HashingAlgorithm, session_handles::AuthSession},
    structures::{Digest, DigestValues, PcrSelectionList, PcrSlot},
};

use crate::{
    Tpm,
    error::{TpmError, tss},
    key::wrong_value,
};

/// PCRs of a PC Client TPM: 0 to 23 (TCG PC Client Platform TPM Profile).
const PCRS: u8 = 24;

impl Tpm {
    /// The values of PCRs of the SHA-256 bank, in rising order.
    ///
    /// # Errors
    ///
    /// [`TpmError::InvalidPcrs`], [`TpmError::PcrMissing`], [`TpmError::ReadPcrs`], or a state of
    /// the TPM.
    pub fn pcr_read(&mut self, pcrs: &[u8]) -> Result<Vec<(u8, [u8; 32])>, TpmError> {
        read(&mut self.context, &sorted(pcrs)?)
    }

    /// Extends the SHA-256 bank's PCR with a digest.
    ///
    /// Only the simulated boot of demos and tests does this: what an agent extends by itself
    /// proves nothing to anyone.
    ///
    /// # Errors
    ///
    /// [`TpmError::InvalidPcrs`], [`TpmError::ExtendPcr`], or a state of the TPM.
    pub fn pcr_extend(&mut self, pcr: u8, sha256: [u8; 32]) -> Result<(), TpmError> {
        sorted(&[pcr])?;
        let failed = |source| TpmError::ExtendPcr { pcr, source };
        let handle = PcrHandle::try_from(u32::from(pcr)).map_err(failed)?;
        let mut digests = DigestValues::new();
        digests.set(HashingAlgorithm::Sha256, Digest::try_from(&sha256[..]).map_err(failed)?);
        self.context
            .execute_with_session(Some(AuthSession::Password), |context| context.pcr_extend(handle, digests))
            .map_err(tss(failed))
    }
}

/// `pcrs` in rising order.
///
/// # Errors
///
/// [`TpmError::InvalidPcrs`] for none, one twice, or one that does not exist.
pub(crate) fn sorted(pcrs: &[u8]) -> Result<Vec<u8>, TpmError> {
    let mut sorted = pcrs.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let valid = !pcrs.is_empty() && sorted.len() == pcrs.len() && pcrs.iter().all(|pcr| *pcr < PCRS);
    if valid { Ok(sorted) } else { Err(TpmError::InvalidPcrs { pcrs: pcrs.to_vec() }) }
}

/// `pcrs` of the SHA-256 bank as a `TPML_PCR_SELECTION`.
pub(crate) fn selection(pcrs: &[u8]) -> Result<PcrSelectionList, TssError> {
    let slots = pcrs.iter().map(|pcr| slot(*pcr)).collect::<Result<Vec<_>, _>>()?;
    PcrSelectionList::builder().with_selection(HashingAlgorithm::Sha256, &slots).build()
}

fn slot(pcr: u8) -> Result<PcrSlot, TssError> {
    PcrSlot::try_from(1u32.checked_shl(pcr.into()).unwrap_or(0))
}

/// Values of `pcrs`, which are in rising order. The TPM returns up to eight at a time and says
/// which (TPM 2.0 Part 3, 22.4).
pub(crate) fn read(context: &mut Context, pcrs: &[u8]) -> Result<Vec<(u8, [u8; 32])>, TpmError> {
    let mut values: Vec<(u8, [u8; 32])> = Vec::new();
    while let Some(rest) = pcrs.get(values.len()..).filter(|rest| !rest.is_empty()) {
        let part = read_some(context, rest).map_err(tss(TpmError::ReadPcrs))?;
        let expected = rest.iter().zip(&part).all(|(pcr, (read, _))| pcr == read);
        match rest.first() {
            Some(pcr) if part.is_empty() || !expected => return Err(TpmError::PcrMissing { pcr: *pcr }),
            _ => values.extend(part),
        }
    }
    Ok(values)
}

fn read_some(context: &mut Context, pcrs: &[u8]) -> Result<Vec<(u8, [u8; 32])>, TssError> {
    let wanted = selection(pcrs)?;
    let (_, read, digests) = context.execute_without_session(|context| context.pcr_read(wanted))?;
    let slots: Vec<PcrSlot> = read.get_selections().iter().flat_map(|bank| bank.selected()).collect();
    let indices = pcrs.iter().filter(|pcr| slot(**pcr).is_ok_and(|slot| slots.contains(&slot)));
    if slots.len() != digests.len() {
        return Err(wrong_value());
    }
    indices
        .zip(digests.value())
        .map(|(pcr, digest)| {
            let value = digest.value().try_into().map_err(|_| wrong_value())?;
            Ok((*pcr, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_sorted_and_checked() {
        assert_eq!(sorted(&[7, 0, 23]).unwrap(), [0, 7, 23]);
        for wrong in [&[][..], &[1, 1], &[24], &[0, 255]] {
            assert!(matches!(sorted(wrong), Err(TpmError::InvalidPcrs { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn a_selection_is_one_bank_of_three_octets() {
        let list = selection(&[0, 7, 23]).unwrap();
        let tss: tss_esapi::tss2_esys::TPML_PCR_SELECTION = list.into();
        assert_eq!(tss.count, 1);
        assert_eq!(tss.pcrSelections[0].hash, 0x000B);
        assert_eq!(tss.pcrSelections[0].sizeofSelect, 3);
        assert_eq!(tss.pcrSelections[0].pcrSelect[..3], [0x81, 0, 0x80]);
    }
}
