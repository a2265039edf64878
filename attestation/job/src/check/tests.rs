use super::*;
use crate::file::JOB_FILE_MAX;

const TOML: &str = r#"
    [job]
    image = "oci:/layout:v1"
    command = ["/bin/sh", "-c", "true"]
    env = { B = "2", A = "1" }
    timeout = "30s"
    outputs = ["/out"]
    output_bytes = "8Mi"
    restart = { on = "failure", max = 3, backoff = "5s" }
    checkpoint = "/ckpt"
    checkpoint_bytes = "4Mi"
    [[job.inputs]]
    source = "/data/set"
    sha256 = "0707070707070707070707070707070707070707070707070707070707070707"
    target = "/in"
    [job.secrets]
    KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    [job.resources]
    cpu = "500m"
    memory = "512Mi"
    disk = "1Gi"
    pids = 16
    limits = "rlimit"
"#;

const JSON: &str = r#"{"job": {"outputs": ["/out"], "timeout": "30s", "image": "oci:/layout:v1",
    "output_bytes": "8Mi", "restart": {"on": "failure", "max": 3, "backoff": "5s"}, "checkpoint": "/ckpt",
    "checkpoint_bytes": "4Mi", "inputs": [{"target": "/in", "source": "/data/set",
    "sha256": "0707070707070707070707070707070707070707070707070707070707070707"}],
    "secrets": {"KEY": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    "env": {"A": "1", "B": "2"}, "command": ["/bin/sh", "-c", "true"],
    "resources": {"cpu": "500m", "memory": "512Mi", "disk": "1Gi", "pids": 16, "limits": "rlimit"}}}"#;

fn error(text: &str) -> JobError {
    JobFile::parse(text.as_bytes()).unwrap_err()
}

#[test]
fn toml_and_json_are_one_job() {
    let toml = JobFile::parse(TOML.as_bytes()).unwrap();
    let json = JobFile::parse(JSON.as_bytes()).unwrap();
    assert_eq!(toml, json);
    assert_eq!(toml.digest(), json.digest());
    assert_eq!((toml.resources.cpu_milli, toml.timeout_ms), (500, 30_000));
    assert_eq!(toml.restart, Some(Restart { max: 3, backoff_ms: 5000 }));
    assert_eq!(toml.checkpoint, Some(Checkpoint { target: "/ckpt".into(), bytes: 4 << 20 }));
    assert_eq!((toml.output_bytes, toml.inputs[0].sha256), (8 << 20, [7; 32]));
    assert_eq!(toml.secrets["KEY"].0.len(), 57);
}

#[test]
fn what_is_not_said_has_a_default() {
    let job = JobFile::parse(b"[job]\nimage = \"oci:/l\"\ncheckpoint = \"/c\"\n").unwrap();
    let disk = job.resources.disk_bytes;
    assert_eq!((job.timeout_ms, disk, job.output_bytes), (600_000, 256 << 20, disk));
    assert_eq!(job.checkpoint.unwrap().bytes, disk);
    assert_eq!(
        (job.restart, job.image),
        (None, ImageRef::Layout { path: "/l".into(), tag: "latest".into() })
    );
}

#[test]
fn the_digest_covers_every_field() {
    let job = JobFile::parse(TOML.as_bytes()).unwrap();
    let changes = [
        ("v1", "v2"),
        ("true", "false"),
        ("B = \"2\"", "B = \"3\""),
        ("30s", "31s"),
        ("/out", "/res"),
        ("8Mi", "9Mi"),
        ("max = 3", "max = 4"),
        ("5s", "6s"),
        ("\"/ckpt\"", "\"/kept\""),
        ("4Mi", "5Mi"),
        ("/data/set", "/data/sets"),
        ("0707", "0708"),
        ("\"/in\"", "\"/into\""),
        ("KEY", "KEYS"),
        ("500m", "501m"),
        ("512Mi", "513Mi"),
        ("1Gi", "2Gi"),
        ("pids = 16", "pids = 17"),
        ("limits = \"rlimit\"", "limits = \"cgroup\""),
        ("limits = \"rlimit\"", "limits = \"rlimit\"\ngpus = 1"),
        ("timeout", "network = \"egress\"\ntimeout"),
    ];
    for (from, to) in changes {
        let other = JobFile::parse(TOML.replacen(from, to, 1).as_bytes()).unwrap();
        assert_ne!(job.digest(), other.digest(), "{to}");
    }
    // A seal binds the digest, so the digest cannot cover the seal.
    let resealed = JobFile::parse(TOML.replace("\"AAAA", "\"BBBB").as_bytes()).unwrap();
    assert_ne!(resealed, job);
    assert_eq!(resealed.digest(), job.digest());
}

#[test]
fn refuses_unknown_and_duplicate_keys() {
    for text in [
        TOML.replace("timeout", "hooks = []\ntimeout"),
        TOML.replace("pids", "swap = \"1Gi\"\npids"),
        TOML.replace("source", "mode = 1\nsource"),
        TOML.replace("max = 3", "max = 3, min = 1"),
        TOML.replace("\"failure\"", "\"success\""),
        format!("{TOML}\n[other]"),
        JSON.replacen("\"A\": \"1\"", "\"A\": \"1\", \"A\": \"3\"", 1),
        JSON.replacen("\"KEY\":", "\"KEY\": \"\", \"KEY\":", 1),
        JSON.replacen("\"timeout\"", "\"timeout\": \"1s\", \"timeout\"", 1),
        format!("{JSON} {{}}"),
    ] {
        assert!(matches!(error(&text), JobError::Syntax { .. }), "{text}");
    }
}

#[test]
fn syntax_errors_name_the_offset() {
    let JobError::Syntax { offset, .. } = error("[job]\nimage = 5\n") else { panic!() };
    assert_eq!(offset, 14);
    let JobError::Syntax { offset, .. } = error("{\"job\":\n{\"image\": 5}}") else { panic!() };
    assert!((17..=19).contains(&offset), "{offset}");
}

#[test]
fn ranges_name_the_field() {
    let cases = [
        ("oci:/layout:v1", "oci:relative:v1", "job.image"),
        ("oci:/layout:v1", "oci:/layout:../x", "job.image"),
        ("30s", "30", "job.timeout"),
        ("30s", "1ms", "job.timeout"),
        ("30s", "999h", "job.timeout"),
        ("\"/bin/sh\"", "\"\"", "job.command"),
        ("B = ", "\"B=C\" = ", "job.env"),
        ("B = ", "ASSAY_RESTART = ", "job.env"),
        ("\"/out\"", "\"out\"", "job.outputs"),
        ("\"/out\"", "\"/a/../out\"", "job.outputs"),
        ("\"/out\"", "\"/proc/x\"", "job.outputs"),
        ("\"/out\"", "\"/run\"", "job.outputs"),
        ("\"/out\"", "\"/out\", \"/out/more\"", "job.outputs"),
        ("\"/out\"", "\"/out\", \"/out\"", "job.outputs"),
        ("8Mi", "8M", "job.output_bytes"),
        ("max = 3", "max = 0", "job.restart.max"),
        ("max = 3", "max = 101", "job.restart.max"),
        ("5s", "11m", "job.restart.backoff"),
        ("\"/ckpt\"", "\"/out/ckpt\"", "job.checkpoint"),
        ("\"/ckpt\"", "\"/dev/shm\"", "job.checkpoint"),
        ("\"4Mi\"", "\"1\"", "job.checkpoint_bytes"),
        ("checkpoint = \"/ckpt\"", "", "job.checkpoint_bytes"),
        ("\"/data/set\"", "\"data/set\"", "job.inputs.source"),
        ("\"/data/set\"", "\"/data/../etc\"", "job.inputs.source"),
        ("\"/data/set\"", "\"/proc/kmsg\"", "job.inputs.source"),
        ("\"/data/set\"", "\"/dev/watchdog\"", "job.inputs.source"),
        ("0707", "07", "job.inputs.sha256"),
        ("0707", "0F07", "job.inputs.sha256"),
        ("\"/in\"", "\"/\"", "job.inputs.target"),
        ("\"/in\"", "\"/out\"", "job.inputs.target"),
        ("\"/in\"", "\"/run/secrets/x\"", "job.inputs.target"),
        ("KEY", "\"../KEY\"", "job.secrets"),
        ("KEY", "\".KEY\"", "job.secrets"),
        ("\"AAAA", "\"*AAA", "job.secrets"),
        ("\"AAAAAAAAAAAAAAAA", "\"", "job.secrets"),
        ("500m", "0", "job.resources.cpu"),
        ("512Mi", "1Mi", "job.resources.memory"),
        ("1Gi", "10", "job.resources.disk"),
        ("pids = 16", "pids = 0", "job.resources.pids"),
        ("pids = 16", "pids = 16\ngpus = 65", "job.resources.gpus"),
    ];
    for (from, to, expected) in cases {
        let changed = TOML.replacen(from, to, 1);
        assert_ne!(changed, TOML, "{from}");
        let JobError::Field { field, .. } = error(&changed) else { panic!("{to}: {:?}", error(&changed)) };
        assert_eq!(field, expected, "{to}");
    }
}

#[test]
fn images_are_layouts_or_a_registrys() {
    let digest = "07".repeat(32);
    let image = format!("registry.example/team/app@sha256:{digest}");
    let job = JobFile::parse(TOML.replace("oci:/layout:v1", &image).as_bytes()).unwrap();
    assert!(matches!(job.image, ImageRef::Registry(_)));
    assert!(matches!(error(&TOML.replace("oci:/layout:v1", "app")), JobError::Image(_)));
}

#[test]
fn counts_have_limits() {
    let many = |count: usize| {
        let inputs =
            |n| format!("[[job.inputs]]\nsource = \"/a\"\nsha256 = \"{:064}\"\ntarget = \"/i{n}\"\n", 0);
        format!("[job]\nimage = \"oci:/l\"\n{}", (0..count).map(inputs).collect::<String>())
    };
    assert!(JobFile::parse(many(32).as_bytes()).is_ok());
    assert!(matches!(error(&many(33)), JobError::Field { field: "job.inputs", .. }));
    let sealed = "A".repeat(64);
    let secrets = |count| {
        let all: String = (0..count).map(|n| format!("S{n} = \"{sealed}\"\n")).collect();
        format!("[job]\nimage = \"oci:/l\"\n[job.secrets]\n{all}")
    };
    assert!(JobFile::parse(secrets(64).as_bytes()).is_ok());
    assert!(matches!(error(&secrets(65)), JobError::Field { field: "job.secrets", .. }));
}

#[test]
fn pauses_double_up_to_ten_minutes() {
    let restart = Restart { max: 12, backoff_ms: 5000 };
    let pauses: Vec<_> = (0..=13).map(|n| restart.pause_ms(n)).collect();
    assert_eq!(pauses[..4], [None, Some(5000), Some(10_000), Some(20_000)]);
    assert_eq!((pauses[12], pauses[13]), (Some(600_000), None));
    assert_eq!(Restart { max: 100, backoff_ms: 0 }.pause_ms(100), Some(0));
}

#[test]
fn refuses_long_and_non_utf8_text() {
    assert_eq!(error(&" ".repeat(JOB_FILE_MAX + 1)), JobError::TooLong);
    assert!(matches!(JobFile::parse(b"[job]\xff"), Err(JobError::Syntax { offset: 5, .. })));
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, at in 0..TOML.len(), byte: u8) {
        let _ = JobFile::parse(&bytes);
        let mut text = TOML.as_bytes().to_vec();
        text[at] = byte;
        let _ = JobFile::parse(&text);
    }
}
