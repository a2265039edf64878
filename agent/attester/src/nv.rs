//! What the TPM's maker left in NV storage: endorsement certificates and templates.
//!
//! Reading only. The contents are returned as they are; whoever verifies them trims and parses.

use std::ops::RangeInclusive;

use tss_esapi::{
    Context, Error as TssError,
    abstraction::nv::max_nv_buffer_size,
    constants::CapabilityType,
    handles::{NvIndexHandle, NvIndexTpmHandle, ObjectHandle, TpmHandle},
    interface_types::{resource_handles::NvAuth, session_handles::AuthSession},
    structures::{CapabilityData, MaxNvBuffer, NvPublic},
};

use crate::{
    error::{TpmError, tss},
    key::wrong_value,
};

/// The TCG's range for endorsement certificates, templates, nonces and certificate chains
/// (TCG EK Credential Profile 2.5, 2.2.1.4 and 2.2.1.5).
const EK_RANGE: RangeInclusive<u32> = 0x01C0_0000..=0x01C0_01FF;
/// Handles per answer (`MAX_CAP_HANDLES`, TPM 2.0 Part 2, 4.2).
const HANDLES: u32 = 254;

/// The handles of the type that `first` has, from `first` on; one answer's worth.
pub(crate) fn handles(context: &mut Context, first: u32) -> Result<Vec<TpmHandle>, TssError> {
    let (data, _) = context
        .execute_without_session(|context| context.get_capability(CapabilityType::Handles, first, HANDLES))?;
    match data {
        CapabilityData::Handles(handles) => Ok(handles.into()),
        _ => Err(wrong_value()),
    }
}

/// The defined NV indices of a range, ascending; at most one answer's worth.
///
/// # Errors
///
/// [`TpmError::ListNv`].
pub(crate) fn indices(context: &mut Context, range: &RangeInclusive<u32>) -> Result<Vec<u32>, TpmError> {
    let handles = handles(context, *range.start()).map_err(tss(TpmError::ListNv))?;
    Ok(handles.into_iter().map(u32::from).filter(|index| range.contains(index)).collect())
}

/// The defined NV indices of the TCG's endorsement range.
///
/// # Errors
///
/// [`TpmError::ListNv`].
pub(crate) fn ek_indices(context: &mut Context) -> Result<Vec<u32>, TpmError> {
    indices(context, &EK_RANGE)
}

/// The contents of a defined NV index; `None` if it was never written.
///
/// # Errors
///
/// [`TpmError::ReadEkCertificate`].
pub(crate) fn read(context: &mut Context, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
    let failed = |source| TpmError::ReadEkCertificate { index, source };
    let handle = NvIndexTpmHandle::new(index)
        .and_then(|handle| {
            context.execute_without_session(|context| context.tr_from_tpm_public(handle.into()))
        })
        .map_err(tss(failed))?;
    let contents = read_handle(context, handle.into());
    let closed = close(context, handle);
    contents.and_then(|contents| closed.map(|()| contents)).map_err(tss(failed))
}

fn close(context: &mut Context, mut handle: ObjectHandle) -> Result<(), TssError> {
    context.tr_close(&mut handle)
}

fn read_handle(context: &mut Context, handle: NvIndexHandle) -> Result<Option<Vec<u8>>, TssError> {
    let (public, _) = context.execute_without_session(|context| context.nv_read_public(handle))?;
    if !public.attributes().written() {
        return Ok(None);
    }
    let chunk = max_nv_buffer_size(context)?.min(MaxNvBuffer::MAX_SIZE);
    let auth = reader(&public, handle);
    let mut contents = Vec::new();
    while contents.len() < public.data_size() {
        let size = u16::try_from(chunk.min(public.data_size() - contents.len()));
        let offset = u16::try_from(contents.len());
        let (size, offset) = size.ok().zip(offset.ok()).ok_or_else(wrong_value)?;
        let part = context.execute_with_session(Some(AuthSession::Password), |context| {
            context.nv_read(auth, handle, size, offset)
        })?;
        if part.value().is_empty() {
            return Err(wrong_value());
        }
        contents.extend(part.value());
    }
    Ok(Some(contents))
}

/// Who reads: the index itself, whose password is empty by the profile, where a refusal can't
/// count towards a lockout; else the owner.
fn reader(public: &NvPublic, handle: NvIndexHandle) -> NvAuth {
    let attributes = public.attributes();
    if attributes.auth_read() && attributes.no_da() { NvAuth::NvIndex(handle) } else { NvAuth::Owner }
}
