//! Everything that runs on a provider machine, as one program.

pub mod config;
pub mod control;
