//! The process that talks to the GPU vendor's library, from both of its ends.
//!
//! Trust boundary: the library runs in a child that can hang, crash or lie about
//! sizes; the parent believes none of it without a deadline and a limit.
//!
//! Not here: what the answers mean (`assay-inventory`, `assay-gpu`).

use std::{io, path::Path};

use assay_inventory::nvml::{Client, ClientConfig, NvmlFault, serve_stdin};

use crate::config::Gpu;

/// A client whose child is this very program, run as `assay-agent nvml`. The child starts with the
/// first question.
///
/// # Errors
/// The system's, when it cannot say which program this is.
pub fn client(config: &Gpu) -> io::Result<Client> {
    let program = std::env::current_exe()?;
    let args = vec!["nvml".into(), "--library".into(), config.library.clone().into()];
    Ok(Client::new(ClientConfig::new(program, args)))
}

/// Closes every file that core had open when it started this child, but the three standard ones.
///
/// libtss2 opens the TPM without close-on-exec, so a child that starts while core talks to it would
/// hold the TPM: one that serves a single connection would answer nobody else, and the vendor's
/// library has no business there. Called before anything else is opened.
pub fn close_inherited() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let inherited: Vec<i32> = numbers.filter(|fd| *fd > 2).collect();
    for fd in inherited {
        // The listing's own descriptor is among them and closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// The child: answers on standard input, a socket, until its parent is gone.
///
/// # Errors
/// Those of [`serve_stdin`].
pub fn serve(library: &Path) -> Result<(), NvmlFault> {
    serve_stdin(library)
}
