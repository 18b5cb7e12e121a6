//! ICMP: types that nobody forwards, queries, and what errors quote (RFC 4890, RFC 5508, RFC 6918).

use classifier::packet::Transport;
use dataplane::device::Port;
use dataplane::disposition::DropReason;
use dataplane::parse::{Parsed, Query, Quoted, Signal};
use dataplane::sanity::Sanity;

use super::{V4, V6, changed, packet, refused, strict, with_ipv4_options};
use crate::support::frames::{
    ETHERNET, Layer, SYN, discovery, error, extend, frame, parse, repair,
};

/// RFC 4890 sections 4.3.1 and 4.3.2, and those of its sections 4.3.4 and 4.3.5 that a rule may allow.
fn is_judged_v6(kind: u8) -> bool {
    matches!(kind, 1..=99 | 102..=126 | 128 | 129 | 144..=147 | 150 | 154..=199 | 202..=254 | 0)
}

#[test]
fn every_type_and_code_passes_to_policy_or_not() {
    let sanity = Sanity::default();
    let mut judged = [0, 0];
    for (family, [src, dst]) in [V4, V6].into_iter().enumerate() {
        let header = if family == 0 { 20 } else { 40 };
        let errors: &[u8] = if family == 0 { &[3, 11, 12] } else { &[1, 2, 3, 4] };
        let quoted = frame(dst, src, Layer::Udp(1, 2));
        let plain = frame(src, dst, Layer::Icmp(0, 0));
        for kind in 0..=u8::MAX {
            let about =
                if errors.contains(&kind) { error(src, kind, 0, &quoted) } else { plain.clone() };
            for code in 0..=u8::MAX {
                let bytes = changed(&about, &[(header, kind), (header + 1, code)]);
                let expected = match (family, kind) {
                    (0, 4..=6 | 15..=18 | 30..=39) => Some(DropReason::IcmpType),
                    (0, _) => None,
                    (_, 133..=136) => Some(DropReason::NeighbourDiscovery),
                    (_, kind) if is_judged_v6(kind) => None,
                    _ => Some(DropReason::IcmpType),
                };
                assert_eq!(refused(&bytes, &sanity, Port::A), expected, "{kind}, {code} of {src}");
                if expected.is_none() {
                    judged[family] += 1;
                    let key = packet(&bytes, &sanity).key;
                    assert_eq!(key.transport, Transport::Icmp { kind, code });
                }
            }
        }
    }
    assert_eq!(judged, [(256 - 17) * 256, (256 - 25) * 256]);
}

#[test]
fn queries_have_code_zero() {
    let rows = [
        (V4, 8, Some((8, true))),
        (V4, 0, Some((8, false))),
        (V4, 13, Some((13, true))),
        (V4, 14, Some((13, false))),
        (V4, 9, None),
        (V4, 128, None),
        (V6, 128, Some((128, true))),
        (V6, 129, Some((128, false))),
        (V6, 8, None),
        (V6, 13, None),
    ];
    for ([src, dst], kind, expected) in rows {
        let header = if src == V4[0] { 20 } else { 40 };
        let bytes = frame(src, dst, Layer::Icmp(kind, 0));
        let bytes = changed(&bytes, &[(header + 4, 0xAB), (header + 5, 0xCD)]);
        let signal = match expected {
            Some((kind, true)) => Signal::Request(Query { kind, identifier: 0xABCD }),
            Some((kind, false)) => Signal::Reply(Query { kind, identifier: 0xABCD }),
            None => Signal::Message,
        };
        assert_eq!(packet(&bytes, &Sanity::default()).signal, signal, "{kind}");
        let other_code = changed(&bytes, &[(header + 1, 1)]);
        assert_eq!(packet(&other_code, &Sanity::default()).signal, Signal::Message, "{kind}");
    }
}

#[test]
fn errors_say_what_they_are_about() {
    for ([src, dst], kinds) in [(V4, &[3, 11, 12][..]), (V6, &[1, 2, 3, 4])] {
        let rows = [
            (Layer::Tcp(40_000, 80, SYN), Quoted::Tcp(1)),
            (Layer::Udp(40_000, 53), Quoted::Datagram),
            (Layer::Sctp(40_000, 53), Quoted::Datagram),
            (Layer::Raw(47), Quoted::Datagram),
            (Layer::Ping(9), Quoted::Query(query_of(src))),
            (Layer::Pong(9), Quoted::Query(query_of(src))),
        ];
        for (layer, part) in rows {
            let about = frame(src, dst, layer);
            let key = packet(&about, &Sanity::default()).key;
            let header = if src == V4[0] { 20 } else { 40 };
            let router = if header == 20 { "198.18.99.1" } else { "2001:2::99" };
            for kind in kinds {
                for end in [about.len(), ETHERNET + header + 8] {
                    let bytes = error(router, *kind, 0, &about[..end]);
                    let Signal::Error(quote) = packet(&bytes, &Sanity::default()).signal else {
                        panic!("{kind} about {layer:?}")
                    };
                    assert_eq!((quote.key, quote.part), (key, part));
                }
                let short = &about[..ETHERNET + header + 7];
                let seen = refused(&error(router, *kind, 0, short), &Sanity::default(), Port::A);
                assert_eq!(seen, Some(DropReason::IcmpUnmatched), "seven octets");
            }
        }
    }
}

fn query_of(src: &str) -> Query {
    Query { kind: if src == V4[0] { 8 } else { 128 }, identifier: 9 }
}

#[test]
fn quoted_headers_are_walked() {
    let with_options = with_ipv4_options(&[1; 8]);
    let Signal::Error(quote) =
        packet(&error(V4[1], 3, 1, &with_options), &Sanity::default()).signal
    else {
        panic!("no error")
    };
    assert_eq!(quote.key.transport, Transport::Ports { src: 7, dst: 8 });
    let plain = frame(V6[0], V6[1], Layer::Udp(7, 8));
    let authentication = vec![0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
    let first = vec![0, 0, 0, 1, 0, 0, 0, 9];
    let walked =
        [(0, vec![0; 8]), (60, vec![0; 8]), (43, vec![0; 8]), (51, authentication), (44, first)];
    for (number, header) in walked {
        let bytes = error(V6[1], 1, 0, &extend(&plain, number, header));
        let Signal::Error(quote) = packet(&bytes, &Sanity::default()).signal else {
            panic!("{number}")
        };
        assert_eq!(quote.key.transport, Transport::Ports { src: 7, dst: 8 }, "{number}");
    }
}

#[test]
fn errors_about_what_has_no_conversation_are_refused() {
    let udp4 = frame(V4[0], V4[1], Layer::Udp(7, 8));
    let udp6 = frame(V6[0], V6[1], Layer::Udp(7, 8));
    let about_error = error(V4[1], 3, 1, &udp4);
    let about_error6 = error(V6[1], 1, 1, &udp6);
    let beyond = (0..9).fold(udp6.clone(), |inner, _| extend(&inner, 60, vec![0; 8]));
    let rows = [
        ("an error", error(V4[0], 3, 1, &about_error)),
        ("an error of IPv6", error(V6[0], 1, 1, &about_error6)),
        ("a message", error(V4[1], 3, 1, &frame(V4[0], V4[1], Layer::Icmp(9, 0)))),
        ("a later fragment", error(V4[1], 3, 1, &changed(&udp4, &[(7, 2)]))),
        ("a later fragment of IPv6", {
            error(V6[1], 1, 1, &extend(&udp6, 44, vec![0, 0, 0, 8, 0, 0, 0, 0]))
        }),
        ("nothing", error(V4[1], 3, 1, &udp4[..ETHERNET + 20])),
        ("another version", changed(&error(V4[1], 3, 1, &udp4), &[(28, 0x65)])),
        ("a short header", changed(&error(V4[1], 3, 1, &udp4), &[(28, 0x44)])),
        ("too long a chain", error(V6[1], 1, 1, &beyond)),
    ];
    for (what, bytes) in rows {
        let seen = refused(&bytes, &Sanity::default(), Port::A);
        assert_eq!(seen, Some(DropReason::IcmpUnmatched), "{what}");
    }
    let mut wrong = udp4;
    wrong[ETHERNET + 10] ^= 1;
    let seen = refused(&error(V4[1], 3, 1, &wrong), &Sanity::default(), Port::A);
    assert_eq!(seen, Some(DropReason::Checksum), "RFC 5508 REQ-3");
}

#[test]
fn quoted_transport_checksum_is_not_looked_at() {
    let mut about = frame(V4[0], V4[1], Layer::Tcp(1, 2, SYN));
    about[ETHERNET + 20 + 16] ^= 0xFF;
    assert!(matches!(parse(&error(V4[1], 3, 4, &about)), Ok(Parsed::Ip(_))));
}

#[test]
fn packet_too_big_below_the_least_mtu_is_refused_by_the_criteria_only() {
    let about = frame(V6[0], V6[1], Layer::Tcp(1, 2, SYN));
    for (mtu, strictly) in
        [(0_u32, true), (68, true), (1_279, true), (1_280, false), (9_000, false)]
    {
        let mut bytes = error("2001:2::99", 2, 0, &about);
        bytes[ETHERNET + 44..ETHERNET + 48].copy_from_slice(&mtu.to_be_bytes());
        repair(&mut bytes);
        assert_eq!(refused(&bytes, &Sanity::default(), Port::A), None, "{mtu}");
        let expected = strictly.then_some(DropReason::IcmpType);
        assert_eq!(refused(&bytes, &strict(), Port::A), expected, "{mtu}");
    }
}

#[test]
fn neighbour_discovery_is_consistent() {
    let invalid = Some(DropReason::NeighbourDiscovery);
    // The message, what is changed behind the IPv6 header, and what is said.
    let rows = [
        ("solicitation of a group", 135, vec![(48, 0xFF)], invalid),
        ("advertisement of a group", 136, vec![(48, 0xFF)], invalid),
        ("solicited advertisement to all", 136, vec![(44, 0x40)], invalid),
        ("unsolicited advertisement to all", 136, vec![(44, 0x20)], None),
        ("router that is not of the link", 134, vec![(8, 0x20), (9, 1), (11, 2)], invalid),
        ("router asked from anywhere", 133, vec![(8, 0x20), (9, 1), (11, 2)], None),
        ("station of a group", 135, vec![(64, 1), (65, 1), (66, 1)], invalid),
        ("station", 135, vec![(64, 1), (65, 1), (66, 2)], None),
        ("target's station of a group", 136, vec![(64, 2), (65, 1), (66, 3)], invalid),
        ("target's station", 136, vec![(64, 2), (65, 1), (66, 2)], None),
    ];
    for (what, kind, changes, expected) in rows {
        let bytes = changed(&discovery(kind), &changes);
        assert_eq!(refused(&bytes, &Sanity::default(), Port::A), expected, "{what}");
    }
}
