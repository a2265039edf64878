//! What an attacker with root asks of the machine's own TPM.

use std::str::FromStr as _;

use assay_ledger::session::Attested;
use assay_tpm::Attributes;
use assay_wire::Digest;
use sha2::{Digest as _, Sha256};
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::{KeyHandle, PcrHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Data, HashScheme, PcrSelectionList, PcrSlot, Public, SignatureScheme};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::{Context, TctiNameConf};

pub use tss_esapi::interface_types::resource_handles::Hierarchy;

/// A TPM without an agent's manners.
#[derive(Debug)]
pub struct Raw {
    context: Context,
}

/// A key of the attacker's own making inside the TPM.
#[derive(Debug)]
pub struct RawKey {
    handle: KeyHandle,
    /// Its `TPMT_PUBLIC`.
    pub public: Vec<u8>,
}

impl Raw {
    pub(crate) fn open(tcti: &str) -> Self {
        Self { context: Context::new(TctiNameConf::from_str(tcti).unwrap()).unwrap() }
    }

    /// A primary key after the template of `public`, in a hierarchy of the attacker's choice.
    pub fn primary(&mut self, hierarchy: Hierarchy, public: &[u8]) -> RawKey {
        let template = Public::unmarshall(public).unwrap();
        let key = self.context.execute_with_session(Some(AuthSession::Password), |context| {
            context.create_primary(hierarchy, template, None, None, None, None).unwrap()
        });
        let public = key.out_public.marshall().unwrap();
        RawKey { handle: key.key_handle, public }
    }

    /// A signing key like the one in `public` but without `restricted`: it signs any digest.
    pub fn unrestricted(&mut self, public: &[u8]) -> RawKey {
        let mut template = public.to_vec();
        let attributes = u32::from_be_bytes(template[4..8].try_into().unwrap());
        let bits = Attributes::from_bits(attributes).unwrap().without(Attributes::RESTRICTED).bits();
        template[4..8].copy_from_slice(&bits.to_be_bytes());
        self.primary(Hierarchy::Endorsement, &template)
    }

    /// A quote by that key.
    pub fn quote(&mut self, key: &RawKey, extra: &Digest, pcrs: &[u8]) -> Attested {
        let slots: Vec<_> = pcrs.iter().map(|pcr| PcrSlot::try_from(1u32 << pcr).unwrap()).collect();
        let selection = PcrSelectionList::builder().with_selection(HashingAlgorithm::Sha256, &slots);
        let (data, selection) = (Data::try_from(&extra.0[..]).unwrap(), selection.build().unwrap());
        let (attest, signature) = self.context.execute_with_session(Some(AuthSession::Password), |context| {
            context.quote(key.handle, data, SignatureScheme::Null, selection).unwrap()
        });
        Attested { attest: attest.marshall().unwrap(), signature: signature.marshall().unwrap() }
    }

    /// Bytes signed as if they were a `TPMS_ATTEST`; works only for an unrestricted key.
    pub fn sign(&mut self, key: &RawKey, attest: &[u8]) -> Option<Attested> {
        let digest = tss_esapi::structures::Digest::try_from(Sha256::digest(attest).to_vec()).unwrap();
        let no_ticket =
            TPMT_TK_HASHCHECK { tag: TPM2_ST_HASHCHECK, hierarchy: TPM2_RH_NULL, digest: Default::default() };
        let scheme = SignatureScheme::EcDsa { hash_scheme: HashScheme::new(HashingAlgorithm::Sha256) };
        let signed = self.context.execute_with_session(Some(AuthSession::Password), |context| {
            context.sign(key.handle, digest, scheme, no_ticket.try_into().unwrap())
        });
        Some(Attested { attest: attest.to_vec(), signature: signed.ok()?.marshall().unwrap() })
    }

    /// Sets PCR 16 or 23 back to zero, as anyone may at any time.
    pub fn reset(&mut self, pcr: u32) {
        let handle = PcrHandle::try_from(pcr).unwrap();
        self.context
            .execute_with_session(Some(AuthSession::Password), |context| context.pcr_reset(handle))
            .unwrap();
    }

    /// Flushes the key.
    pub fn flush(&mut self, key: RawKey) {
        self.context.flush_context(key.handle.into()).unwrap();
    }
}
