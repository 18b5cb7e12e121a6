#![doc = include_str!("../README.md")]

pub mod counters;
pub mod crew;
pub mod device;
pub mod disposition;
pub mod flow;
pub mod handover;
pub mod last_good;
pub mod moment;
pub mod parse;
pub mod pipeline;
pub mod policy;
pub mod reporter;
pub mod settings;
pub mod spool;
pub mod status;
pub mod worker;
