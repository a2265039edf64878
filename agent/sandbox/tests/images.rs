//! Images that are not what they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use assay_sandbox::SandboxError;
use assay_sandbox::image::{self, Image};
use assay_sandbox::images::{Event, Images, ImagesConfig, Provided};
use assay_sandbox::job::ImageRef;
use assay_sandbox::unpack::{UnpackError, UnpackLimits};
use common::{ImageBuilder, LayerTar};
use serde_json::{Value, json};

fn small() -> ImageBuilder {
    ImageBuilder::new(vec![LayerTar::new().file("f", b"x").bytes()])
}

fn store(dir: &Path, config: ImagesConfig) -> Images {
    Images::open(dir.to_owned(), config).unwrap()
}

fn provide(images: &Images, layout: &Path) -> Result<Provided, SandboxError> {
    let reference = ImageRef::Layout { path: layout.to_owned(), tag: "test".to_owned() };
    images.provide(&reference, &AtomicBool::new(false), &|_| {})
}

/// Names in the store that are no locks.
fn kept(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".lock")).collect()
}

/// Writes an image, lets `damage` at its blobs (layers, config, manifest), opens and unpacks it.
fn attempt(image: &ImageBuilder, damage: impl FnOnce(&Path, &[PathBuf])) -> Result<Image, SandboxError> {
    let dir = tempfile::tempdir().unwrap();
    let blobs = image.write(dir.path());
    damage(dir.path(), &blobs);
    let (opened, _) = image::open(dir.path(), "test")?;
    let cache = tempfile::tempdir().unwrap();
    let provided = provide(&store(cache.path(), ImagesConfig::default()), dir.path());
    match provided {
        Ok(provided) => assert!(provided.layers().iter().all(|l| l.join("f").exists())),
        Err(error) => {
            // Nothing stays of a layer that was refused, not even its lock.
            assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
            return Err(error);
        }
    }
    Ok(opened)
}

fn tampered(tamper: fn(&mut Value, &mut Value)) -> SandboxError {
    attempt(&ImageBuilder { tamper, ..small() }, |_, _| {}).unwrap_err()
}

fn image_rule(error: &SandboxError) -> &str {
    let SandboxError::Image { rule, .. } = error else { panic!("{error:?}") };
    rule
}

#[test]
fn a_good_image_opens() {
    let image = attempt(&small(), |_, _| {}).unwrap();
    assert_eq!((image.layers.len(), image.config.cwd.as_str()), (1, "/"));
    assert_eq!(image.config.argv, ["/bin/true"]);
}

#[test]
fn a_missing_layer_is_named() {
    let error = attempt(&small(), |_, blobs| std::fs::remove_file(&blobs[0]).unwrap()).unwrap_err();
    let SandboxError::ReadImage { path, .. } = &error else { panic!("{error:?}") };
    assert!(path.starts_with("blobs/sha256/"), "{path}");
}

#[test]
fn every_blob_must_have_its_digest() {
    for index in 0..3 {
        let error = attempt(&small(), |_, blobs| {
            let mut bytes = std::fs::read(&blobs[index]).unwrap();
            // Inside of gzip's header (the time), of a JSON string otherwise: still well-formed.
            let at = if index == 0 { 4 } else { bytes.len() - 5 };
            bytes[at] ^= 1;
            std::fs::write(&blobs[index], bytes).unwrap();
        });
        assert!(matches!(error.unwrap_err(), SandboxError::Digest { .. }), "{index}");
    }
}

#[test]
fn the_diff_id_must_be_the_contents() {
    let error =
        tampered(|config, _| config["rootfs"]["diff_ids"] = json!([format!("sha256:{}", "0".repeat(64))]));
    let SandboxError::Digest { what, .. } = &error else { panic!("{error:?}") };
    assert_eq!(what, "uncompressed layer");
}

#[test]
fn sizes_must_be_right() {
    let error = tampered(|_, manifest| manifest["layers"][0]["size"] = json!(5));
    assert_eq!(image_rule(&error), "has a size other than its descriptor's");
    let error = attempt(&small(), |_, blobs| {
        let mut bytes = std::fs::read(&blobs[0]).unwrap();
        bytes.push(0);
        std::fs::write(&blobs[0], bytes).unwrap();
    });
    assert_eq!(image_rule(&error.unwrap_err()), "has a size other than its descriptor's");
}

#[test]
fn media_types_and_shapes_must_agree() {
    let rule = |tamper| image_rule(&tampered(tamper)).to_owned();
    assert!(rule(|_, m| m["layers"][0]["mediaType"] = json!("text/plain")).contains("media type"));
    assert!(
        rule(|_, m| m["mediaType"] = json!("application/vnd.oci.image.index.v1+json")).contains("media type")
    );
    assert_eq!(rule(|_, m| m["manifests"] = json!([])), "is an index at the same time");
    assert_eq!(
        rule(|_, m| m["layers"][0]["urls"] = json!(["http://169.254.169.254/"])),
        "is to be fetched from a URL"
    );
    assert_eq!(
        rule(|_, m| m["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)))),
        "has a digest other than sha256"
    );
    assert!(rule(|_, m| m["layers"] = json!([])).starts_with("must have 1 to 64 layers"));
    assert!(rule(|c, _| c["rootfs"]["diff_ids"] = json!([])).starts_with("must have 1 to 64 layers"));
    assert_eq!(rule(|c, _| c["architecture"] = json!("arm64")), "is not for linux/amd64");
    assert!(rule(|c, _| c["config"]["Env"] = json!(["A=\0"])).starts_with("holds a NUL"));
    assert!(rule(|c, _| c["config"]["WorkingDir"] = json!("tmp")).starts_with("holds a NUL"));
}

#[test]
fn digests_cannot_be_paths() {
    for digest in ["sha256:../../../../etc/passwd", "sha256:", "../x", "sha256:ABCDEF"] {
        let dir = tempfile::tempdir().unwrap();
        small().write(dir.path());
        let path = dir.path().join("index.json");
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        index["manifests"][0]["digest"] = json!(digest);
        std::fs::write(&path, index.to_string()).unwrap();
        assert!(matches!(image::open(dir.path(), "test"), Err(SandboxError::DecodeImage { .. })), "{digest}");
    }
}

#[test]
fn tags_must_be_there_once() {
    let dir = tempfile::tempdir().unwrap();
    small().write(dir.path());
    assert!(image_rule(&image::open(dir.path(), "other").unwrap_err()).contains("has no manifest"));
    let path = dir.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let twice = index["manifests"][0].clone();
    index["manifests"].as_array_mut().unwrap().push(twice);
    std::fs::write(&path, index.to_string()).unwrap();
    assert!(image_rule(&image::open(dir.path(), "test").unwrap_err()).contains("more than one"));
}

#[test]
fn blobs_behind_links_and_huge_documents_are_refused() {
    let error = attempt(&small(), |dir, blobs| {
        std::fs::rename(&blobs[1], dir.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../../elsewhere", &blobs[1]).unwrap();
    });
    assert!(matches!(error.unwrap_err(), SandboxError::ReadImage { .. }));
    let error =
        attempt(&small(), |dir, _| std::fs::write(dir.join("index.json"), vec![b' '; 5 << 20]).unwrap());
    assert!(matches!(error.unwrap_err(), SandboxError::ReadImage { .. }));
    let error = attempt(&small(), |dir, _| std::fs::remove_file(dir.join("oci-layout")).unwrap());
    assert!(matches!(error.unwrap_err(), SandboxError::ReadImage { .. }));
}

#[test]
fn a_refused_layer_is_not_cached() {
    let evil = ImageBuilder::new(vec![LayerTar::new().file("../evil", b"x").bytes()]);
    let error = attempt(&evil, |_, _| {}).unwrap_err();
    let SandboxError::Unpack { source: UnpackError::Refused { rule, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(rule, "a path with ..");
}

#[test]
fn half_made_and_half_removed_layers_go_when_the_store_is_opened() {
    let cache = tempfile::tempdir().unwrap();
    for name in ["0a.new", "0b.gone"] {
        std::fs::create_dir(cache.path().join(name)).unwrap();
        std::fs::write(cache.path().join(name).join("stale"), "x").unwrap();
    }
    // One that somebody makes right now.
    std::fs::create_dir(cache.path().join("0c.new")).unwrap();
    let lock = std::fs::File::create(cache.path().join("0c.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    store(cache.path(), ImagesConfig::default());
    assert_eq!(kept(cache.path()), ["0c.new"]);
}

/// An image of one layer with one file of this size.
fn image_of(bytes: usize, mark: u8) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    ImageBuilder::new(vec![LayerTar::new().file("f", &vec![mark; bytes]).bytes()]).write(dir.path());
    dir
}

#[test]
fn layers_out_of_use_go_when_the_budget_is_used_up_oldest_first() {
    let cache = tempfile::tempdir().unwrap();
    let config = ImagesConfig { budget_bytes: 5 << 19, ..ImagesConfig::default() };
    let images = store(cache.path(), config);
    let layouts = [1, 2, 3, 4].map(|mark| image_of(1 << 20, mark));
    let of = |n: usize| provide(&images, layouts[n].path()).unwrap();
    let name = |p: &Provided| p.layers()[0].file_name().unwrap().to_str().unwrap().to_owned();
    let first = of(0);
    let second = name(&of(1));
    assert_eq!(kept(cache.path()).len(), 2);
    // Over the budget: the first is older and in use, so the second goes.
    let third = name(&of(2));
    let mut left = kept(cache.path());
    left.sort();
    let mut expected = [name(&first), third.clone()];
    expected.sort();
    assert_eq!(left, expected);
    assert!(!left.contains(&second));
    // Asked for again, the first is the youngest but one; out of use, the third goes before it.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let first = name(&of(0));
    std::thread::sleep(std::time::Duration::from_millis(20));
    of(3);
    assert!(kept(cache.path()).contains(&first) && !kept(cache.path()).contains(&third));
    // A second sandbox in another process sees the same users: a lock is the kernel's.
    let held = of(0);
    let small = store(cache.path(), ImagesConfig { budget_bytes: 0, ..ImagesConfig::default() });
    let last = name(&provide(&small, image_of(1, 9).path()).unwrap());
    let mut expected = [name(&held), last];
    expected.sort();
    let mut left = kept(cache.path());
    left.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_layer_wanted_by_many_at_once_is_made_once() {
    let (cache, layout) = (tempfile::tempdir().unwrap(), image_of(4 << 20, 7));
    let images = store(cache.path(), ImagesConfig::default());
    let reference = ImageRef::Layout { path: layout.path().to_owned(), tag: "test".to_owned() };
    let starts = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let count = |event: Event| {
                    if matches!(event, Event::Layer { bytes, total, .. } if bytes > 0 && bytes < total) {
                        *starts.lock().unwrap() += 1;
                    }
                };
                images.provide(&reference, &AtomicBool::new(false), &count).unwrap();
            });
        }
    });
    // The blob is smaller than the distance of two events: none came from the middle, and one layer is there.
    assert_eq!((*starts.lock().unwrap(), kept(cache.path()).len()), (0, 1));
}

#[test]
fn a_layer_that_an_image_has_twice_is_used_once_where_it_is_last() {
    let (cache, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layer = |mark: u8| LayerTar::new().file("f", &[mark]).bytes();
    ImageBuilder::new([1, 2, 1, 3, 2].map(layer).to_vec()).write(dir.path());
    let provided = provide(&store(cache.path(), ImagesConfig::default()), dir.path()).unwrap();
    let marks: Vec<_> = provided.layers().iter().map(|l| std::fs::read(l.join("f")).unwrap()[0]).collect();
    assert_eq!((provided.image.layers.len(), marks.as_slice()), (5, &[1, 3, 2][..]));
}

#[test]
fn an_image_with_a_repeated_layer_starts() {
    if !common::can_run() {
        return;
    }
    let (empty, one, two) = (
        LayerTar::new().bytes(),
        LayerTar::new().file("f", b"1").file("g", b"g").bytes(),
        LayerTar::new().file("f", b"2").file(".wh.g", b"").bytes(),
    );
    let layers = vec![common::busybox().bytes(), empty.clone(), one.clone(), empty.clone(), two, one, empty];
    let done = common::Bench::with_image(&ImageBuilder::new(layers)).run("cat /f /g");
    assert_eq!(done.stdout.tail, "1g", "{}", done.stderr.tail);
}

#[test]
fn the_disks_reserve_is_left_alone() {
    let (cache, layout) = (tempfile::tempdir().unwrap(), image_of(1, 1));
    let unpack = UnpackLimits { reserve_bytes: 1 << 60, ..UnpackLimits::default() };
    let images = store(cache.path(), ImagesConfig { unpack, ..ImagesConfig::default() });
    let error = provide(&images, layout.path()).unwrap_err();
    let SandboxError::Unpack { source: UnpackError::Refused { rule, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(rule, "the disk's reserve would be used");
    assert!(kept(cache.path()).is_empty());
}

#[test]
fn nobody_waits_for_an_image_that_is_wanted_no_more() {
    let (cache, layout) = (tempfile::tempdir().unwrap(), image_of(1, 1));
    let images = store(cache.path(), ImagesConfig::default());
    let reference = ImageRef::Layout { path: layout.path().to_owned(), tag: "test".to_owned() };
    let error = images.provide(&reference, &AtomicBool::new(true), &|_| {}).unwrap_err();
    assert!(matches!(error, SandboxError::Cancelled), "{error:?}");
    let config = ImagesConfig { time_limit: std::time::Duration::ZERO, ..ImagesConfig::default() };
    let error = provide(&store(cache.path(), config), layout.path()).unwrap_err();
    assert!(matches!(error, SandboxError::ImageTimeout), "{error:?}");
    assert!(kept(cache.path()).is_empty());
}

#[test]
fn registries_need_a_digest_and_a_pull_process() {
    let cache = tempfile::tempdir().unwrap();
    let images = store(cache.path(), ImagesConfig::default());
    let registry = |text: &str| {
        let reference = ImageRef::Registry(text.to_owned().try_into().unwrap());
        images.provide(&reference, &AtomicBool::new(false), &|_| {}).unwrap_err()
    };
    assert!(matches!(registry("r.example/a:latest"), SandboxError::TagOnly { .. }));
    let digest = format!("r.example/a@sha256:{}", "0".repeat(64));
    assert!(matches!(registry(&digest), SandboxError::NoPuller));
}

#[test]
fn a_pull_process_that_never_stops_talking_is_left() {
    let script = "printf 'H\\0\\0\\0\\0'; while :; do printf 'D\\0\\0\\0\\0'; done";
    let arguments = vec!["-c".into(), script.into()];
    let puller = assay_sandbox::pull::Puller::Program("/bin/sh".into(), arguments);
    let time_limit = std::time::Duration::from_millis(500);
    let config =
        ImagesConfig { puller: Some(puller), allow_tags: true, time_limit, ..ImagesConfig::default() };
    let (say, hear) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let cache = tempfile::tempdir().unwrap();
        let reference = ImageRef::Registry("r.example/a:latest".to_owned().try_into().unwrap());
        let images = store(cache.path(), config);
        say.send(images.provide(&reference, &AtomicBool::new(false), &|_| {}).map(|_| ())).unwrap();
    });
    let error = hear.recv_timeout(std::time::Duration::from_secs(60)).unwrap().unwrap_err();
    assert!(matches!(error, SandboxError::ImageTimeout), "{error:?}");
}

#[test]
fn dockers_names_for_the_same_types_are_taken() {
    let docker = |kind: &str| json!(format!("application/vnd.docker.{kind}"));
    let dir = tempfile::tempdir().unwrap();
    let image = ImageBuilder {
        tamper: |_, m| {
            m["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json");
            m["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
        },
        ..small()
    };
    image.write(dir.path());
    let path = dir.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // Announced as one thing, and of itself another.
    assert_eq!(
        image_rule(&image::open(dir.path(), "test").unwrap_err()),
        "has another media type than it was announced with"
    );
    index["manifests"][0]["mediaType"] = docker("distribution.manifest.v2+json");
    std::fs::write(&path, index.to_string()).unwrap();
    image::open(dir.path(), "test").unwrap();
    let foreign = |_: &mut Value, m: &mut Value| {
        m["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    };
    assert!(image_rule(&tampered(foreign)).contains("media type"));
}
