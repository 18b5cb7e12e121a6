//! Checksums, left to hardware too, and the options of TCP.

use dataplane::checks::{Checks, Checksums};
use dataplane::device::Port;
use dataplane::disposition::DropReason;
use dataplane::parse::{Completion, Parsed, Signal};
use dataplane::sanity::Sanity;

use super::{V4, V6, one, packet, refused, sanity, strict, with_checksums};
use crate::support::frames::{ETHERNET, Layer, SYN, extend, frame, parse, repair, tag};

/// Position of the transport header in an untagged frame without options.
fn transport_at(frame: &[u8]) -> usize {
    ETHERNET + if frame[ETHERNET] >> 4 == 4 { 20 } else { 40 }
}

/// The frame with the sum of the pseudo header in its checksum field, in the way that Linux leaves it to hardware.
fn left_to_hardware(frame: &[u8], field: usize) -> Vec<u8> {
    let mut out = frame.to_vec();
    let at = transport_at(frame);
    let (addresses, protocol) = if at == ETHERNET + 20 {
        (ETHERNET + 12..ETHERNET + 20, frame[ETHERNET + 9])
    } else {
        (ETHERNET + 8..ETHERNET + 40, frame[ETHERNET + 6])
    };
    let words = frame[addresses].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum = words.sum::<u32>() + u32::from(protocol);
    sum += u32::try_from(frame.len() - at).unwrap();
    while sum > 0xFFFF {
        sum = (sum >> 16) + (sum & 0xFFFF);
    }
    out[at + field..at + field + 2].copy_from_slice(&u16::try_from(sum).unwrap().to_be_bytes());
    out
}

#[test]
fn wrong_checksums_are_refused() {
    let checksum = Some(DropReason::Checksum);
    for [src, dst] in [V4, V6] {
        let layers = [
            (Layer::Tcp(1, 2, SYN), 16),
            (Layer::Udp(1, 2), 6),
            (Layer::Ping(1), 2),
            (Layer::Icmp(9, 0), 2),
        ];
        for (layer, field) in layers {
            let right = frame(src, dst, layer);
            for bit in 0..16 {
                let mut wrong = right.clone();
                let at = transport_at(&right) + field;
                wrong[at + bit / 8] ^= 1 << (bit % 8);
                for checksums in [Checksums::Complete, Checksums::Verify] {
                    let seen = refused(&wrong, &with_checksums(checksums), Port::A);
                    assert_eq!(seen, checksum, "{layer:?}");
                }
                let seen = refused(&wrong, &with_checksums(Checksums::Ignore), Port::A);
                assert_eq!(seen, None, "{layer:?}");
            }
            // A byte of data, the last of all.
            let mut wrong = right.clone();
            *wrong.last_mut().unwrap() ^= 0x10;
            assert_eq!(refused(&wrong, &Sanity::default(), Port::A), checksum, "{layer:?}");
        }
    }
}

#[test]
fn header_checksum_of_ipv4_counts_always() {
    for checksums in [Checksums::Complete, Checksums::Verify, Checksums::Ignore] {
        let mut bytes = frame(V4[0], V4[1], Layer::Udp(1, 2));
        bytes[ETHERNET + 11] ^= 4;
        let seen = refused(&bytes, &with_checksums(checksums), Port::A);
        assert_eq!(seen, Some(DropReason::Checksum));
    }
}

#[test]
fn what_was_left_to_hardware_is_completed() {
    for [src, dst] in [V4, V6] {
        for (layer, field) in [(Layer::Tcp(1, 2, SYN), 16), (Layer::Udp(1, 2), 6)] {
            let right = frame(src, dst, layer);
            let left = left_to_hardware(&right, field);
            let at = transport_at(&right) + field;
            let completion = packet(&left, &Sanity::default()).completion.unwrap();
            assert_eq!(usize::from(completion.at), at);
            assert_eq!(completion.value, right[at..at + 2], "{layer:?}");
            assert_eq!(packet(&right, &Sanity::default()).completion, None);
            let seen = refused(&left, &with_checksums(Checksums::Verify), Port::A);
            assert_eq!(seen, Some(DropReason::Checksum));
            // Tags and extension headers move the field and change nothing else.
            let Ok(Parsed::Ip(tagged)) = parse(&tag(&left, 0x8100, 9)) else { panic!("tagged") };
            let moved = Completion { at: completion.at + 4, ..completion };
            assert_eq!(tagged.completion, Some(moved));
            if src == V6[0] {
                let extended = packet(&extend(&left, 60, vec![0; 8]), &Sanity::default());
                let moved = Completion { at: completion.at + 8, ..completion };
                assert_eq!(extended.completion, Some(moved));
            }
            // Anything but that sum is wrong.
            let mut other = left.clone();
            other[at + 1] ^= 1;
            let seen = refused(&other, &Sanity::default(), Port::A);
            assert_eq!(seen, Some(DropReason::Checksum));
        }
        // ICMP is never left to hardware.
        let ping = left_to_hardware(&frame(src, dst, Layer::Ping(1)), 2);
        assert_eq!(refused(&ping, &Sanity::default(), Port::A), Some(DropReason::Checksum));
    }
}

#[test]
fn completed_checksum_of_udp_is_never_none() {
    // Whatever the payload is, the value written is one that receivers check.
    let mut bytes = frame(V4[0], V4[1], Layer::Udp(1, 2));
    let at = transport_at(&bytes);
    let (mut zeros, mut chances) = (0, 0);
    for word in 0..=u16::MAX {
        bytes[at + 8..at + 10].copy_from_slice(&word.to_be_bytes());
        let left = left_to_hardware(&bytes, 6);
        // By chance, what was left may be right.
        let Some(completion) = packet(&left, &Sanity::default()).completion else {
            chances += 1;
            continue;
        };
        assert_ne!(completion.value, [0, 0]);
        zeros += u32::from(completion.value == [0xFF, 0xFF]);
        let mut completed = left;
        completed[at + 6..at + 8].copy_from_slice(&completion.value);
        assert_eq!(packet(&completed, &Sanity::default()).completion, None);
    }
    assert!(zeros > 0, "one of them had it");
    assert!(chances < 3);
}

#[test]
fn udp_may_do_without_a_checksum_in_ipv4_and_is_noted_in_ipv6() {
    for ([src, dst], noticed, strictly) in
        [(V4, None, None), (V6, Some(DropReason::Checksum), Some(DropReason::Checksum))]
    {
        let mut bytes = frame(src, dst, Layer::Udp(1, 2));
        let at = transport_at(&bytes);
        bytes[at + 6..at + 8].fill(0);
        let expected = noticed.map(one).unwrap_or_default();
        assert_eq!(packet(&bytes, &Sanity::default()).noticed, expected);
        assert_eq!(refused(&bytes, &strict(), Port::A), strictly);
        let ignoring = with_checksums(Checksums::Ignore);
        assert!(packet(&bytes, &ignoring).noticed.is_empty());
    }
}

/// A TCP segment with these options, a multiple of four bytes.
fn with_tcp_options(flags: u8, options: &[u8]) -> Vec<u8> {
    let mut bytes = frame(V4[0], V4[1], Layer::Tcp(1, 2, flags));
    let at = ETHERNET + 40;
    bytes[ETHERNET + 32] = u8::try_from((20 + options.len()) / 4).unwrap() << 4;
    bytes[ETHERNET + 3] += u8::try_from(options.len()).unwrap();
    bytes.splice(at..at, options.to_vec());
    repair(&mut bytes);
    bytes
}

/// What the options of a segment say.
#[derive(Debug, PartialEq)]
enum Options {
    Scale(u8),
    Unscaled,
    Malformed,
}

fn scale(flags: u8, options: &[u8]) -> Options {
    match parse(&with_tcp_options(flags, options)) {
        Ok(Parsed::Ip(packet)) => match packet.signal {
            Signal::Tcp(segment) => segment.scale.map_or(Options::Unscaled, Options::Scale),
            other @ (Signal::Request(_)
            | Signal::Reply(_)
            | Signal::Error(_)
            | Signal::Message
            | Signal::Datagram) => panic!("{other:?}"),
        },
        Err(DropReason::Malformed) => Options::Malformed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_of_tcp_add_up() {
    const ACK: u8 = 16;
    let rows: [(u8, &[u8], Options); 20] = [
        (SYN, &[1; 40], Options::Unscaled),
        (SYN, &[0; 40], Options::Unscaled),
        (SYN, &[3, 3, 7, 0], Options::Scale(7)),
        (SYN, &[3, 3, 14, 1], Options::Scale(14)),
        (SYN, &[1, 3, 3, 15], Options::Scale(14)),
        (SYN | ACK, &[2, 4, 5, 180, 1, 3, 3, 255], Options::Scale(14)),
        (ACK, &[3, 3, 7, 0], Options::Unscaled),
        (SYN, &[3, 3, 7, 1, 3, 3, 7, 0], Options::Malformed),
        (ACK, &[3, 3, 7, 1, 3, 3, 7, 0], Options::Malformed),
        (SYN, &[3, 2, 0, 0], Options::Malformed),
        (SYN, &[3, 4, 7, 0], Options::Malformed),
        (SYN, &[1, 1, 1, 3], Options::Malformed),
        (SYN, &[1, 1, 3, 3], Options::Malformed),
        (SYN, &[8, 0, 0, 0], Options::Malformed),
        (SYN, &[8, 1, 0, 0], Options::Malformed),
        (SYN, &[8, 5, 0, 0], Options::Malformed),
        (ACK, &[1, 1, 1, 8], Options::Malformed),
        (SYN, &[0, 8, 0, 3], Options::Unscaled),
        (ACK, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], Options::Unscaled),
        (ACK, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 11, 0, 0], Options::Malformed),
    ];
    for (flags, options, expected) in rows {
        assert_eq!(scale(flags, options), expected, "{flags:#04x} {options:?}");
    }
}

#[test]
fn longest_packets_are_read() {
    for [src, dst] in [V4, V6] {
        for (layer, length_at) in [(Layer::Tcp(1, 2, 16), None), (Layer::Udp(1, 2), Some(4))] {
            let mut bytes = frame(src, dst, layer);
            let at = transport_at(&bytes);
            let header = at - ETHERNET;
            let end = if src == V4[0] { 65_535 } else { header + 65_535 };
            bytes.resize(ETHERNET + end, 0x5A);
            let field = ETHERNET + if src == V4[0] { 2 } else { 4 };
            bytes[field..field + 2].copy_from_slice(&[0xFF, 0xFF]);
            if let Some(length_at) = length_at {
                let length = u16::try_from(end - header).unwrap().to_be_bytes();
                bytes[at + length_at..at + length_at + 2].copy_from_slice(&length);
            }
            repair(&mut bytes);
            let read = packet(&bytes, &Sanity::default());
            if let Signal::Tcp(segment) = read.signal {
                assert_eq!(usize::from(segment.data_bytes), end - header - 20);
            }
            *bytes.last_mut().unwrap() ^= 1;
            let seen = refused(&bytes, &sanity(Checks::default()), Port::A);
            assert_eq!(seen, Some(DropReason::Checksum));
        }
    }
}
