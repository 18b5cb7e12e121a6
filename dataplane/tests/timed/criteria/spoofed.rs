//! CC-16 to CC-20, CC-25, CC-26: addresses that nothing may come from or go to, where policy allows everything.

use std::net::IpAddr;

use dataplane::checks::{Checks, Profile};
use dataplane::device::Port::{self, A, B};
use dataplane::disposition::DropReason::{self, BogonDestination, BogonSource, SpoofedSource};
use dataplane::sanity::Networks;

use crate::craft::{ICMPV6, UDP, V6, frame, icmp, ip, udp};
use crate::family::Family;
use crate::gate::{Fate, Gate, Setup};
use crate::policy::open;

/// What is behind the two ports, in both families.
const NETWORKS: [&str; 2] = [
    "10.0.0.0/8,192.168.64.0/20,172.16.9.4/30,2001:2:0:a::/64",
    "198.19.0.0/16,192.168.80.0/23,2001:2:0:b::/64",
];

/// Everything may pass as far as policy is concerned.
fn permissive(profile: Profile) -> Gate {
    let checks = Checks { profile, ..Checks::default() };
    Gate::new(Setup { policy: Some(open(1)), checks, ..Setup::default() })
}

fn with_networks() -> Gate {
    let networks = NETWORKS.map(|text| text.parse::<Networks>().unwrap());
    Gate::new(Setup { policy: Some(open(1)), networks, ..Setup::default() })
}

fn datagram(from: Port, src: IpAddr, dst: IpAddr) -> Vec<u8> {
    frame(from, &ip(src, dst, UDP, udp(src, dst, [5_353, 53], b"x")))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// From each of these addresses, by both ports, to a host that anybody may reach.
fn refuse_sources(gate: &mut Gate, family: Family, sources: &[&str], reason: DropReason) {
    for source in sources {
        let source = address(source);
        gate.refuse(A, &datagram(A, source, family.server(1)), reason);
        gate.refuse(B, &datagram(B, source, family.client(1)), reason);
    }
    gate.pass(A, &datagram(A, family.client(1), family.server(1)));
    gate.pass(B, &datagram(B, family.server(1), family.client(1)));
}

/// CC-16: broadcast addresses of all networks, and the addresses of the networks themselves. IPv6 has none.
pub(super) fn broadcast_sources_are_dropped(family: Family) {
    if family == Family::V6 {
        return;
    }
    refuse_sources(&mut permissive(Profile::Default), family, &["255.255.255.255"], BogonSource);
    let mut gate = with_networks();
    let of_networks = [
        (A, ["10.0.0.0", "10.255.255.255"]),
        (A, ["192.168.64.0", "192.168.79.255"]),
        (A, ["172.16.9.4", "172.16.9.7"]),
        (B, ["198.19.0.0", "198.19.255.255"]),
        (B, ["192.168.80.0", "192.168.81.255"]),
    ];
    for (from, [network, broadcast]) in of_networks {
        let to = if from == A { family.server(1) } else { family.client(1) };
        for source in [network, broadcast] {
            gate.refuse(from, &datagram(from, address(source), to), BogonSource);
        }
    }
    gate.pass(A, &datagram(A, address("172.16.9.5"), family.server(1)));
}

/// CC-17: multicast sources.
pub(super) fn multicast_sources_are_dropped(family: Family) {
    let sources: &[&str] = match family {
        Family::V4 => &["224.0.0.1", "224.0.0.5", "232.1.2.3", "239.255.255.255"],
        Family::V6 => &["ff00::1", "ff02::1", "ff05::2", "ff0e::1:2", "ffff::1"],
    };
    refuse_sources(&mut permissive(Profile::Default), family, sources, BogonSource);
}

/// CC-18: loopback sources.
pub(super) fn loopback_sources_are_dropped(family: Family) {
    let sources: &[&str] = match family {
        Family::V4 => &["127.0.0.0", "127.0.0.1", "127.1.2.3", "127.255.255.255"],
        Family::V6 => &["::1"],
    };
    refuse_sources(&mut permissive(Profile::Default), family, sources, BogonSource);
}

/// CC-19: the unspecified address and class E, as source and destination. A host that asks for an address by DHCP has none yet:
/// the rules decide over it. (The IPv6 ones are row CC-20.)
pub(super) fn unspecified_and_reserved_are_dropped(family: Family) {
    if family == Family::V6 {
        return;
    }
    let mut gate = permissive(Profile::Default);
    let addresses = ["0.0.0.0", "240.0.0.0", "240.0.0.1", "247.1.2.3", "255.255.255.254"];
    refuse_sources(&mut gate, family, &addresses, BogonSource);
    for destination in addresses {
        let to = datagram(A, family.client(1), address(destination));
        gate.refuse(A, &to, BogonDestination);
    }
    let [nobody, all] = [address("0.0.0.0"), address("255.255.255.255")];
    let discover =
        |from: Port, ports| frame(from, &ip(nobody, all, UDP, udp(nobody, all, ports, &[0; 240])));
    assert_ne!(gate.send(A, &discover(A, [68, 67])), Fate::Dropped(BogonSource, 1));
    assert_ne!(gate.send(B, &discover(B, [68, 67])), Fate::Dropped(BogonSource, 1));
    gate.refuse(A, &discover(A, [69, 67]), BogonSource);
}

/// CC-20: the unspecified IPv6 address, and unicast outside of `2000::/3`. Duplicate address detection is exempt. The default
/// profile lets pass what RFC 6890 lets be forwarded; the strict one nothing.
pub(super) fn unicast_outside_the_global_range_is_dropped(family: Family) {
    const ALWAYS: [&str; 6] =
        ["4000::1", "fec0::1", "::ffff:1.2.3.4", "::1.2.3.4", "e000::1", "8000::1"];
    const STRICTLY: [&str; 3] = ["fd00::1", "64:ff9b::1.2.3.4", "100::1"];
    if family == Family::V4 {
        return;
    }
    for profile in [Profile::Default, Profile::CcStrict] {
        let mut gate = permissive(profile);
        refuse_sources(&mut gate, family, &ALWAYS, BogonSource);
        gate.refuse(A, &datagram(A, address("::"), family.server(1)), BogonSource);
        for destination in ["::", "4000::1", "fec0::1"] {
            let to = datagram(A, family.client(1), address(destination));
            gate.refuse(A, &to, BogonDestination);
        }
        for source in STRICTLY {
            let from = datagram(A, address(source), family.server(1));
            let passes = profile == Profile::Default;
            let expected =
                if passes { Fate::Left(vec![from.clone()]) } else { Fate::Dropped(BogonSource, 1) };
            assert_eq!(gate.send(A, &from), expected, "{source}");
        }
        gate.pass(A, &solicitation("::", "ff02::1:ff00:9"));
    }
}

/// A question for who has an address, as its asker checks that nobody does.
fn solicitation(src: &str, dst: &str) -> Vec<u8> {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let target: std::net::Ipv6Addr = "2001:2:0:a::9".parse().unwrap();
    let message = icmp(IpAddr::V6(src), IpAddr::V6(dst), [135, 0], [0; 4], &target.octets());
    frame(A, &V6 { hop_limit: 255, ..V6::new(src, dst, ICMPV6, message) }.bytes())
}

/// CC-25: link-local addresses are not forwarded, whichever end they are; what hosts of a link ask each other is.
pub(super) fn link_local_addresses_are_dropped(family: Family) {
    let mut gate = permissive(Profile::Default);
    let addresses: &[&str] = match family {
        Family::V4 => &["169.254.0.1", "169.254.255.254"],
        Family::V6 => &["fe80::1", "fe80:1::9", "febf::1"],
    };
    refuse_sources(&mut gate, family, addresses, BogonSource);
    for destination in addresses {
        let to = datagram(A, family.client(1), address(destination));
        gate.refuse(A, &to, BogonDestination);
    }
    if family == Family::V6 {
        gate.pass(A, &solicitation("fe80::9", "ff02::1:ff00:9"));
    }
}

/// CC-26: sources that do not live behind the port they come in by, or live behind the other one.
pub(super) fn sources_must_live_where_they_come_from(family: Family) {
    let mut gate = with_networks();
    let (client, server) = (family.client(1), family.server(1));
    gate.pass(A, &datagram(A, client, server));
    gate.pass(B, &datagram(B, server, client));
    gate.refuse(A, &datagram(A, family.server(2), server), SpoofedSource);
    gate.refuse(B, &datagram(B, family.client(2), client), SpoofedSource);
    let stranger = if family == Family::V4 { "8.8.8.8" } else { "2600::8" };
    gate.refuse(A, &datagram(A, address(stranger), server), SpoofedSource);
    gate.refuse(B, &datagram(B, address(stranger), client), SpoofedSource);
}
