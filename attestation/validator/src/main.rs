//! The `assay-validator` command; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    assay_validator::cli::run(std::env::args_os())
}
