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

/// The child: answers on standard input, a socket, until its parent is gone.
///
/// # Errors
/// Those of [`serve_stdin`].
pub fn serve(library: &Path) -> Result<(), NvmlFault> {
    serve_stdin(library)
}
