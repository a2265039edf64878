//! An attestation: what a TPM signed, and whether it did when the key is given.

use assay_tpm::{
    Attest, AttestBody, KeyKind, Public, RH_ENDORSEMENT, Scheme, Signature, TpmError, check_ak,
    qualified_name,
};
use serde_json::{Map, Value, json};

use super::command::{Inspected, Undecodable};
use super::page::Page;

/// Longest file accepted, in bytes: as hex, with room for line ends, of what fits into a TPM2B.
pub(super) const MAX_BYTES: usize = 256 << 10;

/// Reads TPMS_ATTEST, and TPMT_SIGNATURE and the key's public area where given; each as bytes or hex.
pub(super) fn inspect(
    attest: &[u8],
    signature: Option<&[u8]>,
    ak: Option<&[u8]>,
) -> Result<Inspected, Undecodable> {
    let bytes = plain_bytes(attest);
    let parsed = Attest::parse(&bytes)?;
    let signature = signature.map(|bytes| Signature::parse(&plain_bytes(bytes))).transpose();
    let signature = signature.map_err(|error| Part { what: "signature", error })?;
    let ak = ak.map(|bytes| Public::parse(&plain_bytes(bytes))).transpose();
    let ak = ak.map_err(|error| Part { what: "key", error })?;
    let mut page = Page::new(match parsed.body {
        AttestBody::Quote(_) => "a quote",
        AttestBody::Time(_) => "a time attestation",
    });
    let mut json = attest_json(&parsed);
    facts(&parsed, &mut page);
    let good = signed(&bytes, &parsed, signature.as_ref(), ak.as_ref(), &mut json, &mut page);
    Ok(Inspected { json: Value::Object(json), page, good })
}

/// Which of the files could not be decoded.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
struct Part {
    what: &'static str,
    error: TpmError,
}

/// Hex decoded, and the size in front of a TPM2B taken off.
fn plain_bytes(bytes: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = hex::decode(&digits).unwrap_or_else(|_| bytes.to_vec());
    match bytes.split_first_chunk::<2>() {
        Some((size, rest)) if usize::from(u16::from_be_bytes(*size)) == rest.len() => rest.to_vec(),
        _ => bytes,
    }
}

fn attest_json(attest: &Attest) -> Map<String, Value> {
    let clock = attest.clock_info;
    let mut json = json!({
        "schema": 1,
        "signer": hex::encode(&attest.qualified_signer),
        "extra_data": hex::encode(&attest.extra_data),
        "clock": {
            "clock_ms": clock.clock, "reset_count": clock.reset_count, "restart_count": clock.restart_count,
            "safe": clock.safe,
        },
        "firmware_version": format!("{:016x}", attest.firmware_version),
    });
    let body = match &attest.body {
        AttestBody::Quote(quote) => {
            let banks = quote.selection.iter().map(|bank| (bank.alg.to_string(), bank.pcrs.iter().collect()));
            json!({
                "type": "quote", "selection": banks.collect::<Map<String, Value>>(),
                "pcr_digest": hex::encode(&quote.pcr_digest),
            })
        }
        AttestBody::Time(time) => json!({ "type": "time", "time_ms": time.time }),
    };
    let mut fields = std::mem::take(&mut json).as_object().cloned().unwrap_or_default();
    fields.extend(body.as_object().cloned().unwrap_or_default());
    fields
}

fn facts(attest: &Attest, page: &mut Page) {
    match &attest.body {
        AttestBody::Quote(quote) => {
            if quote.covers_nothing() {
                page.problem("no PCR is selected: it says nothing about any");
            }
            for bank in &quote.selection {
                let pcrs: Vec<String> = bank.pcrs.iter().map(|pcr| pcr.to_string()).collect();
                page.fact(
                    &format!("PCRs {}", bank.alg),
                    if pcrs.is_empty() { "none".into() } else { pcrs.join(" ") },
                );
            }
            page.fact("PCR digest", hex::encode(&quote.pcr_digest));
        }
        AttestBody::Time(time) => page.fact("time", format!("{} ms since the TPM was powered on", time.time)),
    }
    let clock = attest.clock_info;
    page.fact("extraData", hex::encode(&attest.extra_data));
    let safe =
        if clock.safe { "safe" } else { "not safe: it may have been further ahead before a power cut" };
    page.fact("clock", format!("{} ms, {safe}", clock.clock));
    page.fact("resets", format!("{}, {} restarts since the last", clock.reset_count, clock.restart_count));
    page.fact("firmware", format!("{:016x}", attest.firmware_version));
    page.fact("signer", hex::encode(&attest.qualified_signer));
}

/// Signature and key, as far as they were given; `false` when the signature does not hold.
fn signed(
    bytes: &[u8],
    attest: &Attest,
    signature: Option<&Signature>,
    ak: Option<&Public>,
    json: &mut Map<String, Value>,
    page: &mut Page,
) -> bool {
    let fault = signature.zip(ak).map(|(signature, ak)| ak.verify(bytes, signature).err());
    let holds = fault.as_ref().map(Option::is_none);
    json.insert("holds".to_owned(), holds.into());
    if let Some(signature) = signature {
        json.insert("scheme".to_owned(), scheme(signature.scheme()).into());
        page.fact("scheme", scheme(signature.scheme()));
    }
    match &fault {
        None if signature.is_some() => page.fact("signature", "not checked: give --ak too"),
        None => page.fact("signature", "not checked: give --signature and --ak"),
        Some(None) => page.fact("signature", "holds under the key given"),
        Some(Some(fault)) => page.problem(format!("under the key given: {fault}")),
    }
    if let Some(ak) = ak {
        key(attest, ak, json, page);
    }
    holds.unwrap_or(true)
}

fn key(attest: &Attest, ak: &Public, json: &mut Map<String, Value>, page: &mut Page) {
    let name = ak.name().ok();
    let endorsed = name
        .as_ref()
        .is_some_and(|name| qualified_name(RH_ENDORSEMENT, name).as_bytes() == attest.qualified_signer);
    let fault = check_ak(ak).err();
    if let Some(fault) = &fault {
        page.problem(fault.to_string());
    }
    if !endorsed {
        page.problem("the signer is not this key as a primary key of the endorsement hierarchy");
    }
    let kind = match ak.kind() {
        KeyKind::Rsa { bits, .. } => format!("RSA-{bits}"),
        KeyKind::Ecc { curve, .. } => format!("ECC {curve}"),
    };
    page.fact("key", &kind);
    let name = name.map(|name| hex::encode(name.as_bytes()));
    json.insert(
        "ak".to_owned(),
        json!({
            "key": kind, "name": name, "in_endorsement_hierarchy": endorsed,
            "fault": fault.map(|fault| fault.to_string()),
        }),
    );
}

fn scheme(scheme: Scheme) -> String {
    let hash = scheme.hash().map(|hash| format!(" with {hash}")).unwrap_or_default();
    let name = match scheme {
        Scheme::Null => "none",
        Scheme::RsaSsa(_) => "RSASSA",
        Scheme::RsaPss(_) => "RSAPSS",
        Scheme::RsaEs => "RSAES",
        Scheme::Oaep(_) => "OAEP",
        Scheme::Ecdsa(_) => "ECDSA",
        Scheme::Ecdh(_) => "ECDH",
    };
    format!("{name}{hash}")
}
