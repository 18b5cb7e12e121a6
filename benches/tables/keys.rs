//! Addresses to look up.

use std::fmt;

use fastrand::Rng;
use ravelin::scenario::zipf;

use super::{Route, Table, host_mask};

/// How addresses are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Draw {
    /// Any prefix, then any address in it: the hard one, since most prefixes are small and far apart.
    Prefix,
    /// The same, but few prefixes very often and most seldom.
    Zipf,
    /// Any address of the space in use. Flatters tries: wide prefixes get nearly all of them.
    Uniform,
}

impl Draw {
    pub(crate) const ALL: [Self; 3] = [Self::Prefix, Self::Zipf, Self::Uniform];
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "prefix-drawn",
            Self::Zipf => "zipf",
            Self::Uniform => "uniform",
        })
    }
}

/// So many addresses.
pub(crate) fn keys(table: &Table, draw: Draw, count: usize, seed: u64) -> Vec<u128> {
    let mut rng = Rng::with_seed(seed);
    let mut routes = table.routes.clone();
    rng.shuffle(&mut routes);
    let within = |route: Route, rng: &mut Rng| {
        route.at | (rng.u128(..) & host_mask(table.width, route.length))
    };
    (0..count)
        .map(|_| match draw {
            Draw::Prefix => within(routes[rng.usize(..routes.len())], &mut rng),
            Draw::Zipf => within(routes[zipf(routes.len(), &mut rng)], &mut rng),
            Draw::Uniform if table.width == 32 => u128::from(rng.u32(..)),
            // Global unicast, 2000::/3.
            Draw::Uniform => rng.u128(..) >> 3 | 1 << 125,
        })
        .collect()
}
