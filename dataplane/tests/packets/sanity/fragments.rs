//! Fragments: what each says, and those that cannot be part of a packet (RFC 1858, RFC 3128, RFC 6946, RFC 6980, RFC 7112,
//! RFC 8200 section 4.5).

use dataplane::device::Port;
use dataplane::disposition::DropReason;
use dataplane::parse::{Parsed, Piece};
use dataplane::sanity::Sanity;

use super::{V4, V6, refused};
use crate::support::frames::{ETHERNET, Layer, SYN, extend, frame, parse, repair, tag};

/// A fragment of IPv4: offset in units of eight, whether more follow, and as many bytes of what is behind the header.
fn fragment4(whole: &[u8], offset: u16, more: bool, data: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    bytes.resize(ETHERNET + 20 + data, 0xEE);
    let total = u16::try_from(20 + data).unwrap().to_be_bytes();
    bytes[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total);
    let flags = offset | u16::from(more) << 13;
    bytes[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&flags.to_be_bytes());
    repair(&mut bytes);
    bytes
}

/// The same of IPv6, with a fragment header in front of what is behind the IPv6 header.
fn fragment6(whole: &[u8], offset: u16, more: bool, data: usize) -> Vec<u8> {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    let mut bytes = extend(whole, 44, vec![0, 0, high, low, 0, 0, 0, 9]);
    bytes.resize(ETHERNET + 48 + data, 0xEE);
    let length = u16::try_from(8 + data).unwrap().to_be_bytes();
    bytes[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length);
    bytes
}

type Make = fn(&[u8], u16, bool, usize) -> Vec<u8>;

fn families() -> [([&'static str; 2], Make); 2] {
    [(V4, fragment4), (V6, fragment6)]
}

fn piece(bytes: &[u8]) -> Piece {
    match parse(bytes) {
        Ok(Parsed::Fragment(piece)) => piece,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fragments_say_what_they_are() {
    let udp4 = frame(V4[0], V4[1], Layer::Udp(1, 53));
    let mut bytes = fragment4(&udp4, 3, true, 16);
    bytes[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&[0xAB, 0xCD]);
    repair(&mut bytes);
    let expected = Piece {
        src: V4[0].parse().unwrap(),
        dst: V4[1].parse().unwrap(),
        identification: 0xABCD,
        protocol: 17,
        offset: 24,
        more: true,
        header_at: 14,
        data_at: 34,
        data_bytes: 16,
        vlans: [None; 2],
    };
    assert_eq!(piece(&bytes), expected);
    bytes.extend_from_slice(&[0; 9]);
    assert_eq!(piece(&bytes), expected, "padding is none of it");
    let tagged = piece(&tag(&bytes, 0x8100, 7));
    let vlans = [Some(7), None];
    assert_eq!(tagged, Piece { header_at: 18, data_at: 38, vlans, ..expected });

    let udp6 = frame(V6[0], V6[1], Layer::Udp(1, 53));
    let expected = Piece {
        src: V6[0].parse().unwrap(),
        dst: V6[1].parse().unwrap(),
        identification: 9,
        protocol: 17,
        offset: 0,
        more: true,
        header_at: 14,
        data_at: 62,
        data_bytes: 24,
        vlans: [None; 2],
    };
    assert_eq!(piece(&fragment6(&udp6, 0, true, 24)), expected);
    let last = piece(&fragment6(&udp6, 5, false, 3));
    assert_eq!(last, Piece { offset: 40, more: false, data_bytes: 3, ..expected });
    let behind_options = extend(&fragment6(&udp6, 0, true, 24), 0, vec![0; 8]);
    assert_eq!(piece(&behind_options), Piece { data_at: 70, ..expected });
}

#[test]
fn fragments_that_cannot_be_part_of_a_packet_are_refused() {
    let invalid = Some(DropReason::FragmentInvalid);
    for ([src, dst], make) in families() {
        let tcp = frame(src, dst, Layer::Tcp(1, 80, SYN));
        let udp = frame(src, dst, Layer::Udp(1, 53));
        let sctp = frame(src, dst, Layer::Sctp(1, 53));
        let ping = frame(src, dst, Layer::Ping(1));
        let rows = [
            ("no data", make(&udp, 3, false, 0), invalid),
            ("no data, and more", make(&udp, 3, true, 0), invalid),
            ("no data at first", make(&udp, 0, true, 0), invalid),
            ("more, not in units of eight", make(&udp, 3, true, 23), invalid),
            ("last, not in units of eight", make(&udp, 3, false, 23), None),
            ("ends beyond all packets", make(&udp, 0x1FFF, false, 9), invalid),
            ("first without all of TCP", make(&tcp, 0, true, 8), invalid),
            ("first with sixteen bytes of TCP", make(&tcp, 0, true, 16), invalid),
            ("first with TCP", make(&tcp, 0, true, 24), None),
            ("first with UDP", make(&udp, 0, true, 8), None),
            ("first without all of SCTP", make(&sctp, 0, true, 8), invalid),
            ("first with SCTP", make(&sctp, 0, true, 16), None),
            ("first with ICMP", make(&ping, 0, true, 8), None),
            ("later with little", make(&tcp, 4, true, 8), None),
        ];
        for (what, bytes, expected) in rows {
            assert_eq!(refused(&bytes, &Sanity::default(), Port::A), expected, "{what}");
        }
    }
    let tcp = frame(V4[0], V4[1], Layer::Tcp(1, 80, SYN));
    let overwriting = fragment4(&tcp, 1, false, 16);
    assert_eq!(refused(&overwriting, &Sanity::default(), Port::A), invalid, "RFC 3128");
    let udp = frame(V4[0], V4[1], Layer::Udp(1, 80));
    assert_eq!(refused(&fragment4(&udp, 1, false, 16), &Sanity::default(), Port::A), None);
}

#[test]
fn options_of_tcp_are_in_the_first_fragment() {
    for ([src, dst], make) in families() {
        let mut tcp = frame(src, dst, Layer::Tcp(1, 80, SYN));
        let header = if src == V4[0] { 20 } else { 40 };
        tcp[ETHERNET + header + 12] = 0xA0;
        for (data, expected) in [(24, Some(DropReason::FragmentInvalid)), (40, None)] {
            let bytes = make(&tcp, 0, true, data);
            assert_eq!(refused(&bytes, &Sanity::default(), Port::A), expected, "{data}");
        }
    }
}

#[test]
fn longest_packets_end_where_their_length_does() {
    let udp = frame(V4[0], V4[1], Layer::Udp(1, 53));
    // 65,535 less the header of twenty bytes.
    for (data, expected) in [(3, None), (4, Some(DropReason::FragmentInvalid))] {
        let bytes = fragment4(&udp, 8_189, false, data);
        assert_eq!(refused(&bytes, &Sanity::default(), Port::A), expected, "{data}");
    }
    let udp = frame(V6[0], V6[1], Layer::Udp(1, 53));
    for (data, expected) in [(7, None), (8, Some(DropReason::FragmentInvalid))] {
        let bytes = fragment6(&udp, 8_191, false, data);
        assert_eq!(refused(&bytes, &Sanity::default(), Port::A), expected, "{data}");
    }
    // Extension headers before the fragment header are part of the payload.
    let behind_options = extend(&fragment6(&udp, 8_191, false, 7), 0, vec![0; 8]);
    let seen = refused(&behind_options, &Sanity::default(), Port::A);
    assert_eq!(seen, Some(DropReason::FragmentInvalid));
}

#[test]
fn both_flags_of_ipv4_may_be_set() {
    let mut bytes = fragment4(&frame(V4[0], V4[1], Layer::Udp(1, 53)), 0, true, 16);
    bytes[ETHERNET + 6] |= 0x40;
    repair(&mut bytes);
    assert!(piece(&bytes).more);
}

#[test]
fn atomic_fragment_is_none() {
    for layer in [Layer::Tcp(5, 22, SYN), Layer::Udp(1, 53), Layer::Ping(7), Layer::Raw(47)] {
        let plain = frame(V6[0], V6[1], layer);
        let atomic = extend(&plain, 44, vec![0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(parse(&atomic), parse(&plain));
        // The bits between offset and flag are reserved.
        assert_eq!(parse(&extend(&plain, 44, vec![0, 9, 0, 6, 1, 2, 3, 4])), parse(&plain));
        assert_eq!(parse(&extend(&atomic, 0, vec![0; 8])), parse(&plain));
    }
}

#[test]
fn headers_around_a_fragment_header_that_hide_something_are_refused() {
    let udp = frame(V6[0], V6[1], Layer::Udp(1, 53));
    let authentication = || vec![0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
    let atomic = |inner: &[u8]| extend(inner, 44, vec![0; 8]);
    let mut lone = fragment6(&udp, 0, true, 24);
    let rows = [
        ("two atomic headers", atomic(&atomic(&udp))),
        ("atomic before fragment", atomic(&lone)),
        ("fragment before atomic", fragment6(&atomic(&udp), 0, true, 24)),
        ("authentication before fragment", extend(&lone, 51, authentication())),
        ("authentication before atomic", extend(&atomic(&udp), 51, authentication())),
    ];
    for (what, bytes) in rows {
        let seen = refused(&bytes, &Sanity::default(), Port::A);
        assert_eq!(seen, Some(DropReason::FragmentInvalid), "{what}");
    }
    let behind = atomic(&extend(&udp, 51, authentication()));
    assert_eq!(refused(&behind, &Sanity::default(), Port::A), None, "it is authenticated whole");
    // The first fragment has destination options that go on in the next.
    let mut long_options = vec![0; 64];
    long_options[1] = 7;
    lone = fragment6(&extend(&udp, 60, long_options), 0, true, 32);
    let seen = refused(&lone, &Sanity::default(), Port::A);
    assert_eq!(seen, Some(DropReason::FragmentInvalid), "RFC 7112");
}

#[test]
fn neighbour_discovery_is_never_fragmented() {
    for kind in 133..=137 {
        let message = frame(V6[0], V6[1], Layer::Icmp(kind, 0));
        let first = fragment6(&message, 0, true, 32);
        let seen = refused(&first, &Sanity::default(), Port::A);
        assert_eq!(seen, Some(DropReason::NeighbourDiscovery), "{kind}");
    }
    for kind in 133..=136 {
        let mut atomic = extend(&frame(V6[0], V6[1], Layer::Icmp(kind, 0)), 44, vec![0; 8]);
        atomic[ETHERNET + 7] = 255;
        let seen = refused(&atomic, &Sanity::default(), Port::A);
        assert_eq!(seen, Some(DropReason::NeighbourDiscovery), "{kind}");
    }
}

#[test]
fn fragments_are_checked_like_packets() {
    let rows = [
        ("127.0.0.1", V4[1], DropReason::BogonSource),
        (V4[0], "240.0.0.1", DropReason::BogonDestination),
        (V4[0], V4[0], DropReason::Land),
        ("0.0.0.0", "255.255.255.255", DropReason::BogonSource),
    ];
    for (src, dst, expected) in rows {
        let bytes = fragment4(&frame(src, dst, Layer::Udp(68, 67)), 0, true, 16);
        assert_eq!(refused(&bytes, &Sanity::default(), Port::A), Some(expected), "{src} {dst}");
    }
    let bytes = fragment6(&frame("fe80::1", V6[1], Layer::Udp(546, 547)), 0, true, 16);
    let seen = refused(&bytes, &Sanity::default(), Port::A);
    assert_eq!(seen, Some(DropReason::BogonSource));
}
