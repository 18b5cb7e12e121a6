//! The same amount of policy for each kind of gateway: rules of applications that have nothing to do with the traffic, and
//! prefixes that deny and do not hold its source; a few rules for the sink, the last of which allows the traffic.

use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::OnceLock;

use classifier::compile::{Limits, compile};
use classifier::decision::Verdict;
use classifier::label::Labels;
use classifier::packet::{PacketKey, Transport, protocol};
use classifier::resource::{Action, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule};
use classifier::selector::Selector;
use fastrand::Rng;
use ipnet::IpNet;
use ravelin::scenario::INWARD;
use ravelin::scenario::corporate::corporate;

use ravelin::support::ALLOWED_PORT;

/// Rules for the sink; the last allows.
const OWN_RULES: u16 = 5;
const LAB: &str = "198.18.0.0/15";

/// How much policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Estate {
    /// 10 rules, 1,000 prefixes.
    Small,
    /// 10,000 rules, 1,350,000 prefixes.
    Large,
}

impl Estate {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    fn rules(self) -> usize {
        match self {
            Self::Small => 10,
            Self::Large => 10_000,
        }
    }

    fn prefixes(self) -> usize {
        match self {
            Self::Small => 1_000,
            Self::Large => 1_350_000,
        }
    }

    /// The image of the corporation of that size, in which the sink is an application.
    pub(super) fn image(self) -> &'static [u8] {
        static IMAGES: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
        let [small, large] = &IMAGES;
        match self {
            Self::Small => small.get_or_init(|| compiled(&corporate(7, 0.001, 10).set)),
            Self::Large => large.get_or_init(|| compiled(&corporate(7, 1.0, 10_000).set)),
        }
    }

    /// A ruleset as a careful person writes it: what is established first, one interval set for all that is denied, one
    /// verdict map that finds the destination's own few rules.
    pub(super) fn nftables(self) -> &'static str {
        static TEXTS: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
        let [small, large] = &TEXTS;
        let text = if self == Self::Small { small } else { large };
        text.get_or_init(|| {
            let chains = self.rules() / usize::from(OWN_RULES);
            let mut text = String::from("table ip filter {\nset denied { type ipv4_addr; flags interval\nelements = {\n");
            for net in denied(self.prefixes()) {
                line(&mut text, format_args!("{net},"));
            }
            text.push_str("}\n}\nchain sink {\n");
            for port in own_ports() {
                line(&mut text, format_args!("ip saddr 198.18.0.0/16 udp dport {port} accept"));
            }
            text.push_str("}\n");
            for chain in 1..chains {
                line(&mut text, format_args!("chain app{chain} {{"));
                for rule in 0..OWN_RULES {
                    line(&mut text, format_args!("ip saddr {} tcp dport {} accept", app(chain * 7 + usize::from(rule)), 1_000 + rule));
                }
                text.push_str("}\n");
            }
            text.push_str("map by_destination { type ipv4_addr : verdict; flags interval\nelements = { 198.19.0.0/16 : jump sink,\n");
            for chain in 1..chains {
                line(&mut text, format_args!("{} : jump app{chain},", app(chain)));
            }
            text.push_str("}\n}\nchain forward { type filter hook forward priority 0; policy drop\nct state established accept\nip saddr @denied drop\nip daddr vmap @by_destination\n}\n}\n");
            text
        })
    }

    /// What `ipset restore` reads: the prefixes that deny, and the rules as destination, port and source.
    pub(super) fn ipset(self) -> &'static str {
        static TEXTS: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
        let [small, large] = &TEXTS;
        let text = if self == Self::Small { small } else { large };
        text.get_or_init(|| {
            let mut text =
                String::from("create denied hash:net hashsize 1048576 maxelem 2000000\n");
            for net in denied(self.prefixes()) {
                line(&mut text, format_args!("add denied {net}"));
            }
            text.push_str("create allowed hash:ip,port,net hashsize 65536 maxelem 100000\n");
            for host in 1..=8 {
                let last = own_ports().last().unwrap_or_default();
                line(
                    &mut text,
                    format_args!("add allowed 198.19.0.{host},udp:{last},198.18.0.0/16"),
                );
            }
            for rule in 1..self.rules() {
                let (destination, source) = (app(rule), app(rule * 7));
                line(
                    &mut text,
                    format_args!(
                        "add allowed {},tcp:{},{source}",
                        destination.addr(),
                        1_000 + rule % 50
                    ),
                );
            }
            text
        })
    }
}

impl fmt::Display for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "10 rules, 1,000 prefixes",
            Self::Large => "10,000 rules, 1,350,000 prefixes",
        })
    }
}

/// Disjoint prefixes of eight lengths outside of the laboratory.
fn denied(count: usize) -> impl Iterator<Item = IpNet> {
    let mut rng = Rng::with_seed(7);
    let mut at = u32::from(Ipv4Addr::new(11, 0, 0, 0));
    (0..count).map(move |_| {
        let length = *rng.choice(&[24, 25, 26, 27, 28, 29, 30, 32]).expect("lengths");
        let size = 1 << (32 - length);
        let first: u32 = u32::next_multiple_of(at, size);
        at = first + size + 8 * rng.u32(..3);
        IpNet::new(Ipv4Addr::from(first).into(), length).expect("a length")
    })
}

/// The network of an application; each has its own.
fn app(number: usize) -> IpNet {
    let at =
        u32::from(Ipv4Addr::new(10, 0, 0, 0)) + 32 * u32::try_from(number % 500_000).expect("few");
    IpNet::new(Ipv4Addr::from(at).into(), 27).expect("a length")
}

fn own_ports() -> impl Iterator<Item = u16> {
    (1..OWN_RULES).map(|number| 20_000 + number).chain([ALLOWED_PORT])
}

fn line(text: &mut String, line: fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("memory");
}

/// The corporation with the source, and with the sink as one of its applications, so that every tier is about it.
fn compiled(corporation: &PolicySet) -> Vec<u8> {
    let mut set = corporation.clone();
    let lab: IpNet = LAB.parse().expect("a net");
    for object in &mut set.objects {
        // Nobody else denies or owns what the laboratory has, wherever the generator has put countries and feeds.
        object.nets.retain(|net| !net.contains(&lab) && !lab.contains(net));
    }
    set.objects.push(network_set("source", "198.18.0.0/16", &[("role", "source")]));
    set.objects.push(network_set("sink", "198.19.0.0/16", &[("app", "sink"), ("role", "web")]));
    set.policies.push(Policy {
        order: Some(100.0),
        selector: selector("app == 'sink'"),
        applies_ingress: true,
        ingress: own_ports().map(allow_udp).collect(),
        ..Policy::new("sink")
    });
    let image = compile(&set, 1, &Limits::default()).expect("a policy that compiles");
    let packet = PacketKey {
        src: Ipv4Addr::new(198, 18, 0, 1).into(),
        dst: Ipv4Addr::new(198, 19, 0, 1).into(),
        protocol: protocol::UDP,
        transport: Transport::Ports { src: 40_000, dst: ALLOWED_PORT },
    };
    let decision = image.view().classify(&packet, INWARD);
    assert_eq!(decision.verdict(), Verdict::Allow, "the estate must allow the traffic");
    image.bytes().to_vec()
}

fn allow_udp(port: u16) -> Rule {
    let mut rule = Rule::new(Action::Allow);
    rule.protocol = Some(protocol::UDP);
    rule.source.selector = Some(selector("role == 'source'"));
    let ports = vec![PortRange { first: port, last: port }];
    rule.destination = Peer { ports, ..Peer::default() };
    rule
}

fn network_set(name: &str, net: &str, labels: &[(&str, &str)]) -> Object {
    Object {
        labels: labels.iter().copied().collect::<Labels>(),
        nets: vec![net.parse().expect("a net")],
        ..Object::new(ObjectKind::GlobalNetworkSet, name)
    }
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a selector")
}
