//! Every check of packets can be counted only: then its failures pass, and are noted with their reason.

use std::sync::Arc;

use classifier::resource::Rule;
use dataplane::checks::Checks;
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason, Reasons};
use dataplane::parse::{Parsed, parse};
use dataplane::sanity::{Networks, Sanity, SpecialPurpose};

use super::{V4, V6, changed, one, refused, with_ipv4_options};
use crate::support::frames::{ETHERNET, Layer, arp, discovery, error, extend, frame, repair};
use crate::support::gate::Gate;
use crate::support::policy::{anything, ingress};

/// Frames from port A that fail one check.
fn failing() -> Vec<(DropReason, Vec<u8>)> {
    let udp4 = frame(V4[0], V4[1], Layer::Udp(1, 2));
    let udp6 = frame(V6[0], V6[1], Layer::Udp(1, 2));
    let mut wrong_header = udp4.clone();
    wrong_header[ETHERNET + 11] ^= 1;
    let mut wrong_checksum = udp6.clone();
    wrong_checksum[ETHERNET + 47] ^= 1;
    let mut contradicting = arp();
    contradicting[ETHERNET + 8] = 4;
    let mut routed = discovery(135);
    routed[ETHERNET + 7] = 64;
    let mut route = vec![0; 24];
    (route[1], route[2], route[3]) = (2, 4, 1);
    let mut bad_quote = error("198.18.0.7", 3, 1, &udp4);
    bad_quote.truncate(ETHERNET + 20 + 8 + 20);
    let bad_quote = changed(&bad_quote, &[(3, 48)]);
    vec![
        (DropReason::Checksum, wrong_header),
        (DropReason::Checksum, wrong_checksum),
        (DropReason::HopLimit, changed(&udp4, &[(8, 0)])),
        (DropReason::HopLimit, changed(&udp6, &[(7, 0)])),
        (DropReason::IpOption, with_ipv4_options(&[7, 3, 4, 0])),
        (DropReason::SourceRoute, with_ipv4_options(&[131, 3, 4, 0])),
        (DropReason::SourceRoute, extend(&udp6, 43, route)),
        (DropReason::ExtensionHeader, extend(&udp6, 43, vec![0; 8])),
        (DropReason::ExtensionHeader, extend(&udp6, 60, vec![0, 0, 0x8A, 4, 0, 0, 0, 0])),
        (DropReason::ExtensionHeader, extend(&extend(&udp6, 0, vec![0; 8]), 60, vec![0; 8])),
        (DropReason::ExtensionHeader, frame(V6[0], V6[1], Layer::Raw(59))),
        (DropReason::BogonSource, frame("127.0.0.1", V4[1], Layer::Udp(1, 2))),
        (DropReason::BogonSource, frame("fe80::1", V6[1], Layer::Udp(1, 2))),
        (DropReason::BogonDestination, frame(V4[0], "240.0.0.1", Layer::Udp(1, 2))),
        (DropReason::SpoofedSource, frame("198.18.70.7", V4[1], Layer::Udp(1, 2))),
        (DropReason::Land, frame(V4[0], V4[0], Layer::Udp(1, 2))),
        (DropReason::Arp, contradicting),
        (DropReason::NeighbourDiscovery, routed),
        (DropReason::IcmpType, frame(V4[0], V4[1], Layer::Icmp(5, 1))),
        (DropReason::IcmpType, frame(V6[0], V6[1], Layer::Icmp(139, 0))),
        (DropReason::IcmpUnmatched, bad_quote),
    ]
}

/// The checks with networks behind port B, these of them counted only.
fn counting(counted_only: Reasons) -> Sanity {
    let networks = [Networks::default(), "198.18.70.0/24".parse().unwrap()];
    let checks = Checks { counted_only, ..Checks::default() };
    Sanity::new(checks, &SpecialPurpose::default(), &networks)
}

fn noticed(frame: &[u8], sanity: &Sanity) -> Reasons {
    match parse(frame, sanity, Port::A) {
        Ok(Parsed::Ip(packet)) => packet.noticed,
        Ok(Parsed::Arp(noticed) | Parsed::NeighbourDiscovery(noticed)) => noticed,
        other => panic!("{other:?} of {frame:02x?}"),
    }
}

#[test]
fn failures_of_a_counted_check_pass_and_are_noted() {
    for (reason, bytes) in failing() {
        assert_eq!(refused(&bytes, &counting(Reasons::default()), Port::A), Some(reason));
        assert_eq!(noticed(&bytes, &counting(one(reason))), one(reason), "{reason:?}");
        let others = DropReason::ALL.into_iter().filter(|other| *other != reason);
        let others = others.fold(Reasons::default(), Reasons::with);
        assert_eq!(refused(&bytes, &counting(others), Port::A), Some(reason), "others are");
    }
    let tried: Vec<_> = failing().into_iter().map(|(reason, _)| reason).collect();
    let waivable = DropReason::ALL.into_iter().filter(|reason| reason.can_be_counted_only());
    let missing: Vec<_> = waivable.filter(|reason| !tried.contains(reason)).collect();
    // Those that the flow table checks.
    let of_flows = [
        DropReason::TcpFlags,
        DropReason::TcpWindow,
        DropReason::TcpClosed,
        DropReason::HalfOpenLimit,
        DropReason::SourceFlowLimit,
        DropReason::NewFlowRate,
    ];
    assert_eq!(missing, of_flows);
}

#[test]
fn all_failures_of_one_packet_are_noted() {
    let mut bytes = frame("127.0.0.1", "127.0.0.1", Layer::Udp(1, 2));
    bytes[ETHERNET + 8] = 0;
    let all = [
        DropReason::Checksum,
        DropReason::HopLimit,
        DropReason::BogonSource,
        DropReason::BogonDestination,
        DropReason::Land,
    ];
    let all = all.into_iter().fold(Reasons::default(), Reasons::with);
    assert_eq!(noticed(&bytes, &counting(all)), all);
}

#[test]
fn chain_that_is_too_long_never_passes() {
    let udp = frame(V6[0], V6[1], Layer::Udp(1, 2));
    let bytes = (0..9).fold(udp, |inner, _| extend(&inner, 60, vec![0; 8]));
    let sanity = counting(one(DropReason::ExtensionHeader));
    assert_eq!(refused(&bytes, &sanity, Port::A), Some(DropReason::ExtensionHeader));
}

#[test]
fn gate_counts_what_it_noted_and_lets_policy_judge() {
    let rules: [Vec<Rule>; 2] = [vec![anything()], Vec::new()];
    for (generation, rules) in (1..).zip(rules) {
        let allowed = !rules.is_empty();
        let all = DropReason::ALL.into_iter().fold(Reasons::default(), Reasons::with);
        let sanity = Arc::new(counting(all));
        let mut gate = Gate::set(ingress(generation, rules), |parts| parts.sanity = sanity);
        for (number, (reason, bytes)) in failing().into_iter().enumerate() {
            let before = gate.counters();
            let fate = gate.send(Port::A, &bytes);
            let after = gate.counters();
            let below = matches!(reason, DropReason::Arp | DropReason::NeighbourDiscovery);
            let denied = Disposition::Drop(DropReason::PolicyDenied);
            // Two of them do not go to the rack.
            let to_rack = ![13, 15, 20].contains(&number);
            let passes = below || allowed && to_rack;
            let expected = if passes { Disposition::Forward } else { denied };
            assert_eq!(fate, expected, "{number} {reason:?}");
            for counted in DropReason::ALL {
                let noted = after.port(Port::A).noticed[counted.index()]
                    - before.port(Port::A).noticed[counted.index()];
                assert_eq!(noted, u64::from(counted == reason), "{reason:?}: {counted:?}");
            }
        }
    }
}

#[test]
fn repaired_frames_of_these_tests_have_right_checksums() {
    let mut bytes = frame(V6[0], V6[1], Layer::Ping(1));
    let right = bytes.clone();
    bytes[ETHERNET + 42] ^= 0xFF;
    repair(&mut bytes);
    assert_eq!(bytes, right);
}
