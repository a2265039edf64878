//! What a configuration may say, and how a bad one is told.

use super::*;

fn refused(text: &str) -> String {
    Config::parse(text).expect_err(text).to_string()
}

fn full() -> String {
    let key = "ab".repeat(32);
    format!(
        r#"
        [node]
        state_dir = "/srv/a \"quoted\" place"
        owner = "{key}"
        transfer = "/etc/assay/transfer"
        [network]
        id = "net-1"
        anchor_per_mille = 1000
        [[validator]]
        name = "one"
        url = "https://[::1]:8443"
        key = "{key}"
        tls_spki = "{key}"
        [[validator]]
        name = "two"
        url = "https://validator.example"
        key = "{}"
        tls_spki = "{key}"
        [tpm]
        backend = "swtpm:host=127.0.0.1,port=2321"
        simulated = true
        ek_certificate = "/etc/assay/ek.pem"
        ek_certificate_url = false
        ek_certificate_service = "https://mirror.example:8443/ek/"
        [boot]
        simulated = true
        ima_log = "/ima"
        [cadence]
        beat_ms = 1000
        sample_ms = 100
        [gpu]
        enabled = false
        library = "/opt/lib/libnvidia-ml.so.1"
        [sandbox]
        jailer = "/opt/assay-jailer"
        id_base = 200000
        reserved_cpus = "0-1"
        jobs_kept = 12
        jobs_gib = 34
        checkpoints_kept = 56
        checkpoints_gib = 78
        [sandbox.images]
        disk_gib = 5
        reserve_mib = 100
        layer_gib = 3
        minutes = 7
        tags = true
        allow_private = true
        insecure_registries = ["127.0.0.1:5000", "[::1]:5000", "reg.lan"]
        ca_file = "/etc/assay/registries.pem"
        credentials = "/etc/assay/registries.json"
        "#,
        "cd".repeat(32)
    )
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
}

#[test]
fn what_is_printed_reads_back_equal() {
    for config in [Config::default(), Config::parse(&full()).unwrap()] {
        let printed = config.render();
        let again = Config::parse(&printed).unwrap();
        assert_eq!(again, config);
        assert_eq!(again.render(), printed);
        assert_eq!(again.digest(), config.digest());
    }
}

#[test]
fn every_value_of_the_file_is_printed() {
    let printed = Config::parse(&full()).unwrap().render();
    for value in ["net-1", "1000", "[::1]:8443", "cdcd", "port=2321", "/ima", "200000", "/opt/assay-jailer"]
        .into_iter()
        .chain(["abab", "/etc/assay/transfer", "/etc/assay/ek.pem", "mirror.example", "_url = false"])
    {
        assert!(printed.contains(value), "{value} in\n{printed}");
    }
}

#[test]
fn unknown_keys_are_named_with_the_known_ones() {
    let message = refused("[cadence]\nbeat_ms = 1000\nbeats_ms = 5\n");
    assert_eq!(message, "line 3, column 1: unknown field `beats_ms`, expected `beat_ms` or `sample_ms`");
    let message = refused("[networks]\n");
    for known in ["`networks`", "`node`", "`network`", "`validator`", "`tpm`", "`boot`", "`sandbox`"] {
        assert!(message.contains(known), "{message}");
    }
    for table in ["node", "network", "tpm", "boot", "gpu", "sandbox"] {
        assert!(refused(&format!("[{table}]\nnothing = 1\n")).contains("`nothing`"), "{table}");
    }
    assert!(refused("[[validator]]\nnothing = 1\n").contains("`nothing`"));
}

#[test]
fn broken_text_and_wrong_types_have_a_place() {
    assert!(refused("[cadence\n").starts_with("line 1, "));
    assert!(refused("\n\n[cadence]\nbeat_ms = \"fast\"\n").starts_with("line 4, column 11: "));
    assert!(refused("[cadence]\nbeat_ms = -1\n").starts_with("line 2, "));
    let digits = "[[validator]]\nname = \"a\"\nurl = \"https://a\"\nkey = \"abc\"\ntls_spki = \"\"\n";
    assert!(refused(digits).contains("expected 64 hexadecimal digits"));
}

#[test]
fn every_range_is_checked_and_named() {
    for (text, key) in [
        ("[node]\nstate_dir = \"state\"", "node.state_dir"),
        ("[node]\nruntime_dir = \"\"", "node.runtime_dir"),
        ("[network]\nid = \"a b\"", "network.id"),
        ("[network]\nid = \"\"", "network.id"),
        ("[network]\nanchor_per_mille = 0", "network.anchor_per_mille"),
        ("[network]\nanchor_per_mille = 1001", "network.anchor_per_mille"),
        ("[tpm]\nbackend = \"tpmrm0\"", "tpm.backend"),
        ("[tpm]\nbackend = \"swtpm:host=a,port=1\"", "tpm.simulated"),
        ("[node]\ntransfer = \"/t\"", "node.transfer"),
        (&format!("[node]\nowner = \"{}\"\ntransfer = \"t\"", "ab".repeat(32)), "node.transfer"),
        ("[tpm]\nek_certificate = \"ek.der\"", "tpm.ek_certificate"),
        ("[tpm]\nek_certificate_service = \"http://a/\"", "tpm.ek_certificate_service"),
        ("[tpm]\nek_certificate_service = \"https://a\"", "tpm.ek_certificate_service"),
        ("[tpm]\nek_certificate_service = \"https://a/b\"", "tpm.ek_certificate_service"),
        ("[tpm]\nek_certificate_service = \"https://a/b?c/\"", "tpm.ek_certificate_service"),
        ("[boot]\nsimulated = true", "boot.simulated"),
        ("[boot]\nfirmware_log = \"log\"", "boot.firmware_log"),
        ("[boot]\nuserspace_log = \"log\"", "boot.userspace_log"),
        ("[boot]\nima_log = \"/a\\nb\"", "boot.ima_log"),
        ("[cadence]\nbeat_ms = 99", "cadence.beat_ms"),
        ("[cadence]\nbeat_ms = 600001", "cadence.beat_ms"),
        ("[cadence]\nsample_ms = 9", "cadence.sample_ms"),
        ("[cadence]\nbeat_ms = 500", "cadence.sample_ms"),
        ("[gpu]\nlibrary = \"lib/nvml.so\"", "gpu.library"),
        ("[gpu]\nlibrary = \"\"", "gpu.library"),
        ("[sandbox]\njailer = \"jailer\"", "sandbox.jailer"),
        ("[sandbox]\nid_base = 1000", "sandbox.id_base"),
        ("[sandbox]\nid_base = 4000000000", "sandbox.id_base"),
        ("[sandbox]\nreserved_cpus = \"two\"", "sandbox.reserved_cpus"),
        ("[sandbox]\njobs_kept = 0", "sandbox.jobs_kept"),
        ("[sandbox]\njobs_gib = 0", "sandbox.jobs_gib"),
        ("[sandbox]\ncheckpoints_kept = 5000", "sandbox.checkpoints_kept"),
        ("[sandbox]\ncheckpoints_gib = 2000000", "sandbox.checkpoints_gib"),
        ("[sandbox.images]\ndisk_gib = 0", "sandbox.images.disk_gib"),
        ("[sandbox.images]\nreserve_mib = 1", "sandbox.images.reserve_mib"),
        ("[sandbox.images]\nlayer_gib = 0", "sandbox.images.layer_gib"),
        ("[sandbox.images]\nminutes = 20000", "sandbox.images.minutes"),
        ("[sandbox.images]\ninsecure_registries = [\"http://r.lan\"]", "sandbox.images.insecure_registries"),
        ("[sandbox.images]\ninsecure_registries = [\"r.lan/a\"]", "sandbox.images.insecure_registries"),
        ("[sandbox.images]\nca_file = \"roots.pem\"", "sandbox.images.ca_file"),
        ("[sandbox.images]\ncredentials = \"auth.json\"", "sandbox.images.credentials"),
    ] {
        let message = refused(text);
        assert!(
            message.starts_with(&format!("{key} = ")) && message.contains("must be"),
            "{text}: {message}"
        );
    }
    let long = format!("[node]\nruntime_dir = \"/{}\"", "a".repeat(90));
    assert!(refused(&long).contains("90 bytes"));
}

#[test]
fn validators_are_checked_one_by_one() {
    let entry = |name: &str, url: &str, key: &str| {
        let (key, spki) = (key.repeat(32), "00".repeat(32));
        format!("[[validator]]\nname = \"{name}\"\nurl = \"{url}\"\nkey = \"{key}\"\ntls_spki = \"{spki}\"\n")
    };
    let good = entry("one", "https://one", "aa");
    assert_eq!(Config::parse(&good).unwrap().validator.len(), 1);
    for (other, key) in [
        (entry("one", "https://two", "bb"), "validator[1].name"),
        (entry("two", "https://two", "aa"), "validator[1].key"),
        (entry("t o", "https://two", "bb"), "validator[1].name"),
        (entry("two", "http://two", "bb"), "validator[1].url"),
    ] {
        assert!(refused(&format!("{good}{other}")).starts_with(key));
    }
    let many: String = (10..=26).map(|n| entry(&format!("v{n}"), "https://v", &n.to_string())).collect();
    assert!(refused(&many).contains("at most 16"));
}

#[test]
fn urls_are_https_with_a_host_and_nothing_behind() {
    assert_eq!(check::authority("https://a.example"), Some(("a.example", 443)));
    assert_eq!(check::authority("https://127.0.0.1:8443"), Some(("127.0.0.1", 8443)));
    assert_eq!(check::authority("https://[::1]:8443"), Some(("::1", 8443)));
    for bad in [
        "http://a",
        "https://",
        "https://a/",
        "https://a:0",
        "https://a:65536",
        "https://a:",
        "https://u@a",
        "https://[::1",
        "https://[x]",
        "https://[::1]8",
        "https://a:1:2",
        "a",
    ] {
        assert_eq!(check::authority(bad), None, "{bad}");
    }
}

#[test]
fn the_digest_covers_values_and_no_comments() {
    let base = Config::default().digest();
    assert_eq!(Config::parse("# a comment\n[gpu]\nenabled = true\n").unwrap().digest(), base);
    assert_ne!(Config::parse("[gpu]\nenabled = false\n").unwrap().digest(), base);
    assert_ne!(Config::parse("[boot]\nima_log = \"/ima\"\n").unwrap().digest(), base);
}

#[test]
fn a_file_has_a_size_limit_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    assert!(Config::load(&path).unwrap_err().to_string().contains("agent.toml"));
    std::fs::write(&path, "# ".repeat(40_000)).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::TooLarge { .. })));
    std::fs::write(&path, Config::default().render()).unwrap();
    assert_eq!(Config::load(&path).unwrap(), Config::default());
}

#[test]
fn what_is_kept_of_jobs_reaches_the_sandbox() {
    let config = Config::parse(&full()).unwrap();
    let puller = assay_sandbox::pull::Puller::Socket("/pull".into());
    let unpacker = assay_sandbox::unpack_process::Unpacker::InProcess;
    let kept = config.sandbox.sandbox(&config.node, unpacker, puller).retention;
    assert_eq!((kept.jobs, kept.job_bytes), (12, 34 << 30));
    assert_eq!((kept.checkpoints, kept.checkpoint_bytes), (56, 78 << 30));
}
