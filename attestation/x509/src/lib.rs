//! Certificates of TPMs and machines: parsed as they are, chained to a pinned store.
#![forbid(unsafe_code)]
