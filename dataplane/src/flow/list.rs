//! Looking at the flows of a table, and ending one, from outside the way of a packet.
//!
//! Whoever lists reads what workers write, as any of them does, and holds nothing up. A flow that lives from the first page
//! to the last is listed once; one that comes or goes meanwhile may be.

use std::net::{IpAddr, Ipv6Addr};

use classifier::handover::flows::{Conversation, END, FlowState, ListedFlow, PAGE_FLOWS_MAX};

use super::{BUCKET_SLOTS, End, FlowKey, FlowTable, State};
use crate::device::Port;
use crate::moment::Moment;

/// Most buckets looked at for one page: some milliseconds of an empty table.
const PAGE_BUCKETS_MAX: u64 = 1 << 14;
/// "No VLAN tag", as keys have it.
const NO_VLAN: u16 = u16::MAX;

impl FlowTable {
    /// The live flows from `cursor` on, as many as a page takes, and where to go on: `END` behind the last bucket, which is
    /// where a cursor that is none leads too. `epoch` is that of the policy in force.
    #[must_use]
    pub fn page(&self, cursor: u64, now: Moment, epoch: u64) -> (u64, Vec<ListedFlow>) {
        let mut flows = Vec::new();
        let first = usize::try_from(cursor).unwrap_or(usize::MAX);
        let buckets = self.buckets.get(first..).unwrap_or_default();
        for (looked_at, bucket) in (0..=PAGE_BUCKETS_MAX).zip(buckets) {
            if flows.len() + BUCKET_SLOTS > PAGE_FLOWS_MAX || looked_at == PAGE_BUCKETS_MAX {
                return (cursor + looked_at, flows);
            }
            let residents = bucket.places().filter_map(|place| place.slot.resident(now));
            let live = residents
                .filter(|(_, tenant, _)| !tenant.meta.is_expired(now, &self.timers))
                .map(|(key, tenant, age_s)| ListedFlow {
                    conversation: key.conversation(tenant.opened_by),
                    state: state_of(tenant.state),
                    is_current: tenant.epoch >= epoch,
                    idle_ms: tenant.meta.idle_ms(now),
                    age_s,
                });
            flows.extend(live);
        }
        (END, flows)
    }

    /// Ends the flow of a conversation. False when there is none.
    #[must_use]
    pub fn kill(&self, conversation: &Conversation, now: Moment) -> bool {
        let key = FlowKey::of_conversation(conversation);
        self.find(&key, now).is_some_and(|flow| self.remove(&flow))
    }
}

impl FlowKey {
    /// The flow in words, in the direction of its opening packet.
    #[must_use]
    pub fn conversation(&self, opened_by: End) -> Conversation {
        let [a, b, c, d, ends, rest] = self.0;
        let is_v6 = rest >> 8 & 1 == 1;
        let first = (address([a, b], is_v6), part(ends >> 48));
        let second = (address([c, d], is_v6), part(ends >> 32));
        let first_port = u8::try_from(rest >> 9 & 1).unwrap_or_default();
        let vlans = [part(ends >> 16), part(ends)];
        let (src, dst, in_port) = match opened_by {
            End::First => (first, second, first_port),
            End::Second => (second, first, 1 - first_port),
        };
        Conversation {
            src: src.0,
            dst: dst.0,
            protocol: u8::try_from(rest & 0xff).unwrap_or_default(),
            numbers: [src.1, dst.1],
            vlans: vlans.map(|vlan| (vlan != NO_VLAN).then_some(vlan)),
            in_port,
        }
    }

    /// The key of a flow that is said in words.
    #[must_use]
    pub fn of_conversation(conversation: &Conversation) -> Self {
        let Conversation { numbers, vlans, in_port, .. } = *conversation;
        let in_port = if in_port == 0 { Port::A } else { Port::B };
        // Who asks stands first.
        let query = conversation.is_query().then_some((numbers, End::First));
        Self::between(&conversation.packet(), query, vlans, in_port).0
    }
}

fn state_of(state: State) -> FlowState {
    match state {
        State::Opening => FlowState::Opening,
        State::Answered => FlowState::Answered,
        State::Established => FlowState::Established,
        State::HalfClosedByOriginal | State::HalfClosedByReply => FlowState::HalfClosed,
        State::Closing => FlowState::Closing,
        State::Closed => FlowState::Closed,
        State::Query | State::Udp | State::Other => FlowState::OneWay,
        State::QueryAnswered | State::UdpAnswered | State::OtherAnswered => FlowState::TwoWay,
    }
}

fn address([high, low]: [u64; 2], is_v6: bool) -> IpAddr {
    let address = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
    match address.to_ipv4_mapped() {
        Some(address) if !is_v6 => address.into(),
        Some(_) | None => address.into(),
    }
}

fn part(word: u64) -> u16 {
    u16::try_from(word & 0xffff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::RandomState;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use classifier::packet::{PacketKey, Transport, protocol};

    use super::*;
    use crate::flow::{Admission, Connection};

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    /// A conversation of number `number`, of one kind of five after the other.
    fn conversation(number: u16) -> Conversation {
        let [high, low] = number.to_be_bytes();
        let v4 = |first: u8| IpAddr::from([198, first, high, low]);
        let v6 = |first: u16| IpAddr::from([0x2001, 2, first, 0, 0, 0, 0, number]);
        let (ends, protocol, numbers) = match number % 5 {
            0 => ([v4(18), v4(19)], protocol::TCP, [40_000, 22]),
            1 => ([v4(19), v4(18)], protocol::UDP, [53, number]),
            2 => ([v6(7), v6(1)], protocol::ICMPV6, [number, 128]),
            3 => ([v4(19), v4(18)], protocol::ICMP, [number, 8]),
            _ => ([v6(7), v6(1)], 47, [0, 0]),
        };
        let [src, dst] = ends;
        let vlans = if number.is_multiple_of(2) { [None; 2] } else { [Some(number % 4095), None] };
        let in_port = u8::from(number.is_multiple_of(3));
        Conversation { src, dst, protocol, numbers, vlans, in_port }
    }

    /// Its key, by way of the packet that opens it, and who sends that.
    fn opened(conversation: &Conversation) -> (FlowKey, End) {
        let Conversation { src, dst, protocol, numbers: [first, second], vlans, in_port } =
            *conversation;
        let transport = match protocol {
            protocol::TCP | protocol::UDP => Transport::Ports { src: first, dst: second },
            _ => Transport::Opaque,
        };
        let is_query = [protocol::ICMP, protocol::ICMPV6].contains(&protocol);
        let query = is_query.then_some(([first, second], End::First));
        let packet = PacketKey { src, dst, protocol, transport };
        let port = if in_port == 0 { Port::A } else { Port::B };
        FlowKey::between(&packet, query, vlans, port)
    }

    fn admit(table: &FlowTable, conversation: &Conversation, now: Moment) {
        let (key, opened_by) = opened(conversation);
        let (state, connection) = (State::Other, Connection::default());
        let admission = Admission { opened_by, epoch: 3, state, connection, is_limited: false };
        table.admit(&key, admission, now).unwrap();
    }

    /// All pages, one after the other.
    fn list(table: &FlowTable, now: Moment, epoch: u64) -> Vec<ListedFlow> {
        let (mut cursor, mut flows) = (0, Vec::new());
        while cursor != END {
            let (next, page) = table.page(cursor, now, epoch);
            assert!(next > cursor && page.len() <= PAGE_FLOWS_MAX);
            flows.extend(page);
            cursor = next;
        }
        flows
    }

    #[test]
    fn every_flow_is_listed_once_as_it_was_opened() {
        let table = FlowTable::new(1 << 14, RandomState::new());
        for number in 0..5_000 {
            admit(&table, &conversation(number), at(1_000));
        }
        let flows = list(&table, at(9_000), 3);
        assert_eq!(flows.len(), 5_000);
        let mut found: HashMap<Conversation, ListedFlow> =
            flows.into_iter().map(|flow| (flow.conversation, flow)).collect();
        for number in 0..5_000 {
            let flow = found.remove(&conversation(number)).unwrap();
            assert_eq!((flow.idle_ms, flow.age_s, flow.is_current), (8_000, 8, true));
        }
        assert!(!table.page(0, at(9_000), 4).1[0].is_current, "a later policy is in force");
    }

    #[test]
    fn expired_flows_are_not_listed_and_a_cursor_that_is_none_ends() {
        let table = FlowTable::new(1 << 10, RandomState::new());
        admit(&table, &conversation(0), at(0));
        admit(&table, &conversation(1), at(400_000));
        assert_eq!(list(&table, at(500_000), 0).len(), 1);
        for cursor in [table.capacity() as u64, u64::MAX - 1, END] {
            assert_eq!(table.page(cursor, at(0), 0), (END, Vec::new()));
        }
    }

    #[test]
    fn large_empty_table_is_looked_through_in_pages() {
        let table = FlowTable::new(1 << 20, RandomState::new());
        admit(&table, &conversation(7), at(0));
        assert_ne!(table.page(0, at(0), 0).0, END);
        assert_eq!(list(&table, at(0), 0).len(), 1);
    }

    #[test]
    fn what_is_listed_can_be_killed_and_nothing_else() {
        let table = FlowTable::new(1 << 14, RandomState::new());
        for number in 0..2_000 {
            admit(&table, &conversation(number), at(0));
        }
        for flow in list(&table, at(0), 0).iter().filter(|flow| flow.conversation.in_port == 1) {
            assert!(table.kill(&flow.conversation, at(0)));
            assert!(!table.kill(&flow.conversation, at(0)), "it is gone");
        }
        let left = list(&table, at(0), 0);
        assert!(left.iter().all(|flow| flow.conversation.in_port == 0) && !left.is_empty());
        assert_eq!(table.live(), left.len() as u64);
        let Conversation { src, dst, numbers: [a, b], .. } = conversation(1);
        let turned = Conversation { src: dst, dst: src, numbers: [b, a], ..conversation(1) };
        assert!(!table.kill(&turned, at(0)), "the same tuple from the other port");
        assert!(!table.kill(&conversation(6_000), at(0)));
    }

    #[test]
    fn flows_that_live_throughout_are_listed_once_while_others_come_and_go() {
        let table = FlowTable::new(1 << 13, RandomState::new());
        for number in 0..1_000 {
            admit(&table, &conversation(number), at(0));
        }
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in (1_000..3_000).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let (key, _) = opened(&conversation(number));
                    match table.find(&key, at(0)) {
                        Some(flow) => drop(table.remove(&flow)),
                        None => admit(&table, &conversation(number), at(0)),
                    }
                }
            });
            let known = |flow: &ListedFlow| {
                let found = (0..3_000).map(conversation).find(|known| *known == flow.conversation);
                assert!(found.is_some(), "{flow:?} was never opened");
                (0..1_000).map(conversation).any(|lasting| lasting == flow.conversation)
            };
            for _ in 0..5 {
                let flows = list(&table, at(0), 0);
                assert_eq!(flows.iter().filter(|flow| known(flow)).count(), 1_000);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
