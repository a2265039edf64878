//! What can go wrong with a TPM, by the operation that failed.
//!
//! Response codes that mean the same whatever was asked (failure mode, lockout, a TPM that nobody
//! started, a broken connection) have a variant each; everything else is the variant of the
//! operation, with the code as its source.

use std::io;

use tss_esapi::{
    Error as TssError,
    constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind},
};

/// `TPM_RC_INITIALIZE` (TPM 2.0 Part 2, 6.6.3).
pub(crate) const RC_INITIALIZE: u32 = 0x100;
/// `TPM_RC_FAILURE` (TPM 2.0 Part 2, 6.6.3).
pub(crate) const RC_FAILURE: u32 = 0x101;
/// `TPM_RC_LOCKOUT` (TPM 2.0 Part 2, 6.6.3).
const RC_LOCKOUT: u32 = 0x921;
/// Layers whose low 16 bits are a TPM's own code: the TPM, and a resource manager that speaks
/// for it (TSS 2.0 Overview, response codes).
const TPM_LAYERS: [u32; 3] = [0, 11 << 16, 12 << 16];
/// `TSS2_TCTI_RC_NO_CONNECTION` and `TSS2_TCTI_RC_IO_ERROR` (TSS 2.0 Overview, response codes).
const TCTI_LOST: [u32; 2] = [0x000A_0008, 0x000A_000A];

/// Why the TPM did not do what it was asked.
///
/// Messages do not repeat their source; print the chain. [`TpmError::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// The backend string cannot be understood.
    #[error("TPM backend {given:?}: {reason}")]
    InvalidBackend {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No TPM answers there.
    #[error("no TPM at {what}")]
    Missing {
        /// The device path or address tried.
        what: String,
    },
    /// A TPM is there, and someone else holds it.
    #[error("the TPM at {what} is in use by another process")]
    Busy {
        /// The device path or address tried.
        what: String,
    },
    /// The operating system refused access.
    #[error("no permission to use the TPM at {what}")]
    Denied {
        /// The device path tried.
        what: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The backend exists but could not be opened, for a reason without a variant of its own.
    #[error("cannot open the TPM at {what}")]
    OpenBackend {
        /// The device path or address tried.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TPM answers `TPM_RC_INITIALIZE`: nobody sent `TPM2_Startup`.
    #[error("the TPM was not started")]
    NotStarted,
    /// The TPM answers `TPM_RC_FAILURE`: it found itself broken and does nothing until reset.
    #[error("the TPM is in failure mode")]
    FailureMode,
    /// The TPM answers `TPM_RC_LOCKOUT`: too many failed authorisations.
    #[error("the TPM is locked out after failed authorisations")]
    LockedOut {
        /// The code.
        #[source]
        source: TssError,
    },
    /// The connection to the TPM broke during a command. Drop the [`crate::Tpm`] and open anew.
    #[error("the connection to the TPM broke")]
    Lost {
        /// The code.
        #[source]
        source: TssError,
    },
    /// `libtss2` could not set up its connection.
    #[error("cannot set up the connection to the TPM")]
    OpenTcti(#[source] TssError),
    /// Objects that an earlier process left in the TPM could not be removed.
    #[error("cannot flush what an earlier process left in the TPM")]
    FlushLeftovers(#[source] TssError),
    /// `TPM2_GetCapability` failed.
    #[error("cannot read the TPM's properties")]
    ReadProperties(#[source] TssError),
    /// The list of NV indices could not be read.
    #[error("cannot list the TPM's NV indices")]
    ListNv(#[source] TssError),
    /// An endorsement certificate, template or nonce could not be read.
    #[error("cannot read NV index {index:#010x}")]
    ReadEkCertificate {
        /// The NV index.
        index: u32,
        /// The code.
        #[source]
        source: TssError,
    },
    /// The TPM has neither an endorsement certificate nor an algorithm for a key of ours.
    #[error("the TPM supports none of P-256, P-384 and RSA-2048 endorsement keys")]
    NoEk,
    /// The endorsement key's template is not one that the TPM or `libtss2` accepts.
    #[error("invalid endorsement key template")]
    EkTemplate(#[source] TssError),
    /// The endorsement key asks for a policy that is none of the TCG profile's.
    #[error("the endorsement key has an unknown authorisation policy")]
    EkPolicyUnknown,
    /// `TPM2_CreatePrimary` of the endorsement key failed.
    #[error("cannot create the endorsement key")]
    CreateEk(#[source] TssError),
    /// `TPM2_CreatePrimary` of the attestation key failed.
    #[error("cannot create the attestation key")]
    CreateAk(#[source] TssError),
    /// A structure from the TPM could not be marshalled again.
    #[error("cannot marshal {what}")]
    Marshal {
        /// Which structure.
        what: &'static str,
        /// The code.
        #[source]
        source: TssError,
    },
    /// An input is larger than the TPM's structure for it.
    #[error("{what} has {size} bytes, more than the TPM takes")]
    TooLong {
        /// Which input.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
    },
    /// The policy session for the endorsement key could not be made.
    #[error("cannot authorise the endorsement key")]
    AuthoriseEk(#[source] TssError),
    /// `TPM2_ActivateCredential` failed: usually a credential made for another EK or AK.
    #[error("the TPM refused the credential")]
    ActivateCredential(#[source] TssError),
    /// `TPM2_Quote` failed.
    #[error("cannot quote PCRs")]
    Quote(#[source] TssError),
    /// The PCRs changed each time while they were being quoted.
    #[error("the PCRs kept changing during {tries} quotes")]
    PcrsChanging {
        /// How often it was tried.
        tries: u8,
    },
    /// `TPM2_GetTime` failed.
    #[error("cannot get signed time")]
    GetTime(#[source] TssError),
    /// `TPM2_PCR_Read` failed.
    #[error("cannot read PCRs")]
    ReadPcrs(#[source] TssError),
    /// The TPM has no SHA-256 bank, or one without the PCR that was asked for.
    #[error("the TPM's SHA-256 bank has no PCR {pcr}")]
    PcrMissing {
        /// The PCR's index.
        pcr: u8,
    },
    /// A PCR index above 23, a PCR twice, or none at all.
    #[error("invalid PCR selection {pcrs:?}")]
    InvalidPcrs {
        /// The selection as given.
        pcrs: Vec<u8>,
    },
    /// `TPM2_PCR_Extend` failed.
    #[error("cannot extend PCR {pcr}")]
    ExtendPcr {
        /// The PCR's index.
        pcr: u8,
        /// The code.
        #[source]
        source: TssError,
    },
    /// `TPM2_GetRandom` failed.
    #[error("cannot get random bytes from the TPM")]
    GetRandom(#[source] TssError),
    /// `TPM2_FlushContext` of a key or session of ours failed.
    #[error("cannot flush a key or session")]
    Flush(#[source] TssError),
}

impl TpmError {
    /// What a person does next, in one line.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InvalidBackend { .. } => {
                "name a device such as /dev/tpmrm0, or swtpm:host=127.0.0.1,port=2321"
            }
            Self::Missing { .. } => {
                "switch the TPM on in the firmware setup and check that /dev/tpmrm0 exists, or start swtpm"
            }
            Self::Busy { .. } => "use /dev/tpmrm0, which many can share, or stop the other program",
            Self::Denied { .. } => "add the agent's user to the group that owns the device (often tss)",
            Self::NotStarted => {
                "reboot, so that the firmware starts the TPM; swtpm: add --flags startup-clear"
            }
            Self::FailureMode => "switch the machine off and on; if it stays, the TPM is broken",
            Self::LockedOut { .. } => "wait for the lockout to pass, or reset it with tpm2_dictionarylockout",
            Self::Lost { .. } => {
                "the agent opens the TPM anew by itself; look for a crashed swtpm or a kernel message"
            }
            Self::NoEk => "this TPM is too old or too restricted; another TPM is needed",
            Self::PcrMissing { .. } => "switch the TPM's SHA-256 PCR bank on in the firmware setup",
            Self::ActivateCredential(_) => {
                "enrol again; if it persists, the validator answered for another TPM"
            }
            other if other.endorsement_is_closed() => {
                "the endorsement hierarchy is disabled or has a password; clear it in the firmware setup"
            }
            _ => "run again with TSS2_LOG=all+debug and report what it prints",
        }
    }

    /// Whether the failure is one that a disabled or password-protected hierarchy causes.
    fn endorsement_is_closed(&self) -> bool {
        let (Self::CreateEk(source)
        | Self::CreateAk(source)
        | Self::GetTime(source)
        | Self::AuthoriseEk(source)) = self
        else {
            return false;
        };
        matches!(
            kind(*source),
            Some(
                Tss2ResponseCodeKind::BadAuth
                    | Tss2ResponseCodeKind::AuthFail
                    | Tss2ResponseCodeKind::Hierarchy
            )
        )
    }
}

/// The meaning of a response code, if `libtss2` or the TPM gave one.
pub(crate) fn kind(error: TssError) -> Option<Tss2ResponseCodeKind> {
    match error {
        TssError::Tss2Error(code) => code.kind(),
        TssError::WrapperError(_) => None,
    }
}

/// A function for `map_err`: the variants that mean the same everywhere, else `otherwise`.
pub(crate) fn tss(otherwise: impl FnOnce(TssError) -> TpmError) -> impl FnOnce(TssError) -> TpmError {
    |source| {
        if is_tpm_code(source, RC_INITIALIZE) {
            TpmError::NotStarted
        } else if is_tpm_code(source, RC_FAILURE) {
            TpmError::FailureMode
        } else if is_tpm_code(source, RC_LOCKOUT) {
            TpmError::LockedOut { source }
        } else if TCTI_LOST.iter().any(|code| is_code(source, *code)) {
            TpmError::Lost { source }
        } else {
            otherwise(source)
        }
    }
}

/// Whether the TPM itself, or a resource manager in its name, answered with `code`.
fn is_tpm_code(error: TssError, code: u32) -> bool {
    TPM_LAYERS.iter().any(|layer| is_code(error, layer | code))
}

fn is_code(error: TssError, code: u32) -> bool {
    error == TssError::Tss2Error(Tss2ResponseCode::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(code: u32) -> TpmError {
        tss(TpmError::Quote)(TssError::Tss2Error(code.into()))
    }

    #[test]
    fn codes_with_one_meaning_have_their_own_variant() {
        for layer in TPM_LAYERS {
            assert!(matches!(classified(layer | 0x100), TpmError::NotStarted));
            assert!(matches!(classified(layer | 0x101), TpmError::FailureMode));
            assert!(matches!(classified(layer | 0x921), TpmError::LockedOut { .. }));
        }
        assert!(matches!(classified(0x000A_000A), TpmError::Lost { .. }));
        assert!(matches!(classified(0x000A_0008), TpmError::Lost { .. }));
    }

    #[test]
    fn other_codes_name_the_operation() {
        // TPM_RC_OBJECT_MEMORY, an ESAPI code, and the same low bits in another layer.
        for code in [0x902, 0x0007_0001, 0x0007_0101] {
            assert!(matches!(classified(code), TpmError::Quote(_)), "{code:#x}");
        }
    }

    #[test]
    fn hints_differ_for_the_cases_an_owner_meets() {
        let bad_auth = TssError::Tss2Error(0x9a2.into());
        let hints = [
            TpmError::Missing { what: String::new() }.hint(),
            TpmError::Busy { what: String::new() }.hint(),
            TpmError::FailureMode.hint(),
            classified(0x921).hint(),
            TpmError::CreateEk(bad_auth).hint(),
            TpmError::CreateEk(TssError::Tss2Error(0x902.into())).hint(),
        ];
        for (n, hint) in hints.iter().enumerate() {
            assert!(!hints.iter().skip(n + 1).any(|other| other == hint), "{hint}");
        }
        assert!(TpmError::CreateEk(bad_auth).hint().contains("endorsement"));
    }
}
