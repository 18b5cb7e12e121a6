//! Which policy is in force? Reads documents, says what is wrong with them, compiles, publishes, traces.
#![forbid(unsafe_code)]

pub mod capture;
pub mod cli;
pub mod commands;
pub mod daemon;
pub mod diagnostic;

mod document;
mod files;
pub mod flowlog;
pub mod follow;
pub mod images;
pub mod inventory;
mod kubernetes;
mod lists;
pub mod publish;
pub mod reasons;
pub mod reconcile;
pub mod report;
pub mod resolve;
pub mod settings;
pub mod spool;
pub mod watch;
