//! Who is where.

use classifier::packet::protocol;
use classifier::resource::{NamedPort, Object, ObjectKind, PolicySet};
use fastrand::Rng;
use ipnet::IpNet;

use super::super::build::{net, net6, network_set, object};
use super::super::draw::scaled;
use super::{App, ENVS, Ends, GRADES, NAMESPACES, ROLES, TEAMS, ZONES};

const REGIONS: u8 = 4;
const SITES: u8 = 5;
const PODS: u8 = 25;

/// A zone of a site of a region.
#[derive(Clone, Copy)]
struct Place {
    region: u8,
    site: u8,
    zone: u8,
}

impl Place {
    fn draw(rng: &mut Rng) -> Self {
        Self { region: rng.u8(..REGIONS), site: rng.u8(..SITES), zone: rng.u8(..8) }
    }

    /// Where its /16 begins; a region has a /10, a site a /13 of it.
    fn v4(self) -> u32 {
        let Self { region, site, zone } = self;
        0x0a00_0000 | u32::from(region) << 22 | u32::from(site) << 19 | u32::from(zone) << 16
    }

    /// Where its /48 begins; a region has a /32, a site a /40 of it.
    fn v6(self) -> u128 {
        let Self { region, site, zone } = self;
        let high = 0xfd00_u128 << 112 | u128::from(region) << 96;
        high | u128::from(site) << 88 | u128::from(zone) << 80
    }
}

pub(super) fn regions(set: &mut PolicySet) {
    let everywhere = vec![net(0, 0), net6(0, 0)];
    set.objects.push(network_set("everywhere", &[("kind", "world")], everywhere));
    for region in 0..REGIONS {
        let at = Place { region, site: 0, zone: 0 };
        let of_region = format!("r{region}");
        let labels = [("kind", "region"), ("region", of_region.as_str())];
        let nets = vec![net(at.v4(), 10), net6(at.v6(), 32)];
        set.objects.push(network_set(&of_region, &labels, nets));
        for site in 0..SITES {
            let at = Place { site, ..at };
            let of_site = format!("r{region}s{site}");
            let labels =
                [("kind", "site"), ("region", of_region.as_str()), ("site", of_site.as_str())];
            let nets = vec![net(at.v4(), 13), net6(at.v6(), 40)];
            set.objects.push(network_set(&of_site, &labels, nets));
            for zone in 0..8 {
                set.objects.push(zone_of(Place { zone, ..at }, &of_region, &of_site));
            }
        }
    }
}

fn zone_of(place: Place, region: &str, site: &str) -> Object {
    let zone = ZONES[usize::from(place.zone)];
    let trust = ["none", "low", "high"][usize::from(place.zone % 3)];
    let labels =
        [("kind", "zone"), ("region", region), ("site", site), ("zone", zone), ("trust", trust)];
    let nets = vec![net(place.v4(), 16), net6(place.v6(), 48)];
    network_set(&format!("{site}-{zone}"), &labels, nets)
}

/// Partners in the world outside, and scopes: what auditors draw across zones without asking for their borders.
pub(super) fn outsiders(set: &mut PolicySet, ends: &mut Ends, scale: f64, rng: &mut Rng) {
    for partner in 0..scaled(300, scale) {
        let name = format!("partner-{partner}");
        let rating = ["a", "b", "c"][rng.usize(..3)];
        let namespace = format!("ns-{}", rng.usize(..NAMESPACES));
        let mut nets: Vec<IpNet> =
            (0..20).map(|_| net(rng.u32(0x0b00_0000..0xdf00_0000), rng.u8(18..=32))).collect();
        nets.extend((0..10).map(|_| {
            net6(
                (0x2a00_u128 << 112) | (rng.u128(..) >> 16),
                *rng.choice(&[32, 40, 48, 64]).expect("four"),
            )
        }));
        ends.sources.extend(nets.iter().copied());
        let labels = [("kind", "partner"), ("partner", name.as_str()), ("rating", rating)];
        if partner % 3 > 0 {
            set.objects.push(network_set(&name, &labels, nets));
            continue;
        }
        let mut labels = labels.to_vec();
        labels.push(("projectcalico.org/namespace", &namespace));
        let namespaced = object(ObjectKind::NetworkSet, &name, &labels, nets);
        set.objects.push(Object { namespace: Some(namespace.clone()), ..namespaced });
    }
    for scope in 0..40 {
        let name = format!("scope-{scope}");
        let drawn = |rng: &mut Rng| {
            let place = Place::draw(rng);
            let (host, subnet) = (rng.u32(..1 << 16), u128::from(rng.u16(..)) << 64);
            [net(place.v4() | host, rng.u8(14..=26)), net6(place.v6() | subnet, rng.u8(44..=64))]
        };
        let nets = (0..25).flat_map(|_| drawn(rng)).collect();
        let class = ["pci", "gdpr", "sox", "legacy"][scope % 4];
        let labels = [("kind", "scope"), ("scope", name.as_str()), ("class", class)];
        set.objects.push(network_set(&name, &labels, nets));
    }
}

/// Each application has a subnet for each of its roles, and pods there.
pub(super) fn apps(set: &mut PolicySet, ends: &mut Ends, scale: f64, rng: &mut Rng) -> Vec<App> {
    let apps: Vec<App> = (0..scaled(400, scale))
        .map(|number| App {
            name: format!("app-{number}"),
            namespace: format!("ns-{}", rng.usize(..NAMESPACES)),
            team: number % TEAMS,
            env: ENVS[rng.usize(..3)],
            grade: GRADES[rng.usize(..3)],
        })
        .collect();
    for app in &apps {
        for role in 0..ROLES.len() {
            part(set, ends, app, role, rng);
        }
    }
    apps
}

fn part(set: &mut PolicySet, ends: &mut Ends, app: &App, role: usize, rng: &mut Rng) {
    let place = Place::draw(rng);
    let first = place.v4() | (rng.u32(..256) << 8);
    let first_v6 = place.v6() | (u128::from(rng.u16(..)) << 64);
    let name = format!("{}-{}", app.name, ROLES[role].name);
    let labels = [
        ("app", app.name.as_str()),
        ("role", ROLES[role].name),
        ("env", app.env),
        ("grade", app.grade),
        ("team", &format!("team-{}", app.team)),
    ];
    let nets = vec![net(first, 24), net6(first_v6, 64)];
    ends.sources.extend(nets.iter().copied());
    ends.destinations.extend(nets.iter().copied());
    let subnet = network_set(&name, &[&labels[..], &[("kind", "subnet")]].concat(), nets);
    set.objects.push(subnet);
    for number in 1..=PODS {
        let mut nets = vec![net(first + u32::from(number), 32)];
        nets.extend((number % 5 < 2).then(|| net6(first_v6 + u128::from(number), 128)));
        ends.sources.extend(nets.iter().copied());
        ends.destinations.extend(nets.iter().copied());
        set.objects.push(pod(app, role, &format!("{name}-{number}"), &labels, nets));
    }
}

fn pod(app: &App, role: usize, name: &str, labels: &[(&str, &str)], nets: Vec<IpNet>) -> Object {
    let line = format!("line-{}", app.team % 7);
    let mut labels = labels.to_vec();
    labels.extend([
        ("projectcalico.org/namespace", app.namespace.as_str()),
        ("projectcalico.org/orchestrator", "k8s"),
        ("pcns.line", line.as_str()),
    ]);
    let named = |(name, port): (&str, u16)| NamedPort {
        name: name.to_owned(),
        protocol: protocol::TCP,
        port,
    };
    Object {
        namespace: Some(app.namespace.clone()),
        ports: [ROLES[role].port, ("metrics", 9100)].map(named).to_vec(),
        ..object(ObjectKind::Pod, name, &labels, nets)
    }
}
