//! Captures that are not whole, or no captures.

use serde_json::Value;

use crate::Place;
use crate::files::{BEGIN_NS, ETHERNET, RAW, Shape};
use crate::frames::{SYN, tcp};

fn packets() -> Vec<Vec<u8>> {
    let from = |port: u16| tcp(&format!("198.18.10.5:{port}"), "198.18.70.9:22", SYN);
    (1..=3).map(from).collect()
}

/// The summary of what could be read, and where that ended.
fn ended(place: &Place) -> (u64, u64, String) {
    let output = place.run("-o json");
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = answer["error"]["message"].as_str().unwrap().to_owned();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains(&format!("was not read to its end: {message}")), "{talk}");
    let packets = answer["judged"]["packets"].as_u64().unwrap();
    (packets, answer["error"]["offset"].as_u64().unwrap(), message)
}

#[test]
fn a_capture_cut_off_anywhere_is_summarised_as_far_as_it_goes() {
    let place = Place::new();
    for pcapng in [false, true] {
        let shape = Shape { pcapng, ..Shape::PCAP };
        let head = shape.head(RAW).len();
        let record = shape.record(BEGIN_NS, &packets()[0], packets()[0].len()).len();
        let file = shape.file(RAW, &packets());
        for length in (head + 1..file.len()).step_by(7) {
            place.write("x.pcap", &file[..length]);
            let whole = (length - head) / record;
            if (length - head).is_multiple_of(record) {
                assert_eq!(place.json("")["judged"]["packets"], whole);
                continue;
            }
            let offset = head + whole * record;
            let message =
                format!("it is cut off: the record that begins at byte {offset} is not whole");
            assert_eq!(ended(&place), (whole as u64, offset as u64, message));
        }
    }
}

#[test]
fn the_summary_says_that_it_is_not_the_whole() {
    let place = Place::new();
    let file = Shape::PCAP.file(RAW, &packets());
    place.write("x.pcap", &file[..file.len() - 1]);
    let output = place.run("");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("allowed   2 flows, 2 packets\n"), "{text}");
    let note = "\nthis is not the whole capture: it is cut off: the record that begins at byte 136 is not whole\n";
    assert!(text.ends_with(note), "{text}");
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    let place = Place::new();
    let no_capture =
        "it is no capture: expected pcap or pcapng, as `tcpdump -w` writes them, not compressed";
    for bytes in
        [&b""[..], b"\x1f\x8b\x08\0", b"[[globalNetworkPolicies]]\nname = 'x'\n", &[0; 4096]]
    {
        place.write("x.pcap", bytes);
        assert_eq!(ended(&place), (0, 0, no_capture.to_owned()));
    }
}

#[test]
fn a_length_that_cannot_be_one_is_where_the_capture_ends() {
    let place = Place::new();
    for (shape, length) in [
        (Shape::PCAP, 0xFFFF_FFFF),
        (Shape::PCAP, 300_000),
        (Shape { big_endian: true, ..Shape::PCAP }, 0x7FFF_0000),
    ] {
        let good = shape.file(RAW, &packets());
        let [zero, length] = [0, length].map(|number| shape.u32(number));
        let bad = [zero.clone(), zero.clone(), length.clone(), length].concat();
        place.write("x.pcap", [&good[..], &bad, &vec![0; 4 << 20]].concat());
        let message = format!("it is damaged: what begins at byte {} is no record", good.len());
        assert_eq!(ended(&place), (3, good.len() as u64, message));
    }
}

#[test]
fn a_damaged_block_is_where_the_capture_ends() {
    let place = Place::new();
    let shape = Shape { pcapng: true, ..Shape::PCAP };
    let good = shape.file(RAW, &packets());
    let lengths_differ = {
        let mut block = shape.record(BEGIN_NS, &packets()[0], 40);
        let last = block.len() - 4;
        block[last] ^= 4;
        block
    };
    let no_such_interface = {
        let mut block = shape.record(BEGIN_NS, &packets()[0], 40);
        block[8] = 7;
        block
    };
    let too_short = [shape.u32(6), shape.u32(8)].concat();
    let longer_than_its_block = {
        let mut block = shape.record(BEGIN_NS, &packets()[0], 40);
        block[20] = 200;
        block
    };
    let endless = [shape.u32(6), shape.u32(0xFFFF_FFF0)].concat();
    for bad in [lengths_differ, no_such_interface, too_short, longer_than_its_block, endless] {
        place.write("x.pcap", [&good[..], &bad, &vec![0; 20 << 20]].concat());
        let (judged, offset, message) = ended(&place);
        assert_eq!((judged, offset), (3, good.len() as u64), "{message}");
    }
}

#[test]
fn a_packet_in_the_obsolete_form_is_not_passed_over_in_silence() {
    let place = Place::new();
    let shape = Shape { pcapng: true, ..Shape::PCAP };
    let block = shape.block(2, &[0; 60]);
    place.write("x.pcap", [shape.head(ETHERNET), block].concat());
    let (_, offset, message) = ended(&place);
    let said =
        "byte 60 begins a packet in an obsolete form: rewrite the file with `editcap -F pcap`";
    assert_eq!((offset, message.as_str()), (60, said));
}

#[test]
fn no_bytes_make_it_crash() {
    let place = Place::new();
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..60 {
        let pcapng = round % 2 == 0;
        let mut file = Shape { pcapng, ..Shape::PCAP }.file(RAW, &packets());
        for _ in 0..random.usize(1..6) {
            let at = random.usize(4..file.len());
            file[at] = random.u8(..);
        }
        place.write("x.pcap", &file);
        let output = place.run("-o json");
        assert!(matches!(output.status.code(), Some(0 | 1)), "round {round}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap();
    }
}

#[test]
fn a_file_that_is_not_there_is_said() {
    let place = Place::new();
    let output = place.run("");
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = "the capture `x.pcap` cannot be read: No such file or directory";
    assert!(talk.contains(said), "{talk}");
}
