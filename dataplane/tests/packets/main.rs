//! Frames through parser, flow table and pipeline, from outside of the crate.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test helpers")]

mod allocations;
mod balance;
mod batches;
mod connections;
mod flows;
mod fragments;
mod honest;
mod interfaces;
mod parse;
mod pending;
mod pipeline;
mod policy_change;
mod sanity;
mod second_parser;
mod soundness;
mod support;
mod swap;
mod sweep;
