//! All packets that a policy set may tell apart, one for each cell between the numbers that its rules name.

use std::net::IpAddr;

use classifier::packet::{IpVersion, PacketKey, Transport, protocol};
use classifier::resource::{PolicySet, Rule};

/// What stands behind the IP header, for every cell of both families.
pub(crate) struct Cells {
    v4: Vec<(u8, Transport)>,
    v6: Vec<(u8, Transport)>,
}

impl Cells {
    /// The cells between the numbers in the rules of all `sets`.
    pub(crate) fn of(sets: &[&PolicySet]) -> Self {
        let rules: Vec<&Rule> = sets
            .iter()
            .flat_map(|set| &set.policies)
            .flat_map(|policy| policy.ingress.iter().chain(&policy.egress))
            .collect();
        Self { v4: cells(&rules, protocol::ICMP), v6: cells(&rules, protocol::ICMPV6) }
    }

    pub(crate) fn packets(
        &self,
        src: IpAddr,
        dst: IpAddr,
    ) -> impl ExactSizeIterator<Item = PacketKey> {
        let cells = match IpVersion::of(src) {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        };
        cells.iter().map(move |(protocol, transport)| PacketKey {
            src,
            dst,
            protocol: *protocol,
            transport: *transport,
        })
    }
}

fn cells(rules: &[&Rule], icmp: u8) -> Vec<(u8, Transport)> {
    let sources =
        rules.iter().flat_map(|rule| rule.source.ports.iter().chain(&rule.source.not_ports));
    let sources = cuts(sources.flat_map(|range| [range.first.into(), u32::from(range.last) + 1]));
    let peers = rules.iter().map(|rule| &rule.destination);
    let destinations = peers.flat_map(|peer| peer.ports.iter().chain(&peer.not_ports));
    let destinations =
        cuts(destinations.flat_map(|range| [range.first.into(), u32::from(range.last) + 1]));
    let messages = rules.iter().flat_map(|rule| [rule.icmp, rule.not_icmp]).flatten();
    let kinds = cuts(messages.clone().flat_map(|m| [m.kind.into(), u32::from(m.kind) + 1]));
    let codes = messages.filter_map(|message| message.code);
    let codes = cuts(codes.flat_map(|code| [code.into(), u32::from(code) + 1]));
    let ports = [protocol::TCP, protocol::UDP, protocol::SCTP];
    let mut cells = Vec::new();
    for number in ports {
        for src in &sources {
            cells.extend(
                destinations.iter().map(|dst| (number, Transport::Ports { src: *src, dst: *dst })),
            );
        }
    }
    let bytes = |cuts: Vec<u16>| cuts.into_iter().filter_map(|cut| u8::try_from(cut).ok());
    for kind in bytes(kinds) {
        let codes = bytes(codes.clone());
        cells.extend(codes.map(|code| (icmp, Transport::Icmp { kind, code })));
    }
    let others = (0..=255).filter(|number| !ports.contains(number) && *number != icmp);
    cells.extend(others.map(|number| (number, Transport::Opaque)));
    cells
}

/// The least number of every interval.
fn cuts(numbers: impl Iterator<Item = u32>) -> Vec<u16> {
    let mut cuts: Vec<u16> =
        numbers.chain([0]).filter_map(|number| u16::try_from(number).ok()).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}
