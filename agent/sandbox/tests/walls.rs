//! What a job must not see, have or do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use assay_sandbox::Exit;
use common::{Bench, ImageBuilder, LayerTar, busybox, can_run, is_root};

#[test]
fn no_rights() {
    if !can_run() {
        return;
    }
    let done = Bench::new().run("cat /proc/self/status; umask; ulimit -c");
    let value = |key: &str| {
        let line =
            done.stdout.tail.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_else(|| panic!("{key}"));
        line.trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!(
        (value("NoNewPrivs"), value("Seccomp"), value("Seccomp_filters")),
        ("1".into(), "2".into(), "1".into())
    );
    assert_eq!((value("SigIgn"), value("SigBlk")), ("0000000000000000".into(), "0000000000000000".into()));
    assert_eq!((value("Groups"), value("Uid")), (String::new(), "0\t0\t0\t0".into()));
    assert!(done.stdout.tail.ends_with("0022\n0\n"), "{}", done.stdout.tail);
}

#[test]
fn ids_are_nobodys_outside() {
    if !can_run() || !is_root() {
        eprintln!("SKIPPED: id ranges need root");
        return;
    }
    let bench = Bench::new();
    let done = bench.run("cat /proc/self/uid_map /proc/self/gid_map; stat -c %u /bin/busybox");
    assert_eq!(
        done.stdout.tail.split_whitespace().collect::<Vec<_>>(),
        ["0", "1879048192", "65536", "0", "1879048192", "65536", "0"]
    );
    // The layer on disk belongs to root of the host and was not written to.
    let layers = std::fs::read_dir(bench.state().join("layers")).unwrap().flatten();
    let layer = layers.map(|e| e.path()).find(|p| p.is_dir()).unwrap();
    assert_eq!(layer.join("bin/busybox").metadata().unwrap().uid(), 0);
}

#[test]
fn nothing_of_the_host_is_mounted() {
    if !can_run() {
        return;
    }
    let done =
        Bench::new().run("cat /proc/self/mountinfo; echo; ls -a / /.. /../.. | sort -u; ls /dev; ls /proc");
    let (mounts, listing) = done.stdout.tail.split_once("\n\n").unwrap();
    let mut points: Vec<_> = mounts.lines().map(|l| l.split(' ').nth(4).unwrap()).collect();
    points.sort_unstable();
    assert_eq!(
        points,
        [
            "/",
            "/dev",
            "/dev/full",
            "/dev/null",
            "/dev/random",
            "/dev/shm",
            "/dev/urandom",
            "/dev/zero",
            "/proc",
            "/sys"
        ]
    );
    for line in mounts.lines() {
        let options = line.split(' ').nth(5).unwrap();
        let is_device = line.contains(" - devtmpfs ");
        assert!(options.contains("nosuid") && (is_device || options.contains("nodev")), "{line}");
        assert!(!line.contains("shared:") && !line.contains("master:"), "{line}");
    }
    for host in ["etc", "home", "root", "kcore", "sysrq-trigger", "kmsg", "ptmx", "tty"] {
        assert!(!listing.lines().any(|l| l == host), "{host} in {listing}");
    }
}

#[test]
fn only_its_own_processes() {
    if !can_run() {
        return;
    }
    let done =
        Bench::new().run("ls /proc; cat /proc/1/cmdline; kill -9 1; echo $$; ls /proc/1/root /proc/1/fd");
    let pids: Vec<u32> = done.stdout.tail.lines().filter_map(|l| l.parse().ok()).collect();
    assert!(pids.iter().all(|p| *p < 10), "{pids:?}");
    // Process 1 is the jailer's; it is neither visible nor mortal.
    assert!(!pids.contains(&1) && pids.contains(&2), "{pids:?}");
    assert!(done.stderr.tail.lines().count() >= 3, "{}", done.stderr.tail);
}

#[test]
fn only_three_descriptors() {
    if !can_run() {
        return;
    }
    // An inheritable descriptor of the supervisor's must not get through.
    let leak = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let done = Bench::new().run("ls -l /proc/self/fd; ls /proc/$$/fd; true");
    drop(leak);
    let shell: Vec<_> = done.stdout.tail.lines().rev().map_while(|l| l.parse::<u32>().ok()).collect();
    assert!(shell.iter().all(|fd| *fd <= 2 || *fd == 10), "{}", done.stdout.tail);
    assert!(
        !done.stdout.tail.contains("passwd") && !done.stdout.tail.contains("socket"),
        "{}",
        done.stdout.tail
    );
    assert!(done.stdout.tail.contains("0 -> /dev/null"), "{}", done.stdout.tail);
}

#[test]
fn no_network_but_loopback() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "ip addr; wget -T 2 -O - http://127.0.0.1:{port}/; ping -c 1 -W 1 1.1.1.1; nc -w 2 192.168.0.1 80"
    );
    let done = bench.run(&script);
    let links: Vec<_> =
        done.stdout.tail.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(links.len(), 1, "{}", done.stdout.tail);
    assert!(links[0].contains("lo:") && links[0].contains("UP"), "{links:?}");
    assert!(!done.exit.is_success());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "the job reached the host's loopback");
    let local = bench.run("nc -l -p 5000 -e echo reached & sleep 0.5; nc -w 2 127.0.0.1 5000");
    assert_eq!(local.stdout.tail, "reached\n", "{}", local.stderr.tail);
}

#[test]
fn forbidden_calls_are_refused() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    for call in [
        "mount -t tmpfs x /tmp",
        "umount /proc",
        "unshare -U true",
        "unshare -m true",
        "chroot / /bin/true",
        "hostname other",
    ] {
        let done = bench.run(&format!("{call}; echo $?"));
        assert_eq!(done.stdout.tail, "1\n", "{call}: {done:?}");
        assert!(done.stderr.tail.contains("ermi"), "{call}: {done:?}");
    }
}

#[test]
fn no_devices_and_no_way_back_to_privilege() {
    if !can_run() {
        return;
    }
    let suid = busybox().entry(
        tar::EntryType::Regular,
        "bin/suid",
        "",
        &std::fs::read("/bin/busybox").unwrap(),
        0o6755,
    );
    let bench = Bench::with_image(&ImageBuilder::new(vec![suid.bytes()]));
    let done = bench.run(
        "mknod /tmp/kmsg c 1 11; mknod /tmp/sda b 8 0; touch /dev/x; chmod 777 /dev/null; rm /dev/null; \
         stat -c %a /bin/suid; touch /proc/sys/kernel/core_pattern; echo x > /dev/null && head -c 4 /dev/urandom | wc -c",
    );
    assert_eq!(done.stdout.tail, "755\n4\n", "{}", done.stderr.tail);
    assert_eq!(done.stderr.tail.lines().count(), 6, "{}", done.stderr.tail);
}

#[test]
fn links_in_the_image_do_not_redirect_mounts() {
    if !can_run() {
        return;
    }
    let trap = tempfile::tempdir().unwrap();
    std::fs::set_permissions(trap.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let outside = trap.path().to_str().unwrap();
    let before = std::fs::read_dir("/").unwrap().count();
    for target in [outside, "/", "..", "/bin"] {
        let links = LayerTar::new().symlink("dev", target).symlink("proc", target);
        let bench = Bench::with_image(&ImageBuilder::new(vec![busybox().bytes(), links.bytes()]));
        let done = bench.run(
            "ls -ld /dev /proc | head -c 1; test -c /dev/null && test -d /proc/self && echo ok; ls /bin/sh",
        );
        assert_eq!(done.stdout.tail, "dok\n/bin/sh\n", "{target}: {done:?}");
        // An output behind a link is refused rather than guessed at.
        let links = LayerTar::new().symlink("out", target);
        let bench = Bench::with_image(&ImageBuilder::new(vec![busybox().bytes(), links.bytes()]));
        let done = bench.run_with("echo evil > /out/file", "outputs = [\"/out\"]").unwrap();
        assert!(matches!(done.exit, Exit::Refused { .. }), "{target}: {done:?}");
        let done = bench.run_with("true", "outputs = [\"/out/below\"]").unwrap();
        assert!(matches!(done.exit, Exit::Refused { .. }), "{target}: {done:?}");
    }
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir("/").unwrap().count(), before);
    // A file where a directory has to be is covered as well.
    let files = LayerTar::new().file("dev", b"").file("proc", b"");
    let bench = Bench::with_image(&ImageBuilder::new(vec![busybox().bytes(), files.bytes()]));
    assert_eq!(bench.run("test -c /dev/null && test -d /proc/self").exit, Exit::Code(0));
}

#[test]
fn the_environment_is_the_jobs_own() {
    if !can_run() {
        return;
    }
    let done = Bench::new().run_with("env; hostname; pwd", "env = { B = \"1\", IMAGE = \"no\" }").unwrap();
    let mut lines: Vec<_> =
        done.stdout.tail.lines().filter(|l| !l.starts_with("SHLVL=") && !l.starts_with("PWD=")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["/", "ASSAY_RESTART=0", "B=1", "IMAGE=no", "PATH=/bin", "job"]);
}
