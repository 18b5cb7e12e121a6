//! Flows in numbers: by state, and of the addresses that have most of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use classifier::handover::flows::{FlowState, ListedFlow};
use classifier::image::View;
use serde_json::{Value, json};

use crate::commands::table::{align, table};
use crate::flowlog::protocol_name;

/// Addresses of each kind that are shown.
const BUSIEST: usize = 10;

/// The numbers of many flows.
#[derive(Debug, Default)]
pub(super) struct Count {
    flows: u64,
    by_state: BTreeMap<(u8, FlowState), u64>,
    sources: BTreeMap<IpAddr, u64>,
    destinations: BTreeMap<IpAddr, u64>,
}

impl Count {
    pub(super) fn take(&mut self, flow: &ListedFlow) {
        let conversation = &flow.conversation;
        self.flows += 1;
        *self.by_state.entry((conversation.protocol, flow.state)).or_default() += 1;
        *self.sources.entry(conversation.src).or_default() += 1;
        *self.destinations.entry(conversation.dst).or_default() += 1;
    }

    pub(super) fn json(&self, names: Option<&View<'_>>) -> Value {
        let states = self.by_state.iter().map(|((protocol, state), flows)| {
            let (protocol, state) = (protocol_name(*protocol), state.to_string());
            json!({ "protocol": protocol, "state": state, "flows": flows })
        });
        let addresses = |counts| {
            let busiest = busiest(counts).into_iter().map(|(address, flows)| {
                json!({ "address": address, "name": name(address, names), "flows": flows })
            });
            busiest.collect::<Vec<_>>()
        };
        json!({
            "flows": self.flows,
            "states": states.collect::<Vec<_>>(),
            "sources": addresses(&self.sources),
            "destinations": addresses(&self.destinations),
        })
    }

    pub(super) fn human(&self, names: Option<&View<'_>>) -> String {
        let head = |titles: &[&str]| titles.iter().map(|title| (*title).to_owned()).collect();
        let states = self.by_state.iter().map(|((protocol, state), flows)| {
            vec![protocol_name(*protocol), state.to_string(), flows.to_string()]
        });
        let addresses = |title, counts| {
            let row = |(address, flows): (IpAddr, u64)| {
                let name = name(address, names).unwrap_or_else(|| "-".to_owned());
                vec![address.to_string(), name, flows.to_string()]
            };
            table(head(&[title, "NAME", "FLOWS"]), busiest(counts).into_iter().map(row))
        };
        let tables = [
            table(head(&["PROTOCOL", "STATE", "FLOWS"]), states),
            addresses("OPENED FROM", &self.sources),
            addresses("OPENED TO", &self.destinations),
        ];
        let mut text = format!("{} flows\n", self.flows);
        for rows in tables.iter().filter(|rows| !rows.is_empty()) {
            text.push('\n');
            align(rows, &mut text);
        }
        text
    }
}

/// The addresses with most flows, the most first.
fn busiest(counts: &BTreeMap<IpAddr, u64>) -> Vec<(IpAddr, u64)> {
    let mut counts: Vec<(IpAddr, u64)> =
        counts.iter().map(|(address, flows)| (*address, *flows)).collect();
    counts.sort_by_key(|(address, flows)| (std::cmp::Reverse(*flows), *address));
    counts.truncate(BUSIEST);
    counts
}

fn name(address: IpAddr, names: Option<&View<'_>>) -> Option<String> {
    let object = names?.object_of(address)?;
    Some(object.full_name().to_string())
}

#[cfg(test)]
mod tests {
    use classifier::handover::flows::Conversation;
    use classifier::packet::protocol;

    use super::*;

    #[test]
    fn flows_are_counted_by_state_and_by_address() {
        let mut count = Count::default();
        for last in 0..30_u8 {
            let conversation = Conversation {
                src: IpAddr::from([198, 18, 0, last / 2]),
                dst: "198.18.70.9".parse().unwrap(),
                protocol: if last < 3 { protocol::UDP } else { protocol::TCP },
                numbers: [last.into(), 53],
                vlans: [None; 2],
                in_port: 0,
            };
            let state = if last < 3 { FlowState::OneWay } else { FlowState::Opening };
            let (is_current, idle_ms, age_s) = (true, 0, 0);
            count.take(&ListedFlow { conversation, state, is_current, idle_ms, age_s });
        }
        let text = count.human(None);
        let expected = "\
30 flows

PROTOCOL  STATE    FLOWS
tcp       opening  27
udp       one-way  3

OPENED FROM  NAME  FLOWS
198.18.0.0   -     2
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("\nOPENED TO    NAME  FLOWS\n198.18.70.9  -     30\n"), "{text}");
        let json = count.json(None);
        assert_eq!(json["sources"].as_array().unwrap().len(), BUSIEST);
        assert_eq!(json["states"][0]["flows"], 27);
    }
}
