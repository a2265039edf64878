//! Object identifiers, under the names that their specifications give them.

use const_oid::ObjectIdentifier as Oid;

const fn oid(dotted: &str) -> Oid {
    Oid::new_unwrap(dotted)
}

// Keys (RFC 3279 2.3, RFC 4055, RFC 5480).
pub(crate) const RSA_ENCRYPTION: Oid = oid("1.2.840.113549.1.1.1");
pub(crate) const RSAES_OAEP: Oid = oid("1.2.840.113549.1.1.7");
pub(crate) const EC_PUBLIC_KEY: Oid = oid("1.2.840.10045.2.1");
pub(crate) const SECP256R1: Oid = oid("1.2.840.10045.3.1.7");
pub(crate) const SECP384R1: Oid = oid("1.3.132.0.34");
pub(crate) const SECP521R1: Oid = oid("1.3.132.0.35");

// Signatures (RFC 3279 2.2, RFC 4055, RFC 5758).
pub(crate) const RSA_SHA1: Oid = oid("1.2.840.113549.1.1.5");
pub(crate) const RSA_PSS: Oid = oid("1.2.840.113549.1.1.10");
pub(crate) const RSA_SHA256: Oid = oid("1.2.840.113549.1.1.11");
pub(crate) const RSA_SHA384: Oid = oid("1.2.840.113549.1.1.12");
pub(crate) const RSA_SHA512: Oid = oid("1.2.840.113549.1.1.13");
pub(crate) const ECDSA_SHA1: Oid = oid("1.2.840.10045.4.1");
pub(crate) const ECDSA_SHA256: Oid = oid("1.2.840.10045.4.3.2");
pub(crate) const ECDSA_SHA384: Oid = oid("1.2.840.10045.4.3.3");
pub(crate) const ECDSA_SHA512: Oid = oid("1.2.840.10045.4.3.4");
pub(crate) const MGF1: Oid = oid("1.2.840.113549.1.1.8");
pub(crate) const SHA1: Oid = oid("1.3.14.3.2.26");
pub(crate) const SHA256: Oid = oid("2.16.840.1.101.3.4.2.1");
pub(crate) const SHA384: Oid = oid("2.16.840.1.101.3.4.2.2");
pub(crate) const SHA512: Oid = oid("2.16.840.1.101.3.4.2.3");

// Extensions (RFC 5280 4.2).
pub(crate) const SUBJECT_DIRECTORY: Oid = oid("2.5.29.9");
pub(crate) const SUBJECT_KEY_ID: Oid = oid("2.5.29.14");
pub(crate) const KEY_USAGE: Oid = oid("2.5.29.15");
pub(crate) const SUBJECT_ALT_NAME: Oid = oid("2.5.29.17");
pub(crate) const BASIC_CONSTRAINTS: Oid = oid("2.5.29.19");
pub(crate) const CERTIFICATE_POLICIES: Oid = oid("2.5.29.32");
pub(crate) const AUTHORITY_KEY_ID: Oid = oid("2.5.29.35");
pub(crate) const EXT_KEY_USAGE: Oid = oid("2.5.29.37");
pub(crate) const AUTHORITY_INFO: Oid = oid("1.3.6.1.5.5.7.1.1");
pub(crate) const CA_ISSUERS: Oid = oid("1.3.6.1.5.5.7.48.2");

// OCSP (RFC 6960 4.2.1, 4.2.2.2, 4.4; RFC 9654).
pub(crate) const OCSP: Oid = oid("1.3.6.1.5.5.7.48.1");
pub(crate) const OCSP_BASIC: Oid = oid("1.3.6.1.5.5.7.48.1.1");
pub(crate) const OCSP_NONCE: Oid = oid("1.3.6.1.5.5.7.48.1.2");
pub(crate) const OCSP_NO_CHECK: Oid = oid("1.3.6.1.5.5.7.48.1.5");
pub(crate) const OCSP_SIGNING: Oid = oid("1.3.6.1.5.5.7.3.9");

// Attributes of names (RFC 4519).
pub(crate) const COMMON_NAME: Oid = oid("2.5.4.3");
pub(crate) const SERIAL_NUMBER: Oid = oid("2.5.4.5");

// TCG EK Credential Profile 2.5, 3.1.2 and Platform Certificate Profile 1.1, 2.
pub(crate) const TPM_MANUFACTURER: Oid = oid("2.23.133.2.1");
pub(crate) const TPM_MODEL: Oid = oid("2.23.133.2.2");
pub(crate) const TPM_VERSION: Oid = oid("2.23.133.2.3");
pub(crate) const TPM_SPECIFICATION: Oid = oid("2.23.133.2.16");
pub(crate) const EK_CERTIFICATE: Oid = oid("2.23.133.8.1");
pub(crate) const PLATFORM_SPECIFICATION: Oid = oid("2.23.133.2.17");
pub(crate) const PLATFORM_CONFIGURATION_V1: Oid = oid("2.23.133.5.1.7.1");
pub(crate) const PLATFORM_CONFIGURATION_V2: Oid = oid("2.23.133.5.1.7.2");
/// `platformManufacturerStr`, `platformModel`, `platformVersion`, `platformSerial`.
pub(crate) const PLATFORM: [Oid; 4] =
    [oid("2.23.133.5.1.1"), oid("2.23.133.5.1.4"), oid("2.23.133.5.1.5"), oid("2.23.133.5.1.6")];
/// The same, as certificates before the 1.1 profile number them.
pub(crate) const PLATFORM_V1: [Oid; 4] =
    [oid("2.23.133.2.4"), oid("2.23.133.2.5"), oid("2.23.133.2.6"), oid("2.23.133.2.23")];

// TPM 2.0 Keys for Device Identity and Attestation 1.0.
pub(crate) const PERMANENT_ID: Oid = oid("1.3.6.1.5.5.7.8.3");
pub(crate) const HARDWARE_MODULE: Oid = oid("1.3.6.1.5.5.7.8.4");
pub(crate) const EK_PERMANENT_ID_SHA256: Oid = oid("2.23.133.12.1");
pub(crate) const VERIFIED_RESIDENCY: Oid = oid("2.23.133.11.1.1");
pub(crate) const VERIFIED_FIXED: Oid = oid("2.23.133.11.1.2");
pub(crate) const VERIFIED_RESTRICTED: Oid = oid("2.23.133.11.1.3");

// TCG DICE Attestation Architecture 1.1, 6.1.1, and the extension that it replaced.
pub(crate) const DICE_TCB_INFO: Oid = oid("2.23.133.5.4.1.1");
pub(crate) const COMPOSITE_DEVICE_ID: Oid = oid("2.23.133.5.4.1");
