//! The demo image: every digest holds, and its program draws a picture that decodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use assay_demo::DemoError;
use assay_demo::image::{TAG, make_image};
use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// An image in a fresh directory, or `None` after a SKIPPED line.
fn image() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    match make_image(dir.path()) {
        Ok(reference) => assert_eq!(reference, format!("oci:{}:{TAG}", dir.path().display())),
        Err(error @ (DemoError::MissingProgram { .. } | DemoError::DynamicBusybox { .. })) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    Some(dir)
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The blob of a descriptor, after checking its size and digest.
fn blob(dir: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = fs::read(dir.join("blobs/sha256").join(digest)).unwrap();
    assert_eq!(hex::encode(Sha256::digest(&bytes)), digest);
    assert_eq!(descriptor["size"], bytes.len() as u64);
    bytes
}

fn unpacked(gzip: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    std::io::copy(&mut GzDecoder::new(gzip), &mut tar).unwrap();
    tar
}

/// Manifest and configuration.
fn documents(dir: &Path) -> (Value, Value) {
    let index = json(&fs::read(dir.join("index.json")).unwrap());
    let entry = &index["manifests"][0];
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], TAG);
    let manifest = json(&blob(dir, entry));
    let config = json(&blob(dir, &manifest["config"]));
    (manifest, config)
}

#[test]
fn every_digest_of_the_layout_holds() {
    let Some(dir) = image() else { return };
    let layout = json(&fs::read(dir.path().join("oci-layout")).unwrap());
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
    let (manifest, config) = documents(dir.path());
    let layers = manifest["layers"].as_array().unwrap();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert!(layers.len() >= 2);
    assert_eq!(layers.len(), diff_ids.len());
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let tar = unpacked(&blob(dir.path(), layer));
        assert_eq!(*diff_id, format!("sha256:{}", hex::encode(Sha256::digest(&tar))));
    }
    let blobs = fs::read_dir(dir.path().join("blobs/sha256")).unwrap().count();
    assert_eq!(blobs, layers.len() + 2, "nothing but layers, config and manifest");
}

#[test]
fn the_same_busybox_makes_the_same_image_again_and_over_itself() {
    let (Some(one), Some(two)) = (image(), image()) else { return };
    let index = |dir: &Path| fs::read(dir.join("index.json")).unwrap();
    assert_eq!(index(one.path()), index(two.path()));
    make_image(one.path()).unwrap();
    assert_eq!(index(one.path()), index(two.path()));
}

fn root_filesystem(dir: &Path) -> PathBuf {
    let root = dir.join("root");
    let (manifest, _) = documents(dir);
    for layer in manifest["layers"].as_array().unwrap() {
        tar::Archive::new(&unpacked(&blob(dir, layer))[..]).unpack(&root).unwrap();
    }
    root
}

#[test]
fn the_program_draws_a_picture_with_the_images_own_tools() {
    let Some(dir) = image() else { return };
    let root = root_filesystem(dir.path());
    let (_, config) = documents(dir.path());
    let entrypoint = config["config"]["Entrypoint"][0].as_str().unwrap();
    let out = dir.path().join("drawn");
    let status = Command::new(root.join("bin/sh"))
        .arg(root.join(entrypoint.trim_start_matches('/')))
        .arg(&out)
        .env_clear()
        .env("PATH", root.join("bin"))
        .status()
        .unwrap();
    assert!(status.success());
    check_picture(&out.join("picture.png"));
}

/// Decodes the picture, which checks both checksums, and looks at what is drawn.
fn check_picture(path: &Path) {
    let file = std::io::BufReader::new(File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (200, 150));
    assert_eq!(reader.info().palette.as_ref().unwrap().len(), 3 * 65);
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    reader.finish().unwrap();
    let at = |x: usize, y: usize| pixels[y * 200 + x];
    assert_eq!(at(137, 75), 64, "the origin is in the set");
    assert_eq!(at(0, 0), 1, "a far point leaves at once");
    let inside = pixels.iter().filter(|pixel| **pixel == 64).count();
    assert!((5_000..8_000).contains(&inside), "{inside}");
    let shades: std::collections::BTreeSet<u8> = pixels.iter().copied().collect();
    assert!(shades.len() > 30, "{shades:?}");
    // The set is its own mirror image in the real axis, which row 75 is.
    assert!((1..75).all(|y| (0..200).all(|x| at(x, 75 - y) == at(x, 75 + y))));
}
