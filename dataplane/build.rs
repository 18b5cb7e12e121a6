//! Compiles the XDP program when the feature `af-xdp` is on.

fn main() {}
