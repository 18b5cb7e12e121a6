//! Tables from a seed.

use fastrand::Rng;

use super::{Route, Table, host_mask};

/// A firewall's blocklists: a million IPv4 prefixes, 40 in 100 of them single hosts anywhere, 10 somewhat wider, and the
/// rest as routes are.
pub(crate) fn hosts_v4(count: usize, seed: u64) -> Table {
    let draw = |rng: &mut Rng| match rng.u8(..100) {
        0..40 => 32,
        40..50 => rng.u8(25..32),
        50..85 => 24,
        85..97 => rng.u8(19..24),
        _ => rng.u8(12..19),
    };
    // 1.0.0.0 to 223.255.255.255.
    drawn("40 % single hosts", 32, count, seed, draw, |rng| u128::from(rng.u32(1 << 24..224 << 24)))
}

/// In place of the real IPv4 table where that cannot be had, in its distribution of lengths.
pub(crate) fn routes_v4(count: usize, seed: u64) -> Table {
    let draw = |rng: &mut Rng| match rng.u8(..100) {
        0..30 => 24,
        30..45 => 22,
        45..58 => 23,
        58..65 => 21,
        65..70 => 20,
        70..74 => 19,
        74..80 => rng.u8(16..19),
        80..82 => rng.u8(10..16),
        _ => rng.u8(25..=32),
    };
    let place = |rng: &mut Rng| u128::from(rng.u32(1 << 24..224 << 24));
    drawn("synthetic in place of systems and countries", 32, count, seed, draw, place)
}

/// In place of the real IPv6 table where that cannot be had: crowded in the registries' blocks, as the real one is.
pub(crate) fn routes_v6(count: usize, seed: u64) -> Table {
    let draw = |rng: &mut Rng| match rng.u8(..100) {
        0..28 => 48,
        28..48 => 32,
        48..55 => 29,
        55..63 => 40,
        63..71 => 44,
        71..90 => rng.u8(33..48),
        90..98 => rng.u8(49..=64),
        _ => rng.u8(65..=128),
    };
    let blocks = [0x2001_u128, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00];
    let place = |rng: &mut Rng| {
        let block = (blocks[rng.usize(..blocks.len())] + u128::from(rng.u8(..16))) << 112;
        // Providers are few; what they announce stands together.
        let provider = u128::from(rng.u16(..4_000)) << 99;
        block | provider | rng.u128(..) >> 29
    };
    drawn("synthetic in place of systems", 128, count, seed, draw, place)
}

/// So many distinct prefixes of drawn lengths at drawn places.
fn drawn(
    name: &str,
    width: u8,
    count: usize,
    seed: u64,
    length: impl Fn(&mut Rng) -> u8,
    place: impl Fn(&mut Rng) -> u128,
) -> Table {
    let mut rng = Rng::with_seed(seed);
    let mut table = Table::new(name, width, Vec::new());
    while table.routes.len() < count {
        let missing = count - table.routes.len();
        let more = (0..missing).map(|_| {
            let length = length(&mut rng);
            let at = place(&mut rng) & !host_mask(width, length);
            Route { at, length, answer: rng.u32(1..75_000) }
        });
        let routes = table.routes.into_iter().chain(more).collect();
        table = Table::new(name, width, routes);
    }
    table
}
