//! What the TPM signs for us with the attestation key, and the proof that it holds it.

use sha2::{Digest as _, Sha256};
use tss_esapi::{
    Context, Error as TssError,
    interface_types::session_handles::AuthSession,
    structures::{
        Attest, AttestInfo, CreatePrimaryKeyResult, Data, EncryptedSecret, IdObject, PcrSelectionList,
        Signature, SignatureScheme,
    },
    traits::Marshall,
};

use crate::{
    Tpm, ak,
    ek_policy::EkPolicy,
    error::{TpmError, tss},
    key::{with_policy_session, with_primary},
    pcr,
};

/// How often a quote is repeated because PCRs changed between quote and reading.
const QUOTE_TRIES: u8 = 5;

/// An attestation and the attestation key's signature over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// A `TPMS_ATTEST`, the bytes that were signed.
    pub attest: Vec<u8>,
    /// A `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
}

/// A quote with the PCR values that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// A `TPMS_ATTEST` of type quote, the bytes that were signed.
    pub attest: Vec<u8>,
    /// A `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
    /// Index and SHA-256 value of each quoted PCR in rising order; they hash to the quote's digest.
    pub pcr_values: Vec<(u8, [u8; 32])>,
}

impl Tpm {
    /// Opens a credential that a validator made for our endorsement key and attestation key
    /// (`TPM2_ActivateCredential`, TPM 2.0 Part 3, 12.5).
    ///
    /// `id_object` is a `TPMS_ID_OBJECT` and `encrypted_secret` what a `TPM2B_ENCRYPTED_SECRET`
    /// holds, both without the `TPM2B`'s size field. Returns the credential, at most 64 bytes.
    ///
    /// # Errors
    ///
    /// [`TpmError::ActivateCredential`] if it was made for another EK or AK or is damaged;
    /// [`TpmError::TooLong`], [`TpmError::AuthoriseEk`], [`TpmError::EkPolicyUnknown`], those of
    /// [`Tpm::identity`] for keys, or a state of the TPM.
    pub fn activate_credential(
        &mut self,
        id_object: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        let id_object = IdObject::try_from(id_object)
            .map_err(|_| TpmError::TooLong { what: "credential", size: id_object.len() })?;
        let secret = EncryptedSecret::try_from(encrypted_secret)
            .map_err(|_| TpmError::TooLong { what: "encrypted secret", size: encrypted_secret.len() })?;
        let ek = self.endorsement()?.template;
        let policy = EkPolicy::of(&ek)?;
        with_primary(&mut self.context, ak::template()?, TpmError::CreateAk, |context, ak| {
            with_primary(context, ek, TpmError::CreateEk, |context, ek| {
                with_policy_session(context, policy.hash, |context, session| {
                    policy.satisfy(context, session)?;
                    let sessions = (Some(AuthSession::Password), Some(session.into()), None);
                    context
                        .execute_with_sessions(sessions, |context| {
                            context.activate_credential(ak.key_handle, ek.key_handle, id_object, secret)
                        })
                        .map(|credential| credential.value().to_vec())
                        .map_err(tss(TpmError::ActivateCredential))
                })
            })
        })
    }

    /// Quotes PCRs of the SHA-256 bank (`TPM2_Quote`, TPM 2.0 Part 3, 18.4) and reads their values,
    /// again if one changed in between.
    ///
    /// # Errors
    ///
    /// [`TpmError::InvalidPcrs`], [`TpmError::PcrMissing`], [`TpmError::TooLong`] for more
    /// `extra_data` than 64 bytes, [`TpmError::Quote`], [`TpmError::ReadPcrs`],
    /// [`TpmError::PcrsChanging`], [`TpmError::CreateAk`], or a state of the TPM.
    pub fn quote(&mut self, extra_data: &[u8], pcrs: &[u8]) -> Result<Quoted, TpmError> {
        let data = extra(extra_data)?;
        let pcrs = pcr::sorted(pcrs)?;
        let selection = pcr::selection(&pcrs).map_err(TpmError::Quote)?;
        with_primary(&mut self.context, ak::template()?, TpmError::CreateAk, |context, ak| {
            for _ in 0..QUOTE_TRIES {
                let (attest, signature) = quote_once(context, ak, data.clone(), selection.clone())?;
                let pcr_values = pcr::read(context, &pcrs)?;
                if quoted_digest(&attest) == Some(digest(&pcr_values)) {
                    let Signed { attest, signature } = marshal(&attest, &signature)?;
                    return Ok(Quoted { attest, signature, pcr_values });
                }
            }
            Err(TpmError::PcrsChanging { tries: QUOTE_TRIES })
        })
    }

    /// Has the TPM sign its time and clock (`TPM2_GetTime`, TPM 2.0 Part 3, 18.7).
    ///
    /// # Errors
    ///
    /// [`TpmError::TooLong`] for more `extra_data` than 64 bytes, [`TpmError::GetTime`],
    /// [`TpmError::CreateAk`], or a state of the TPM.
    pub fn get_time(&mut self, extra_data: &[u8]) -> Result<Signed, TpmError> {
        let data = extra(extra_data)?;
        with_primary(&mut self.context, ak::template()?, TpmError::CreateAk, |context, ak| {
            // The first password is the endorsement hierarchy's, the privacy administrator.
            let sessions = (Some(AuthSession::Password), Some(AuthSession::Password), None);
            let (attest, signature) = context
                .execute_with_sessions(sessions, |context| {
                    context.get_time(ak.key_handle, data, SignatureScheme::Null)
                })
                .map_err(tss(TpmError::GetTime))?;
            marshal(&attest, &signature)
        })
    }
}

/// `qualifyingData`. `libtss2` takes 64 bytes; a TPM with smaller hashes refuses them itself.
fn extra(data: &[u8]) -> Result<Data, TpmError> {
    Data::try_from(data).map_err(|_| TpmError::TooLong { what: "extra data", size: data.len() })
}

fn quote_once(
    context: &mut Context,
    ak: &CreatePrimaryKeyResult,
    data: Data,
    selection: PcrSelectionList,
) -> Result<(Attest, Signature), TpmError> {
    context
        .execute_with_session(Some(AuthSession::Password), |context| {
            context.quote(ak.key_handle, data, SignatureScheme::Null, selection)
        })
        .map_err(tss(TpmError::Quote))
}

fn quoted_digest(attest: &Attest) -> Option<Vec<u8>> {
    match attest.attested() {
        AttestInfo::Quote { info } => Some(info.pcr_digest().value().to_vec()),
        _ => None,
    }
}

/// `TPMS_QUOTE_INFO.pcrDigest`: the hash of the values in rising order (TPM 2.0 Part 2, 10.12).
fn digest(values: &[(u8, [u8; 32])]) -> Vec<u8> {
    values.iter().fold(Sha256::new(), |hash, (_, value)| hash.chain_update(value)).finalize().to_vec()
}

/// Back to the TPM's bytes. `tss-esapi` hands out parsed structures only; marshalling is
/// canonical, so what was signed comes back, and live tests verify the signature over it.
fn marshal(attest: &Attest, signature: &Signature) -> Result<Signed, TpmError> {
    let failed = |what| move |source: TssError| TpmError::Marshal { what, source };
    Ok(Signed {
        attest: attest.marshall().map_err(failed("TPMS_ATTEST"))?,
        signature: signature.marshall().map_err(failed("TPMT_SIGNATURE"))?,
    })
}
