//! An EK certificate: what it says of its TPM, and who in the built-in store vouches for it.

use assay_x509::{
    Certificate, Chain, ChainFault, Dates, KeyUsage, Store, TpmNames, VendorClass, chain, dates, strong,
    tpm_names,
};
use serde_json::{Value, json};

use super::command::{Inspected, Undecodable};
use super::page::Page;
use crate::civil;

/// Longest file read, in bytes: PEM takes a third more than the DER that fits into a TPM.
pub(super) const MAX_BYTES: usize = 256 << 10;
/// tcg-kp-EKCertificate (EK Credential Profile 2.5, 3.1.9).
const EK_CERTIFICATE: &str = "2.23.133.8.1";

/// Everything that is read off a certificate before anything is shown.
struct Read<'a> {
    certificate: &'a Certificate,
    names: Result<TpmNames, String>,
    weak: Option<String>,
    class: VendorClass,
    vendor: Option<String>,
    dates: Dates,
    chain: Result<Chain<'a>, ChainFault>,
}

/// Reads DER, PEM, or what an NV index holds; `now_ms` is only for the dates.
pub(super) fn inspect(bytes: &[u8], now_ms: u64) -> Result<Inspected, Undecodable> {
    let certificate = Certificate::from_file(bytes)?;
    let store = Store::builtin()?;
    let read = read(&certificate, &store, now_ms);
    Ok(Inspected { json: read.json(), page: read.page(), good: true })
}

fn read<'a>(certificate: &'a Certificate, store: &'a Store, now_ms: u64) -> Read<'a> {
    let names = tpm_names(certificate);
    let manufacturer = names.as_ref().map(|names| names.manufacturer.as_str()).unwrap_or_default();
    let virtual_model = names.as_ref().is_ok_and(|names| store.is_virtual(&names.model, None));
    let class = if virtual_model { VendorClass::Virtual } else { store.vendor_class(manufacturer) };
    let vendor = store.vendor_name(manufacturer).map(str::to_owned);
    let now = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
    Read {
        certificate,
        weak: strong(&certificate.key).err(),
        class,
        vendor,
        dates: dates(certificate, now),
        chain: chain(certificate, &[], store),
        names,
    }
}

impl Read<'_> {
    fn is_for_eks(&self) -> bool {
        let mut purposes = self.certificate.extensions.purposes.iter().flatten();
        purposes.any(|purpose| purpose.to_string() == EK_CERTIFICATE)
    }

    fn usages(&self) -> Vec<&'static str> {
        let known = [
            (KeyUsage::DIGITAL_SIGNATURE, "digitalSignature"),
            (KeyUsage::KEY_ENCIPHERMENT, "keyEncipherment"),
            (KeyUsage::KEY_AGREEMENT, "keyAgreement"),
            (KeyUsage::KEY_CERT_SIGN, "keyCertSign"),
        ];
        let usage = self.certificate.extensions.key_usage;
        let set = known.into_iter().filter(|(bit, _)| usage.is_some_and(|usage| usage.contains(*bit)));
        set.map(|(_, name)| name).collect()
    }

    fn purposes(&self) -> Vec<String> {
        self.certificate.extensions.purposes.iter().flatten().map(ToString::to_string).collect()
    }

    fn json(&self) -> Value {
        let certificate = self.certificate;
        let names = self.names.clone().unwrap_or_default();
        let specification = certificate.extensions.specification.as_ref();
        json!({
            "schema": 1,
            "format": "x509",
            "sha256": certificate.fingerprint().to_string(),
            "version": certificate.version,
            "serial": hex::encode(&certificate.serial),
            "subject": certificate.subject.to_string(),
            "issuer": certificate.issuer.to_string(),
            "not_before": time(certificate.not_before),
            "not_after": time(certificate.not_after),
            "dates": date_word(self.dates),
            "key": certificate.key.describe(),
            "weak": self.weak,
            "authority": certificate.is_ca(),
            "key_usage": self.usages(),
            "purposes": self.purposes(),
            "quirks": certificate.quirks.iter().map(|quirk| quirk.name()).collect::<Vec<_>>(),
            "tpm": {
                "manufacturer": names.manufacturer, "model": names.model, "version": names.version,
                "vendor": self.vendor, "class": self.class.name(),
                "specification": specification.map(|s| format!("{} level {} revision {}", s.family, s.level, s.revision)),
            },
            "issuer_urls": certificate.extensions.issuer_urls,
            "chain": self.chain_json(),
        })
    }

    fn chain_json(&self) -> Value {
        match &self.chain {
            Ok(chain) => json!({
                "result": "holds", "anchor": chain.anchor.name, "class": chain.anchor.class.name(),
                "source": chain.anchor.source, "depth": chain.depth, "fault": null,
            }),
            Err(fault) => json!({
                "result": if fault.is_unknown() { "unknown" } else { "broken" }, "fault": fault.to_string(),
            }),
        }
    }

    fn page(&self) -> Page {
        let certificate = self.certificate;
        let mut page = Page::new("an X.509 certificate");
        self.problems(&mut page);
        if let Ok(names) = &self.names {
            let vendor = self.vendor.as_ref().map(|vendor| format!(" ({vendor})")).unwrap_or_default();
            page.fact("manufacturer", format!("{}{vendor}", names.manufacturer));
            page.fact("model", &names.model);
            page.fact("version", &names.version);
        }
        page.fact("class", self.class.name());
        page.fact("key", certificate.key.describe());
        page.fact("subject", &certificate.subject);
        page.fact("issuer", &certificate.issuer);
        page.fact("valid", format!("{} to {}", time(certificate.not_before), time(certificate.not_after)));
        page.fact("key usage", self.usages().join(", "));
        page.fact("purposes", self.purposes().join(", "));
        page.fact("serial", hex::encode(&certificate.serial));
        page.fact("sha256", certificate.fingerprint());
        if let Ok(chain) = &self.chain {
            let anchor = chain.anchor;
            page.fact(
                "chain",
                format!("holds, to {} ({}), depth {}", anchor.name, anchor.class.name(), chain.depth),
            );
        }
        page
    }

    fn problems(&self, page: &mut Page) {
        if let Err(fault) = &self.chain {
            page.problem(format!("chain: {fault}"));
        }
        if let Some(weak) = &self.weak {
            page.problem(format!("weak key: {weak}"));
        }
        if let Err(fault) = &self.names {
            page.problem(fault.clone());
        }
        if self.certificate.is_ca() {
            page.problem("an authority's certificate, not a TPM's");
        } else if !self.is_for_eks() {
            page.problem("its purposes do not have tcg-kp-EKCertificate");
        }
        if self.dates != Dates::Valid {
            page.problem(format!("its dates are {}", date_word(self.dates)));
        }
        if let Some(unknown) = self.certificate.extensions.unknown_critical() {
            page.problem(format!("critical extension {unknown} is not known"));
        }
        for quirk in &self.certificate.quirks {
            page.problem(format!("quirk {}", quirk.name()));
        }
    }
}

fn date_word(dates: Dates) -> &'static str {
    match dates {
        Dates::Valid => "in force",
        Dates::Expired => "over",
        Dates::Future => "in the future",
    }
}

/// Seconds since 1970, years before it shown as its first second.
fn time(seconds: i64) -> String {
    civil::format(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
}
