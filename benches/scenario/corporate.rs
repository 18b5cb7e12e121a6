//! A corporation: the internet as countries and autonomous systems, feeds of bad addresses, zones, applications on
//! subnets, endpoints one by one; an embargo tier, a platform tier and policies of application teams.

use classifier::resource::{Action, ObjectKind, Policy, PolicySet, Rule, Tier, TierAction};
use fastrand::Rng;
use ipnet::Ipv4Net;

use super::{Scenario, allow, from, network_set, selector};

/// How large: the number of sets and prefixes of each kind grows with `scale`, 1 being about 143,000 sets with 1.35
/// million prefixes; `rules` is the number of rules, about.
pub(crate) fn corporate(seed: u64, scale: f64, rules: usize) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let mut estate = Estate { set: PolicySet::new(), internet: Vec::new(), inside: Vec::new() };
    estate.internet(scale, &mut rng);
    estate.feeds(scale, &mut rng);
    let apps = estate.inside(scale, &mut rng);
    estate.tiers();
    let ports = estate.policies(rules, apps, &mut rng);
    let mut sources = estate.internet;
    rng.shuffle(&mut sources);
    sources.truncate(200_000);
    sources.extend(estate.inside.iter().copied().take(200_000));
    rng.shuffle(&mut sources);
    rng.shuffle(&mut estate.inside);
    Scenario { set: estate.set, sources, destinations: estate.inside, ports }
}

struct Estate {
    set: PolicySet,
    internet: Vec<Ipv4Net>,
    inside: Vec<Ipv4Net>,
}

const ZONES: [&str; 8] = ["dmz", "office", "plant", "lab", "core", "pay", "edge", "mgmt"];
const ENVS: [&str; 3] = ["prod", "stage", "dev"];
const ROLES: [&str; 5] = ["web", "app", "db", "cache", "queue"];
const PORTS: [u16; 12] = [443, 80, 22, 5432, 6379, 8080, 8443, 9092, 3306, 1433, 389, 636];

fn scaled(count: usize, scale: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "counts of a scenario"
    )]
    let scaled = (count as f64 * scale) as usize;
    scaled.max(1)
}

impl Estate {
    /// Every address block has a country and, cut finer, an autonomous system.
    fn internet(&mut self, scale: f64, rng: &mut Rng) {
        let (countries, systems) = (scaled(250, scale), scaled(75_000, scale));
        let mut country_nets = vec![Vec::new(); countries];
        let mut system_nets = vec![Vec::new(); systems];
        let wanted = scaled(1_050_000, scale);
        let mut at = u32::from(std::net::Ipv4Addr::new(11, 0, 0, 0));
        let mut made = 0;
        while made < wanted && at < 0xdf00_0000 {
            let length = *super::pick(&[20, 21, 22, 19, 23, 18], super::Draw::Zipf, rng);
            let size = 1_u32 << (32 - length);
            at = at.next_multiple_of(size);
            country_nets[super::zipf(countries, rng)].push(net(at, length));
            let parts = 1_u32 << rng.u32(..4);
            let part_length = length + u8::try_from(parts.ilog2()).expect("at most 3");
            for part in 0..parts {
                let part = net(at + (size / parts) * part, part_length);
                system_nets[super::zipf(systems, rng)].push(part);
                self.internet.push(part);
            }
            made += 1 + parts as usize;
            at += size;
        }
        for (number, nets) in country_nets.into_iter().enumerate() {
            let code = format!("c{number}");
            let labels = [("kind", "country"), ("country", code.as_str())];
            self.set.objects.push(network_set(&code, &labels, nets));
        }
        for (number, nets) in system_nets.into_iter().enumerate() {
            let code = format!("as{number}");
            let labels = [("kind", "as"), ("as", code.as_str())];
            self.set.objects.push(network_set(&code, &labels, nets));
        }
    }

    fn feeds(&mut self, scale: f64, rng: &mut Rng) {
        for number in 0..40 {
            let nets = (0..scaled(220_000, scale) / 40)
                .map(|_| {
                    let length = if rng.u8(..10) < 8 { 32 } else { 24 };
                    net(rng.u32(0x0b00_0000..0xdf00_0000), length)
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
            let at = 0x0a00_0000 + u32::try_from(number << 21).expect("eight zones");
            let labels = [("kind", "zone"), ("zone", zone)];
            self.set.objects.push(network_set(&format!("zone-{zone}"), &labels, vec![net(at, 11)]));
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

    fn subnet(&mut self, app: &str, part: usize, scale: f64, rng: &mut Rng) {
        let zone = rng.usize(..ZONES.len());
        let (env, role) = (ENVS[rng.usize(..3)], ROLES[part % ROLES.len()]);
        let pci = if rng.u8(..8) == 0 { "yes" } else { "no" };
        let labels =
            [("app", app), ("role", role), ("env", env), ("in", ZONES[zone]), ("pci", pci)];
        let base = 0x0a00_0000 + u32::try_from(zone << 21).expect("eight zones");
        let nets: Vec<Ipv4Net> = (0..4).map(|_| net(base + (rng.u32(..) >> 11), 27)).collect();
        for host in 0..scaled(8, scale.min(1.0)) {
            let mut host = network_set(
                &format!("{app}-{part}-{host}"),
                &labels,
                vec![net(u32::from(nets[0].network()) + 1 + u32::try_from(host).unwrap_or(0), 32)],
            );
            host.kind = ObjectKind::HostEndpoint;
            host.labels.insert("host", "yes");
            self.set.objects.push(host);
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
            0 => deny(&format!("country == 'c{}'", 3 + n)),
            _ => deny(&format!("feed == 'feed-{}'", n % 40)),
        });
        self.add("embargo", "embargo", "has(app)", embargo.collect());
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
            let of_policy = (0..left.min(rng.usize(4..12))).map(|_| allow_peer(apps, rng));
            let of_policy: Vec<Rule> = of_policy.collect();
            left -= of_policy.len();
            let protects = format!("app == 'app-{app}' && role == '{role}'");
            self.add(&format!("app-{app}-{number}"), Tier::DEFAULT, &protects, of_policy);
            number += 1;
        }
        PORTS.into_iter().chain(9000..9008).collect()
    }

    fn add(&mut self, name: &str, tier: &str, protects: &str, ingress: Vec<Rule>) {
        self.set.policies.push(Policy {
            tier: tier.to_owned(),
            order: Some(100.0),
            selector: selector(protects),
            applies_ingress: true,
            ingress,
            ..Policy::new(name)
        });
    }
}

/// Most rules name one application, some a zone, an environment, or a part of the internet.
fn allow_peer(apps: usize, rng: &mut Rng) -> Rule {
    let port = PORTS[super::zipf(PORTS.len(), rng)];
    let (app, role) = (rng.usize(..apps), ROLES[rng.usize(..4)]);
    let peer = match rng.u8(..20) {
        0 => format!("zone == '{}'", ZONES[rng.usize(..ZONES.len())]),
        1 => format!("env == '{}' && pci == 'yes'", ENVS[rng.usize(..3)]),
        2 => format!("country == 'c{}'", super::zipf(250, rng)),
        3 => format!("as == 'as{}'", super::zipf(75_000, rng)),
        _ => format!("app == 'app-{app}' && role == '{role}'"),
    };
    allow(&peer, &[port])
}

fn deny(peer: &str) -> Rule {
    let mut rule = Rule::new(Action::Deny);
    rule.source = from(peer);
    rule
}

fn net(at: u32, length: u8) -> Ipv4Net {
    Ipv4Net::new(at.into(), length).expect("a length up to 32").trunc()
}
