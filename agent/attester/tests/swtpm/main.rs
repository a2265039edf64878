//! The attester on a real TPM 2.0 implementation: swtpm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod harness;
mod verified;

use std::{
    fs,
    net::TcpStream,
    time::{Duration, Instant},
};

use assay_attester::{Backend, Identity, Tpm, TpmError, is_virtual_hint};
use harness::{Swtpm, refused};
use sha2::{Digest, Sha256};

/// `TPMT_PUBLIC`'s first fields for ECC: type, nameAlg.
const ECC_SHA256: [u8; 4] = [0, 0x23, 0, 0x0B];
const ECC_SHA384: [u8; 4] = [0, 0x23, 0, 0x0C];
const RSA_SHA256: [u8; 4] = [0, 0x01, 0, 0x0B];
const SECRET: &[u8; 32] = b"what only the right TPM can read";

/// The Name of an object with SHA-256 as nameAlg (TPM 2.0 Part 1, 16).
fn name(public: &[u8]) -> Vec<u8> {
    [&[0, 0x0B][..], &Sha256::digest(public)].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A credential of `SECRET` for `ek` and the object called `name`, by tpm2-tools: the contents
/// of the `TPM2B`s.
fn credential(tpm: &Swtpm, ek: &[u8], name: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let size = u16::try_from(ek.len()).unwrap().to_be_bytes();
    fs::write(tpm.path("ek.pub"), [&size[..], ek].concat()).unwrap();
    fs::write(tpm.path("secret"), SECRET).unwrap();
    let name = hex(name);
    tpm.must("tpm2_makecredential", &["-u", "ek.pub", "-s", "secret", "-n", &name, "-o", "credential"]);
    // tpm2-tools' file: magic and version of four bytes each, then the two TPM2Bs.
    let file = fs::read(tpm.path("credential")).unwrap();
    let (id_object, rest) = sized(&file[8..]);
    let (secret, rest) = sized(rest);
    assert!(rest.is_empty());
    (id_object.to_vec(), secret.to_vec())
}

/// A `TPM2B`'s contents and what follows it.
fn sized(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (size, rest) = bytes.split_at(2);
    rest.split_at(usize::from(u16::from_be_bytes([size[0], size[1]])))
}

/// x and y at the end of an ECC `TPMT_PUBLIC` with coordinates of `size` bytes.
fn point(public: &[u8], size: usize) -> Vec<u8> {
    let tail = &public[public.len() - 2 * (size + 2)..];
    let (x, rest) = sized(tail);
    let (y, rest) = sized(rest);
    assert!(rest.is_empty());
    [&[4][..], x, y].concat()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn activates(swtpm: &Swtpm, identity: &Identity) -> Vec<u8> {
    let (id_object, secret) = credential(swtpm, &identity.ek_public, &name(&identity.ak_public));
    swtpm.open().activate_credential(&id_object, &secret).unwrap()
}

#[test]
fn the_identity_outlives_connections_restarts_and_power_cuts() {
    let Some(mut swtpm) = Swtpm::new(true) else { return };
    let first = swtpm.open().identity().unwrap();
    assert_eq!(swtpm.open().identity().unwrap(), first);
    swtpm.kill();
    swtpm.start();
    assert_eq!(swtpm.open().identity().unwrap(), first);

    let other = Swtpm::new(true).unwrap().open().identity().unwrap();
    assert_ne!(other.ek_public, first.ek_public);
    assert_ne!(other.ak_public, first.ak_public);
}

#[test]
fn swtpm_says_that_it_is_software() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    let properties = swtpm.open().properties().unwrap();
    assert_eq!(properties.manufacturer, "IBM");
    assert_eq!(properties.vendor_string, "SW   TPM");
    assert!(properties.spec_revision >= 138 && properties.spec_year >= 2016);
    assert_ne!(properties.firmware_version, 0);
    assert!(is_virtual_hint(&properties));
}

#[test]
fn a_p384_certificate_makes_that_key_canonical() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    let identity = swtpm.open().identity().unwrap();
    assert!(identity.ek_public.starts_with(&ECC_SHA384));
    assert_eq!(identity.ek_certificates.len(), 2);
    assert!(contains(&identity.ek_certificates[0], &point(&identity.ek_public, 48)));
    assert!(identity.ek_chain.is_empty());
    assert_eq!(activates(&swtpm, &identity), SECRET);
}

/// Defines an NV index as a maker does, and writes it unless `contents` is empty.
fn define(swtpm: &Swtpm, index: &str, attributes: &str, contents: &[u8]) {
    fs::write(swtpm.path("contents"), contents).unwrap();
    let size = contents.len().max(1).to_string();
    swtpm.must("tpm2_nvdefine", &["-C", "p", "-s", &size, "-a", attributes, index]);
    if !contents.is_empty() {
        swtpm.must("tpm2_nvwrite", &["-C", "p", "-i", "contents", index]);
    }
}

#[test]
fn certificates_of_the_machine_are_read_and_odd_ones_passed_over() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    let before = swtpm.open().identity().unwrap();
    let none: Vec<Vec<u8>> = vec![];
    assert_eq!((&before.device_certificates, &before.platform_certificates), (&none, &none));
    assert!(before.skipped.is_empty());
    let certificate = |n: u8| [&[0x30, 0x82, 0x06, 0x00][..], &vec![n; 0x600]].concat();
    let open = "ppwrite|ppread|authread|ownerread|no_da|platformcreate";
    define(&swtpm, "0x01C08000", open, &certificate(1));
    define(&swtpm, "0x01C0FFFF", open, &certificate(2));
    define(&swtpm, "0x01C90000", open, &certificate(3));
    define(&swtpm, "0x01C900FF", open, &certificate(4));
    // None of ours: behind the ranges, and a key's policy inside one.
    define(&swtpm, "0x01C10000", open, &certificate(5));
    define(&swtpm, "0x01C90010", open, &[6; 34]);
    // Passed over: nobody but the platform may read it, it is no DER, it was never written.
    define(&swtpm, "0x01C08001", "ppwrite|ppread|platformcreate", &certificate(7));
    define(&swtpm, "0x01C08002", open, b"not a certificate");
    define(&swtpm, "0x01C90001", open, &[]);
    let identity = swtpm.open().identity().unwrap();
    assert_eq!(identity.platform_certificates, [certificate(1), certificate(2)]);
    assert_eq!(identity.device_certificates, [certificate(3), certificate(4)]);
    let skipped: Vec<u32> = identity.skipped.iter().map(|skipped| skipped.index).collect();
    assert_eq!(skipped, [0x01C0_8001, 0x01C0_8002, 0x01C9_0001]);
    for (at, words) in [(1, "no DER"), (2, "never written")] {
        assert!(identity.skipped[at].reason.contains(words), "{:?}", identity.skipped[at]);
    }
    assert_eq!((identity.ek_public, identity.ak_public), (before.ek_public, before.ak_public));
    // The index that may not be read cost nothing: no failed authorisation that leads to a lockout.
    assert_eq!(swtpm.open().lockout_state().unwrap().failed_tries, 0);
}

#[test]
fn with_an_rsa_certificate_alone_rsa_is_canonical() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    swtpm.must("tpm2_nvundefine", &["-C", "p", "0x01C00016"]);
    let identity = swtpm.open().identity().unwrap();
    assert!(identity.ek_public.starts_with(&RSA_SHA256));
    let modulus = &identity.ek_public[identity.ek_public.len() - 256..];
    assert!(contains(&identity.ek_certificates[0], modulus));
    assert_eq!(activates(&swtpm, &identity), SECRET);
}

#[test]
fn without_any_certificate_p256_is_canonical() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let identity = swtpm.open().identity().unwrap();
    assert!(identity.ek_public.starts_with(&ECC_SHA256));
    assert!(identity.ek_certificates.is_empty());
    assert_eq!(activates(&swtpm, &identity), SECRET);
    // The low range key that tpm2-tools makes from the profile.
    swtpm.must("tpm2_createek", &["-G", "ecc", "-c", "ek.ctx", "-u", "theirs.pub"]);
    let theirs = fs::read(swtpm.path("theirs.pub")).unwrap();
    assert_eq!(sized(&theirs).0, identity.ek_public);
}

/// Writes `contents` to an NV index as a maker would.
fn provision(swtpm: &Swtpm, index: &str, contents: &[u8]) {
    let size = contents.len().to_string();
    let attributes = "platformcreate|ppwrite|ppread|ownerread|authread|no_da|writedefine";
    fs::write(swtpm.path("contents"), contents).unwrap();
    swtpm.must("tpm2_nvdefine", &[index, "-C", "p", "-s", &size, "-a", attributes]);
    swtpm.must("tpm2_nvwrite", &[index, "-C", "p", "-i", "contents"]);
}

#[test]
fn a_low_range_p256_certificate_comes_before_all_others() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    // Larger than one NV read of swtpm's, and not DER: contents are the verifier's business.
    let certificate: Vec<u8> = (0..1500u16).map(|n| n.to_be_bytes()[1]).collect();
    provision(&swtpm, "0x01C0000A", &certificate);
    // Two of them, end to end.
    let chain = [[0x30, 0x81, 2, 5, 0], [0x30, 0x81, 2, 5, 0]];
    provision(&swtpm, "0x01C00100", chain.as_flattened());
    let identity = swtpm.open().identity().unwrap();
    assert!(identity.ek_public.starts_with(&ECC_SHA256));
    assert_eq!(identity.ek_certificates.len(), 3);
    assert_eq!(identity.ek_certificates[0], certificate);
    assert_eq!(identity.ek_chain, chain);
}

#[test]
fn a_high_range_p256_certificate_selects_the_high_range_key() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    provision(&swtpm, "0x01C00014", b"certificate");
    let identity = swtpm.open().identity().unwrap();
    assert!(identity.ek_public.starts_with(&ECC_SHA256));
    assert_eq!(identity.ek_public[4..8], [0, 3, 0, 0xF2]);
    assert_eq!(activates(&swtpm, &identity), SECRET);
}

#[test]
fn a_template_and_a_nonce_in_nv_replace_the_profiles() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let plain = swtpm.open().identity().unwrap();
    provision(&swtpm, "0x01C0000A", b"certificate");
    provision(&swtpm, "0x01C0000B", b"a maker's nonce");
    let with_nonce = swtpm.open().identity().unwrap();
    assert_ne!(with_nonce.ek_public, plain.ek_public);
    assert_eq!(activates(&swtpm, &with_nonce), SECRET);

    // The profile's template with noDA set, which it isn't in the profile; then damaged.
    let mut template = plain.ek_public.clone();
    template[6] |= 4;
    provision(&swtpm, "0x01C0000C", &template);
    let changed = swtpm.open().identity().unwrap();
    assert_eq!(changed.ek_public[4..8], [0, 3, 4, 0xB2]);
    swtpm.must("tpm2_nvundefine", &["-C", "p", "0x01C0000C"]);
    provision(&swtpm, "0x01C0000C", &template[..40]);
    assert!(matches!(refused(swtpm.open().identity()), TpmError::EkTemplate(_)));
}

#[test]
fn an_unreadable_certificate_is_an_error_and_not_another_identity() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    swtpm.must("tpm2_nvdefine", &["0x01C0000A", "-C", "p", "-s", "8", "-a", "platformcreate|ppwrite|ppread"]);
    // Defined and never written is no certificate.
    assert!(swtpm.open().identity().unwrap().ek_public.starts_with(&ECC_SHA384));
    fs::write(swtpm.path("contents"), b"contents").unwrap();
    swtpm.must("tpm2_nvwrite", &["0x01C0000A", "-C", "p", "-i", "contents"]);
    let error = refused(swtpm.open().identity());
    assert!(matches!(error, TpmError::ReadEkCertificate { index: 0x01C0_000A, .. }), "{error:?}");
}

#[test]
fn a_wrong_credential_is_refused_and_leaves_nothing_behind() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    let identity = swtpm.open().identity().unwrap();
    let other_ak = credential(&swtpm, &identity.ek_public, &name(b"another object"));
    let good = credential(&swtpm, &identity.ek_public, &name(&identity.ak_public));
    let mut flipped = good.clone();
    flipped.0[10] ^= 1;
    let mut tpm = swtpm.open();
    // More often than the TPM has room for keys or sessions.
    for _ in 0..5 {
        for (id_object, secret) in [&other_ak, &flipped] {
            let error = refused(tpm.activate_credential(id_object, secret));
            assert!(matches!(error, TpmError::ActivateCredential(_)), "{error:?}");
        }
    }
    for (id_object, secret) in [(&[][..], &good.1[..]), (&good.0[..], &[][..])] {
        assert!(matches!(
            refused(tpm.activate_credential(id_object, secret)),
            TpmError::ActivateCredential(_)
        ));
    }
    let long = vec![0; 4096];
    assert!(matches!(refused(tpm.activate_credential(&long, &good.1)), TpmError::TooLong { size: 4096, .. }));
    assert!(matches!(refused(tpm.activate_credential(&good.0, &long)), TpmError::TooLong { size: 4096, .. }));
    assert_eq!(tpm.activate_credential(&good.0, &good.1).unwrap(), SECRET);
    drop(tpm);
    for kind in ["handles-transient", "handles-loaded-session"] {
        assert!(swtpm.must("tpm2_getcap", &[kind]).is_empty(), "{kind}");
    }
}

#[test]
fn pcrs_extend_as_the_specification_says() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let mut tpm = swtpm.open();
    let all: Vec<u8> = (0..24).collect();
    let before = tpm.pcr_read(&all).unwrap();
    assert_eq!(before.iter().map(|(pcr, _)| *pcr).collect::<Vec<_>>(), all);
    assert_eq!(before[0].1, [0; 32]);
    assert_eq!(before[17].1, [0xFF; 32]);
    tpm.pcr_extend(11, [7; 32]).unwrap();
    let extended: [u8; 32] = Sha256::digest([[0; 32], [7; 32]].concat()).into();
    assert_eq!(tpm.pcr_read(&[12, 11]).unwrap(), [(11, extended), (12, [0; 32])]);
    assert!(matches!(refused(tpm.pcr_extend(24, [0; 32])), TpmError::InvalidPcrs { .. }));
    // PCR 17 takes a locality that we don't have.
    assert!(matches!(refused(tpm.pcr_extend(17, [0; 32])), TpmError::ExtendPcr { pcr: 17, .. }));
}

#[test]
fn random_bytes_come_in_the_number_asked_for() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let mut tpm = swtpm.open();
    for count in [0, 1, 32, 33, 100] {
        assert_eq!(tpm.random(count).unwrap().len(), count);
    }
    assert_ne!(tpm.random(32).unwrap(), tpm.random(32).unwrap());
}

#[test]
fn a_missing_tpm_is_missing() {
    let Some(mut swtpm) = Swtpm::new(false) else { return };
    let backend = swtpm.backend();
    swtpm.kill();
    assert!(matches!(refused(Tpm::open(&backend)), TpmError::Missing { .. }));
    let device = Backend::Device("/dev/no-such-tpm".into());
    assert!(matches!(refused(Tpm::open(&device)), TpmError::Missing { .. }));
}

#[test]
fn a_second_opener_learns_soon_that_the_tpm_is_busy() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let mut first = swtpm.open();
    let start = Instant::now();
    assert!(matches!(refused(Tpm::open(&swtpm.backend())), TpmError::Busy { .. }));
    assert!(start.elapsed() < Duration::from_secs(8));
    first.properties().unwrap();
    drop(first);
    // Someone else who holds the connection.
    let held = TcpStream::connect(("127.0.0.1", swtpm.port())).unwrap();
    assert!(matches!(refused(Tpm::open(&swtpm.backend())), TpmError::Busy { .. }));
    drop(held);
    swtpm.open().properties().unwrap();
}

#[test]
fn a_tpm_that_dies_is_lost_and_can_be_opened_again() {
    let Some(mut swtpm) = Swtpm::new(false) else { return };
    let mut tpm = swtpm.open();
    swtpm.kill();
    assert!(matches!(refused(tpm.get_time(b"")), TpmError::Lost { .. }));
    drop(tpm);
    swtpm.start();
    swtpm.open().get_time(b"").unwrap();
}

#[test]
fn leftovers_of_a_killed_process_are_removed() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    // tpm2-tools leaves its keys and sessions in a TPM without a resource manager.
    for n in 0..3 {
        let key = format!("left{n}.ctx");
        swtpm.must("tpm2_createprimary", &["-C", "e", "-G", "ecc", "-c", &key]);
    }
    swtpm.must("tpm2_startauthsession", &["-S", "session.ctx"]);
    swtpm.must("tpm2_startauthsession", &["--policy-session", "-S", "policy.ctx"]);
    let full = swtpm.tool("tpm2_createprimary", &["-C", "e", "-G", "ecc", "-c", "more.ctx"]);
    assert!(!full.status.success(), "the TPM must be full for this test");
    let mut tpm = swtpm.open();
    tpm.identity().unwrap();
    drop(tpm);
    assert!(swtpm.must("tpm2_getcap", &["handles-transient"]).is_empty());
    assert!(swtpm.must("tpm2_getcap", &["handles-loaded-session"]).is_empty());
}

#[test]
fn power_cuts_do_not_lock_the_tpm() {
    let Some(mut swtpm) = Swtpm::new(true) else { return };
    let identity = swtpm.open().identity().unwrap();
    let (id_object, secret) = credential(&swtpm, &identity.ek_public, &name(&identity.ak_public));
    for _ in 0..5 {
        let mut tpm = swtpm.open();
        assert_eq!(tpm.activate_credential(&id_object, &secret).unwrap(), SECRET);
        tpm.quote(b"", &[0]).unwrap();
        tpm.get_time(b"").unwrap();
        swtpm.kill();
        drop(tpm);
        swtpm.start();
    }
    let state = swtpm.open().lockout_state().unwrap();
    assert_eq!((state.failed_tries, state.locked_out), (0, false));
}

#[test]
fn a_locked_tpm_still_serves_us() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    swtpm.must("tpm2_createprimary", &["-C", "o", "-G", "ecc", "-p", "right", "-c", "key.ctx"]);
    swtpm.must(
        "tpm2_dictionarylockout",
        &["--setup-parameters", "--max-tries=2", "--recovery-time=1000", "--lockout-recovery-time=1000"],
    );
    for _ in 0..3 {
        swtpm.tool("tpm2_create", &["-C", "key.ctx", "-P", "wrong", "-u", "x.pub", "-r", "x.prv"]);
        swtpm.must("tpm2_flushcontext", &["-t"]);
    }
    let mut tpm = swtpm.open();
    let state = tpm.lockout_state().unwrap();
    assert!(state.locked_out && state.failed_tries == 2 && state.max_tries == 2, "{state:?}");
    let identity = tpm.identity().unwrap();
    tpm.quote(b"", &[0]).unwrap();
    tpm.get_time(b"").unwrap();
    drop(tpm);
    assert_eq!(activates(&swtpm, &identity), SECRET);
}

#[test]
fn a_password_on_the_endorsement_hierarchy_is_explained() {
    let Some(swtpm) = Swtpm::new(true) else { return };
    swtpm.must("tpm2_changeauth", &["-c", "e", "secret"]);
    let error = refused(swtpm.open().identity());
    assert!(matches!(error, TpmError::CreateEk(_)), "{error:?}");
    assert!(error.hint().contains("endorsement hierarchy"));
}

#[test]
fn a_tpm_that_nobody_started_says_so() {
    let Some(mut swtpm) = Swtpm::new(false) else { return };
    swtpm.kill();
    swtpm.start_with("not-need-init");
    let error = refused(Tpm::open(&swtpm.backend()));
    assert!(matches!(error, TpmError::NotStarted), "{error:?}");
}

#[test]
fn a_tpm_in_failure_mode_says_so() {
    let Some(swtpm) = Swtpm::new(false) else { return };
    let mut tpm = swtpm.open();
    // Its storage vanishes, and the next write makes the TPM give up.
    fs::remove_dir_all(swtpm.path("state")).unwrap();
    let failed = (0..24).map(|pcr| tpm.pcr_extend(pcr, [1; 32])).find_map(Result::err);
    drop(tpm);
    swtpm.tool("tpm2_nvdefine", &["0x01500001", "-s", "8"]);
    let error = refused(Tpm::open(&swtpm.backend()));
    assert!(matches!(error, TpmError::FailureMode), "{error:?} after {failed:?}");
}
