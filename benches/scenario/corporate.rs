//! A corporation: the internet as countries and autonomous systems, feeds of bad addresses, zones, applications on
//! subnets, endpoints one by one; an embargo tier, a platform tier and policies of application teams.

use classifier::resource::{ObjectKind, PolicySet, Rule, Tier, TierAction};
use fastrand::Rng;
use ipnet::IpNet;

use super::build::{self, allow, deny, net, net6, network_set};
use super::draw::{scaled, zipf};
use super::internet::{Internet, Owner};
use super::{INWARD, Nets, Percent, Scenario};

/// How large: the number of sets and prefixes of each kind grows with `scale`, 1 being about 147,000 sets with 1.37
/// million prefixes, of which 13 of a hundred are IPv6; `rules` is the number of rules, about.
#[must_use]
pub fn corporate(seed: u64, scale: f64, rules: usize) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let internet = Internet::synthetic(scale, &mut rng);
    corporate_in(internet, seed, scale, rules)
}

/// The same, full size, in the real world; where its lists are not there, in a made one, with a note that says so.
#[must_use]
pub fn corporate_for_real(seed: u64, rules: usize) -> Scenario {
    let Some(internet) = Internet::listed() else {
        let note = Some(
            "no address lists: run benches/peers/prepare; a made world takes the real one's place",
        );
        return Scenario { note, ..corporate(seed, 1.0, rules) };
    };
    corporate_in(internet, seed, 1.0, rules)
}

/// The same in a world that is given.
#[must_use]
pub fn corporate_in(internet: Internet, seed: u64, scale: f64, rules: usize) -> Scenario {
    let mut rng = Rng::with_seed(seed ^ 0xc0);
    let mut sources = Nets::default();
    sources.extend(internet.nets());
    sources.shuffle(SOURCES, &mut rng);
    let mut estate = Estate { set: PolicySet::new(), internet, inside: Vec::new() };
    estate.owners();
    estate.feeds(scale, &mut rng);
    let apps = estate.inside(scale, &mut rng);
    estate.tiers();
    let ports = estate.policies(rules, apps, &mut rng);
    sources.extend(estate.inside.iter().copied());
    sources.shuffle(2 * SOURCES, &mut rng);
    let mut destinations = Nets::default();
    destinations.extend(estate.inside);
    destinations.shuffle(usize::MAX, &mut rng);
    let percent = Percent { v6: 13, udp: 0 };
    let set = estate.set;
    Scenario { note: None, set, crossing: INWARD, sources, destinations, percent, ports }
}

struct Estate {
    set: PolicySet,
    internet: Internet,
    inside: Vec<IpNet>,
}

/// Most prefixes of a family that sources from outside are drawn from.
const SOURCES: usize = 200_000;
const ZONES: [&str; 8] = ["dmz", "office", "plant", "lab", "core", "pay", "edge", "mgmt"];
const ENVS: [&str; 3] = ["prod", "stage", "dev"];
const ROLES: [&str; 5] = ["web", "app", "db", "cache", "queue"];
const PORTS: [u16; 12] = [443, 80, 22, 5432, 6379, 8080, 8443, 9092, 3306, 1433, 389, 636];

impl Estate {
    fn owners(&mut self) {
        let kinds = [("country", &self.internet.countries), ("as", &self.internet.systems)];
        for (kind, owners) in kinds {
            for Owner { code, nets } in owners {
                let labels = [("kind", kind), (kind, code.as_str())];
                let name = format!("{kind}-{code}");
                self.set.objects.push(network_set(&name, &labels, nets.clone()));
            }
        }
    }

    fn feeds(&mut self, scale: f64, rng: &mut Rng) {
        let v6: Vec<IpNet> = self.internet.nets().filter(|net| net.addr().is_ipv6()).collect();
        for number in 0..40 {
            let nets = (0..scaled(220_000, scale) / 40)
                .map(|_| match (rng.u8(..20), rng.u8(..10)) {
                    (0, wide) if !v6.is_empty() => listed_v6(v6[rng.usize(..v6.len())], wide, rng),
                    (_, 0 | 1) => net(rng.u32(0x0b00_0000..0xdf00_0000), 24),
                    _ => net(rng.u32(0x0b00_0000..0xdf00_0000), 32),
                })
                .collect();
            let name = format!("feed-{number}");
            let severity = if number < 10 { "high" } else { "low" };
            let labels = [("kind", "feed"), ("feed", name.as_str()), ("severity", severity)];
            self.set.objects.push(network_set(&name, &labels, nets));
        }
    }

    /// Zones over applications' subnets over endpoints; returns how many applications there are.
    fn inside(&mut self, scale: f64, rng: &mut Rng) -> usize {
        for (number, zone) in ZONES.iter().enumerate() {
            let labels = [("kind", "zone"), ("zone", zone)];
            let nets = vec![net(zone_v4(number), 11), net6(zone_v6(number), 48)];
            self.set.objects.push(network_set(&format!("zone-{zone}"), &labels, nets));
        }
        let apps = scaled(2_000, scale);
        for app in 0..apps {
            let name = format!("app-{app}");
            for part in 0..4 {
                self.subnet(&name, part, scale, rng);
            }
        }
        apps
    }

    /// One in eight has IPv6 too.
    fn subnet(&mut self, app: &str, part: usize, scale: f64, rng: &mut Rng) {
        let zone = rng.usize(..ZONES.len());
        let (env, role) = (ENVS[rng.usize(..3)], ROLES[part % ROLES.len()]);
        let pci = if rng.u8(..8) == 0 { "yes" } else { "no" };
        let labels =
            [("app", app), ("role", role), ("env", env), ("in", ZONES[zone]), ("pci", pci)];
        let dual = rng.u8(..8) == 0;
        let first = zone_v4(zone) + ((rng.u32(..) >> 11) & !31);
        let first_v6 = zone_v6(zone) + (u128::from(rng.u16(..)) << 64);
        let mut nets = vec![net(first, 27)];
        nets.extend((0..3).map(|_| net(zone_v4(zone) + (rng.u32(..) >> 11), 27)));
        nets.extend(dual.then(|| net6(first_v6, 64)));
        for host in 1..=u8::try_from(scaled(8, scale.min(1.0))).expect("eight") {
            let mut own = vec![net(first + u32::from(host), 32)];
            own.extend(dual.then(|| net6(first_v6 + u128::from(host), 128)));
            let mut endpoint = network_set(&format!("{app}-{part}-{host}"), &labels, own);
            endpoint.kind = ObjectKind::HostEndpoint;
            endpoint.labels.insert("host", "yes");
            self.set.objects.push(endpoint);
        }
        self.inside.extend(&nets);
        self.set.objects.push(network_set(&format!("{app}-{part}"), &labels, nets));
    }

    fn tiers(&mut self) {
        for (name, order) in [("embargo", 10.0), ("platform", 20.0)] {
            let default_action = TierAction::Pass;
            self.set.tiers.push(Tier { name: name.to_owned(), order: Some(order), default_action });
        }
    }

    /// Returns the ports that rules name.
    fn policies(&mut self, rules: usize, apps: usize, rng: &mut Rng) -> Vec<u16> {
        let few = rules.div_ceil(50);
        let embargo = (0..few.min(200)).map(|n| match n % 2 {
            0 => deny(&format!("country == '{}'", code(&self.internet.countries, 3 + n))),
            _ => deny(&format!("feed == 'feed-{}'", n % 40)),
        });
        let embargo = embargo.collect();
        self.add("embargo", "embargo", "has(app)", embargo);
        let platform = (0..few.min(200)).map(|n| {
            let zone = ZONES[n % ZONES.len()];
            allow(&format!("zone == '{zone}'"), &[9000 + u16::try_from(n).unwrap_or(0)])
        });
        self.add("monitoring", "platform", "has(app)", platform.collect());
        let mut left = rules.saturating_sub(2 * few);
        let mut number = 0;
        while left > 0 {
            let app = number % apps;
            let role = ROLES[(number / apps) % 4];
            let of_policy =
                (0..left.min(rng.usize(4..12))).map(|_| allow_peer(&self.internet, apps, rng));
            let of_policy: Vec<Rule> = of_policy.collect();
            left -= of_policy.len();
            let protects = format!("app == 'app-{app}' && role == '{role}'");
            self.add(&format!("app-{app}-{number}"), Tier::DEFAULT, &protects, of_policy);
            number += 1;
        }
        PORTS.into_iter().chain(9000..9008).collect()
    }

    fn add(&mut self, name: &str, tier: &str, protects: &str, ingress: Vec<Rule>) {
        self.set.policies.push(build::ingress(name, tier, protects, ingress));
    }
}

/// Most rules name one application, some a zone, an environment, or a part of the internet.
fn allow_peer(internet: &Internet, apps: usize, rng: &mut Rng) -> Rule {
    let port = PORTS[zipf(PORTS.len(), rng)];
    let (app, role) = (rng.usize(..apps), ROLES[rng.usize(..4)]);
    let Internet { countries, systems } = internet;
    let peer = match rng.u8(..20) {
        0 => format!("zone == '{}'", ZONES[rng.usize(..ZONES.len())]),
        1 => format!("env == '{}' && pci == 'yes'", ENVS[rng.usize(..3)]),
        2 => format!("country == '{}'", code(countries, zipf(250, rng))),
        3 => format!("as == '{}'", code(systems, zipf(75_000, rng))),
        _ => format!("app == 'app-{app}' && role == '{role}'"),
    };
    allow(&peer, &[port])
}

/// The code of the owner of that rank; one that nobody has in a smaller world.
fn code(owners: &[Owner], rank: usize) -> String {
    owners.get(rank).map_or_else(|| format!("beyond-{rank}"), |owner| owner.code.clone())
}

/// What a feed says of IPv6: one address, a subscriber, a customer.
fn listed_v6(within: IpNet, wide: u8, rng: &mut Rng) -> IpNet {
    let IpNet::V6(within) = within else { return within };
    let host = rng.u128(..) >> within.prefix_len();
    let length = [128, 64, 56, 48][usize::from(wide / 3)].max(within.prefix_len());
    net6(u128::from(within.network()) | host, length)
}

fn zone_v4(number: usize) -> u32 {
    0x0a00_0000 + u32::try_from(number << 21).expect("eight zones")
}

fn zone_v6(number: usize) -> u128 {
    (0xfd00_u128 << 112) + ((number as u128) << 80)
}
