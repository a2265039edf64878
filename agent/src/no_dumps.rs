//! Keeps what a process holds in memory out of files and out of its neighbours' sight.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// No core dump is written of this process, and no other process of the same user may trace it.
///
/// The limit is inherited by all that it starts; the other holds until a program is executed. A
/// pattern in `core_pattern` that is a pipe heeds no limit, so that it takes both.
///
/// # Errors
/// The kernel's.
pub(crate) fn start() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    set_dumpable(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::prctl::get_dumpable;
    use nix::sys::resource::getrlimit;

    #[test]
    fn there_is_no_dump_and_no_limit_to_raise() {
        start().unwrap();
        assert_eq!((get_dumpable(), getrlimit(Resource::RLIMIT_CORE)), (Ok(false), Ok((0, 0))));
    }
}
