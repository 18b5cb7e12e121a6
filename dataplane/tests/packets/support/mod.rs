//! What the tests of packets share.

pub(crate) mod frames;
pub(crate) mod gate;
pub(crate) mod pieces;
pub(crate) mod policy;
