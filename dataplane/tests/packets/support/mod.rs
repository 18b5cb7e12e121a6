//! What the tests of packets share.

pub(crate) mod frames;
pub(crate) mod gate;
pub(crate) mod policy;
