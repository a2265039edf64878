//! Copies of the sources in which lines are broken, one for each of the runs that go side by side, each with build
//! outputs of its own that stay for the next run.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Package, ROOT};

/// More of them need more memory than they save time.
const MOST: usize = 4;

pub(crate) struct Tree {
    dir: PathBuf,
}

/// As many trees as processors, their sources as they are here and the packages' tests built.
pub(crate) fn grow(packages: &[&Package]) -> Result<Vec<Tree>, String> {
    let count = std::thread::available_parallelism().map_or(1, |count| count.get().min(MOST));
    let dir = |index: usize| Path::new(ROOT).join(format!("target/mutants/tree-{index}"));
    let files = sources(Path::new(ROOT))?;
    let mut trees: Vec<Tree> = Vec::new();
    for tree in (0..count).map(|index| Tree { dir: dir(index) }) {
        fill(Path::new(ROOT), &tree.dir, &files)?;
        // What does not depend on the place need not be built twice.
        if let Some(first) = trees.first()
            && !tree.dir.join("target").exists()
        {
            copy_outputs(first, &tree)?;
        }
        for package in packages {
            println!("{:16} is built in tree {} of {count}", package.name, trees.len() + 1);
            tree.build(package)?;
        }
        trees.push(tree);
    }
    Ok(trees)
}

impl Tree {
    /// Cargo in this tree. Without debug information a mutant builds in half the time.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.dir).env_remove("CARGO_TARGET_DIR");
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
        if std::env::var_os("ASSAY_DATA").is_none() {
            command.env("ASSAY_DATA", Path::new(ROOT).join("../shared/data"));
        }
        command
    }

    fn build(&self, package: &Package) -> Result<(), String> {
        let mut command = self.cargo();
        command.args(["test", "--quiet", "--no-run", "--package", &package.name]).args(&package.arguments);
        done(command.stdout(Stdio::null()), &format!("building {}", package.name))
    }
}

/// The files that belong to the project, below its root.
fn sources(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = git.output().map_err(|error| format!("git: {error}"))?;
    if !listed.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim()));
    }
    let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let files = names.map(|name| PathBuf::from(OsStr::from_bytes(name)));
    Ok(files.filter(|file| root.join(file).is_file()).collect())
}

/// Makes a folder hold these files and nothing else but build outputs. What is the same is not written, so that what
/// was built from it stands, and what a broken line was built from does not.
fn fill(root: &Path, tree: &Path, files: &[PathBuf]) -> Result<(), String> {
    let context = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    fs::create_dir_all(tree).map_err(context(tree))?;
    clear(tree, tree, &files.iter().map(PathBuf::as_path).collect()).map_err(context(tree))?;
    for file in files {
        let (from, to) = (root.join(file), tree.join(file));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(context(parent))?;
        }
        let bytes = fs::read(&from).map_err(context(&from))?;
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::write(&to, bytes).map_err(context(&to))?;
        let mode = fs::metadata(&from).map_err(context(&from))?.permissions();
        fs::set_permissions(&to, mode).map_err(context(&to))?;
    }
    Ok(())
}

/// Takes away what the project has no more.
fn clear(tree: &Path, dir: &Path, keep: &HashSet<&Path>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let below = path.strip_prefix(tree).unwrap_or(&path);
        if below == Path::new("target") {
            continue;
        }
        if kind.is_dir() {
            clear(tree, &path, keep)?;
        } else if !keep.contains(below) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn copy_outputs(from: &Tree, to: &Tree) -> Result<(), String> {
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"]).arg(from.dir.join("target")).arg(to.dir.join("target"));
    done(&mut copy, "copying build outputs")
}

fn done(command: &mut Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_what_the_project_has_and_keeps_what_was_built() {
        let dir = tempfile::tempdir().unwrap();
        let (root, tree) = (dir.path().join("root"), dir.path().join("tree"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(root.join("a/kept.rs"), "new");
        write(tree.join("a/kept.rs"), "broken");
        write(tree.join("a/gone.rs"), "old");
        write(tree.join("target/built"), "built");
        fill(&root, &tree, &["a/kept.rs".into()]).unwrap();
        assert_eq!(fs::read_to_string(tree.join("a/kept.rs")).unwrap(), "new");
        assert!(!tree.join("a/gone.rs").exists());
        assert!(tree.join("target/built").exists());
        let time = || fs::metadata(tree.join("a/kept.rs")).unwrap().modified().unwrap();
        let written = time();
        fill(&root, &tree, &["a/kept.rs".into()]).unwrap();
        assert_eq!(time(), written);
    }

    #[test]
    fn the_project_is_what_git_knows_and_does_not_ignore() {
        let files = sources(Path::new(ROOT)).unwrap();
        assert!(files.contains(&"Cargo.toml".into()));
        assert!(files.iter().all(|file| !file.starts_with("target")));
    }
}
