//! Who the TPM is: keys, certificates, maker; and how it does.

use tss_esapi::{
    Context, Error as TssError,
    constants::{CapabilityType, PropertyTag},
    structures::{CapabilityData, CreatePrimaryKeyResult},
};

use crate::{
    Tpm, ak,
    error::{TpmError, tss},
    key::{marshal_public, whole_coordinates, with_primary, wrong_value},
    machine::{self, SkippedIndex},
};

/// The bit of `TPMA_PERMANENT` that says that the TPM is in lockout (TPM 2.0 Part 2, 8.6).
const IN_LOCKOUT: u32 = 1 << 9;

/// Makers whose TPM 2.0 is software in a hypervisor or a simulator, by
/// `TPM_PT_MANUFACTURER` (TCG TPM Vendor ID Registry).
const VIRTUAL_MANUFACTURERS: [&str; 6] = ["AMZN", "GOOG", "IBM", "MSFT", "QEMU", "VMW"];
/// Vendor strings of the reference code that simulators are made of, whoever compiled it.
const VIRTUAL_VENDOR_STRINGS: [&str; 2] = ["SW   TPM", "xCG fTPM"];

/// The TPM's keys and certificates, as the node sends them to a validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The canonical endorsement key, a `TPMT_PUBLIC`.
    pub ek_public: Vec<u8>,
    /// Contents of the NV indices of endorsement certificates: DER, untrimmed, the canonical
    /// key's first. Empty if the TPM has none.
    pub ek_certificates: Vec<Vec<u8>>,
    /// What the NV indices `0x01C00100` to `0x01C001FF` hold: certificates of the CA that signed
    /// the endorsement certificate, on TPMs that carry them. DER, one an entry.
    pub ek_chain: Vec<Vec<u8>>,
    /// TCG platform certificates of the machine, untrimmed; mostly none.
    pub platform_certificates: Vec<Vec<u8>>,
    /// IDevID and IAK certificates of the machine, untrimmed; mostly none.
    pub device_certificates: Vec<Vec<u8>>,
    /// Indices for such certificates that were passed over.
    pub skipped: Vec<SkippedIndex>,
    /// The attestation key, a `TPMT_PUBLIC`.
    pub ak_public: Vec<u8>,
    /// What the TPM says of itself; unsigned.
    pub properties: Properties,
}

/// What a TPM says of itself through `TPM2_GetCapability`. Nobody signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// `TPM_PT_MANUFACTURER`: up to four characters, without the padding.
    pub manufacturer: String,
    /// `TPM_PT_VENDOR_STRING_1` to `_4`: up to 16 characters, without the padding.
    pub vendor_string: String,
    /// `TPM_PT_FIRMWARE_VERSION_1` (high half) and `_2`, as in `TPMS_ATTEST.firmwareVersion`.
    pub firmware_version: u64,
    /// `TPM_PT_REVISION`: the specification's revision times 100, 138 for 1.38.
    pub spec_revision: u32,
    /// `TPM_PT_YEAR`: the specification's year.
    pub spec_year: u32,
}

/// The TPM's dictionary attack counter.
///
/// None of our keys is affected by it; a validator never sees it. It is for the owner's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutState {
    /// Whether the TPM refuses protected keys now.
    pub locked_out: bool,
    /// Failed authorisations that have not been forgotten yet.
    pub failed_tries: u32,
    /// How many lead to a lockout.
    pub max_tries: u32,
    /// Seconds after which the TPM forgets one failed try.
    pub interval_seconds: u32,
}

impl Tpm {
    /// The TPM's identity. The same on every call, after every restart of the node, and until
    /// the endorsement seed is changed.
    ///
    /// # Errors
    ///
    /// [`TpmError::ListNv`], [`TpmError::ReadEkCertificate`], [`TpmError::NoEk`],
    /// [`TpmError::EkTemplate`], [`TpmError::CreateEk`], [`TpmError::CreateAk`],
    /// [`TpmError::ReadProperties`], [`TpmError::Marshal`], or a state of the TPM.
    pub fn identity(&mut self) -> Result<Identity, TpmError> {
        let endorsement = self.endorsement()?;
        let machine = machine::discover(&mut self.context)?;
        let public = |_: &mut Context, key: &CreatePrimaryKeyResult| marshal_public(&key.out_public);
        let template = endorsement.template;
        let whole = |_: &mut Context, key: &CreatePrimaryKeyResult| {
            marshal_public(&whole_coordinates(key.out_public.clone())?)
        };
        let ek_public = with_primary(&mut self.context, template, TpmError::CreateEk, whole)?;
        let ak_public = with_primary(&mut self.context, ak::template()?, TpmError::CreateAk, public)?;
        Ok(Identity {
            ek_public,
            ek_certificates: endorsement.certificates,
            ek_chain: endorsement.chain.certificates,
            platform_certificates: machine.platform,
            device_certificates: machine.device,
            skipped: [endorsement.chain.skipped, machine.skipped].concat(),
            ak_public,
            properties: self.properties()?,
        })
    }

    /// What the TPM says of itself.
    ///
    /// # Errors
    ///
    /// [`TpmError::ReadProperties`], or a state of the TPM.
    pub fn properties(&mut self) -> Result<Properties, TpmError> {
        read_properties(&mut self.context).map_err(tss(TpmError::ReadProperties))
    }

    /// Whether failed authorisations have locked the TPM, or are about to.
    ///
    /// # Errors
    ///
    /// [`TpmError::ReadProperties`], or a state of the TPM.
    pub fn lockout_state(&mut self) -> Result<LockoutState, TpmError> {
        read_lockout(&mut self.context).map_err(tss(TpmError::ReadProperties))
    }
}

/// Whether the TPM says of itself that it is software.
///
/// A hint for the node's own display, and for a validator a reason to think less of a node: a
/// virtual TPM that claims to be a chip passes here. Proof is the endorsement certificate's root.
#[must_use]
pub fn is_virtual_hint(properties: &Properties) -> bool {
    VIRTUAL_MANUFACTURERS.contains(&properties.manufacturer.as_str())
        || VIRTUAL_VENDOR_STRINGS.contains(&properties.vendor_string.as_str())
}

fn read_properties(context: &mut Context) -> Result<Properties, TssError> {
    let mut vendor = Vec::new();
    for tag in [
        PropertyTag::VendorString1,
        PropertyTag::VendorString2,
        PropertyTag::VendorString3,
        PropertyTag::VendorString4,
    ] {
        vendor.extend(property(context, tag)?.to_be_bytes());
    }
    let high = property(context, PropertyTag::FirmwareVersion1)?;
    let low = property(context, PropertyTag::FirmwareVersion2)?;
    Ok(Properties {
        manufacturer: printable(&property(context, PropertyTag::Manufacturer)?.to_be_bytes()),
        vendor_string: printable(&vendor),
        firmware_version: u64::from(high) << 32 | u64::from(low),
        spec_revision: property(context, PropertyTag::Revision)?,
        spec_year: property(context, PropertyTag::Year)?,
    })
}

fn read_lockout(context: &mut Context) -> Result<LockoutState, TssError> {
    Ok(LockoutState {
        locked_out: property(context, PropertyTag::Permanent)? & IN_LOCKOUT != 0,
        failed_tries: property(context, PropertyTag::LockoutCounter)?,
        max_tries: property(context, PropertyTag::MaxAuthFail)?,
        interval_seconds: property(context, PropertyTag::LockoutInterval)?,
    })
}

/// One property, from the TPM each time: counters change. Zero if the TPM does not have it
/// (it then answers with the next one).
fn property(context: &mut Context, tag: PropertyTag) -> Result<u32, TssError> {
    let (data, _) = context.execute_without_session(|context| {
        context.get_capability(CapabilityType::TpmProperties, tag.into(), 1)
    })?;
    match data {
        CapabilityData::TpmProperties(list) => Ok(list.find(tag).map_or(0, |found| found.value())),
        _ => Err(wrong_value()),
    }
}

/// ASCII with the padding at its end removed; what is not printable becomes a question mark.
fn printable(bytes: &[u8]) -> String {
    let text: String = bytes
        .iter()
        .map(|byte| match byte {
            0 => '\0',
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        })
        .collect();
    text.trim_end_matches(['\0', ' ']).replace('\0', "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(manufacturer: &str, vendor_string: &str) -> Properties {
        Properties {
            manufacturer: manufacturer.to_owned(),
            vendor_string: vendor_string.to_owned(),
            firmware_version: 0,
            spec_revision: 138,
            spec_year: 2019,
        }
    }

    #[test]
    fn software_is_recognised_by_maker_or_vendor_string() {
        assert!(is_virtual_hint(&properties("IBM", "SW   TPM")));
        assert!(is_virtual_hint(&properties("VMW", "VMware TPM")));
        assert!(is_virtual_hint(&properties("XYZ", "xCG fTPM")));
        assert!(!is_virtual_hint(&properties("IFX", "SLB9672")));
        assert!(!is_virtual_hint(&properties("AMD", "AMD")));
        assert!(!is_virtual_hint(&properties("STM", "")));
    }

    #[test]
    fn names_are_printable() {
        assert_eq!(printable(b"IBM\0"), "IBM");
        assert_eq!(printable(b"SW   TPM\0\0\0\0\0\0\0\0"), "SW   TPM");
        assert_eq!(printable(b"A\0B\x1b \0"), "A?B?");
        assert_eq!(printable(&[0; 4]), "");
    }
}
