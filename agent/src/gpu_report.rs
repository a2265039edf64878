//! A GPU's own report as its node looks at it before anybody else does.
//!
//! A validator takes a report that does not hold for a lie and ends the session. What this node already sees
//! that it would not hold is better not sent: the GPU is unattested, and the reason stands where its owner
//! looks.
//!
//! Not here: what a report is worth (`assay-gpu`'s `verify`, on a validator).

use assay_gpu::device::{DeviceChain, Report};
use assay_inventory::nvml::GpuAttestation;

/// Certificates behind a report that was read, answers the nonce and is signed by the first of them. What the
/// library marks as a simulation is recorded, so of that only the form counts.
///
/// # Errors
/// One line for people.
pub(crate) fn checked(attested: &GpuAttestation, nonce: &[u8; 32]) -> Result<(Vec<u8>, DeviceChain), String> {
    let (bytes, chain) = attested.evidence()?;
    let chain = DeviceChain::from_pem(chain).map_err(|error| format!("its certificates: {error}"))?;
    let leaf = chain.leaf().map_err(|_| "its certificates: the library gave none")?;
    let report = Report::parse(bytes).map_err(|error| format!("its report can't be read: {error}"))?;
    if !attested.simulated {
        if report.request_nonce() != nonce {
            return Err("its report answers another nonce than the one that was asked for".to_owned());
        }
        report.verify(&leaf.key).map_err(|fault| format!("its report under its own certificate: {fault}"))?;
    }
    Ok((bytes.to_vec(), chain))
}

/// Report and certificates of a real GPU in the data folder; `None` after a SKIPPED line without it.
#[cfg(test)]
pub(crate) fn recorded() -> Option<(Vec<u8>, String)> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let data = std::env::var_os("ASSAY_DATA").unwrap_or_else(|| default.into());
    let folder = std::path::PathBuf::from(data).join("gpu");
    let Ok(cases) = std::fs::read(folder.join("cases.json")) else {
        println!("SKIPPED: no data folder; set ASSAY_DATA");
        return None;
    };
    let cases: serde_json::Value = serde_json::from_slice(&cases).unwrap();
    let good = |case: &&serde_json::Value| {
        let holds = |check: &str| case["expected"][check] == true;
        holds("signature") && holds("chain") && case["report"].is_string()
    };
    let case = cases["cases"].as_array().unwrap().iter().find(good)?;
    let read = |key: &str| std::fs::read_to_string(folder.join(case[key].as_str().unwrap())).unwrap();
    Some((hex::decode(read("report").trim()).unwrap(), read("chain")))
}
