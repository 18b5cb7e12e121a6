//! Packets from and to the addresses where a policy set may change its mind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use classifier::packet::{IpVersion, PacketKey, Transport, protocol};
use classifier::resource::{PolicySet, Rule};
use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{ICMP_NUMBERS, PORTS, PROTOCOLS, anchor, family, pick};

/// The ends of every net that a policy set names, and their neighbours.
pub(crate) struct Places {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// Where a port has a name, or serves: address, protocol and port.
    known: Vec<(IpAddr, u8, u16)>,
}

impl Places {
    pub(crate) fn of(set: &PolicySet) -> Self {
        let peers = rules_of(set).flat_map(|rule| [&rule.source, &rule.destination]);
        let in_rules = peers.flat_map(|peer| peer.nets.iter().chain(&peer.not_nets)).copied();
        let in_objects = set.objects.iter().flat_map(|object| &object.nets).copied();
        let endpoints = set.services.iter().flat_map(|service| &service.endpoints);
        let in_services = endpoints.map(|endpoint| IpNet::from(endpoint.address));
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in in_objects.chain(in_rules).chain(in_services) {
            match net {
                IpNet::V4(net) => v4.extend(ends_v4(net).map(IpAddr::V4)),
                IpNet::V6(net) => v6.extend(ends_v6(net).map(IpAddr::V6)),
            }
        }
        Self { v4, v6, known: known(set) }
    }

    /// The least address of the family, and all places: every piece of a table of disjoint pieces has one of them.
    pub(crate) fn all(&self, family: IpVersion) -> Vec<IpAddr> {
        let (places, zero) = match family {
            IpVersion::V4 => (&self.v4, Ipv4Addr::UNSPECIFIED.into()),
            IpVersion::V6 => (&self.v6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let mut all = places.clone();
        all.push(zero);
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn packet(&self, rng: &mut Rng) -> PacketKey {
        let known = rng.choice(&self.known).filter(|_| rng.u8(..5) < 2);
        let family = known.map_or_else(|| family(rng), |(address, ..)| IpVersion::of(*address));
        let protocol = match (known, rng.u8(..6)) {
            (Some((_, protocol, _)), _) => *protocol,
            (None, 0) => icmp_of(family),
            (None, _) => pick(rng, &PROTOCOLS),
        };
        let mut packet = PacketKey {
            src: self.address(rng, family),
            dst: self.address(rng, family),
            protocol,
            transport: transport(rng, protocol),
        };
        if let (Some((address, _, port)), Transport::Ports { src, dst }) =
            (known, &mut packet.transport)
        {
            let (end, end_port) =
                if rng.bool() { (&mut packet.src, src) } else { (&mut packet.dst, dst) };
            (*end, *end_port) = (*address, *port);
        }
        packet
    }

    fn address(&self, rng: &mut Rng, family: IpVersion) -> IpAddr {
        let places = match family {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        };
        match rng.choice(places) {
            Some(place) if rng.u8(..4) > 0 => *place,
            _ => anchor(rng, family),
        }
    }
}

fn known(set: &PolicySet) -> Vec<(IpAddr, u8, u16)> {
    let mut known = Vec::new();
    for object in &set.objects {
        for named in &object.ports {
            let ends = object.nets.iter().flat_map(|net| [net.network(), net.broadcast()]);
            known.extend(ends.map(|address| (address, named.protocol, named.port)));
        }
    }
    for endpoint in set.services.iter().flat_map(|service| &service.endpoints) {
        let ports = endpoint.ports.iter();
        known.extend(ports.map(|(protocol, port)| (endpoint.address, *protocol, *port)));
    }
    known
}

/// All rules of a policy set, those of its profiles included.
pub(crate) fn rules_of(set: &PolicySet) -> impl Iterator<Item = &Rule> {
    let of_policies = set.policies.iter().flat_map(|policy| [&policy.ingress, &policy.egress]);
    let of_profiles = set.profiles.iter().flat_map(|profile| [&profile.ingress, &profile.egress]);
    of_policies.chain(of_profiles).flatten()
}

pub(super) fn icmp_of(family: IpVersion) -> u8 {
    match family {
        IpVersion::V4 => protocol::ICMP,
        IpVersion::V6 => protocol::ICMPV6,
    }
}

/// What the parser makes of the protocol, and now and then what a fragment leaves of it.
fn transport(rng: &mut Rng, protocol: u8) -> Transport {
    let fragment = rng.u8(..12) == 0;
    match protocol {
        _ if fragment => Transport::Opaque,
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            Transport::Ports { src: pick(rng, &PORTS), dst: pick(rng, &PORTS) }
        }
        protocol::ICMP | protocol::ICMPV6 => {
            Transport::Icmp { kind: pick(rng, &ICMP_NUMBERS), code: pick(rng, &ICMP_NUMBERS) }
        }
        _ => Transport::Opaque,
    }
}

fn ends_v4(net: Ipv4Net) -> [Ipv4Addr; 4] {
    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
    [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(Ipv4Addr::from_bits)
}

fn ends_v6(net: Ipv6Net) -> [Ipv6Addr; 4] {
    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
    [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(Ipv6Addr::from_bits)
}
