//! Addresses: special purpose, the wrong side, and what protocols of the link may have (RFC 6890, CC 1.6, CC 1.7).

use std::net::IpAddr;

use dataplane::checks::Checks;
use dataplane::device::Port;
use dataplane::disposition::DropReason;
use dataplane::sanity::{Sanity, SpecialPurpose};

use super::{V4, V6, changed, refused, strict, with_networks};
use crate::support::frames::{
    ETHERNET, Layer, arp, discovery, extend, frame, frame_between, repair,
};

/// First and last addresses of blocks, and whether a packet from and to there is refused: by default, and by the profile of
/// the Common Criteria.
const BLOCKS: [(&str, &str, [bool; 2], [bool; 2]); 61] = [
    ("0.0.0.0", "0.255.255.255", [true, true], [true, true]),
    ("1.0.0.0", "9.255.255.255", [false; 2], [false; 2]),
    ("10.0.0.0", "10.255.255.255", [false; 2], [false; 2]),
    ("100.64.0.0", "100.127.255.255", [false; 2], [false; 2]),
    ("126.255.255.255", "126.255.255.255", [false; 2], [false; 2]),
    ("127.0.0.0", "127.255.255.255", [true, true], [true, true]),
    ("128.0.0.0", "169.253.255.255", [false; 2], [false; 2]),
    ("169.254.0.0", "169.254.255.255", [true, true], [true, true]),
    ("169.255.0.0", "169.255.0.0", [false; 2], [false; 2]),
    ("172.16.0.0", "172.31.255.255", [false; 2], [false; 2]),
    ("192.0.0.0", "192.0.0.7", [false; 2], [false; 2]),
    ("192.0.0.8", "192.0.0.8", [true, true], [true, true]),
    ("192.0.0.9", "192.0.0.10", [false; 2], [false; 2]),
    ("192.0.0.11", "192.0.0.255", [true, true], [true, true]),
    ("192.0.1.0", "192.0.1.255", [false; 2], [false; 2]),
    ("192.0.2.0", "192.0.2.255", [true, true], [true, true]),
    ("192.0.3.0", "192.0.3.0", [false; 2], [false; 2]),
    ("192.88.99.0", "192.88.99.255", [false; 2], [false; 2]),
    ("192.168.0.0", "192.168.255.255", [false; 2], [false; 2]),
    ("198.17.255.255", "198.20.0.0", [false; 2], [false; 2]),
    ("198.51.99.255", "198.51.99.255", [false; 2], [false; 2]),
    ("198.51.100.0", "198.51.100.255", [true, true], [true, true]),
    ("198.51.101.0", "198.51.101.0", [false; 2], [false; 2]),
    ("203.0.113.0", "203.0.113.255", [true, true], [true, true]),
    ("203.0.114.0", "223.255.255.255", [false; 2], [false; 2]),
    ("224.0.0.0", "239.255.255.255", [true, false], [true, false]),
    ("240.0.0.0", "255.255.255.254", [true, true], [true, true]),
    ("255.255.255.255", "255.255.255.255", [true, true], [true, true]),
    ("::", "::", [true, true], [true, true]),
    ("::1", "::1", [true, true], [true, true]),
    ("::2", "::255.255.255.255", [true, true], [true, true]),
    ("::ffff:0:0", "::ffff:255.255.255.255", [true, true], [true, true]),
    ("64:ff9b::", "64:ff9b::255.255.255.255", [false; 2], [true, true]),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", [false; 2], [true, true]),
    ("64:ff9b:2::", "64:ff9b:2::", [true, true], [true, true]),
    ("100::", "100::ffff:ffff:ffff:ffff", [false; 2], [true, true]),
    ("100:0:0:1::", "1fff::", [true, true], [true, true]),
    ("2000::", "2000:ffff::", [false; 2], [false; 2]),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", [false; 2], [false; 2]),
    ("2001:1::", "2001:1::", [true, true], [true, true]),
    ("2001:1::1", "2001:1::2", [false; 2], [false; 2]),
    ("2001:1::3", "2001:1:ffff::", [true, true], [true, true]),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", [false; 2], [false; 2]),
    ("2001:2:1::", "2001:2:ffff::", [true, true], [true, true]),
    ("2001:3::", "2001:3:ffff:ffff::", [false; 2], [false; 2]),
    ("2001:4:112::", "2001:4:112:ffff::", [false; 2], [false; 2]),
    ("2001:4:113::", "2001:f:ffff::", [true, true], [true, true]),
    ("2001:10::", "2001:2f:ffff::", [true, true], [true, true]),
    ("2001:30::", "2001:3f:ffff::", [false; 2], [false; 2]),
    ("2001:40::", "2001:1ff:ffff::", [true, true], [true, true]),
    ("2001:200::", "2001:db7:ffff::", [false; 2], [false; 2]),
    ("2001:db8::", "2001:db8:ffff:ffff::", [true, true], [true, true]),
    ("2001:db9::", "3ffe:ffff::", [false; 2], [false; 2]),
    ("3fff::", "3fff:fff:ffff::", [true, true], [true, true]),
    ("3fff:1000::", "3fff:ffff::", [false; 2], [false; 2]),
    ("4000::", "fbff:ffff::", [true, true], [true, true]),
    ("fc00::", "fdff:ffff::", [false; 2], [true, true]),
    ("fe00::", "fe7f:ffff::", [true, true], [true, true]),
    ("fe80::", "febf:ffff::", [true, true], [true, true]),
    ("fec0::", "feff:ffff::", [true, true], [true, true]),
    ("ff00::", "ffff:ffff::", [true, false], [true, false]),
];

/// Two addresses to send to and from, of either family, of which one is not `address`.
fn peer(address: IpAddr) -> IpAddr {
    let peer = if address.is_ipv4() { "198.18.70.9" } else { "2001:2:0:70::9" };
    peer.parse().unwrap()
}

#[test]
fn special_purpose_addresses_are_neither_source_nor_destination() {
    for (sanity, profile) in [(Sanity::default(), 0), (strict(), 1)] {
        for (first, last, default, of_criteria) in BLOCKS {
            let [source, destination] = [default, of_criteria][profile];
            for address in [first, last].map(|text| text.parse().unwrap()) {
                let (from, to) = (frame_between, frame_between);
                let from = from(address, peer(address), Layer::Sctp(1, 2));
                let to = to(peer(address), address, Layer::Sctp(1, 2));
                for port in Port::BOTH {
                    let expected = source.then_some(DropReason::BogonSource);
                    assert_eq!(refused(&from, &sanity, port), expected, "from {address}");
                    let expected = destination.then_some(DropReason::BogonDestination);
                    assert_eq!(refused(&to, &sanity, port), expected, "to {address}");
                }
            }
        }
    }
}

#[test]
fn another_table_takes_the_place_of_the_shipped_one() {
    let table = "198.18.0.0/15 source\n198.18.70.0/24 destination\n198.18.70.9/32 neither\n";
    let table = SpecialPurpose::parse(table).unwrap();
    let sanity = Sanity::new(Checks::default(), &table, &Default::default());
    let cases = [
        ("198.18.0.1", "192.0.2.1", Some(DropReason::BogonSource)),
        ("198.18.70.8", "192.0.2.1", None),
        ("198.18.70.9", "198.18.70.8", Some(DropReason::BogonDestination)),
        ("198.18.70.8", "198.18.70.9", None),
        ("127.0.0.1", "198.18.0.1", None),
        ("fe80::1", "::1", None),
    ];
    for (src, dst, expected) in cases {
        let bytes = frame(src, dst, Layer::Udp(1, 2));
        assert_eq!(refused(&bytes, &sanity, Port::A), expected, "{src} to {dst}");
    }
}

#[test]
fn sources_come_from_the_side_where_they_live() {
    let sanity = with_networks(["198.18.0.0/16,2001:2::/64", "198.18.70.0/24,2001:2:0:70::/64"]);
    let only_inside = with_networks(["", "198.18.70.0/24,2001:2:0:70::/64"]);
    let spoofed = Some(DropReason::SpoofedSource);
    let bogon = Some(DropReason::BogonSource);
    // The source, and what is said of it from A and from B, by both settings.
    let rows = [
        ("198.18.0.1", [None, spoofed], [None, spoofed]),
        ("198.18.70.9", [spoofed, None], [spoofed, None]),
        ("198.20.0.1", [spoofed, spoofed], [None, spoofed]),
        ("198.18.0.0", [bogon, bogon], [None, spoofed]),
        ("198.18.255.255", [bogon, bogon], [None, spoofed]),
        ("198.18.70.0", [bogon, bogon], [bogon, bogon]),
        ("198.18.70.255", [bogon, bogon], [bogon, bogon]),
        ("198.18.71.255", [None, spoofed], [None, spoofed]),
        ("2001:2::1", [None, spoofed], [None, spoofed]),
        ("2001:2:0:70::", [spoofed, None], [spoofed, None]),
        ("2001:2:0:71::1", [spoofed, spoofed], [None, spoofed]),
    ];
    for (src, both, one) in rows {
        let dst = if src.contains(':') { "2001:2:0:90::1" } else { "198.19.0.1" };
        let bytes = frame(src, dst, Layer::Udp(1, 2));
        for (port, (both, one)) in Port::BOTH.into_iter().zip(both.into_iter().zip(one)) {
            assert_eq!(refused(&bytes, &sanity, port), both, "{src} from {port:?}");
            assert_eq!(refused(&bytes, &only_inside, port), one, "{src} from {port:?}");
        }
    }
}

#[test]
fn both_addresses_of_a_point_to_point_link_are_hosts() {
    let sanity = with_networks(["198.18.0.0/31,198.18.0.4/32,198.18.0.8/30", ""]);
    for (last, expected) in [(0, None), (1, None), (4, None), (9, None), (10, None)]
        .into_iter()
        .chain([8, 11].map(|last| (last, Some(DropReason::BogonSource))))
    {
        let bytes = frame(&format!("198.18.0.{last}"), V4[1], Layer::Udp(1, 2));
        assert_eq!(refused(&bytes, &sanity, Port::A), expected, "{last}");
    }
}

#[test]
fn a_network_on_both_sides_lives_on_both() {
    let sanity = with_networks(["198.18.0.0/16", "198.18.0.0/16"]);
    let bytes = frame(V4[0], V4[1], Layer::Udp(1, 2));
    for port in Port::BOTH {
        assert_eq!(refused(&bytes, &sanity, port), None);
    }
}

#[test]
fn a_packet_to_itself_is_refused() {
    for address in [V4[0], V6[0]] {
        for layer in [Layer::Tcp(7, 7, 2), Layer::Udp(1, 2), Layer::Ping(1), Layer::Raw(47)] {
            let bytes = frame(address, address, layer);
            assert_eq!(refused(&bytes, &Sanity::default(), Port::B), Some(DropReason::Land));
        }
    }
}

#[test]
fn dhcp_may_come_from_nobody_and_go_to_all() {
    let (none, all, server) = ("0.0.0.0", "255.255.255.255", "198.18.0.1");
    let [source, destination] = [DropReason::BogonSource, DropReason::BogonDestination].map(Some);
    let rows = [
        (none, all, Layer::Udp(68, 67), None),
        (server, all, Layer::Udp(67, 68), None),
        (none, all, Layer::Udp(67, 68), source),
        (none, all, Layer::Udp(68, 68), source),
        (none, all, Layer::Tcp(68, 67, 2), source),
        (none, server, Layer::Udp(68, 67), source),
        (server, all, Layer::Udp(68, 67), destination),
        ("127.0.0.1", all, Layer::Udp(68, 67), source),
        ("0.0.0.1", all, Layer::Udp(68, 67), source),
    ];
    for sanity in [Sanity::default(), strict(), with_networks(["198.18.0.0/16", ""])] {
        for (src, dst, layer, expected) in rows {
            let bytes = frame(src, dst, layer);
            assert_eq!(refused(&bytes, &sanity, Port::A), expected, "{src} to {dst}, {layer:?}");
        }
    }
}

#[test]
fn dhcp_of_ipv6_stays_on_its_link() {
    let source = Some(DropReason::BogonSource);
    let rows = [
        ("fe80::2", "ff02::1:2", Layer::Udp(546, 547), [None, source]),
        ("fe80::1", "fe80::2", Layer::Udp(547, 546), [None, source]),
        ("fe80::2", "ff02::1:2", Layer::Udp(546, 546), [source, source]),
        ("fe80::2", "ff02::fb", Layer::Udp(5353, 5353), [source, source]),
        ("::", "ff02::1:2", Layer::Udp(546, 547), [None, source]),
        ("::1", "ff02::1:2", Layer::Udp(546, 547), [source, source]),
    ];
    for (src, dst, layer, expected) in rows {
        let bytes = frame(src, dst, layer);
        let seen = [Sanity::default(), strict()].map(|sanity| refused(&bytes, &sanity, Port::A));
        assert_eq!(seen, expected, "{src} to {dst}, {layer:?}");
    }
}

#[test]
fn duplicate_address_detection_comes_from_nobody() {
    let mut solicitation = frame("::", "ff02::1:ff00:1", Layer::Icmp(135, 0));
    solicitation.truncate(ETHERNET + 40 + 24);
    let target = [(5, 24), (7, 255), (48, 0x20), (49, 1), (63, 1)];
    let solicitation = changed(&solicitation, &target);
    for sanity in [Sanity::default(), strict(), with_networks(["2001:2::/64", ""])] {
        assert_eq!(refused(&solicitation, &sanity, Port::A), None);
        let to_all = changed(&solicitation, &[(36, 0), (37, 0), (39, 1)]);
        let invalid = Some(DropReason::NeighbourDiscovery);
        assert_eq!(refused(&to_all, &sanity, Port::A), invalid, "not to the node");
        let mut with_option = [&solicitation[..], &[1, 1, 2, 0, 0, 0, 0, 9]].concat();
        with_option[ETHERNET + 5] += 8;
        repair(&mut with_option);
        assert_eq!(refused(&with_option, &sanity, Port::A), invalid, "nobody has a station");
    }
    let echo = frame("::", "ff02::1:ff00:1", Layer::Ping(1));
    assert_eq!(refused(&echo, &Sanity::default(), Port::A), Some(DropReason::BogonSource));
}

#[test]
fn listener_discovery_is_of_the_link_or_nothing() {
    let [bogon, dead] = [DropReason::BogonSource, DropReason::IcmpType].map(Some);
    for kind in [130, 131, 132, 143, 151, 152, 153] {
        for (src, hops, expected) in [
            ("fe80::1", 1, None),
            ("::", 1, None),
            ("fe80::1", 2, bogon),
            ("fe80::1", 255, bogon),
            ("2001:2::1", 1, dead),
            ("2001:2::1", 64, dead),
        ] {
            let bytes = frame(src, "ff02::16", Layer::Icmp(kind, 0));
            let bytes = changed(&bytes, &[(7, hops)]);
            // With the router alert, as it is sent.
            let alerting = extend(&bytes, 0, vec![0, 0, 5, 2, 0, 0, 1, 0]);
            for bytes in [bytes, alerting] {
                let seen = refused(&bytes, &Sanity::default(), Port::A);
                assert_eq!(seen, expected, "{kind} from {src}, hop limit {hops}");
            }
        }
    }
}

#[test]
fn arp_speaks_for_addresses_of_its_side() {
    let sanity = with_networks(["198.18.0.0/16", "198.18.70.0/24"]);
    let [spoofed, bogon, contradiction] =
        [DropReason::SpoofedSource, DropReason::BogonSource, DropReason::Arp].map(Some);
    let rows = [
        ([198, 18, 0, 1], [None, spoofed]),
        ([198, 18, 70, 9], [spoofed, None]),
        ([198, 20, 0, 1], [spoofed, spoofed]),
        ([0, 0, 0, 0], [None, None]),
        ([169, 254, 3, 4], [None, None]),
        ([224, 0, 0, 1], [bogon, bogon]),
        ([255, 255, 255, 255], [bogon, bogon]),
        ([127, 0, 0, 1], [bogon, bogon]),
        ([198, 18, 70, 255], [bogon, bogon]),
    ];
    for (sender, expected) in rows {
        let mut bytes = arp();
        bytes[ETHERNET + 14..ETHERNET + 18].copy_from_slice(&sender);
        let seen = Port::BOTH.map(|port| refused(&bytes, &sanity, port));
        assert_eq!(seen, expected, "{sender:?}");
    }
    let mut other_station = arp();
    other_station[ETHERNET + 13] = 7;
    assert_eq!(refused(&other_station, &sanity, Port::A), contradiction);
}

#[test]
fn neighbour_discovery_speaks_for_addresses_of_its_side() {
    let sanity = with_networks(["2001:2::/64", "2001:2:0:70::/64"]);
    let spoofed = Some(DropReason::SpoofedSource);
    let octets = |text: &str| match text.parse().unwrap() {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(_) => panic!("of IPv6"),
    };
    for (target, expected) in [
        ("2001:2::5", [None, spoofed]),
        ("2001:2:0:70::5", [spoofed, None]),
        ("fe80::7", [None, None]),
    ] {
        let mut bytes = discovery(136);
        bytes[ETHERNET + 48..ETHERNET + 64].copy_from_slice(&octets(target));
        repair(&mut bytes);
        assert_eq!(Port::BOTH.map(|port| refused(&bytes, &sanity, port)), expected, "{target}");
    }
    for (src, expected) in [("2001:2::5", [None, spoofed]), ("2001:2:0:70::5", [spoofed, None])] {
        let mut bytes = discovery(135);
        bytes[ETHERNET + 8..ETHERNET + 24].copy_from_slice(&octets(src));
        bytes[ETHERNET + 48] = 0x20;
        repair(&mut bytes);
        assert_eq!(Port::BOTH.map(|port| refused(&bytes, &sanity, port)), expected, "{src}");
    }
}
