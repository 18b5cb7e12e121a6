//! Real tables: which autonomous system announces an address, and which country it is registered in.
//!
//! From the npm packages `@ip-location-db/asn` (`RouteViews` and DB-IP, CC BY 4.0) and
//! `@ip-location-db/geo-whois-asn-country`, which `benches/peers/prepare` fetches; nothing of them is in this repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Route, Table};

/// IPv4 prefixes of systems and, where no system's prefix is the same, of countries; `None` when the lists are not there.
pub(crate) fn v4(lists: &Path) -> Option<Table> {
    let mut answers = BTreeMap::new();
    let mut routes = read(&lists.join("asn/asn-ipv4-num.csv"), 32, &mut answers)?;
    let countries = lists.join("country/geo-whois-asn-country-ipv4-num.csv");
    routes.extend(read(&countries, 32, &mut answers)?);
    Some(Table::new("systems and countries", 32, routes))
}

/// IPv6 prefixes of systems; `None` when the list is not there.
pub(crate) fn v6(lists: &Path) -> Option<Table> {
    let routes = read(&lists.join("asn/asn-ipv6-num.csv"), 128, &mut BTreeMap::new())?;
    Some(Table::new("systems", 128, routes))
}

/// Reads lines of `first,last,whose`, and numbers whose they are from 1.
fn read(path: &Path, width: u8, answers: &mut BTreeMap<String, u32>) -> Option<Vec<Route>> {
    let text = fs::read_to_string(path).ok()?;
    let mut routes = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(4, ',');
        let first: u128 = fields.next()?.parse().ok()?;
        let last: u128 = fields.next()?.parse().ok()?;
        let next = u32::try_from(answers.len() + 1).ok()?;
        let answer = *answers.entry(fields.next()?.to_owned()).or_insert(next);
        cover(first, last, width, answer, &mut routes);
    }
    Some(routes)
}

/// The fewest prefixes that make up a range.
fn cover(mut first: u128, last: u128, width: u8, answer: u32, routes: &mut Vec<Route>) {
    while first <= last {
        let aligned = first.trailing_zeros().min(u32::from(width));
        let fits = (last - first + 1).checked_ilog2().unwrap_or(0);
        let open = aligned.min(fits);
        let length = width - u8::try_from(open).expect("at most 128");
        routes.push(Route { at: first, length, answer });
        let Some(next) = first.checked_add(1 << open) else { return };
        first = next;
    }
}
