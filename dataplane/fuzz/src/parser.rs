//! The parser beside the one of the tests.

use std::sync::LazyLock;

use dataplane::checks::Checksums;
use dataplane::device::Port;
use dataplane::disposition::{DropReason, Reasons};
use dataplane::parse::{Parsed, Piece, parse};
use dataplane::sanity::{Networks, Sanity, SpecialPurpose};

use crate::second_parser::{self, Rules};

/// Settings that an input chooses from.
static SETTINGS: LazyLock<Vec<(Rules, Sanity)>> = LazyLock::new(|| {
    let waivable = || DropReason::ALL.into_iter().filter(|it| it.can_be_counted_only());
    let nets = ["198.18.0.0/16,2001:2::/64", "198.18.70.0/24,::/0"];
    let nets = nets.map(|nets| nets.split(',').map(net).collect::<Vec<_>>());
    let rules = [
        Rules::default(),
        Rules { strict: true, ..Rules::default() },
        Rules { checksums: Checksums::Ignore, ..Rules::default() },
        Rules { checksums: Checksums::Verify, ..Rules::default() },
        Rules { counted: vec![DropReason::Checksum], ..Rules::default() },
        Rules { counted: vec![DropReason::Checksum], strict: true, ..Rules::default() },
        Rules { counted: waivable().collect(), ..Rules::default() },
        Rules { counted: vec![DropReason::Checksum], nets, ..Rules::default() },
    ];
    rules.into_iter().map(|rules| (rules.clone(), sanity(&rules))).collect()
});

fn net(text: &str) -> (std::net::IpAddr, u32) {
    let (address, length) = text.split_once('/').expect("a prefix");
    (address.parse().expect("an address"), length.parse().expect("a length"))
}

fn sanity(rules: &Rules) -> Sanity {
    let networks = rules.nets.each_ref().map(|nets| {
        let nets: Vec<_> = nets.iter().map(|(address, bits)| format!("{address}/{bits}")).collect();
        if nets.is_empty() {
            Networks::default()
        } else {
            nets.join(",").parse().expect("networks")
        }
    });
    Sanity::new(rules.checks(), &SpecialPurpose::default(), &networks)
}

/// The first byte chooses settings and port, the rest is a frame.
///
/// # Panics
/// When the parser is wrong.
pub fn parser(input: &[u8]) {
    let Some((choice, frame)) = input.split_first() else { return };
    let (rules, sanity) = &SETTINGS[usize::from(choice >> 1) % SETTINGS.len()];
    let port = Port::BOTH[usize::from(choice & 1)];
    let read = parse(frame, sanity, port);
    assert_eq!(read, second_parser::read_by(rules, frame, port), "{rules:?}");
    let waived = |noticed: Reasons| {
        noticed.iter().all(|reason| {
            rules.counted.contains(&reason) || reason == DropReason::Checksum && !rules.strict
        })
    };
    match read {
        Ok(Parsed::Ip(packet)) => {
            assert_eq!(packet.key.src.is_ipv4(), packet.key.dst.is_ipv4());
            assert!(waived(packet.noticed));
            if let Some(completion) = packet.completion {
                let mut frame = frame.to_vec();
                let at = usize::from(completion.at);
                frame[at..at + 2].copy_from_slice(&completion.value);
                let Ok(Parsed::Ip(completed)) = parse(&frame, sanity, port) else {
                    panic!("a completed packet is none any more")
                };
                assert_eq!(completed.completion, None);
                assert_eq!(completed.key, packet.key);
            }
        }
        Ok(Parsed::Fragment(piece)) => check_piece(&piece, frame),
        Ok(Parsed::Arp(noticed) | Parsed::NeighbourDiscovery(noticed)) => assert!(waived(noticed)),
        // A chain that is too long hides what is behind it, whatever is counted only.
        Ok(Parsed::NonIp) | Err(DropReason::ExtensionHeader) => {}
        Err(reason) => assert!(!rules.counted.contains(&reason), "{reason:?} is counted only"),
    }
}

fn check_piece(piece: &Piece, frame: &[u8]) {
    let [header, data, bytes, offset] =
        [piece.header_at, piece.data_at, piece.data_bytes, piece.offset].map(usize::from);
    assert!(header < data && data + bytes <= frame.len());
    assert!(bytes > 0 && offset % 8 == 0 && offset + bytes <= 65_535);
    assert!(!piece.more || bytes % 8 == 0);
}
