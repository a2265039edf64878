//! Images that are not what they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use assay_sandbox::SandboxError;
use assay_sandbox::image::{self, Image};
use assay_sandbox::layers::LayerCache;
use assay_sandbox::unpack::{UnpackError, UnpackLimits};
use common::{ImageBuilder, LayerTar};
use serde_json::{Value, json};

fn small() -> ImageBuilder {
    ImageBuilder::new(vec![LayerTar::new().file("f", b"x").bytes()])
}

/// Writes an image, lets `damage` at its blobs (layers, config, manifest), opens and unpacks it.
fn attempt(image: &ImageBuilder, damage: impl FnOnce(&Path, &[PathBuf])) -> Result<Image, SandboxError> {
    let dir = tempfile::tempdir().unwrap();
    let blobs = image.write(dir.path());
    damage(dir.path(), &blobs);
    let opened = image::open(dir.path(), "test")?;
    let cache = tempfile::tempdir().unwrap();
    let provided = LayerCache::new(cache.path().to_owned(), UnpackLimits::default()).provide(&opened);
    let left: Vec<_> = std::fs::read_dir(cache.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    match provided {
        Ok(layers) => assert!(layers.iter().all(|l| l.join("f").exists())),
        Err(error) => {
            assert!(left.iter().all(|n| n.to_str().unwrap().ends_with(".lock")), "{left:?}");
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
fn a_half_made_layer_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    small().write(dir.path());
    let opened = image::open(dir.path(), "test").unwrap();
    let cache = tempfile::tempdir().unwrap();
    let half = cache.path().join(format!("{}.new", hex::encode(opened.layers[0].diff_id)));
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("stale"), "x").unwrap();
    let layers = LayerCache::new(cache.path().to_owned(), UnpackLimits::default());
    let ready = layers.provide(&opened).unwrap();
    assert!(ready[0].join("f").exists() && !ready[0].join("stale").exists() && !half.exists());
    assert_eq!(layers.provide(&opened).unwrap(), ready);
}
