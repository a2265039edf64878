//! A device's own submodule of an EAR: what its signed report is worth.
//!
//! Names that begin with `x-nvidia-`, and `hwmodel` and `measres`, are those by which the maker's own
//! verifier calls the same facts; a claim that was not checked, or has nothing to say, is absent. So is
//! what the device or its maker signed (from `...fwid-match` to `measres`, `assay_pdi`, `assay_board`) where
//! signature or chain does not hold.
//!
//! | claim of a GPU | of a switch | means |
//! |---|---|---|
//! | `x-nvidia-device-type`: `gpu` | `nvswitch` | what it is |
//! | `x-nvidia-gpu-attestation-report-signature-verified` | `x-nvidia-switch-...` | the report's signature |
//! | `x-nvidia-gpu-attestation-report-nonce-match` | `x-nvidia-switch-...` | the report is over this session's nonce |
//! | `x-nvidia-gpu-attestation-report-cert-chain-fwid-match` | `x-nvidia-switch-...` | certificate and report name one firmware |
//! | `x-nvidia-gpu-driver-version` | | as the device signed it |
//! | `x-nvidia-gpu-vbios-version` | `x-nvidia-switch-bios-version` | as the device signed it |
//!
//! | claim | means |
//! |---|---|
//! | `hwmodel` | what the device's certificate calls it |
//! | `measres` | `success` or `fail`: measurements against reference values |
//! | `assay_chain` | the certificates lead to the maker's root |
//! | `assay_pdi` | the device's identifier, from its certificate |
//! | `assay_board` | project and SKUs of the board, as the device signed them |
//! | `assay_simulated` | the library that gave the report is a simulation |
//! | `assay_attested` | the report counts for G3 |
//!
//! | of the vector | affirmed by | against |
//! |---|---|---|
//! | instance-identity | signature, chain and nonce: 2 | one of them: 99; a certificate taken back: 96 |
//! | hardware | signature, chain and firmware id: 2 | firmware id: 97 |
//! | executables | signature, chain and all measurements: 3 | measurements: 33 |
//!
//! Of a simulated device nothing is affirmed, and nothing is held against it.

use crate::ear::Vector;
use crate::ear_claims::{TextMap, Value};
use crate::facts::DeviceFacts;

/// What speaks for and against a device.
pub(crate) fn vector(device: &DeviceFacts) -> Vector {
    if device.simulated {
        return Vector::default();
    }
    let proof = [device.signature, device.chain, device.nonce];
    let instance = match () {
        () if proof.contains(&Some(false)) => Some(99),
        () if device.revocation == Some(false) => Some(96),
        () if proof.iter().all(|check| *check == Some(true)) => Some(2),
        () => None,
    };
    let affirmed = |value: i8| is_proven(device).then_some(value);
    let hardware = device.fwid.and_then(|equal| if equal { affirmed(2) } else { Some(97) });
    let executables = device.measurements.and_then(|equal| if equal { affirmed(3) } else { Some(33) });
    Vector { instance_identity: instance, hardware, executables, ..Vector::default() }
}

/// Whether device and maker vouch for what the report says.
fn is_proven(device: &DeviceFacts) -> bool {
    [device.signature, device.chain].iter().all(|check| *check == Some(true))
}

/// The submodules' names: by the index in the session's GPU table, or the place among its switches.
pub(crate) fn names(devices: &[DeviceFacts]) -> impl Iterator<Item = String> {
    let mut switches = 0usize..;
    devices.iter().map(move |device| match device.gpu {
        Some(index) => format!("gpu-{index}"),
        None => format!("switch-{}", switches.next().unwrap_or_default()),
    })
}

/// What was found out about a device.
pub(crate) fn claims(device: &DeviceFacts) -> TextMap<Value> {
    let (kind, family, firmware) = match device.gpu {
        Some(_) => ("gpu", "gpu", "x-nvidia-gpu-vbios-version"),
        None => ("nvswitch", "switch", "x-nvidia-switch-bios-version"),
    };
    let of_report = |check: &str| format!("x-nvidia-{family}-attestation-report-{check}");
    let truth = |name: String, check: Option<bool>| check.map(|check| (name, Value::Truth(check)));
    let text = |name: &str, text: &Option<String>| {
        text.as_ref().map(|text| (name.to_owned(), Value::Text(text.clone())))
    };
    let result = device.measurements.map(|equal| if equal { "success" } else { "fail" }.to_owned());
    let seen = [
        text("x-nvidia-device-type", &Some(kind.to_owned())),
        truth(of_report("signature-verified"), device.signature),
        truth(of_report("nonce-match"), device.nonce),
        truth("assay_chain".to_owned(), device.chain),
        truth("assay_simulated".to_owned(), Some(device.simulated)),
        truth("assay_attested".to_owned(), Some(device.attested)),
    ];
    let signed = [
        truth(of_report("cert-chain-fwid-match"), device.fwid),
        text("x-nvidia-gpu-driver-version", &device.driver),
        text(firmware, &device.vbios),
        text("hwmodel", &device.model),
        text("measres", &result),
        text("assay_pdi", &device.pdi),
        text("assay_board", &device.board),
    ];
    let signed = signed.into_iter().filter(|_| is_proven(device));
    let claims = seen.into_iter().chain(signed);
    TextMap::new(claims.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> DeviceFacts {
        let yes = Some(true);
        DeviceFacts {
            gpu: Some(0),
            signature: yes,
            chain: yes,
            fwid: yes,
            nonce: yes,
            measurements: yes,
            attested: true,
            ..DeviceFacts::default()
        }
    }

    fn values(device: &DeviceFacts) -> [Option<i8>; 3] {
        let vector = vector(device);
        [vector.instance_identity, vector.hardware, vector.executables]
    }

    #[test]
    fn the_vector_is_what_the_checks_say() {
        let no = Some(false);
        assert_eq!(values(&good()), [Some(2), Some(2), Some(3)]);
        assert_eq!(values(&DeviceFacts { nonce: no, ..good() }), [Some(99), Some(2), Some(3)]);
        assert_eq!(values(&DeviceFacts { signature: no, ..good() }), [Some(99), None, None]);
        assert_eq!(values(&DeviceFacts { signature: None, ..good() }), [None; 3]);
        assert_eq!(values(&DeviceFacts { chain: no, ..good() }), [Some(99), None, None]);
        let refuted = DeviceFacts { signature: no, fwid: no, measurements: no, ..good() };
        assert_eq!(values(&refuted), [Some(99), Some(97), Some(33)]);
        assert_eq!(values(&DeviceFacts { fwid: no, ..good() }), [Some(2), Some(97), Some(3)]);
        assert_eq!(values(&DeviceFacts { fwid: None, ..good() }), [Some(2), None, Some(3)]);
        assert_eq!(values(&DeviceFacts { measurements: no, ..good() }), [Some(2), Some(2), Some(33)]);
        assert_eq!(values(&DeviceFacts { measurements: None, ..good() }), [Some(2), Some(2), None]);
        assert_eq!(values(&DeviceFacts { revocation: no, ..good() }), [Some(96), Some(2), Some(3)]);
        assert_eq!(values(&DeviceFacts { simulated: true, ..good() }), [None; 3]);
    }

    #[test]
    fn a_switch_has_the_names_of_switches() {
        let names = |gpu: Option<u8>| {
            let vbios = Some("96.10.55.00.01".to_owned());
            let told = serde_json::to_value(claims(&DeviceFacts { gpu, vbios, ..good() })).unwrap();
            let name = |(name, _): (&String, _)| name.strip_prefix("x-nvidia-").map(str::to_owned);
            told.as_object().unwrap().iter().filter_map(name).collect::<std::collections::BTreeSet<_>>()
        };
        let of_report = |family: &str| {
            ["signature-verified", "nonce-match", "cert-chain-fwid-match"]
                .map(|check| format!("{family}-attestation-report-{check}"))
        };
        let with = |family: &str, firmware: &str| {
            of_report(family).into_iter().chain(["device-type".to_owned(), firmware.to_owned()]).collect()
        };
        assert_eq!(names(None), with("switch", "switch-bios-version"));
        assert_eq!(names(Some(0)), with("gpu", "gpu-vbios-version"));
    }

    #[test]
    fn what_nobody_vouches_for_is_no_claim() {
        let told = |device: DeviceFacts| {
            let text = || Some("x".to_owned());
            let (model, pdi, board) = (text(), text(), text());
            let device = DeviceFacts { model, pdi, board, driver: text(), vbios: text(), ..device };
            serde_json::to_value(claims(&device)).unwrap().as_object().unwrap().len()
        };
        assert_eq!(told(good()), 13);
        assert_eq!(told(DeviceFacts { signature: Some(false), ..good() }), 6);
        assert_eq!(told(DeviceFacts { chain: Some(false), ..good() }), 6);
        assert_eq!(told(DeviceFacts { chain: None, ..good() }), 5);
    }
}
