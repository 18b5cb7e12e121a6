//! The world outside: every address block has a country and, cut finer, an autonomous system.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::build::{net, net6};
use super::draw::{Draw, pick, scaled, zipf};

/// Who has which addresses.
#[derive(Clone, Debug)]
pub struct Internet {
    /// Countries, those with most prefixes first or nearly so.
    pub countries: Vec<Owner>,
    /// Autonomous systems, in the same order.
    pub systems: Vec<Owner>,
}

/// A country or an autonomous system.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its code, without blanks and quotes.
    pub code: String,
    /// Its prefixes of both families.
    pub nets: Vec<IpNet>,
}

const FIRST: u32 = 0x0b00_0000;
const END: u32 = 0xdf00_0000;
const FIRST_V6: u128 = 0x2400 << 112;

impl Internet {
    /// A made one. `scale` 1 is 250 countries and 75,000 systems with 895,000 IPv4 and 155,000 IPv6 prefixes, about.
    pub fn synthetic(scale: f64, rng: &mut Rng) -> Self {
        let owners = |letters: &str, count| -> Vec<Owner> {
            let owner = |number| Owner { code: format!("{letters}{number}"), nets: Vec::new() };
            (0..count).map(owner).collect()
        };
        let mut internet = Self {
            countries: owners("c", scaled(250, scale)),
            systems: owners("as", scaled(75_000, scale)),
        };
        internet.cut_v4(scaled(895_000, scale), rng);
        internet.cut_v6(scaled(155_000, scale), rng);
        internet
    }

    /// The real one, as the lists say that `benches/peers/prepare` fetches: countries in IPv4, systems in both families.
    /// `None` when the lists are not there.
    #[must_use]
    pub fn listed() -> Option<Self> {
        let lists = lists();
        let mut countries = BTreeMap::new();
        read(&lists.join("country/geo-whois-asn-country-ipv4.csv"), &mut countries)?;
        let mut systems = BTreeMap::new();
        read(&lists.join("asn/asn-ipv4.csv"), &mut systems)?;
        read(&lists.join("asn/asn-ipv6.csv"), &mut systems)?;
        Some(Self { countries: by_size(countries), systems: by_size(systems) })
    }

    /// Countries alone, in both families.
    #[must_use]
    pub fn listed_countries() -> Option<Vec<Owner>> {
        let mut countries = BTreeMap::new();
        for family in ["ipv4", "ipv6"] {
            let file = format!("country/geo-whois-asn-country-{family}.csv");
            read(&lists().join(file), &mut countries)?;
        }
        Some(by_size(countries))
    }

    /// The prefixes of autonomous systems, which tell the world apart as finely as it gets.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.systems.iter().flat_map(|system| system.nets.iter().copied())
    }

    fn cut_v4(&mut self, wanted: usize, rng: &mut Rng) {
        let (mut at, mut made) = (FIRST, 0);
        while made < wanted && at < END {
            let length = *pick(&[20, 21, 22, 19, 23, 18], Draw::Zipf, rng);
            let size = 1_u32 << (32 - length);
            at = at.next_multiple_of(size);
            self.country(rng).push(net(at, length));
            let deeper = rng.u8(..4);
            for part in 0..1_u32 << deeper {
                let part = net(at + (size >> deeper) * part, length + deeper);
                self.system(rng).push(part);
            }
            made += 1 + (1 << deeper);
            at += size;
        }
    }

    /// Sparser than IPv4: between blocks lies what nobody has yet.
    fn cut_v6(&mut self, wanted: usize, rng: &mut Rng) {
        let (mut at, mut made) = (FIRST_V6, 0);
        while made < wanted {
            let length = *pick(&[32, 48, 29, 40, 44, 36], Draw::Zipf, rng);
            let size = 1_u128 << (128 - length);
            at = at.next_multiple_of(size);
            self.country(rng).push(net6(at, length));
            let deeper = rng.u8(..4);
            for part in 0..1_u128 << deeper {
                let part = net6(at + (size >> deeper) * part, length + deeper);
                self.system(rng).push(part);
            }
            made += 1 + (1 << deeper);
            at += size * (1 + rng.u128(..3));
        }
    }

    fn country(&mut self, rng: &mut Rng) -> &mut Vec<IpNet> {
        let at = zipf(self.countries.len(), rng);
        &mut self.countries[at].nets
    }

    fn system(&mut self, rng: &mut Rng) -> &mut Vec<IpNet> {
        let at = zipf(self.systems.len(), rng);
        &mut self.systems[at].nets
    }
}

/// Where the set-up of benches puts lists.
fn lists() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    target.unwrap_or_else(beside).join("bench/lists")
}

/// Reads lines of `first,last,whose`, with more behind it or not.
fn read(path: &Path, owners: &mut BTreeMap<String, Vec<IpNet>>) -> Option<()> {
    let text = fs::read_to_string(path).ok()?;
    for line in text.lines() {
        let mut fields = line.splitn(4, ',');
        let mut address = || fields.next()?.parse::<IpAddr>().ok();
        let subnets: IpSubnets = match (address()?, address()?) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).into(),
            (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).into(),
            _ => return None,
        };
        let owner = fields.next()?.to_lowercase();
        owners.entry(owner).or_default().extend(subnets);
    }
    Some(())
}

/// Those with most prefixes first.
fn by_size(owners: BTreeMap<String, Vec<IpNet>>) -> Vec<Owner> {
    let mut owners: Vec<Owner> =
        owners.into_iter().map(|(code, nets)| Owner { code, nets }).collect();
    owners.sort_by_key(|owner| std::cmp::Reverse(owner.nets.len()));
    owners
}
