//! The child's side: loads the library and answers until the parent is gone.

use super::NvmlFault;
use super::frame::{self, Question, Reply, Request};
use super::probe::Probe;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::alarm;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Writable memory that the child may have. A library that asks for more ends the child instead of
/// bringing the machine to its knees.
const MAX_DATA: u64 = 512 << 20;

/// Answers questions about GPUs on `socket` until the other side closes it.
///
/// Sets limits for the whole process, so the process should do nothing else.
///
/// # Errors
/// A message that can't be read, decoded or answered; limits that can't be set.
pub fn serve(mut socket: UnixStream, library: &Path) -> Result<(), NvmlFault> {
    confine()?;
    let mut probe = Probe::new(library);
    loop {
        let request = match frame::read(&mut socket) {
            Ok(request) => request,
            Err(NvmlFault::Closed) => return Ok(()),
            Err(fault) => return Err(fault),
        };
        frame::write(&mut socket, &answer(&mut probe, request))?;
    }
}

/// As [`serve`], on the socket that [`super::Client`] gives its child as standard input.
///
/// # Errors
/// As [`serve`], and if standard input can't be taken over.
pub fn serve_stdin(library: &Path) -> Result<(), NvmlFault> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(NvmlFault::OpenSocket)?;
    serve(UnixStream::from(socket), library)
}

/// The alarm's default action ends the process, whatever the library is doing.
fn answer(probe: &mut Probe, request: Request) -> Reply {
    alarm::set(request.give_up_s.max(1));
    let reply = match request.question {
        Question::Inventory => Reply::Inventory(Box::new(probe.inventory())),
        Question::Sample => probe.samples().map_or_else(Reply::Unavailable, Reply::Samples),
        Question::Attest { gpu, nonce } => probe
            .attestation(gpu, &nonce)
            .map_or_else(Reply::Unavailable, |attested| Reply::Attested(Box::new(attested))),
    };
    alarm::cancel();
    reply
}

fn confine() -> Result<(), NvmlFault> {
    let limit = |resource, value| setrlimit(resource, value, value).map_err(NvmlFault::Limit);
    limit(Resource::RLIMIT_DATA, MAX_DATA)?;
    // A dump of this process would hold nothing but the library's state, and fills a small disk.
    limit(Resource::RLIMIT_CORE, 0)
}
