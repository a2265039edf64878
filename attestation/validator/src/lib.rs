//! The network side: service and command line.
