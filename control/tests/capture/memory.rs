//! A capture is never held in memory: the most that the process ever had, measured while it reads from a pipe.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::Place;
use crate::files::{BEGIN_NS, ETHERNET, Shape};
use crate::frames::{ethernet, udp};

/// Size of the capture, MiB, unless the environment says another.
const SIZE_MIB: usize = 64;
/// Names the size: `RAVELIN_CAPTURE_MIB=1024` for the large one.
const SIZE_VARIABLE: &str = "RAVELIN_CAPTURE_MIB";
/// Most memory, KiB: the buffer, 10,000 flows, 65,536 pairs, the program itself.
const PEAK_KIB_MAX: u64 = 64 << 10;

#[test]
fn a_large_capture_streams_through_little_memory() {
    let size = std::env::var(SIZE_VARIABLE).map_or(SIZE_MIB, |size| size.parse().unwrap()) << 20;
    let place = Place::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ravelin"))
        .args(["trace", "-f", "policy.toml", "--pcap", "-", "--flows-max", "10000", "-o", "json"])
        .current_dir(place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&Shape::PCAP.head(ETHERNET)).unwrap();
    let (mut written, mut packets) = (0, 0_u64);
    while written < size {
        let chunk = chunk(packets);
        stdin.write_all(&chunk).unwrap();
        written += chunk.len();
        packets += CHUNK;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    eprintln!("{} MiB, {packets} packets: peak resident {peak} KiB", written >> 20);
    assert_eq!(answer["packets"], packets);
    assert!(answer["limits"]["packetsWithoutRoom"].as_u64().unwrap() > 0, "more flows than room");
    assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
}

/// Packets of a chunk.
const CHUNK: u64 = 1000;

/// Packets of 500 bytes from ever new sources: each is a flow of its own, and a pair that is denied.
fn chunk(first: u64) -> Vec<u8> {
    let mut chunk = Vec::new();
    for number in first..first + CHUNK {
        let [.., a, b, c] = number.to_be_bytes();
        let frame = ethernet(&udp(&format!("198.19.{a}.{b}:{c}"), "198.18.70.9:514", 458), &[]);
        chunk.extend(Shape::PCAP.record(BEGIN_NS + number * 1000, &frame, frame.len()));
    }
    chunk
}
