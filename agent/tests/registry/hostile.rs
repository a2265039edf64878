//! Answers that are too long, too short, late, or something else than they say.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use assay_sandbox::pull::{Item, Request};
use assay_sandbox::unpack::UnpackError;
use serde_json::json;

use super::image::{Held, INDEX, MANIFEST, digest, tar};
use super::*;

fn content() -> Vec<u8> {
    (0..400_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A registry with one image whose layer is served by `blob`, given (how often it was asked for before, bytes).
fn serving(blob: impl Fn(usize, &Asked, &[u8], &mut dyn Write) + Send + Sync + 'static) -> (Server, String) {
    let mut held = Held::default();
    let layer = tar("f", &content());
    let manifest = held.add(std::slice::from_ref(&layer), |_, _| {});
    let (name, times) = (digest(&layer), AtomicUsize::new(0));
    let server = Server::start(move |asked, to| match asked.path.ends_with(&name) {
        true => blob(times.fetch_add(1, Ordering::Relaxed), asked, &layer, to),
        false => give(&held, asked, to),
    });
    let reference = format!("{}/a@{manifest}", server.authority);
    (server, reference)
}

fn head(to: &mut dyn Write, status: &str, length: usize, more: &str) {
    let _ = write!(to, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{more}\r\n");
}

#[test]
fn a_blob_that_breaks_off_is_taken_up_again() {
    for ranges in [true, false] {
        let (server, reference) = serving(move |times, asked, bytes, to| {
            let from =
                asked.header("range").map(|r| r.trim_start_matches("bytes=").trim_end_matches('-').parse());
            let from: usize = from.filter(|_| ranges).map_or(0, Result::unwrap);
            let end = if times < 2 { (times + 1) * 100_000 } else { bytes.len() };
            match from {
                0 => head(to, "200 OK", bytes.len(), ""),
                _ => {
                    let range =
                        format!("content-range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                    head(to, "206 Partial Content", bytes.len() - from, &range);
                }
            }
            let _ = to.write_all(&bytes[from..end]);
        });
        let node = Node::new(&insecure(&[&server.authority]));
        assert_eq!(file_of(&node.pull(&reference).unwrap()), content());
        assert_eq!(server.count("/blobs/"), 4, "the config, and three times the layer");
    }
}

#[test]
fn a_blob_that_always_breaks_off_is_given_up() {
    let (server, reference) = serving(|_, _, bytes, to| {
        head(to, "200 OK", bytes.len(), "");
        let _ = to.write_all(&bytes[..1000]);
    });
    let node = Node::new(&insecure(&[&server.authority]));
    assert_eq!(code(node.pull(&reference).unwrap_err()), "pull.failed");
    assert_eq!(server.count("/blobs/"), 6, "the config, and five times the layer");
    assert!(node.left().is_empty(), "{:?}", node.left());
}

#[test]
fn busy_registries_are_asked_again() {
    let (server, reference) = serving(|times, _, bytes, to| match times {
        0 => reply(to, "503 Service Unavailable", &[], b""),
        1 => reply(to, "429 Too Many Requests", &[], b""),
        _ => reply(to, "200 OK", &[], bytes),
    });
    let node = Node::new(&insecure(&[&server.authority]));
    assert_eq!(file_of(&node.pull(&reference).unwrap()), content());
}

#[test]
fn blobs_must_be_what_their_descriptors_say() {
    type Spoil = fn(&[u8], &mut dyn Write);
    let cases: [(&str, Spoil); 6] = [
        ("other bytes", |bytes, to| {
            reply(to, "200 OK", &[], &[&bytes[..600], &[!bytes[600]], &bytes[601..]].concat())
        }),
        ("too long by its length", |bytes, to| reply(to, "200 OK", &[], &[bytes, b"x"].concat())),
        ("too long without a length", |bytes, to| {
            let _ = write!(to, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            let _ = to.write_all(&[bytes, b"x"].concat());
        }),
        ("too short by its length", |bytes, to| reply(to, "200 OK", &[], &bytes[..bytes.len() - 512])),
        ("packed once more", |bytes, to| reply(to, "200 OK", &[("content-encoding", "gzip")], bytes)),
        ("a part that nobody asked for", |bytes, to| {
            reply(to, "206 Partial Content", &[("content-range", "bytes 5-9/10")], bytes);
        }),
    ];
    for (what, spoil) in cases {
        let (server, reference) = serving(move |_, _, bytes, to| spoil(bytes, to));
        let node = Node::new(&insecure(&[&server.authority]));
        assert_eq!(code(node.pull(&reference).unwrap_err()), "pull.mismatch", "{what}");
        assert_eq!(server.count("/blobs/"), 2, "{what}: trying again would not help");
        assert!(node.left().is_empty(), "{what}: {:?}", node.left());
    }
}

/// What a registry answers for the manifest.
fn answering(status: &'static str, headers: &[(&str, &str)], body: &[u8]) -> SandboxError {
    let headers: Vec<(String, String)> = headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let body = body.to_vec();
    let server = Server::start(move |_, to| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        reply(to, status, &headers, &body);
    });
    Node::new(&insecure(&[&server.authority])).pull(&format!("{}/a:v1", server.authority)).unwrap_err()
}

#[test]
fn manifests_are_bounded_and_typed() {
    let typed = [("content-type", MANIFEST)];
    assert_eq!(code(answering("200 OK", &typed, &vec![b' '; 5 << 20])), "pull.mismatch");
    assert_eq!(code(answering("200 OK", &[], b"{}")), "pull.mismatch");
    assert_eq!(
        code(answering("200 OK", &[("content-type", MANIFEST), ("content-encoding", "gzip")], b"{}")),
        "pull.mismatch"
    );
    let long = "x".repeat(300 << 10);
    assert_eq!(code(answering("200 OK", &[("content-type", MANIFEST), ("x", &long)], b"{}")), "pull.failed");
    assert_eq!(code(answering("418 I'm a teapot", &[], b"")), "pull.failed");
    assert!(matches!(answering("200 OK", &typed, b"[1]"), SandboxError::DecodeImage { .. }));
    // An index under a manifest's name, and the other way round (CVE-2021-41190).
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).to_string();
    assert!(matches!(answering("200 OK", &typed, index.as_bytes()), SandboxError::Image { .. }));
    let both = json!({"schemaVersion": 2, "manifests": [], "layers": [], "config": {}}).to_string();
    assert!(matches!(
        answering("200 OK", &[("content-type", INDEX)], both.as_bytes()),
        SandboxError::Image { .. }
    ));
}

#[test]
fn an_index_is_followed_to_this_machine_and_no_further() {
    let mut held = Held::default();
    let ours = held.add(&[tar("f", b"amd64")], |_, _| {});
    let entry = |held: &Held, name: &str, kind: &str, arch: &str| {
        json!({"mediaType": kind, "digest": name, "size": held.manifests[name].1.len(),
               "platform": {"os": "linux", "architecture": arch}})
    };
    let other = held.add(&[tar("f", b"arm64")], |_, _| {});
    let list = json!([entry(&held, &ours, MANIFEST, "amd64"), entry(&held, &other, MANIFEST, "arm64")]);
    let index = held.add_manifest(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list}));
    let deeper = json!([entry(&held, &index, INDEX, "amd64")]);
    let deeper =
        held.add_manifest(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": deeper}));
    let none = json!([entry(&held, &other, MANIFEST, "arm64")]);
    let none = held.add_manifest(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": none}));
    let server = Server::start(move |asked, to| give(&held, asked, to));
    let node = Node::new(&insecure(&[&server.authority]));
    let pull = |digest: &str| node.pull(&format!("{}/a@{digest}", server.authority));
    assert_eq!(file_of(&pull(&index).unwrap()), b"amd64");
    for (digest, rule) in [(deeper, "not an image manifest"), (none, "has no manifest for")] {
        let SandboxError::Image { rule: found, .. } = pull(&digest).unwrap_err() else { panic!() };
        assert!(found.contains(rule), "{found}");
    }
}

#[test]
fn foreign_layers_are_not_fetched() {
    let elsewhere = Server::start(|_, to| reply(to, "200 OK", &[], b""));
    let url = format!("http://{}/layer", elsewhere.authority);
    let mut held = Held::default();
    let manifest = held.add(&[tar("f", b"x")], |_, m| m["layers"][0]["urls"] = json!([url]));
    let server = Server::start(move |asked, to| give(&held, asked, to));
    let node = Node::new(&insecure(&[&server.authority, &elsewhere.authority]));
    let error = node.pull(&format!("{}/a@{manifest}", server.authority)).unwrap_err();
    assert!(matches!(error, SandboxError::Image { .. }), "{error:?}");
    assert!(elsewhere.asked().is_empty());
}

#[test]
fn what_a_layer_does_wrong_comes_back_from_the_unpack_process() {
    let mut held = Held::default();
    let names = ["../victim", "f"].map(|name| held.add(&[tar(name, b"x")], |_, _| {}));
    let lying = held.add(&[tar("f", b"y")], |config, _| {
        config["rootfs"]["diff_ids"] = json!([digest(b"something else")]);
    });
    let server = Server::start(move |asked, to| give(&held, asked, to));
    let node = Node::new(&insecure(&[&server.authority]));
    let pull = |digest: &str| node.pull(&format!("{}/a@{digest}", server.authority));
    let SandboxError::Unpack { source: UnpackError::Refused { rule, entry }, .. } =
        pull(&names[0]).unwrap_err()
    else {
        panic!()
    };
    assert_eq!((rule.as_str(), entry.as_str()), ("a path with ..", "../victim"));
    assert!(matches!(pull(&lying).unwrap_err(), SandboxError::Digest { .. }));
    assert!(node.left().is_empty(), "{:?}", node.left());
    pull(&names[1]).unwrap();
}

/// A registry that sends half of a layer and then nothing.
fn stalling() -> (Server, String) {
    serving(|_, _, bytes, to| {
        head(to, "200 OK", bytes.len(), "");
        let _ = to.write_all(&bytes[..bytes.len() / 2]).and_then(|()| to.flush());
        std::thread::sleep(Duration::from_secs(120));
    })
}

#[test]
fn a_pull_that_is_killed_in_the_middle_leaves_nothing() {
    let (server, reference) = stalling();
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let settings = insecure(&[&server.authority]);
    // Says who it is and becomes the pull process.
    let script = format!("echo $$ > {}; exec {} \"$@\"", pid_file.display(), agent().display());
    let mut arguments: Vec<std::ffi::OsString> = vec!["-c".into(), script.into(), "sh".into()];
    arguments.extend(settings.pull_arguments());
    let node = Node::with_puller(&settings, Puller::Program("/bin/sh".into(), arguments));
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| node.pull(&reference).map(|_| ()));
        while server.count("/blobs/") < 2 || !node.left().iter().any(|name| name.ends_with(".new")) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
        let error = pulling.join().unwrap().unwrap_err();
        assert!(matches!(error, SandboxError::Pull { source: PullError::Exchange(_), .. }), "{error:?}");
    });
    assert!(node.left().is_empty(), "{:?}", node.left());
}

/// A pull process, our end of its connection, and a request for a blob of this registry.
fn ask_for_a_blob(settings: &ImageSettings, server: &Server) -> (Child, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(agent());
    command.args(settings.pull_arguments()).stdin(OwnedFd::from(theirs.try_clone().unwrap()));
    let child = command.stdout(OwnedFd::from(theirs)).spawn().unwrap();
    let image = RegistryRef::parse(&format!("{}/a:v1", server.authority)).unwrap();
    let item = Item::Blob { digest: digest(b"x"), size: 1 << 20 };
    let line = serde_json::to_vec(&Request { image, item }).unwrap();
    ours.write_all(&[&line[..], b"\n"].concat()).unwrap();
    (child, ours)
}

/// A registry that sends a byte now and then.
fn trickling() -> Server {
    Server::start(|_, to| {
        head(to, "200 OK", 1 << 20, "");
        while to.write_all(b"x").and_then(|()| to.flush()).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}

#[test]
fn a_pull_process_is_gone_when_whoever_asked_hangs_up() {
    let server = trickling();
    let (mut child, ours) = ask_for_a_blob(&insecure(&[&server.authority]), &server);
    while server.count("/blobs/") < 1 {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(ours);
    // Sooner than a trickle is given up, and than there is enough to write.
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(25) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = child.try_wait().unwrap();
    let _ = child.kill();
    child.wait().unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}

#[test]
fn a_pull_process_ends_with_the_time_for_its_image() {
    let server = trickling();
    let settings = ImageSettings { minutes: 0, ..insecure(&[&server.authority]) };
    let (mut child, mut ours) = ask_for_a_blob(&settings, &server);
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(25))).unwrap();
    let mut answer = Vec::new();
    let read = std::io::Read::read_to_end(&mut ours, &mut answer);
    let _ = child.kill();
    child.wait().unwrap();
    read.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("did not come within its time"), "{answer:?}");
}

#[test]
fn a_blob_that_breaks_off_behind_its_last_byte_is_whole() {
    let (server, reference) = serving(|times, _, bytes, to| match times {
        0 => {
            let _ = write!(to, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", bytes.len());
            let _ = to.write_all(bytes).and_then(|()| to.write_all(b"\r\n"));
        }
        _ => reply(to, "416 Range Not Satisfiable", &[], b""),
    });
    let node = Node::new(&insecure(&[&server.authority]));
    assert_eq!(file_of(&node.pull(&reference).unwrap()), content());
    assert_eq!(server.count("/blobs/"), 2, "the config, and the layer once");
}

#[test]
fn a_pull_that_nobody_wants_any_more_ends() {
    let (server, reference) = stalling();
    let node = Node::new(&insecure(&[&server.authority]));
    let cancel = AtomicBool::new(false);
    let start = Instant::now();
    let error = std::thread::scope(|scope| {
        let pulling = scope.spawn(|| node.pull_watched(&reference, &cancel, &|_| {}).map(|_| ()));
        while server.count("/blobs/") < 2 {
            std::thread::sleep(Duration::from_millis(20));
        }
        cancel.store(true, Ordering::Relaxed);
        pulling.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, SandboxError::Cancelled), "{error:?}");
    // Long before the registry's silence would have ended it.
    assert!(start.elapsed() < Duration::from_secs(29));
    assert!(node.left().is_empty(), "{:?}", node.left());
}

fn status(pid: u32, key: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    line.unwrap_or_default().to_owned()
}

/// The unpack process that makes a layer of this store, once it is confined.
fn unpacker(store: &Path) -> Option<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = status(*pid, "PPid:") == std::process::id().to_string();
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let here = store.file_name().unwrap().to_str().unwrap();
        ours && line.ends_with(b"\0unpack\0") && mounts.contains(here) && status(*pid, "Seccomp:") == "2"
    })
}

#[test]
fn the_unpack_process_has_nothing_but_its_layer() {
    let (server, reference) = stalling();
    let node = Node::new(&insecure(&[&server.authority]));
    let cancel = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| node.pull_watched(&reference, &cancel, &|_| {}).map(|_| ()));
        let pid = loop {
            match unpacker(node.dir.path()) {
                Some(pid) => break pid,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let link = |pid: &str, name: &str| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        for space in ["user", "mnt", "net", "ipc", "uts", "cgroup"] {
            assert_ne!(link(&pid.to_string(), space), link("self", space), "{space}");
        }
        // CHOWN, DAC_OVERRIDE and FOWNER of its own user namespace; no more can come.
        assert_eq!(status(pid, "CapEff:"), "000000000000000b");
        assert_eq!(status(pid, "CapPrm:"), "000000000000000b");
        assert_eq!(status(pid, "CapInh:"), "0000000000000000");
        assert_eq!((status(pid, "NoNewPrivs:").as_str(), status(pid, "Threads:").as_str()), ("1", "1"));
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        assert_eq!(mounts.lines().count(), 1, "{mounts}");
        assert!(["nosuid", "nodev", "noexec"].iter().all(|flag| mounts.contains(flag)), "{mounts}");
        let devices = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        assert!(devices.lines().skip(2).all(|line| line.trim().starts_with("lo:")), "{devices}");
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let open: Vec<_> = open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
        assert!(open.iter().all(|file| !file.to_string_lossy().starts_with("socket:")), "{open:?}");
        if nix::unistd::geteuid().is_root() {
            let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
            assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "0", "65536"]);
        }
        cancel.store(true, Ordering::Relaxed);
        assert!(pulling.join().unwrap().is_err());
    });
}

#[test]
fn a_layer_that_many_pull_at_once_is_fetched_once() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    let (server, reference) = serving(move |_, _, bytes, to| {
        count.fetch_add(1, Ordering::Relaxed);
        // Long enough for the others to want it, too.
        std::thread::sleep(Duration::from_millis(500));
        reply(to, "200 OK", &[], bytes);
    });
    let node = Node::new(&insecure(&[&server.authority]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(file_of(&node.pull(&reference).unwrap()), content()));
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
