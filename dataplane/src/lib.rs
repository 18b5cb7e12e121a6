#![doc = include_str!("../README.md")]

pub mod device;
pub mod disposition;
pub mod handover;
pub mod last_good;
pub mod parse;
pub mod reporter;
pub mod settings;
pub mod spool;
pub mod worker;
