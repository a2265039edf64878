//! `assay-fuzz names` lists the targets; `assay-fuzz seeds TARGET DIR` writes a target's seeds for
//! libFuzzer; `assay-fuzz replay TARGET FILE...` runs a target on files.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use assay_fuzz::{TARGETS, seeds, target};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["names"] => {
            TARGETS.iter().for_each(|(name, _)| println!("{name}"));
            Ok(())
        }
        ["seeds", name, folder] if target(name).is_some() => write(name, Path::new(folder)),
        ["replay", name, files @ ..] if target(name).is_some() => replay(name, files),
        _ => {
            eprintln!("assay-fuzz: names | seeds TARGET DIR | replay TARGET FILE...");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assay-fuzz: {error}");
            ExitCode::from(3)
        }
    }
}

fn write(name: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let seeds = seeds(name);
    for (nth, bytes) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{nth:04}")), bytes)?;
    }
    Ok(())
}

fn replay(name: &str, files: &[&str]) -> io::Result<()> {
    for file in files {
        let bytes = fs::read(file)?;
        println!("{file}: {} bytes", bytes.len());
        target(name).into_iter().for_each(|run| run(&bytes));
    }
    Ok(())
}
