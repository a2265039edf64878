//! An attestation with its signature and, where known, its key; in whatever file it came.

use std::collections::BTreeMap;

use assay_tpm::{
    Attest, AttestBody, Attributes, ClockInfo, Curve, HashAlg, KeyKind, Public, PublicParts, QuoteInfo,
    RH_ENDORSEMENT, Scheme, Signature, Symmetric, TpmError, pcr_digest, qualified_name, verify_p256,
};
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::Value;

use crate::Sheet;
use crate::logs::text;

/// What every attestation key must be (TPM 2.0 Part 1, 31; `noDA` only spares it a lockout).
const AK: Attributes = Attributes::FIXED_TPM
    .union(Attributes::FIXED_PARENT)
    .union(Attributes::SENSITIVE_DATA_ORIGIN)
    .union(Attributes::RESTRICTED)
    .union(Attributes::SIGN);
/// PCRs that anyone can reset while the system runs (PC Client Platform TPM Profile 1.05, 4.6).
const RESETTABLE: [u8; 2] = [16, 23];
/// SubjectPublicKeyInfo of a P-256 key up to its uncompressed point (RFC 5480, 2).
const P256_SPKI: [u8; 27] = *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
/// Length of TPMS_TIME_ATTEST_INFO in bytes (Part 2, 10.12.2).
const TIME_INFO_BYTES: usize = 33;

/// Who signed.
pub(crate) enum Key {
    /// The public area that the TPM made.
    Area(Public),
    /// A bare key: nothing is known of its attributes and Name.
    Bare(KeyKind),
    /// One of these P-256 points.
    Candidates(Vec<(Vec<u8>, Vec<u8>)>),
}

impl Key {
    /// Reads `{"tpmt_public": hex}` or `{"p256_candidates": [{"x", "y"}]}`.
    pub(crate) fn from_json(ak: &Value) -> Result<Self, String> {
        if let Some(area) = ak.get("tpmt_public") {
            return Ok(Self::Area(Public::parse(&unhex(area)?).map_err(|error| error.to_string())?));
        }
        let points = ak.get("p256_candidates").and_then(Value::as_array).ok_or("no key of a known form")?;
        let coordinate = |point: &Value, name| unhex(point.get(name).unwrap_or(&Value::Null));
        let points = points.iter().map(|point| Ok((coordinate(point, "x")?, coordinate(point, "y")?)));
        Ok(Self::Candidates(points.collect::<Result<_, String>>()?))
    }

    /// Reads a DER SubjectPublicKeyInfo: P-256, or RSA with the exponent 65537.
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, String> {
        if let Some((x, y)) = der.strip_prefix(&P256_SPKI).and_then(|point| point.split_at_checked(32)) {
            return Ok(Self::Bare(KeyKind::Ecc { curve: Curve::P256, x: x.to_vec(), y: y.to_vec() }));
        }
        let key = rsa::RsaPublicKey::from_public_key_der(der).map_err(|error| error.to_string())?;
        let bits = u16::try_from(key.n().bits()).map_err(|error| error.to_string())?;
        let exponent =
            u32::from_str_radix(&key.e().to_str_radix(16), 16).map_err(|error| error.to_string())?;
        Ok(Self::Bare(KeyKind::Rsa { bits, exponent, modulus: key.n().to_bytes_be() }))
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), TpmError> {
        match self {
            Self::Area(public) => public.verify(message, signature),
            Self::Bare(kind) => signing_area(kind, signature.scheme())?.verify(message, signature),
            Self::Candidates(points) => {
                let mut tried = points.iter().map(|(x, y)| verify_p256(x, y, message, signature));
                let first = tried.next().unwrap_or(Err(TpmError::SignatureInvalid));
                if first.is_ok() || tried.any(|result| result.is_ok()) { Ok(()) } else { first }
            }
        }
    }
}

/// A public area around a bare key, so that it can be asked about a signature of `scheme`.
pub(crate) fn signing_area(kind: &KeyKind, scheme: Scheme) -> Result<Public, TpmError> {
    Public::from_parts(&PublicParts {
        name_alg: HashAlg::Sha256,
        attributes: AK,
        auth_policy: Vec::new(),
        symmetric: Symmetric::Null,
        scheme,
        kind: kind.clone(),
    })
}

/// An attestation that parses, with the bytes that were signed.
pub(crate) struct Attested {
    pub(crate) bytes: Vec<u8>,
    pub(crate) attest: Attest,
    pub(crate) signature: Signature,
}

impl Attested {
    pub(crate) fn parse(attest: Vec<u8>, signature: &[u8]) -> Result<Self, TpmError> {
        let parsed = Attest::parse(&attest)?;
        Ok(Self { attest: parsed, signature: Signature::parse(signature)?, bytes: attest })
    }

    /// What any use asks: a signature of a TPM-bound, restricted key of the endorsement hierarchy.
    fn is_sound(&self, ak: &Public) -> Result<(), String> {
        ak.verify(&self.bytes, &self.signature).map_err(|error| error.to_string())?;
        if !ak.attributes().contains(AK) || ak.attributes().contains(Attributes::DECRYPT) {
            return Err("the key is not a restricted signing key fixed to its TPM".to_owned());
        }
        let name = ak.name().map_err(|error| error.to_string())?;
        match self.attest.qualified_signer == qualified_name(RH_ENDORSEMENT, &name).as_bytes() {
            true => Ok(()),
            false => Err("the key is not in the endorsement hierarchy".to_owned()),
        }
    }

    /// Whether it may stand where a quote is due.
    pub(crate) fn as_quote(&self, ak: &Public) -> Result<(), String> {
        let quote = self.attest.quote().map_err(|error| error.to_string())?;
        self.is_sound(ak)?;
        covers_boot(quote)
    }

    /// Whether it may stand where a GetTime is due.
    pub(crate) fn as_time(&self, ak: &Public) -> Result<(), String> {
        self.attest.time().map_err(|error| error.to_string())?;
        self.is_sound(ak)
    }

    /// The selection of the signed blob, banks that select nothing left out.
    pub(crate) fn selection(&self) -> Option<BTreeMap<String, Vec<u8>>> {
        let quote = self.attest.quote().ok()?;
        let rows = quote.selection.iter().filter(|bank| !bank.pcrs.is_empty());
        Some(rows.map(|bank| (bank.alg.to_string(), bank.pcrs.iter().collect())).collect())
    }

    /// Whether the quoted digest follows from these values: `None` when nothing is selected.
    pub(crate) fn digest_holds(&self, values: impl Fn(HashAlg, u8) -> Option<Vec<u8>>) -> Option<bool> {
        let quote = self.attest.quote().ok().filter(|quote| !quote.covers_nothing())?;
        let hash = self.signature.scheme().hash()?;
        Some(pcr_digest(&quote.selection, &values, hash).as_deref() == Some(&quote.pcr_digest[..]))
    }
}

fn covers_boot(quote: &QuoteInfo) -> Result<(), String> {
    let strong = |alg| alg != HashAlg::Sha1;
    if !quote.selection.iter().any(|bank| strong(bank.alg) && !bank.pcrs.is_empty()) {
        return Err("no PCR of a bank that resists collisions is covered".to_owned());
    }
    let resettable = |bank: &assay_tpm::PcrSelection| RESETTABLE.iter().any(|pcr| bank.pcrs.contains(*pcr));
    match quote.selection.iter().any(resettable) {
        true => Err("a PCR that anyone can reset is selected".to_owned()),
        false => Ok(()),
    }
}

/// The `parsed` object of a file: each field against our reading of the same bytes.
pub(crate) fn judge_parsed(file: &str, prefix: &str, parsed: &Value, attest: &Attest, sheet: &mut Sheet) {
    for (key, expected) in parsed.as_object().into_iter().flatten() {
        let check = format!("{prefix}parsed.{key}");
        match field(attest, key) {
            Some(seen) => sheet.same(file, &check, expected, seen),
            None => sheet.not_judged(file, &check, "no rule reads this key"),
        }
    }
}

fn field(attest: &Attest, key: &str) -> Option<Value> {
    let ClockInfo { clock, reset_count, restart_count, safe } = attest.clock_info;
    let (time, quote) = (attest.time().ok(), attest.quote().ok());
    Some(match key {
        "magic" => Value::from("0xff544347"),
        "type" => Value::from(match attest.body {
            AttestBody::Quote(_) => "0x8018",
            AttestBody::Time(_) => "0x8019",
        }),
        "qualifiedSigner" => Value::from(hex::encode(&attest.qualified_signer)),
        "extraData" => Value::from(hex::encode(&attest.extra_data)),
        "clock" => Value::from(clock),
        "resetCount" => Value::from(reset_count),
        "restartCount" => Value::from(restart_count),
        "safe" => Value::from(u8::from(safe)),
        "firmwareVersion" => Value::from(format!("{:#x}", attest.firmware_version)),
        "pcrSelect" => quote?
            .selection
            .iter()
            .map(|bank| Value::from(vec![Value::from(bank.alg.to_string()), bank.pcrs.iter().collect()]))
            .collect(),
        "pcrDigest" => Value::from(hex::encode(&quote?.pcr_digest)),
        "time" => Value::from(time?.time),
        // What follows the header and is no quote.
        "trailing" => Value::from(time.map_or(0, |_| TIME_INFO_BYTES)),
        _ => return None,
    })
}

/// PCR values as `{bank: {index: hex}}`.
pub(crate) fn json_pcr(pcrs: &Value, alg: HashAlg, index: u8) -> Option<Vec<u8>> {
    let value = pcrs.get(alg.to_string())?.get(index.to_string())?;
    hex::decode(value.as_str()?).ok()
}

pub(crate) fn unhex(value: &Value) -> Result<Vec<u8>, String> {
    hex::decode(value.as_str().ok_or("no hex string")?).map_err(|error| error.to_string())
}

/// RFC 4648, 4 and 5: either alphabet, line ends and padding ignored; `None` for anything else.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut have) = (0_u32, 0_u32);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        (bits, have) = (((bits << 6) | u32::from(six)) & 0xff_ffff, have + 6);
        if have >= 8 {
            have -= 8;
            out.push(u8::try_from((bits >> have) & 0xff).ok()?);
        }
    }
    Some(out)
}

/// The first PEM block's contents.
pub(crate) fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, after) = text.split_once("-----BEGIN ")?;
    let (_, body) = after.split_once("-----\n").or_else(|| after.split_once("-----\r\n"))?;
    base64(body.split_once("-----END ")?.0)
}

/// A string of hex or base64.
pub(crate) fn hex_or_base64(value: &Value) -> Result<Vec<u8>, String> {
    let text = text(value);
    hex::decode(&text).ok().or_else(|| base64(&text)).ok_or_else(|| "neither hex nor base64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_pem_decode() {
        assert_eq!(base64("Zm9v\nYmE=").unwrap(), b"fooba");
        assert_eq!(base64("-_+/").unwrap(), [0xfb, 0xff, 0xbf]);
        assert_eq!(base64("a*"), None);
        let block = "x\n-----BEGIN PUBLIC KEY-----\nZm9v\n-----END PUBLIC KEY-----\n";
        assert_eq!(pem(block).unwrap(), b"foo");
    }
}
