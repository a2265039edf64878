//! `ca-store/` and `ekcerts/`: each certificate is read, and chained where its issuer is in the folder.

use assay_x509::{
    Certificate, ChainFault, Entry, Quirk, Role, SignatureFault, Store, VendorClass, chain, tpm_names,
};

use crate::{Folder, Manifest, Sheet};

/// Words of the manifest, and the deviation that they describe.
const DEVIATIONS: [(&str, Quirk); 3] = [
    ("padding", Quirk::NvPadding),
    ("header before", Quirk::NvHeader),
    ("not in DER order", Quirk::UnsortedSet),
];

/// A certificate of the folder.
struct Found {
    file: String,
    /// File, and its number where a file has several.
    name: String,
    certificate: Certificate,
}

pub(crate) fn judge(folder: &Folder, manifest: &Manifest, sheet: &mut Sheet) {
    let authorities = read(folder, manifest, "ca-store", sheet);
    let leaves = read(folder, manifest, "ekcerts", sheet);
    let store = store(&authorities);
    let own: Vec<Certificate> =
        leaves.iter().map(|found| found.certificate.clone()).filter(Certificate::is_ca).collect();
    let all: Vec<&Found> =
        authorities.iter().chain(leaves.iter().filter(|found| found.certificate.is_ca())).collect();
    for found in &authorities {
        authority(found, &all, sheet);
    }
    for found in &leaves {
        words(found, manifest, sheet);
        leaf(found, manifest, &store, &own, &all, sheet);
    }
}

/// Reads every certificate of every file; one that is refused is a verdict of its own.
fn read(folder: &Folder, manifest: &Manifest, dir: &str, sheet: &mut Sheet) -> Vec<Found> {
    let mut all = Vec::new();
    for file in folder.in_folder(dir) {
        let Ok(bytes) = folder.read(file) else { continue };
        let blocks = blocks(&bytes);
        let several = blocks.len() > 1;
        for (nth, block) in blocks.into_iter().enumerate() {
            let name = if several { format!("{file}[{nth}]") } else { file.to_owned() };
            sheet.cover(file);
            let refuse = manifest.expects_refusal(file) && !chains(manifest, file);
            match Certificate::from_file(&block) {
                Ok(certificate) => {
                    let quirks: Vec<&str> = certificate.quirks.iter().map(|quirk| quirk.name()).collect();
                    let seen = format!(
                        "read {}",
                        if quirks.is_empty() { "as it is".into() } else { quirks.join("+") }
                    );
                    sheet.holds(&name, "certificate", !refuse, if refuse { "refuse" } else { "read" }, seen);
                    all.push(Found { file: file.to_owned(), name, certificate });
                }
                Err(error) => {
                    let wanted = if refuse { "refuse" } else { "read" };
                    sheet.holds(&name, "certificate", refuse, wanted, format_args!("refused: {error}"));
                }
            }
        }
    }
    all
}

/// Whether the refusal that the manifest expects is the chain's, not the reader's.
fn chains(manifest: &Manifest, file: &str) -> bool {
    let after = manifest.row(file).and_then(|row| row.meaning.split_once("EXPECT"));
    after.is_some_and(|(_, after)| after.contains("chain"))
}

/// The PEM blocks of a text, or the whole of anything else.
fn blocks(bytes: &[u8]) -> Vec<Vec<u8>> {
    const END: &str = "-----END CERTIFICATE-----";
    let Ok(text) = std::str::from_utf8(bytes) else { return vec![bytes.to_vec()] };
    let blocks = text.split_inclusive(END).filter(|block| block.contains("-----BEGIN"));
    let blocks: Vec<Vec<u8>> = blocks.map(|block| format!("{}\n", block.trim_start()).into_bytes()).collect();
    if blocks.is_empty() { vec![bytes.to_vec()] } else { blocks }
}

/// The folder's authorities: self-signed ones as roots, those whose issuer is not there as pinned.
fn store(authorities: &[Found]) -> Store {
    let mut store = Store::default();
    for Found { name, certificate, .. } in authorities {
        let issuer_there = authorities.iter().any(|found| found.certificate.subject == certificate.issuer);
        let role = match certificate.subject == certificate.issuer {
            true => Role::Root,
            false if issuer_there => Role::Intermediate,
            false => Role::Pinned,
        };
        let (name, certificate) = (name.clone(), certificate.clone());
        // The folder may have one certificate under two names.
        let _ = store.add(Entry {
            name,
            vendor: None,
            class: VendorClass::Unknown,
            role,
            source: String::new(),
            certificate,
        });
    }
    store
}

/// Whoever has the issuer's name signed it: a root itself. Dates are the chain's matter: an authority may
/// be older than the certificate that its issuer has now.
fn authority(found: &Found, all: &[&Found], sheet: &mut Sheet) {
    let Found { name, certificate, .. } = found;
    sheet.holds(name, "authority", certificate.is_ca(), "may sign certificates", yes_no(certificate.is_ca()));
    let issuers = all.iter().filter(|other| other.certificate.subject == certificate.issuer);
    let mut results = issuers.map(|issuer| (&issuer.name, certificate.verify(&issuer.certificate.key)));
    let first = results.next();
    match first.into_iter().chain(results).find(|(_, result)| result.is_ok()).or(first) {
        None => sheet.not_judged(name, "signature", "its issuer is not in the folder"),
        Some((issuer, Ok(()))) => {
            sheet.holds(name, "signature", true, "holds", format_args!("under {issuer}"))
        }
        Some((_, Err(fault))) => signature_refused(name, "signature", &fault, sheet),
    }
}

/// SHA-1 is refused whatever it holds for; any other fault is one.
fn signature_refused(name: &str, check: &str, fault: &SignatureFault, sheet: &mut Sheet) {
    let weak = *fault == SignatureFault::WeakHash;
    sheet.holds(name, check, weak, if weak { "refused, as SHA-1 is" } else { "holds" }, fault);
}

fn chained(name: &str, certificate: &Certificate, extra: &[Certificate], store: &Store, sheet: &mut Sheet) {
    match chain(certificate, extra, store) {
        Ok(chain) => sheet.holds(
            name,
            "chain",
            true,
            "holds",
            format_args!("to {} over {}", chain.anchor.name, chain.depth),
        ),
        Err(fault @ ChainFault::UnknownRoot { .. }) => sheet.not_judged(name, "chain", &fault.to_string()),
        Err(ChainFault::Signature { fault, .. }) => signature_refused(name, "chain", &fault, sheet),
        Err(fault) => sheet.holds(name, "chain", false, "holds", fault),
    }
}

fn leaf(
    found: &Found,
    manifest: &Manifest,
    store: &Store,
    own: &[Certificate],
    all: &[&Found],
    sheet: &mut Sheet,
) {
    let Found { file, name, certificate } = found;
    if !certificate.is_ca() {
        let names = tpm_names(certificate);
        let good = names.is_ok();
        let seen =
            names.map_or_else(|error| error, |n| format!("{} {} {}", n.manufacturer, n.model, n.version));
        sheet.holds(name, "tpm names", good, "one of each", seen);
    }
    if chains(manifest, file) {
        let seen = chain(certificate, own, store);
        let text =
            seen.as_ref().map_or_else(ToString::to_string, |chain| format!("to {}", chain.anchor.name));
        return sheet.holds(name, "chain", seen.is_err(), "none", text);
    }
    match certificate.is_ca() {
        true => authority(found, all, sheet),
        false => chained(name, certificate, own, store, sheet),
    }
}

/// Deviations that the manifest describes must have been met, by name.
fn words(found: &Found, manifest: &Manifest, sheet: &mut Sheet) {
    let Some(row) = manifest.row(&found.file) else { return };
    for (_, quirk) in DEVIATIONS.into_iter().filter(|(words, _)| row.meaning.contains(words)) {
        let met = found.certificate.quirks.contains(&quirk);
        sheet.holds(&found.name, "quirk", met, quirk.name(), yes_no(met));
    }
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
