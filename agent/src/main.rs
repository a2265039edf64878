//! `assay-agent`: see [`assay_agent::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    assay_agent::cli::main()
}
