//! Single addresses by the hundred thousand: feeds of bad addresses as their makers publish them, and tenants that deny by
//! what feeds say of an address rather than by which feed says it.

use classifier::packet::protocol;
use classifier::resource::{Action, Policy, PolicySet, Rule, Tier, TierAction};
use fastrand::Rng;
use ipnet::IpNet;

use super::build::{allow, deny, ingress, matching, net, net6, network_set, to_ports};
use super::draw::{pick, scaled, zipf};
use super::{Draw, INWARD, Nets, Percent, Scenario};

const FEEDS: usize = 400;
const TENANTS: usize = 250;
const CATEGORIES: [&str; 8] =
    ["c2", "scanner", "phishing", "spam", "tor", "botnet", "brute-force", "proxy"];
const SEVERITIES: [&str; 3] = ["high", "medium", "low"];
const VENDORS: [&str; 12] = [
    "ash", "beech", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew",
];
/// TCP ports of what tenants serve; the last is one that nobody serves.
const PORTS: [u16; 6] = [443, 80, 25, 22, 8443, 5900];

/// `scale` 1 is a million prefixes, 40 of a hundred of them one IPv4 address.
#[must_use]
pub fn feeds(seed: u64, scale: f64) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let mut set = PolicySet::new();
    let wanted = scaled(1_000_000, scale);
    let mut heard = Heard::new(wanted / 12, &mut rng);
    let mut sources = Nets::default();
    for number in 0..FEEDS {
        let nets: Vec<IpNet> = (0..wanted / FEEDS).map(|_| heard.next(&mut rng)).collect();
        sources.extend(nets.iter().copied());
        let name = format!("feed-{number}");
        let labels = [
            ("kind", "feed"),
            ("feed", name.as_str()),
            ("category", CATEGORIES[number % CATEGORIES.len()]),
            ("severity", SEVERITIES[zipf(SEVERITIES.len(), &mut rng)]),
            ("vendor", *pick(&VENDORS, Draw::Zipf, &mut rng)),
        ];
        set.objects.push(network_set(&name, &labels, nets));
    }
    // Half of the traffic is from addresses that no feed has.
    sources.extend((0..wanted / 2).map(|_| net(rng.u32(0x0b00_0000..0xdf00_0000), 24)));
    sources.extend((0..wanted / 40).map(|_| net6((0x2a00_u128 << 112) | (rng.u128(..) >> 16), 48)));
    sources.shuffle(usize::MAX, &mut rng);
    let destinations = tenants(&mut set);
    policies(&mut set, &mut rng);
    let percent = Percent { v6: 5, udp: 5 };
    Scenario {
        note: None,
        set,
        crossing: INWARD,
        sources,
        destinations,
        percent,
        ports: PORTS.to_vec(),
    }
}

/// What feeds have heard of: bad addresses live close together, and one feed copies another.
struct Heard {
    /// Networks of 256 addresses with bad ones in them.
    neighbourhoods: Vec<u32>,
    said: Vec<IpNet>,
}

impl Heard {
    fn new(neighbourhoods: usize, rng: &mut Rng) -> Self {
        let hosters: Vec<u32> =
            (0..1_500).map(|_| rng.u32(0x0b00..0xdf00)).map(|at| at << 16).collect();
        let near = |rng: &mut Rng| *pick(&hosters, Draw::Zipf, rng) | (rng.u32(..256) << 8);
        let far = |rng: &mut Rng| rng.u32(0x0b_0000..0xdf_0000) << 8;
        let any = |_| if rng.bool() { near(rng) } else { far(rng) };
        Self { neighbourhoods: (0..neighbourhoods).map(any).collect(), said: Vec::new() }
    }

    fn next(&mut self, rng: &mut Rng) -> IpNet {
        let copied = !self.said.is_empty() && rng.u8(..100) < 12;
        let net = if copied { self.said[rng.usize(..self.said.len())] } else { self.fresh(rng) };
        self.said.push(net);
        net
    }

    fn fresh(&self, rng: &mut Rng) -> IpNet {
        let near = *pick(&self.neighbourhoods, Draw::Even, rng) | rng.u32(..256);
        match rng.u8(..100) {
            0..40 => net(near, 32),
            40..65 => net(near, 24),
            65..80 => net(near, rng.u8(25..32)),
            80..95 => net(near, rng.u8(18..24)),
            95..98 => net6(six(near), 64),
            _ => net6(six(near) | 1, 128),
        }
    }
}

/// The IPv6 neighbourhood beside an IPv4 one.
fn six(near: u32) -> u128 {
    (0x2a00_u128 << 112) | (u128::from(near) << 64)
}

fn tenants(set: &mut PolicySet) -> Nets {
    let mut all = Nets::default();
    for tenant in 0..TENANTS {
        let number = u32::try_from(tenant).expect("few tenants");
        let name = format!("tenant-{tenant}");
        let tier = ["gold", "silver", "bronze"][tenant % 3];
        let labels = [("tenant", name.as_str()), ("contract", tier)];
        let nets = vec![
            net(0x0a00_0000 | (number << 12), 20),
            net6((0xfd00_u128 << 112) | (u128::from(number) << 80), 48),
        ];
        all.extend(nets.iter().copied());
        set.objects.push(network_set(&name, &labels, nets));
    }
    all
}

fn policies(set: &mut PolicySet, rng: &mut Rng) {
    let threats =
        Tier { name: "threats".to_owned(), order: Some(10.0), default_action: TierAction::Pass };
    set.tiers.push(threats);
    let denied = ["severity == 'high' && category == 'c2'", "category in {'botnet', 'phishing'}"];
    let mut everybody: Vec<Rule> = denied.into_iter().map(deny).collect();
    everybody.insert(0, Rule { action: Action::Log, ..deny("vendor == 'oak' && has(feed)") });
    let outward =
        denied.map(|peer| Rule { destination: matching(peer), ..Rule::new(Action::Deny) });
    set.policies.push(Policy {
        egress: outward.to_vec(),
        applies_egress: true,
        ..ingress("threats-to-everybody", "threats", "has(tenant)", everybody)
    });
    for tenant in 0..TENANTS {
        let mut rules = vec![deny("kind == 'feed' && severity == 'high'")];
        rules.extend((0..rng.usize(2..6)).map(|_| deny(&opinion(rng))));
        let protects = format!("tenant == 'tenant-{tenant}'");
        set.policies.push(ingress(&format!("bad-for-{tenant}"), "threats", &protects, rules));
        let served = &PORTS[..rng.usize(2..PORTS.len())];
        let mut open = allow("all()", served);
        open.source = classifier::resource::Peer::default();
        let mut answers = Rule::new(Action::Allow);
        answers.protocol = Some(protocol::UDP);
        answers.source = matching("!has(feed) || severity == 'low'");
        answers.destination = to_ports(&[443]);
        set.policies.push(ingress(
            &format!("open-{tenant}"),
            Tier::DEFAULT,
            &protects,
            vec![open, answers],
        ));
    }
}

/// What a tenant thinks is bad.
fn opinion(rng: &mut Rng) -> String {
    let category = CATEGORIES[rng.usize(..CATEGORIES.len())];
    let severity = SEVERITIES[rng.usize(..SEVERITIES.len())];
    let vendor = *pick(&VENDORS, Draw::Zipf, rng);
    match rng.u8(..4) {
        0 => format!("category == '{category}'"),
        1 => format!("category == '{category}' && severity in {{'high', '{severity}'}}"),
        2 => format!("vendor == '{vendor}' && severity != 'low'"),
        _ => format!("feed == 'feed-{}'", zipf(FEEDS, rng)),
    }
}
