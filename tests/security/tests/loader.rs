//! What an image tells the dynamic loader stays in the job.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use assay_security::Cell;

/// A dynamic program with its loader and libraries, at the host's own paths; nothing where there is none.
fn add_dynamic_program(layer: &Path) -> Option<&'static str> {
    let program = "/usr/bin/env";
    let told = Command::new("ldd").arg(program).output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let libraries = told.split_whitespace().filter(|word| word.starts_with('/'));
    let files: Vec<_> = libraries.chain([program]).collect();
    for file in &files {
        let copy = layer.join(file.trim_start_matches('/'));
        fs::create_dir_all(copy.parent()?).ok()?;
        fs::copy(file, copy).ok()?;
    }
    (files.len() > 1).then_some(program)
}

#[test]
fn ld_preload_in_an_image_stays_in_the_job() {
    let Some(cell) = Cell::new() else { return };
    let trap = tempfile::tempdir().unwrap();
    fs::set_permissions(trap.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let source = trap.path().join("evil.c");
    let marker = trap.path().join("marker");
    fs::write(
        &source,
        format!(
            "#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void go(void) {{\n\
             open(\"{}\", O_CREAT, 0666); write(1, \"preloaded\\n\", 10); }}\n",
            marker.display()
        ),
    )
    .unwrap();
    let library = cell.layer().join("evil.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    let (true, Some(program)) = (built.is_ok_and(|s| s.success()), add_dynamic_program(&cell.layer())) else {
        eprintln!("SKIPPED: no C compiler, or no dynamic program");
        return;
    };
    let mut by_variable = cell.plan(&[program]);
    by_variable.env.push("LD_PRELOAD=/proc/self/cwd/evil.so".into());
    by_variable.env.push(format!("LD_LIBRARY_PATH={}", cell.layer().display()));
    let done = cell.run(&by_variable);
    assert!(done.stdout.starts_with("preloaded\n"), "{done:?}");
    fs::create_dir_all(cell.layer().join("etc")).unwrap();
    fs::write(cell.layer().join("etc/ld.so.preload"), "/evil.so\n").unwrap();
    let done = cell.run(&cell.plan(&[program]));
    assert!(done.stdout.starts_with("preloaded\n"), "{done:?}");
    assert!(!marker.exists(), "code of the image ran outside of the job");
    // It would have shown.
    assert!(Command::new(program).env("LD_PRELOAD", &library).output().unwrap().status.success());
    assert!(marker.exists());
}
