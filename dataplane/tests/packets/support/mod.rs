//! What the tests of packets share.

pub(crate) mod frames;
