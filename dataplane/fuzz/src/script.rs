//! Inputs as scripts of a few bytes a step, so that a change of the input is a change of what happens.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use dataplane::checksum::Sum;
use dataplane::device::Port;

use crate::gate::{Gate, SERVER};

/// Most steps that are looked at.
const STEPS_MAX: usize = 256;
const CLIENTS: [[u8; 4]; 2] = [[198, 18, 10, 1], [198, 18, 10, 2]];
const PORTS: [u16; 4] = [80, 53, 40_000, 40_001];
/// Sequence numbers around which steps stay, one at the wrap.
const BASES: [u32; 4] = [0, 0xFFFF_FF00, 0x7FFF_FFF0, 5_000];

/// Who sends a packet to whom.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Ends {
    src: [u8; 4],
    dst: [u8; 4],
    protocol: u8,
    /// Ports, or the identifier of a query twice.
    ports: [u16; 2],
}

impl Ends {
    fn reversed(self) -> Self {
        let Self { src, dst, ports: [from, to], .. } = self;
        Self { src: dst, dst: src, ports: [to, from], ..self }
    }
}

/// Packets between two clients and the server, eight bytes a step. What comes from the server passes only as an answer.
///
/// # Panics
/// When something is wrong.
pub fn flows(input: &[u8]) {
    let mut gate = Gate::new();
    let mut asked: HashSet<Ends> = HashSet::new();
    for step in input.as_chunks::<8>().0.iter().take(STEPS_MAX) {
        let [kind, who, flags, sequence, answer, window, data, time] = *step;
        gate.wait(waited(time));
        let client = CLIENTS[usize::from(who & 1)];
        let port = Port::BOTH[usize::from(who >> 1 & 1)];
        let [near, far] = [who >> 2, who >> 4].map(|at| PORTS[usize::from(at & 3)]);
        let (src, dst) = if port == Port::A { (client, SERVER) } else { (SERVER, client) };
        let data = vec![data; usize::from(data % 16)];
        let number = |byte: u8| BASES[usize::from(byte >> 6)].wrapping_add(u32::from(byte & 63));
        let (protocol, ports, payload) = match kind % 4 {
            0 | 1 => {
                let words = [number(sequence), number(answer)];
                (6, [near, far], tcp([near, far], flags, words, window, &data))
            }
            2 => (17, [near, far], udp([near, far], &data)),
            _ => (1, [near, near], icmp(flags, near, &data)),
        };
        let ends = Ends { src, dst, protocol, ports };
        let frame = ipv4(src, dst, protocol, [0, 0, 0x40, 0], payload);
        let left = gate.send(port, &frame);
        if port == Port::A && !left.is_empty() {
            let allowed = match protocol {
                6 => far == 80 || asked.contains(&ends),
                17 => far == 53 || asked.contains(&ends),
                _ => flags == 8,
            };
            assert!(allowed, "no rule allows it");
            asked.insert(ends);
        }
        if port == Port::B && !left.is_empty() {
            assert!(asked.contains(&ends.reversed()), "nobody asked for it");
        }
    }
}

/// Fragments of a few datagrams to DNS, six bytes a step. They leave all together, when a naive reassembler finds them whole.
///
/// # Panics
/// When something is wrong.
pub fn fragments(input: &[u8]) {
    let mut gate = Gate::new();
    let mut naive: HashMap<u8, Vec<Piece>> = HashMap::new();
    for step in input.as_chunks::<6>().0.iter().take(STEPS_MAX) {
        let [which, offset, units, bits, other, time] = *step;
        gate.wait(waited(time));
        let which = which & 3;
        let (more, odd) = (bits & 1 != 0, usize::from(bits >> 1 & 7));
        let length = usize::from(units % 8) * 8 + if more { 0 } else { odd };
        let start = usize::from(offset % 16) * 8;
        // One byte differs now and then, so that not every overlap agrees.
        let mut data: Vec<u8> = whole(which)[start..start + length].to_vec();
        if bits >> 6 == 3 {
            data.iter_mut().take(1).for_each(|byte| *byte ^= other);
        }
        let fields = (start / 8) as u16 | u16::from(more) << 13;
        let [high, low] = fields.to_be_bytes();
        let frame = ipv4(CLIENTS[0], SERVER, 17, [0, which, high, low], data);
        let left = gate.send(Port::A, &frame);
        let pieces = naive.entry(which).or_default();
        pieces.push(Piece { start, length, more, frame });
        if left.len() > 1 || left.len() == 1 && (more || start > 0) {
            assert!(covers(pieces, &left), "not all of a datagram, and nothing else");
        }
    }
}

/// A fragment that came in.
struct Piece {
    start: usize,
    length: usize,
    more: bool,
    frame: Vec<u8>,
}

/// Whether the frames are of fragments that follow each other without a hole from the first to the last.
fn covers(pieces: &[Piece], left: &[Vec<u8>]) -> bool {
    let mut end = 0;
    for (index, frame) in left.iter().enumerate() {
        let Some(piece) = pieces.iter().find(|piece| piece.frame == *frame) else { return false };
        let is_last = index + 1 == left.len();
        if piece.start != end || piece.more == is_last {
            return false;
        }
        end += piece.length;
    }
    true
}

/// A datagram to DNS that is right whatever its length: without a checksum, and with a length of UDP that is its header's.
fn whole(which: u8) -> Vec<u8> {
    let mut out = vec![0x9C, 0x40, 0, 53, 0, 8, 0, 0];
    out.extend((8..=u8::MAX).map(|at| at.wrapping_mul(which + 3)));
    out
}

/// Mostly nothing, sometimes longer than any timer.
fn waited(time: u8) -> Duration {
    match time {
        0..=199 => Duration::from_millis(time.into()),
        time => Duration::from_secs(1 << ((time - 200) % 14)),
    }
}

fn ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, middle: [u8; 4], payload: Vec<u8>) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let total = (20 + payload.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    header.extend(middle);
    header.extend([64, protocol, 0, 0]);
    header.extend(src.into_iter().chain(dst));
    let checksum = Sum::of(&header).checksum();
    header[10..12].copy_from_slice(&checksum);
    frame.extend(header);
    let mut payload = payload;
    let field = match protocol {
        6 => Some(16),
        1 => Some(2),
        _ => None,
    };
    // UDP may do without one.
    if let Some(field) = field {
        let pseudo = Sum::of_pseudo_header(src.into(), dst.into(), protocol, payload.len());
        let pseudo = if protocol == 1 { Sum::default() } else { pseudo };
        let checksum = pseudo.and(Sum::of(&payload)).checksum();
        payload[field..field + 2].copy_from_slice(&checksum);
    }
    frame.extend(payload);
    frame
}

fn tcp([from, to]: [u16; 2], flags: u8, words: [u32; 2], window: u8, data: &[u8]) -> Vec<u8> {
    let mut out = [from.to_be_bytes(), to.to_be_bytes()].concat();
    out.extend(words.into_iter().flat_map(u32::to_be_bytes));
    let has_scale = flags & 2 != 0 && window & 1 != 0;
    out.extend([if has_scale { 0x60 } else { 0x50 }, flags, window >> 4, window, 0, 0, 0, 0]);
    if has_scale {
        out.extend([1, 3, 3, window >> 4]);
    }
    out.extend(data);
    out
}

fn udp([from, to]: [u16; 2], data: &[u8]) -> Vec<u8> {
    let mut out = [from.to_be_bytes(), to.to_be_bytes()].concat();
    out.extend(((8 + data.len()) as u16).to_be_bytes());
    out.extend([0, 0]);
    out.extend(data);
    out
}

fn icmp(kind: u8, identifier: u16, data: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0];
    out.extend(identifier.to_be_bytes());
    out.extend([0, 1]);
    out.extend(data);
    out
}
