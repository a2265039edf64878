//! What an attacker with root asks of the machine's own TPM.

use std::str::FromStr as _;

use assay_ledger::session::Attested;
use assay_tpm::Attributes;
use assay_wire::Digest;
use sha2::{Digest as _, Sha256};
use tss_esapi::constants::SessionType;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::{AuthHandle, KeyHandle, PcrHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Data, EncryptedSecret, HashScheme, IdObject, Nonce, PcrSelectionList, PcrSlot, Public, SignatureScheme,
    SymmetricDefinition,
};
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
        self.quote_bank(HashingAlgorithm::Sha256, key, extra, pcrs)
    }

    /// A quote over the SHA-1 bank.
    pub fn quote_sha1(&mut self, key: &RawKey, extra: &Digest, pcrs: &[u8]) -> Attested {
        self.quote_bank(HashingAlgorithm::Sha1, key, extra, pcrs)
    }

    fn quote_bank(&mut self, bank: HashingAlgorithm, key: &RawKey, extra: &Digest, pcrs: &[u8]) -> Attested {
        let slots: Vec<_> = pcrs.iter().map(|pcr| PcrSlot::try_from(1u32 << pcr).unwrap()).collect();
        let selection = PcrSelectionList::builder().with_selection(bank, &slots);
        let (data, selection) = (Data::try_from(&extra.0[..]).unwrap(), selection.build().unwrap());
        let (attest, signature) = self.context.execute_with_session(Some(AuthSession::Password), |context| {
            context.quote(key.handle, data, SignatureScheme::Null, selection).unwrap()
        });
        Attested { attest: attest.marshall().unwrap(), signature: signature.marshall().unwrap() }
    }

    /// A GetTime by that key.
    pub fn time(&mut self, key: &RawKey, extra: &Digest) -> Attested {
        let data = Data::try_from(&extra.0[..]).unwrap();
        let sessions = (Some(AuthSession::Password), Some(AuthSession::Password), None);
        let (attest, signature) = self.context.execute_with_sessions(sessions, |context| {
            context.get_time(key.handle, data, SignatureScheme::Null).unwrap()
        });
        Attested { attest: attest.marshall().unwrap(), signature: signature.marshall().unwrap() }
    }

    /// The public area that the endorsement hierarchy has for a template; nothing stays in the TPM.
    pub fn endorsement(&mut self, template: &[u8]) -> Vec<u8> {
        let key = self.primary(Hierarchy::Endorsement, template);
        let public = key.public.clone();
        self.flush(key);
        public
    }

    /// Opens a credential for an EK whose policy is the endorsement hierarchy's secret, and an AK, both
    /// given by their templates; `None` where it is for others.
    pub fn activate(
        &mut self,
        ek: &[u8],
        ak: &[u8],
        id_object: &[u8],
        encrypted_secret: &[u8],
    ) -> Option<Vec<u8>> {
        let ek = self.primary(Hierarchy::Endorsement, ek);
        let ak = self.primary(Hierarchy::Endorsement, ak);
        let (ek_handle, ak_handle) = (ek.handle, ak.handle);
        let session = self.endorsement_secret();
        let id_object = IdObject::try_from(id_object).unwrap();
        let secret = EncryptedSecret::try_from(encrypted_secret).unwrap();
        let sessions = (Some(AuthSession::Password), Some(session.into()), None);
        let opened = self.context.execute_with_sessions(sessions, |context| {
            context.activate_credential(ak_handle, ek_handle, id_object, secret)
        });
        self.context.flush_context(SessionHandle::from(session).into()).unwrap();
        self.flush(ek);
        self.flush(ak);
        opened.ok().map(|credential| credential.value().to_vec())
    }

    /// A session in which TPM2_PolicySecret of the endorsement hierarchy has been run.
    fn endorsement_secret(&mut self) -> PolicySession {
        let (symmetric, hash) = (SymmetricDefinition::AES_128_CFB, HashingAlgorithm::Sha256);
        let session = self.context.execute_without_session(|context| {
            context.start_auth_session(None, None, None, SessionType::Policy, symmetric, hash).unwrap()
        });
        let session = PolicySession::try_from(session.unwrap()).unwrap();
        self.context
            .execute_with_session(Some(AuthSession::Password), |context| {
                let (nonce, none) = (Nonce::default(), tss_esapi::structures::Digest::default());
                context.policy_secret(session, AuthHandle::Endorsement, nonce.clone(), none, nonce, None)
            })
            .unwrap();
        session
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
