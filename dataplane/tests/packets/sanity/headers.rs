//! IPv4 options and IPv6 extension headers, one test for each row of the tables and each number without a row (RFC 7126,
//! RFC 9288, RFC 7045, RFC 7112).

use dataplane::device::Port;
use dataplane::disposition::DropReason;
use dataplane::parse::Parsed;
use dataplane::sanity::{
    HeaderRow, IPV4_OPTIONS, IPV6_HEADERS, IPV6_OPTIONS, ROUTING_TYPES, Sanity,
};

use super::{V4, V6, changed, packet, refused, with_ipv4_options};
use crate::support::frames::{ETHERNET, Layer, SYN, extend, frame, parse};

fn udp6() -> Vec<u8> {
    frame(V6[0], V6[1], Layer::Udp(1, 53))
}

/// The row of each number that has one.
fn row(rows: &[HeaderRow], number: u8) -> Option<&HeaderRow> {
    rows.iter().find(|row| row.number == number)
}

#[test]
fn every_ipv4_option_passes_or_not_at_every_place() {
    let mut seen = 0;
    for number in 2..=u8::MAX {
        let row = row(&IPV4_OPTIONS, number);
        let expected = match number {
            131 | 137 => Some(DropReason::SourceRoute),
            _ if row.is_some_and(|row| row.passes) => None,
            _ => Some(DropReason::IpOption),
        };
        seen += usize::from(row.is_some());
        let option = [number, 4, 0, 0];
        let first = [&option[..], &[1, 1, 1, 0]].concat();
        let middle = [&[1, 1][..], &option, &[1, 0]].concat();
        let last = [&[1, 1, 1, 1][..], &option].concat();
        for options in [first, middle, last] {
            let bytes = with_ipv4_options(&options);
            let seen = refused(&bytes, &Sanity::default(), Port::A);
            assert_eq!(seen, expected, "{row:?} {options:?}");
        }
        for length in [0, 1, 5, 255] {
            let bytes = with_ipv4_options(&[number, length, 0, 0]);
            let seen = refused(&bytes, &Sanity::default(), Port::A);
            assert_eq!(seen, Some(DropReason::Malformed), "{number}, length {length}");
        }
        // Behind the end there are none.
        assert!(parse(&with_ipv4_options(&[0, number, 200, 0])).is_ok());
    }
    assert_eq!(seen + 2, IPV4_OPTIONS.len(), "those of one byte are no types with a length");
    assert!(parse(&with_ipv4_options(&[1; 40])).is_ok());
    assert!(parse(&with_ipv4_options(&[0; 4])).is_ok());
}

#[test]
fn every_ipv6_header_passes_or_not() {
    let known = [0, 43, 44, 51, 60];
    for number in (0..=u8::MAX).filter(|number| ![6, 17, 58, 132].contains(number)) {
        let row = row(&IPV6_HEADERS, number);
        let mut bytes = frame(V6[0], V6[1], Layer::Raw(47));
        if known.contains(&number) {
            let length = if number == 51 { 16 } else { 8 };
            let mut header = vec![0; length];
            header[1] = if number == 51 { 2 } else { 0 };
            header[2] = if number == 43 { 2 } else { 0 };
            bytes = extend(&bytes, number, header);
        } else {
            bytes[ETHERNET + 6] = number;
        }
        let dropped = row.is_some_and(|row| !row.passes);
        let expected = dropped.then_some(DropReason::ExtensionHeader);
        assert_eq!(refused(&bytes, &Sanity::default(), Port::A), expected, "{number}: {row:?}");
        if expected.is_none() {
            // What is an upper layer to us is judged by its number, what is walked by what is behind it.
            let judged = packet(&bytes, &Sanity::default()).key.protocol;
            assert_eq!(judged, if known.contains(&number) { 47 } else { number });
        }
    }
    assert!(IPV6_HEADERS.iter().filter(|row| known.contains(&row.number)).all(|row| row.passes));
}

#[test]
fn every_routing_type_passes_or_not_and_none_with_a_route() {
    for kind in 0..=u8::MAX {
        let row = row(&ROUTING_TYPES, kind);
        for (segments, length) in [(0, 8), (0, 24), (1, 8), (1, 24), (255, 24)] {
            let mut routing = vec![0; length];
            (routing[1], routing[2]) = (u8::try_from(length / 8 - 1).unwrap(), kind);
            routing[3] = segments;
            let bytes = extend(&udp6(), 43, routing);
            let expected = match (segments, row.is_some_and(|row| !row.passes)) {
                (0, true) => Some(DropReason::ExtensionHeader),
                (0, false) => None,
                _ => Some(DropReason::SourceRoute),
            };
            let seen = refused(&bytes, &Sanity::default(), Port::A);
            assert_eq!(seen, expected, "{row:?}, {segments} segments left");
        }
    }
}

#[test]
fn every_ipv6_option_passes_or_not_in_both_headers() {
    for number in 1..=u8::MAX {
        let row = row(&IPV6_OPTIONS, number);
        // RFC 8200 section 4.2: the two highest bits say what hosts do that do not know it.
        let passes = row.map_or(number >> 6 == 0, |row| row.passes);
        let expected = (!passes).then_some(DropReason::ExtensionHeader);
        for header in [0, 60] {
            let first = vec![0, 0, number, 2, 0, 0, 1, 0];
            let second = vec![0, 1, 1, 4, 0, 0, 0, 0, number, 4, 9, 9, 9, 9, 0, 0];
            let empty = vec![0, 0, 0, 0, 0, 0, number, 0];
            for extension in [first, second, empty] {
                let bytes = extend(&udp6(), header, extension);
                let seen = refused(&bytes, &Sanity::default(), Port::A);
                assert_eq!(seen, expected, "{number:#04x} {row:?} in {header}");
            }
            for broken in [vec![0, 0, number, 5, 0, 0, 0, 0], vec![0, 0, 1, 3, 0, 0, 0, number]] {
                let bytes = extend(&udp6(), header, broken);
                let seen = refused(&bytes, &Sanity::default(), Port::A);
                assert_eq!(seen, Some(DropReason::Malformed), "{number:#04x} in {header}");
            }
        }
    }
}

#[test]
fn hop_by_hop_options_stand_first() {
    let late = extend(&extend(&udp6(), 0, vec![0; 8]), 60, vec![0; 8]);
    let twice = extend(&extend(&udp6(), 0, vec![0; 8]), 0, vec![0; 8]);
    for bytes in [late, twice] {
        let seen = refused(&bytes, &Sanity::default(), Port::A);
        assert_eq!(seen, Some(DropReason::ExtensionHeader));
    }
}

#[test]
fn chain_is_at_most_eight_headers_and_one_link_long() {
    let chain = |count: usize, bytes: usize| {
        let extension = || {
            let mut extension = vec![0; bytes];
            extension[1] = u8::try_from(bytes / 8 - 1).unwrap();
            extension
        };
        (0..count).fold(frame(V6[0], V6[1], Layer::Tcp(1, 2, SYN)), |inner, _| {
            extend(&inner, 60, extension())
        })
    };
    let too_long = Some(DropReason::ExtensionHeader);
    for (count, bytes, expected) in [
        (8, 8, None),
        (9, 8, too_long),
        (20, 8, too_long),
        (5, 248, None),
        (6, 248, too_long),
        (1, 1240, None),
        (1, 1248, too_long),
    ] {
        let bytes_of_chain = chain(count, bytes);
        let seen = refused(&bytes_of_chain, &Sanity::default(), Port::A);
        assert_eq!(seen, expected, "{count} of {bytes}");
    }
}

#[test]
fn hop_limit_of_zero_is_refused_and_of_one_is_not() {
    for ([src, dst], at) in [(V4, 8), (V6, 7)] {
        let bytes = frame(src, dst, Layer::Udp(1, 2));
        let seen = [0, 1, 255]
            .map(|hops| refused(&changed(&bytes, &[(at, hops)]), &Sanity::default(), Port::A));
        assert_eq!(seen, [Some(DropReason::HopLimit), None, None]);
    }
}

#[test]
fn reserved_flag_of_ipv4_means_nothing() {
    let bytes = frame(V4[0], V4[1], Layer::Udp(1, 2));
    assert!(matches!(parse(&changed(&bytes, &[(6, 0x80)])), Ok(Parsed::Ip(_))));
    assert!(matches!(parse(&changed(&bytes, &[(6, 0xC0)])), Ok(Parsed::Ip(_))));
}
