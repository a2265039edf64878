//! Load, use, flush: how every key and session of ours lives.

use tss_esapi::{
    Context, Error as TssError,
    constants::SessionType,
    handles::SessionHandle,
    interface_types::algorithm::HashingAlgorithm,
    interface_types::{
        ecc::EccCurve,
        resource_handles::Hierarchy,
        session_handles::{AuthSession, PolicySession},
    },
    structures::{CreatePrimaryKeyResult, EccParameter, EccPoint, Public, SymmetricDefinition},
    traits::Marshall,
};

use crate::error::{TpmError, tss};

/// Creates a primary key in the endorsement hierarchy, hands it to `action`, and flushes it
/// whatever `action` returns.
///
/// # Errors
///
/// `failed` if the key cannot be created, else what `action` returned, else a failed flush.
pub(crate) fn with_primary<T>(
    context: &mut Context,
    template: Public,
    failed: fn(TssError) -> TpmError,
    action: impl FnOnce(&mut Context, &CreatePrimaryKeyResult) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let key = context
        .execute_with_session(Some(AuthSession::Password), |context| {
            context.create_primary(Hierarchy::Endorsement, template, None, None, None, None)
        })
        .map_err(tss(failed))?;
    let outcome = action(context, &key);
    let flushed = context.flush_context(key.key_handle.into()).map_err(tss(TpmError::Flush));
    outcome.and_then(|value| flushed.map(|()| value))
}

/// Starts a policy session of `hash`, hands it to `action`, and flushes it.
///
/// # Errors
///
/// As [`with_primary`]; a session that cannot be started is [`TpmError::AuthoriseEk`].
pub(crate) fn with_policy_session<T>(
    context: &mut Context,
    hash: HashingAlgorithm,
    action: impl FnOnce(&mut Context, PolicySession) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let session = context
        .execute_without_session(|context| {
            context.start_auth_session(
                None,
                None,
                None,
                SessionType::Policy,
                SymmetricDefinition::AES_128_CFB,
                hash,
            )
        })
        .and_then(|session| session.ok_or_else(wrong_value))
        .map_err(tss(TpmError::AuthoriseEk))?;
    let outcome = match PolicySession::try_from(session) {
        Ok(policy) => action(context, policy),
        Err(source) => Err(TpmError::AuthoriseEk(source)),
    };
    // A session whose `continueSession` is clear ends with a successful command that used it.
    // ESAPI keeps ours open, so flushing is ours on every path.
    let flushed = context.flush_context(SessionHandle::from(session).into()).map_err(tss(TpmError::Flush));
    outcome.and_then(|value| flushed.map(|()| value))
}

/// `public` as the `TPMT_PUBLIC` that a Name is computed over.
///
/// # Errors
///
/// [`TpmError::Marshal`].
pub(crate) fn marshal_public(public: &Public) -> Result<Vec<u8>, TpmError> {
    public.marshall().map_err(|source| TpmError::Marshal { what: "TPMT_PUBLIC", source })
}

/// A P-256 or P-384 key with the leading zeros of its coordinates, which some TPMs strip: a validator takes
/// an endorsement key in one encoding only, because the node's id is the hash of it.
///
/// # Errors
///
/// [`TpmError::Marshal`] for coordinates that are longer than the field.
pub(crate) fn whole_coordinates(public: Public) -> Result<Public, TpmError> {
    let Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique } = public
    else {
        return Ok(public);
    };
    let field = if parameters.ecc_curve() == EccCurve::NistP384 { 48 } else { 32 };
    let failed = |source| TpmError::Marshal { what: "EK coordinates", source };
    let whole = |coordinate: &EccParameter| {
        let bytes = coordinate.value();
        let padded = [vec![0; usize::saturating_sub(field, bytes.len())], bytes.to_vec()].concat();
        EccParameter::try_from(padded).map_err(failed)
    };
    let unique = EccPoint::new(whole(unique.x())?, whole(unique.y())?);
    Ok(Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique })
}

/// The error for an answer that `libtss2` accepted and that makes no sense.
pub(crate) fn wrong_value() -> TssError {
    TssError::WrapperError(tss_esapi::WrapperErrorKind::WrongValueFromTpm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Kind, P256, SHA256, Template};

    #[test]
    fn stripped_zeros_come_back() {
        let template = Template {
            kind: Kind::EccStorage { curve: P256, aes_bits: 128 },
            name_alg: SHA256,
            attributes: 0x0003_00b2,
            policy: &[0; 32],
            unique: &[7; 31],
            unique_y: &[9; 32],
        };
        let Public::Ecc { unique, .. } = whole_coordinates(template.public().unwrap()).unwrap() else {
            panic!("not ECC")
        };
        assert_eq!(unique.x().value(), [&[0][..], &[7; 31]].concat());
        assert_eq!(unique.y().value(), [9; 32]);
    }
}
