//! The flows of a capture: as many as fit, each with the answer for the packet that opened it.

use std::collections::HashMap;
use std::net::IpAddr;

use classifier::packet::{PacketKey, Side, Transport, protocol};

use super::tally::Slot;
use crate::capture::{Packet, Signal, Vlans};
use crate::commands::ports::opposite;

/// How long a flow may be silent, nanoseconds, as in the data plane: RFC 5382 REQ-5, RFC 5508 REQ-2, RFC 4787 REQ-5.
const TCP_IDLE_NS: u64 = 7_440_000_000_000;
const QUERY_IDLE_NS: u64 = 60_000_000_000;
const OTHER_IDLE_NS: u64 = 300_000_000_000;
/// Time of the capture between two searches of a full table for flows that are over.
const SWEEP_NS: u64 = 10_000_000_000;

/// The name of a flow: the same for both directions.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct FlowKey {
    first: (IpAddr, u16),
    second: (IpAddr, u16),
    protocol: u8,
    vlans: Vlans,
    /// The side of the first endpoint where addresses do not tell it.
    side: Option<Side>,
}

/// An endpoint of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    First,
    Second,
}

impl End {
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    /// Where it is counted.
    slot: Slot,
    /// The number of the packet that opened it.
    opened_by: u64,
    last_ns: u64,
    opener: End,
}

/// What flow a packet belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Belongs {
    /// One that is known: where it is counted, and the number of the packet that opened it.
    To { slot: Slot, opened_by: u64 },
    /// One that is not, and which of its ends sent the packet.
    ToNone(FlowKey, End),
    /// A packet that never belongs to one.
    Alone,
}

/// The flows that are remembered.
#[derive(Debug)]
pub(super) struct Flows {
    known: HashMap<FlowKey, Flow>,
    limit: usize,
    next_sweep_ns: u64,
}

impl Flows {
    pub(super) fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), limit, next_sweep_ns: 0 }
    }

    /// Looks a packet up. `side`: where all packets come in, if that was said.
    pub(super) fn find(&mut self, packet: &Packet, side: Option<Side>, now_ns: u64) -> Belongs {
        let Some((key, sender)) = FlowKey::of(packet, side) else { return Belongs::Alone };
        let Some(flow) = self.known.get_mut(&key) else { return Belongs::ToNone(key, sender) };
        // The other end begins a connection of its own: policy judges that one.
        let begins_anew = packet.signal == Signal::Opening && sender != flow.opener;
        if begins_anew || flow.is_over(&key, now_ns) {
            return Belongs::ToNone(key, sender);
        }
        flow.last_ns = flow.last_ns.max(now_ns);
        Belongs::To { slot: flow.slot, opened_by: flow.opened_by }
    }

    /// Whether another flow can be remembered; in a full table those that are over make room.
    pub(super) fn has_room(&mut self, key: &FlowKey, now_ns: u64) -> bool {
        self.known.len() < self.limit || self.known.contains_key(key) || self.sweep(now_ns)
    }

    /// Remembers a flow.
    pub(super) fn insert(&mut self, key: FlowKey, opener: End, slot: Slot, at: (u64, u64)) {
        let (opened_by, last_ns) = at;
        self.known.insert(key, Flow { slot, opened_by, last_ns, opener });
    }

    fn sweep(&mut self, now_ns: u64) -> bool {
        if now_ns < self.next_sweep_ns {
            return false;
        }
        self.next_sweep_ns = now_ns.saturating_add(SWEEP_NS);
        self.known.retain(|key, flow| !flow.is_over(key, now_ns));
        self.known.len() < self.limit
    }
}

impl Flow {
    fn is_over(&self, key: &FlowKey, now_ns: u64) -> bool {
        let limit = match key.protocol {
            protocol::TCP => TCP_IDLE_NS,
            protocol::ICMP | protocol::ICMPV6 => QUERY_IDLE_NS,
            _ => OTHER_IDLE_NS,
        };
        now_ns.saturating_sub(self.last_ns) > limit
    }
}

impl FlowKey {
    /// `None` for what belongs to no flow: ICMP messages that are no echo. Of a query the requester stands first: a request
    /// the other way is another query.
    fn of(packet: &Packet, side: Option<Side>) -> Option<(Self, End)> {
        let PacketKey { src, dst, protocol, transport } = packet.key;
        let (ports, sender) = match packet.signal {
            Signal::Message => return None,
            Signal::EchoRequest(identifier) => ([identifier; 2], Some(End::First)),
            Signal::EchoReply(identifier) => ([identifier; 2], Some(End::Second)),
            Signal::Datagram | Signal::Opening | Signal::Answer | Signal::Segment => {
                (ports(transport), None)
            }
        };
        let [src_port, dst_port] = ports;
        let (src, dst) = ((src, src_port), (dst, dst_port));
        let sender = sender.unwrap_or(if src <= dst { End::First } else { End::Second });
        let (first, second) = if sender == End::First { (src, dst) } else { (dst, src) };
        let side = side.map(|side| if sender == End::First { side } else { opposite(side) });
        Some((Self { first, second, protocol, vlans: packet.vlans, side }, sender))
    }
}

fn ports(transport: Transport) -> [u16; 2] {
    match transport {
        Transport::Ports { src, dst } => [src, dst],
        Transport::Icmp { .. } | Transport::Opaque => [0; 2],
    }
}

/// The packet that opened the flow which some packet is the first one recorded of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Opening {
    /// What rules see of it.
    pub(super) key: PacketKey,
    /// It went the other way than the recorded packet.
    pub(super) turned: bool,
    /// It is the recorded packet, or its answer is; else the ports were taken for a hint.
    pub(super) known: bool,
}

pub(super) fn opening(packet: &Packet) -> Opening {
    let as_it_is = Opening { key: packet.key, turned: false, known: true };
    let turned = Opening { key: turned(packet), turned: true, known: true };
    match packet.signal {
        Signal::Opening | Signal::Datagram | Signal::Message | Signal::EchoRequest(_) => as_it_is,
        Signal::Answer | Signal::EchoReply(_) => turned,
        Signal::Segment => {
            let [src, dst] = ports(packet.key.transport);
            Opening { known: false, ..if src < dst { turned } else { as_it_is } }
        }
    }
}

fn turned(packet: &Packet) -> PacketKey {
    let PacketKey { src, dst, protocol, transport } = packet.key;
    let transport = match (packet.signal, transport) {
        (Signal::EchoReply(_), _) => {
            Transport::Icmp { kind: if src.is_ipv4() { 8 } else { 128 }, code: 0 }
        }
        (_, Transport::Ports { src, dst }) => Transport::Ports { src: dst, dst: src },
        (_, Transport::Icmp { .. } | Transport::Opaque) => transport,
    };
    PacketKey { src: dst, dst: src, protocol, transport }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(src: &str, dst: &str, signal: Signal) -> Packet {
        let end = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
        let (src, dst) = (end(src), end(dst));
        let (protocol, transport) = match signal {
            Signal::EchoRequest(_) => (protocol::ICMP, Transport::Icmp { kind: 8, code: 0 }),
            Signal::EchoReply(_) => (protocol::ICMP, Transport::Icmp { kind: 0, code: 0 }),
            Signal::Message => (protocol::ICMP, Transport::Icmp { kind: 3, code: 1 }),
            Signal::Datagram => {
                (protocol::UDP, Transport::Ports { src: src.port(), dst: dst.port() })
            }
            Signal::Opening | Signal::Answer | Signal::Segment => {
                (protocol::TCP, Transport::Ports { src: src.port(), dst: dst.port() })
            }
        };
        let key = PacketKey { src: src.ip(), dst: dst.ip(), protocol, transport };
        Packet { key, vlans: [None; 2], signal }
    }

    fn open(flows: &mut Flows, packet: &Packet, now_ns: u64) -> bool {
        let Belongs::ToNone(key, sender) = flows.find(packet, None, now_ns) else {
            panic!("{packet:?} opens nothing")
        };
        let has_room = flows.has_room(&key, now_ns);
        if has_room {
            flows.insert(key, sender, Slot::default(), (1, now_ns));
        }
        has_room
    }

    const CLIENT: &str = "198.18.0.1:40000";
    const SERVER: &str = "198.18.0.2:22";

    #[test]
    fn a_reply_belongs_to_the_flow_that_was_opened() {
        for (there, back) in [
            (Signal::Opening, Signal::Answer),
            (Signal::Datagram, Signal::Datagram),
            (Signal::EchoRequest(5), Signal::EchoReply(5)),
        ] {
            let mut flows = Flows::new(10);
            assert!(open(&mut flows, &packet(CLIENT, SERVER, there), 0));
            let belongs = flows.find(&packet(SERVER, CLIENT, back), None, 1);
            assert_eq!(belongs, Belongs::To { slot: Slot::default(), opened_by: 1 });
        }
    }

    #[test]
    fn queries_are_told_apart_by_identifier_and_requester() {
        let mut flows = Flows::new(10);
        assert!(open(&mut flows, &packet(CLIENT, SERVER, Signal::EchoRequest(5)), 0));
        for other in [
            packet(SERVER, CLIENT, Signal::EchoReply(6)),
            packet(SERVER, CLIENT, Signal::EchoRequest(5)),
        ] {
            assert!(matches!(flows.find(&other, None, 0), Belongs::ToNone(..)));
        }
        let message = packet(SERVER, CLIENT, Signal::Message);
        assert_eq!(flows.find(&message, None, 0), Belongs::Alone);
    }

    #[test]
    fn a_full_table_takes_no_more_until_flows_are_over() {
        let mut flows = Flows::new(1);
        assert!(open(&mut flows, &packet(CLIENT, SERVER, Signal::Datagram), 0));
        let other = packet(CLIENT, "198.18.0.3:22", Signal::Datagram);
        assert!(!open(&mut flows, &other, OTHER_IDLE_NS));
        assert!(!open(&mut flows, &other, OTHER_IDLE_NS + 1), "no search again at once");
        assert!(open(&mut flows, &other, OTHER_IDLE_NS + SWEEP_NS));
        assert_eq!(flows.known.len(), 1);
    }

    #[test]
    fn a_silent_flow_is_over() {
        let mut flows = Flows::new(10);
        let query = packet(CLIENT, SERVER, Signal::EchoRequest(5));
        assert!(open(&mut flows, &query, 0));
        assert!(matches!(flows.find(&query, None, QUERY_IDLE_NS), Belongs::To { .. }));
        assert!(matches!(flows.find(&query, None, 2 * QUERY_IDLE_NS + 1), Belongs::ToNone(..)));
    }

    #[test]
    fn who_opened_what_was_recorded_from_its_middle() {
        let opener = |src, dst, signal| {
            let Opening { key, turned, known } = opening(&packet(src, dst, signal));
            (key.src.to_string(), turned, known)
        };
        let client = "198.18.0.1".to_owned();
        assert_eq!(opener(CLIENT, SERVER, Signal::Opening), (client.clone(), false, true));
        assert_eq!(opener(SERVER, CLIENT, Signal::Answer), (client.clone(), true, true));
        assert_eq!(opener(SERVER, CLIENT, Signal::Segment), (client.clone(), true, false));
        assert_eq!(opener(CLIENT, SERVER, Signal::Segment), (client, false, false));
    }

    #[test]
    fn a_connection_the_other_way_is_judged_again() {
        let mut flows = Flows::new(10);
        assert!(open(&mut flows, &packet(CLIENT, SERVER, Signal::Opening), 0));
        let back = packet(SERVER, CLIENT, Signal::Opening);
        assert!(matches!(flows.find(&back, None, 0), Belongs::ToNone(..)));
        let again = packet(CLIENT, SERVER, Signal::Opening);
        assert!(matches!(flows.find(&again, None, 0), Belongs::To { .. }));
    }
}
