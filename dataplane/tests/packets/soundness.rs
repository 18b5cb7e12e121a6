//! The strongest property: whatever leaves is allowed by the reference evaluator, for a key that a second parser read, or
//! belongs to a conversation whose opening packet was, and still is. Frames, policies and their changes are random.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use classifier::compile::{Limits, compile};
use classifier::decision::Verdict;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference::evaluate;
use classifier::resource::{Action, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule};
use classifier::selector::Selector;
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason};
use dataplane::parse::{Packet, Parsed, Query, Signal, Vlans};
use dataplane::pipeline::PortRules;

use crate::second_parser;
use crate::support::frames::{
    ACK, ETHERNET, FIN, Layer, RST, SYN, arp, discovery, extend, foreign, frame, repair, tag,
    tagged,
};
use crate::support::gate::Gate;

const SEED: u64 = 0x5eed_0006;
const GATES: u64 = 40;
const POLICIES: u64 = 10;
const FRAMES: u64 = 500;
/// Few addresses and ports, so that replies, other flows' packets and overlapping sets come by chance.
const ADDRESSES: [[&str; 5]; 2] = [
    ["198.18.70.9", "198.18.70.130", "198.18.10.1", "198.18.10.2", "198.19.0.1"],
    ["2001:2:0:70::9", "2001:2:0:70:8000::1", "2001:2:0:10::1", "2001:2:0:10::2", "2001:2:1::1"],
];
const PORTS: [u16; 4] = [22, 53, 40_000, 40_001];
const VLANS: [&[u16]; 4] = [&[], &[], &[7], &[7, 8]];
const PROTOCOLS: [u8; 6] = [1, 6, 17, 47, 58, 132];
const SELECTORS: [&str; 5] = ["all()", "zone == 'rack'", "zone == 'noc'", "has(web)", "!has(zone)"];
const SIDES: [[Side; 2]; 3] =
    [[Side::Outside, Side::Inside], [Side::Outside, Side::Inside], [Side::Inside, Side::Inside]];

/// A conversation by its opening packet, as this test sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Opening {
    packet: PacketKey,
    /// Of an echo request.
    identifier: u16,
    vlans: Vlans,
    port: Port,
}

impl Opening {
    /// The opening that `packet` would be, if it is one or goes the same way.
    fn of(packet: &Packet, port: Port) -> Self {
        let identifier = match packet.signal {
            Signal::Request(query) => query.identifier,
            Signal::Reply(_)
            | Signal::Error(_)
            | Signal::Message
            | Signal::Datagram
            | Signal::Tcp(_) => 0,
        };
        Self { packet: packet.key, identifier, vlans: packet.vlans, port }
    }

    /// The opening that `packet` would be a reply to.
    fn answered_by(packet: &Packet, port: Port) -> Self {
        let PacketKey { src, dst, protocol, transport } = packet.key;
        let (transport, identifier) = match (packet.signal, transport) {
            (Signal::Reply(Query { identifier, kind }), _) => {
                (Transport::Icmp { kind, code: 0 }, identifier)
            }
            (_, Transport::Ports { src, dst }) => (Transport::Ports { src: dst, dst: src }, 0),
            _ => (transport, 0),
        };
        let packet_key = PacketKey { src: dst, dst: src, protocol, transport };
        Self { packet: packet_key, identifier, vlans: packet.vlans, port: port.other() }
    }

    /// Longest silence that a conversation of this kind survives, with the table's tolerance.
    fn patience(&self) -> Duration {
        let seconds = match self.packet.protocol {
            protocol::TCP => 7_440,
            protocol::ICMP | protocol::ICMPV6 if self.packet.transport != Transport::Opaque => 60,
            _ => 300,
        };
        Duration::from_secs(seconds) + Duration::from_millis(300)
    }
}

/// What this test knows of a gate.
struct Model {
    sides: [PortRules; 2],
    set: PolicySet,
    /// Conversations that may be known to the gate, with the time of their last packet.
    open: HashMap<Opening, Duration>,
    outcomes: BTreeMap<&'static str, u64>,
}

impl Model {
    fn allows(&self, packet: &PacketKey, port: Port) -> bool {
        let side = |port: Port| self.sides[port.index()].side;
        let crossing = Crossing::sides(side(port), side(port.other()));
        evaluate(&self.set, packet, crossing).verdict() == Verdict::Allow
    }

    fn is_open(&self, opening: &Opening, now: Duration) -> bool {
        self.open.get(opening).is_some_and(|last| now <= *last + opening.patience())
            && self.allows(&opening.packet, opening.port)
    }

    fn note(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    fn check(&mut self, port: Port, bytes: &[u8], fate: Disposition, now: Duration) {
        let context = || format!("{port:?} {fate:?} {bytes:02x?}");
        let packet = match second_parser::read(bytes) {
            Ok(Parsed::Ip(packet)) => packet,
            Ok(Parsed::Arp(_) | Parsed::NeighbourDiscovery(_)) => {
                assert_eq!(fate, Disposition::Forward, "{}", context());
                return self.note("below policy");
            }
            Ok(Parsed::Fragment(_)) => {
                let voided = Disposition::Drop(DropReason::FragmentOverlap);
                assert!([Disposition::Hold, voided].contains(&fate), "{}", context());
                return self.note("fragment");
            }
            Ok(Parsed::NonIp) => {
                let passes = self.sides[port.index()].pass_non_ip;
                assert_eq!(fate == Disposition::Forward, passes, "{}", context());
                return self.note(if passes { "non-ip passed" } else { "non-ip dropped" });
            }
            Err(reason) => {
                assert_eq!(fate, Disposition::Drop(reason), "{}", context());
                return self.note("unreadable");
            }
        };
        let same = Opening::of(&packet, port);
        let answered = Opening::answered_by(&packet, port);
        let allowed = self.allows(&packet.key, port);
        let reply = packet.signal != Signal::Message && self.is_open(&answered, now);
        match fate {
            Disposition::Forward | Disposition::Complete { .. } => {
                assert!(allowed || reply, "{}", context());
                let is_known = self.open.contains_key(&same) || self.open.contains_key(&answered);
                assert!(is_known || !needs_a_flow(packet.signal), "{}", context());
                self.note(if allowed { "allowed by itself" } else { "allowed as a reply" });
                self.open(&packet, same, answered, allowed, now);
            }
            Disposition::Drop(DropReason::PolicyDenied) => {
                let cut = self.open.contains_key(&answered) && !reply;
                assert!(!allowed || cut, "allowed: {}", context());
                self.note(if allowed { "cut with its opening" } else { "denied" });
                // Whatever conversation it belonged to is cut, or was never there.
                for opening in [same, answered] {
                    if !self.allows(&opening.packet, opening.port) {
                        self.open.remove(&opening);
                    }
                }
            }
            Disposition::Hold | Disposition::Release(_) => {
                panic!("not of a fragment: {}", context())
            }
            Disposition::Drop(reason) => {
                let outcome = out_of_state(packet.signal, reason);
                self.note(outcome.unwrap_or_else(|| panic!("{}", context())));
            }
        }
    }

    /// A packet that passed renews its conversation, or opens one.
    fn open(
        &mut self,
        packet: &Packet,
        same: Opening,
        answered: Opening,
        by_itself: bool,
        now: Duration,
    ) {
        let opens = match packet.signal {
            Signal::Tcp(segment) => segment.flags.opens(),
            Signal::Request(_) | Signal::Datagram => true,
            Signal::Reply(_) | Signal::Error(_) | Signal::Message => false,
        };
        if by_itself && (opens || self.open.contains_key(&same)) {
            self.open.insert(same, now);
        }
        if self.open.contains_key(&answered) {
            self.open.insert(answered, now);
        }
    }
}

/// Whether a packet may pass only within a conversation.
fn needs_a_flow(signal: Signal) -> bool {
    match signal {
        Signal::Tcp(segment) => segment.flags.0 & (SYN | ACK | RST | FIN) != SYN,
        Signal::Reply(_) | Signal::Error(_) => true,
        Signal::Request(_) | Signal::Message | Signal::Datagram => false,
    }
}

/// What it means that a packet which policy may allow was dropped for this reason; `None` when it cannot have been.
fn out_of_state(signal: Signal, reason: DropReason) -> Option<&'static str> {
    match (signal, reason) {
        (Signal::Tcp(segment), DropReason::TcpFlags) => {
            let bits = segment.flags.0 & (SYN | ACK | RST | FIN);
            let impossible = [0, FIN, SYN | FIN, SYN | RST, FIN | RST];
            let contrary = bits & SYN != 0 && bits & (FIN | RST) != 0;
            (impossible.contains(&bits) || contrary).then_some("impossible flags")
        }
        (Signal::Tcp(segment), DropReason::TcpNotOpening) => {
            (needs_a_flow(signal) && segment.flags.0 != 0).then_some("not opening")
        }
        (Signal::Tcp(_), DropReason::TcpWindow) => Some("out of window"),
        (Signal::Tcp(_), DropReason::TcpClosed) => Some("closed"),
        (Signal::Reply(_) | Signal::Error(_), DropReason::IcmpUnmatched) => Some("unmatched"),
        _ => None,
    }
}

#[test]
fn whatever_is_forwarded_is_allowed_by_the_reference_or_belongs_to_a_flow_that_was() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut outcomes = BTreeMap::new();
    for number in 0..GATES {
        let sides = random.choice(SIDES).unwrap();
        let rules =
            sides.map(|side| PortRules { side, pass_non_ip: random.u8(..4) == 0, pick_up: false });
        let mut gate = Gate::new(rules, 1 << 12, 1);
        let set = PolicySet::new();
        let mut traffic = Traffic { random: random.fork(), passed: Vec::new() };
        let mut model = Model { sides: rules, set, open: HashMap::new(), outcomes };
        for generation in 1..=POLICIES {
            model.set = policy_set(&mut random);
            let image = compile(&model.set, generation, &Limits::default()).unwrap();
            gate.slot.publish(Arc::new(image));
            for _ in 0..FRAMES {
                let (port, bytes, spec) = traffic.next();
                let fate = gate.send(port, &bytes);
                model.check(port, &bytes, fate, gate.now);
                if let (Disposition::Forward, Some(spec)) = (fate, spec) {
                    traffic.note_passed(port, spec);
                }
                gate.now += Duration::from_millis(random.u64(..2_000));
            }
        }
        let counters = gate.counters();
        assert!(counters.ports.iter().all(dataplane::counters::PortCounters::balances));
        let gone = counters.flows_cut + counters.flows_ended + gate.flows.gave_way();
        let accounted = gone + gate.flows.live();
        assert_eq!(counters.flows_started, accounted, "gate {number}");
        outcomes = model.outcomes;
    }
    println!("{outcomes:?}");
    assert_eq!(outcomes.len(), 14, "every outcome was reached: {outcomes:?}");
    assert!(outcomes.values().all(|count| *count > 20), "and more than once: {outcomes:?}");
}

/// Overlapping objects, and a few policies of random rules over them.
fn policy_set(random: &mut fastrand::Rng) -> PolicySet {
    let mut set = PolicySet::new();
    set.defaults.allow_unselected = random.u8(..8) == 0;
    set.defaults.allow_uncovered = random.u8(..8) == 0;
    let objects = [
        ("rack", vec![("zone", "rack")], ["198.18.70.0/24", "2001:2:0:70::/64"]),
        (
            "web",
            vec![("zone", "rack"), ("web", "yes")],
            ["198.18.70.128/25", "2001:2:0:70:8000::/65"],
        ),
        ("noc", vec![("zone", "noc")], ["198.18.10.0/24", "2001:2:0:10::/64"]),
        ("one", vec![("web", "no")], ["198.18.10.1/32", "2001:2:0:10::1/128"]),
    ];
    for (name, labels, nets) in objects {
        set.objects.push(Object {
            kind: ObjectKind::GlobalNetworkSet,
            name: name.to_owned(),
            labels: labels.into_iter().collect(),
            nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
            ..Object::new(ObjectKind::GlobalNetworkSet, "")
        });
    }
    for number in 0..random.usize(1..4) {
        let mut rules = || (0..random.usize(..5)).map(|_| rule(random)).collect::<Vec<_>>();
        let (ingress, egress) = (rules(), rules());
        let kinds = random.u8(1..4);
        set.policies.push(Policy {
            name: format!("policy-{number}"),
            tier: "default".to_owned(),
            order: random.bool().then(|| f64::from(random.u8(..3))),
            selector: selector(random),
            applies_ingress: kinds & 1 != 0,
            applies_egress: kinds & 2 != 0,
            ingress,
            egress,
            ..Policy::new("")
        });
    }
    set
}

fn rule(random: &mut fastrand::Rng) -> Rule {
    let action = [Action::Allow, Action::Allow, Action::Deny, Action::Log, Action::Pass];
    let mut rule = Rule::new(random.choice(action).unwrap());
    if random.bool() {
        rule.protocol = random.choice(PROTOCOLS);
        let has_ports = rule.protocol.is_some_and(|number| [6, 17, 132].contains(&number));
        if has_ports && random.bool() {
            rule.destination.ports = port_list(random);
        }
        if has_ports && random.u8(..4) == 0 {
            rule.source.not_ports = port_list(random);
        }
    }
    for peer in [&mut rule.source, &mut rule.destination] {
        match random.u8(..6) {
            0 => peer.selector = Some(selector(random)),
            1 => peer.not_selector = Some(selector(random)),
            _ => *peer = Peer { selector: None, ..peer.clone() },
        }
    }
    rule
}

fn port_list(random: &mut fastrand::Rng) -> Vec<PortRange> {
    let port = random.choice(PORTS).unwrap();
    vec![PortRange { first: port, last: port }]
}

fn selector(random: &mut fastrand::Rng) -> Selector {
    Selector::parse(random.choice(SELECTORS).unwrap()).unwrap()
}

/// What a packet is built from, to build its reply from it.
#[derive(Clone, Copy)]
struct Spec {
    src: &'static str,
    dst: &'static str,
    layer: Layer,
    vlans: &'static [u16],
}

impl Spec {
    fn any(family: usize, random: &mut fastrand::Rng) -> Self {
        let [src, dst] = [0, 1].map(|_| random.choice(ADDRESSES[family]).unwrap());
        let [from, to] = [0, 1].map(|_| random.choice(PORTS).unwrap());
        let layer = match random.u8(..8) {
            0..=2 => Layer::Tcp(from, to, flags(random)),
            3 => Layer::Udp(from, to),
            4 => Layer::Sctp(from, to),
            5 => Layer::Ping(from),
            6 => Layer::Pong(from),
            _ if random.bool() => Layer::Icmp(random.choice([0, 3, 8, 128, 129]).unwrap(), 1),
            _ => Layer::Raw(random.choice([4, 41, 47, 50, 59]).unwrap()),
        };
        Self { src, dst, layer, vlans: random.choice(VLANS).unwrap() }
    }

    /// The other way in the same conversation.
    fn reply(self, random: &mut fastrand::Rng) -> Self {
        let Self { src, dst, layer, vlans } = self;
        let layer = match layer {
            Layer::Tcp(from, to, _) => Layer::Tcp(to, from, flags(random)),
            Layer::Udp(from, to) => Layer::Udp(to, from),
            Layer::Sctp(from, to) => Layer::Sctp(to, from),
            Layer::Ping(identifier) => Layer::Pong(identifier),
            Layer::Pong(_) | Layer::Icmp(..) | Layer::Raw(_) => layer,
        };
        Self { src: dst, dst: src, layer, vlans }
    }

    fn frame(self) -> Vec<u8> {
        tagged(self.vlans, self.src, self.dst, self.layer)
    }
}

/// Random frames; some go on in conversations that had a packet pass.
struct Traffic {
    random: fastrand::Rng,
    passed: Vec<(Port, Spec)>,
}

impl Traffic {
    /// A frame, where it comes in, and what it was built from if it was not bent.
    fn next(&mut self) -> (Port, Vec<u8>, Option<Spec>) {
        let Self { random, passed } = self;
        let mut port = Port::BOTH[random.usize(..2)];
        let mut spec = Spec::any(random.usize(..2), random);
        if let Some((before, known)) = random.choice(&*passed).filter(|_| random.bool()) {
            let goes_on = random.u8(..3) == 0;
            spec = if goes_on { *known } else { known.reply(random) };
            port = if goes_on { *before } else { before.other() };
            if random.u8(..16) == 0 {
                port = port.other();
            }
        }
        let kind = random.u8(..40);
        let mut bytes = match kind {
            0 => arp(),
            1 => discovery(random.u8(133..=137)),
            2 => foreign(random.choice([0x0026, 0x88CC, 0x8863, 0x0800, 0x86DD, 0x8100]).unwrap()),
            3 => in_snap(&spec.frame()),
            4 => extended(&Spec { vlans: &[], ..Spec::any(1, random) }.frame(), random),
            5 => tag(&spec.frame(), 0x88A8, 9),
            _ => spec.frame(),
        };
        let straight = kind > 5 && random.u8(..5) > 0;
        if !straight {
            bend(&mut bytes, random);
        }
        (port, bytes, straight.then_some(spec))
    }

    fn note_passed(&mut self, port: Port, spec: Spec) {
        if self.passed.len() == 64 {
            self.passed.swap_remove(self.random.usize(..64));
        }
        self.passed.push((port, spec));
    }
}

fn flags(random: &mut fastrand::Rng) -> u8 {
    let flags = [SYN, SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST, RST | ACK, SYN | FIN, 0];
    random.choice(flags).unwrap()
}

/// Changes some bytes, cuts the frame off or adds to it, or none of that.
fn bend(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(..4) {
        let at = random.usize(..bytes.len().min(80));
        bytes[at] = if random.bool() { random.u8(..) } else { bytes[at] ^ (1 << random.u8(..8)) };
    }
    if random.bool() {
        repair(bytes);
    }
    match random.u8(..4) {
        0 => bytes.truncate(random.usize(..=bytes.len())),
        1 => bytes.extend_from_slice(&[0xEE; 9]),
        _ => {}
    }
}

/// An untagged frame behind an LLC and SNAP header, as IEEE 802.3 carries IP.
fn in_snap(frame: &[u8]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    out.extend_from_slice(&u16::try_from(frame.len() - 12 + 6).unwrap().to_be_bytes());
    out.extend_from_slice(&[0xAA, 0xAA, 3, 0, 0, 0]);
    out.extend_from_slice(&frame[12..]);
    out
}

/// With extension headers of random kinds.
fn extended(frame: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    for _ in 0..random.usize(1..4) {
        let kind = random.choice([0, 43, 44, 51, 59, 60, 135]).unwrap();
        let mut extension = vec![0; 8];
        extension[3] = random.u8(..2);
        bytes = if bytes[12..14] == [0x86, 0xDD] { extend(&bytes, kind, extension) } else { bytes };
    }
    bytes
}

#[test]
fn model_of_this_test_knows_its_conversations() {
    let read = |bytes: &[u8]| match second_parser::read(bytes) {
        Ok(Parsed::Ip(packet)) => packet,
        other => panic!("{other:?}"),
    };
    for [a, b, ..] in ADDRESSES {
        let pairs = [
            (Layer::Tcp(40_000, 22, SYN), Layer::Tcp(22, 40_000, SYN | ACK)),
            (Layer::Ping(7), Layer::Pong(7)),
            (Layer::Raw(47), Layer::Raw(47)),
        ];
        for (request, reply) in pairs {
            let request = Opening::of(&read(&frame(a, b, request)), Port::A);
            assert_eq!(request, Opening::answered_by(&read(&frame(b, a, reply)), Port::B));
            assert_ne!(request, Opening::answered_by(&read(&frame(b, a, reply)), Port::A));
            assert!(request.packet.src == a.parse::<IpAddr>().unwrap());
        }
    }
    assert_eq!(in_snap(&frame(ADDRESSES[0][0], ADDRESSES[0][1], Layer::Udp(1, 2)))[ETHERNET], 0xAA);
}
