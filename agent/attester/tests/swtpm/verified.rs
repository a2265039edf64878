//! What the TPM signs, judged by the verifier's own code: proves that the bytes that leave this
//! crate are those that the TPM signed.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use assay_attester::{Quoted, TpmError};
use assay_tpm::{
    Attest, AttestBody, HashAlg, Public, QuoteInfo, RH_ENDORSEMENT, Signature, check_ak, make_credential,
    pcr_digest, qualified_name,
};

use crate::harness::{Swtpm, refused};

/// The attestation, after checking its signature, its signer's hierarchy and its extra data.
fn verified(ak_public: &[u8], attest: &[u8], signature: &[u8], extra: &[u8]) -> Attest {
    let ak = Public::parse(ak_public).unwrap();
    let signature = Signature::parse(signature).unwrap();
    ak.verify(attest, &signature).unwrap();
    let attest = Attest::parse(attest).unwrap();
    let signer = qualified_name(RH_ENDORSEMENT, &ak.name().unwrap());
    assert_eq!(attest.qualified_signer, signer.as_bytes());
    assert_eq!(attest.extra_data, extra);
    attest
}

fn quote_info(attest: Attest) -> QuoteInfo {
    match attest.body {
        AttestBody::Quote(info) => info,
        AttestBody::Time(_) => panic!("not a quote"),
    }
}

/// The digest over the values that came with the quote, by the signed selection.
fn recomputed(quoted: &Quoted, info: &QuoteInfo) -> Vec<u8> {
    let value =
        |_, pcr| quoted.pcr_values.iter().find(|(index, _)| *index == pcr).map(|(_, value)| value.to_vec());
    pcr_digest(&info.selection, &value, HashAlg::Sha256).unwrap()
}

#[test]
fn the_attestation_key_is_one_that_a_validator_takes() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let identity = swtpm.open().identity().unwrap();
    check_ak(&Public::parse(&identity.ak_public).unwrap()).unwrap();
}

#[test]
fn quotes_verify() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    let mut tpm = swtpm.open();
    let ak = tpm.identity().unwrap().ak_public;
    tpm.pcr_extend(4, [4; 32]).unwrap();
    // More PCRs than one PCR_Read returns, in no order, with the longest extra data swtpm takes.
    let pcrs = [15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14];
    for extra in [&b""[..], &[0xA5; 64]] {
        let quoted = tpm.quote(extra, &pcrs).unwrap();
        let info = quote_info(verified(&ak, &quoted.attest, &quoted.signature, extra));
        assert_eq!(info.selection.len(), 1);
        let selected: Vec<u8> = info.selection[0].pcrs.iter().collect();
        let values: Vec<u8> = quoted.pcr_values.iter().map(|(pcr, _)| *pcr).collect();
        assert_eq!(selected, values);
        assert_eq!(values.len(), pcrs.len());
        assert_eq!(recomputed(&quoted, &info), info.pcr_digest);
    }
}

#[test]
fn quotes_of_nonsense_are_refused() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let mut tpm = swtpm.open();
    for pcrs in [&[][..], &[24], &[3, 3]] {
        assert!(matches!(refused(tpm.quote(b"", pcrs)), TpmError::InvalidPcrs { .. }), "{pcrs:?}");
    }
    let long = refused(tpm.quote(&[0; 65], &[0]));
    assert!(matches!(long, TpmError::TooLong { size: 65, .. }), "{long:?}");
    assert!(matches!(refused(tpm.get_time(&[0; 65])), TpmError::TooLong { size: 65, .. }));
}

#[test]
fn a_tpm_without_sha256_pcrs_is_told_apart() {
    let Some(mut swtpm) = Swtpm::new(false) else { return };
    swtpm.must("tpm2_pcrallocate", &["sha1:all+sha256:none"]);
    swtpm.kill();
    swtpm.start();
    let mut tpm = swtpm.open();
    assert!(matches!(refused(tpm.quote(b"", &[0, 7])), TpmError::PcrMissing { pcr: 0 }));
    assert!(matches!(refused(tpm.pcr_read(&[5])), TpmError::PcrMissing { pcr: 5 }));
}

#[test]
fn signed_time_verifies_and_runs() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    let mut tpm = swtpm.open();
    let identity = tpm.identity().unwrap();
    let mut last = None;
    for extra in [&b"slot 1"[..], b"slot 2"] {
        let signed = tpm.get_time(extra).unwrap();
        let attest = verified(&identity.ak_public, &signed.attest, &signed.signature, extra);
        let AttestBody::Time(info) = attest.body else { panic!("not a time") };
        // In clear, since the key is in the endorsement hierarchy.
        assert_eq!(info.firmware_version, identity.properties.firmware_version);
        assert_eq!(attest.firmware_version, identity.properties.firmware_version);
        assert!(last.is_none_or(|time| time <= info.time));
        last = Some(info.time);
    }
}

#[test]
fn resets_are_counted_in_clear() {
    let Some(mut swtpm) = Swtpm::new(false) else { return };
    let ak = swtpm.open().identity().unwrap().ak_public;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let signed = swtpm.open().get_time(b"").unwrap();
        counts.push(verified(&ak, &signed.attest, &signed.signature, b"").clock_info.reset_count);
        swtpm.kill();
        swtpm.start();
    }
    assert!(counts[0] < 100, "an owner hierarchy key would show an offset: {counts:?}");
    assert_eq!([counts[1] - counts[0], counts[2] - counts[1]], [1, 1]);
}

/// The operating system's generator.
struct OsRandom;

impl rand_core::RngCore for OsRandom {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        std::fs::File::open("/dev/urandom").unwrap().read_exact(dest).unwrap();
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl rand_core::CryptoRng for OsRandom {}

#[test]
fn the_verifiers_credentials_open_for_every_kind_of_endorsement_key() {
    let Some(p384) = Swtpm::new(true) else { return };
    let rsa = Swtpm::new(true).unwrap();
    rsa.must("tpm2_nvundefine", &["-C", "p", "0x01C00016"]);
    let p256 = Swtpm::new(false).unwrap();
    for swtpm in [p384, rsa, p256] {
        let mut tpm = swtpm.open();
        let identity = tpm.identity().unwrap();
        let ek = Public::parse(&identity.ek_public).unwrap();
        let ak = Public::parse(&identity.ak_public).unwrap().name().unwrap();
        for secret in [&b"s"[..], &[7; 32]] {
            let made = make_credential(&ek, &ak, secret, &mut OsRandom).unwrap();
            assert_eq!(tpm.activate_credential(&made.id_object, &made.encrypted_secret).unwrap(), secret);
        }
    }
}

/// Extends PCR 8 once, past the attester, as the operating system might.
fn extend_behind_our_back(port: u16) {
    let mut command = vec![0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 8];
    command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command.extend([0, 0, 0, 1, 0, 0x0B]);
    command.extend([8; 32]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&command).unwrap();
    stream.read_exact(&mut [0; 10]).unwrap();
}

#[test]
fn values_belong_to_their_quote_even_when_pcrs_change() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let (mut tpm, port) = (swtpm.open(), swtpm.port());
    let ak = tpm.identity().unwrap().ak_public;
    let done = AtomicBool::new(false);
    let (mut consistent, mut changing) = (Vec::new(), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                extend_behind_our_back(port);
            }
        });
        for _ in 0..40 {
            match tpm.quote(b"", &[8]) {
                Ok(quoted) => consistent.push(quoted),
                Err(TpmError::PcrsChanging { .. }) => changing += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    for quoted in &consistent {
        let info = quote_info(verified(&ak, &quoted.attest, &quoted.signature, b""));
        assert_eq!(recomputed(quoted, &info), info.pcr_digest);
    }
    let first = consistent.first().map(|quoted| quoted.pcr_values.clone());
    assert!(changing > 0 || consistent.iter().any(|quoted| Some(&quoted.pcr_values) != first.as_ref()));
    assert_eq!(tpm.quote(b"", &[8]).unwrap().pcr_values.len(), 1);
}
