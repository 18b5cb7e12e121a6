//! S-19 to S-27, S-31, S-32: what connections between honest peers look like, at the edges of what RFCs allow.

use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{Malformed, TcpWindow};

use crate::craft::{ACK, Connection, FIN, PSH, RST, SYN, Tcp, URG, window_scale};
use crate::family::Family;
use crate::gate::{Gate, Setup};

const DATA: u8 = PSH | ACK;
/// Congestion bits: "ECN-echo" and "window reduced", and the third one of `AccECN` (RFC 9768), below them in the byte before.
const ECE_CWR: u8 = 0xc0;

fn gate() -> Gate {
    Gate::new(Setup::default())
}

/// S-19: numbers that wrap around 2^32 in the midst of data, at the FIN, at a RST, and in SACK blocks.
pub(crate) fn sequence_numbers_wrap(family: Family) {
    for before_wrap in [0, 1, 5, 10, 11, 20, 21] {
        let isn = 0_u32.wrapping_sub(before_wrap);
        let web = Connection { isn: [isn, isn.wrapping_add(3)], ..family.web(before_wrap) };
        let mut gate = gate();
        gate.open(&web);
        gate.pass(A, &web.send(A, DATA, 1, 1, b"0123456789"));
        gate.pass(B, &web.send(B, DATA, 1, 11, b"0123456789"));
        // The client lacks what is before the second ten octets, and says so.
        gate.pass(B, &web.send(B, DATA, 21, 11, b"0123456789"));
        let sack = Tcp { options: sack(&web, 21, 31), ..web.segment(A, ACK, 11, 11) };
        gate.pass(A, &web.frame(A, &sack));
        gate.pass(B, &web.send(B, DATA, 11, 11, b"0123456789"));
        gate.pass(A, &web.send(A, FIN | ACK, 11, 31, b""));
        gate.pass(B, &web.send(B, FIN | ACK, 31, 12, b""));
        gate.pass(A, &web.send(A, ACK, 12, 32, b""));
        let mut gate = self::gate();
        gate.open(&web);
        gate.pass(A, &web.send(A, DATA, 1, 1, b"0123456789"));
        gate.pass(A, &web.send(A, RST | ACK, 11, 1, b""));
    }
}

/// S-20: windows that shrink, close, stay closed for ten minutes under probes, and open.
pub(crate) fn windows_shrink_and_close(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    let says = |window, ack| {
        let segment = Tcp { window, ..web.segment(B, ACK, 1, ack) };
        web.frame(B, &segment)
    };
    gate.open(&web);
    gate.pass(A, &web.send(A, DATA, 1, 1, &[b'x'; 1000]));
    // Less than was granted before: what was granted may still be on its way (RFC 9293 section 3.8.6).
    gate.pass(B, &says(100, 1001));
    gate.pass(A, &web.send(A, DATA, 1001, 1, &[b'x'; 1000]));
    gate.pass(B, &says(0, 2001));
    for _ in 0..10 {
        gate.wait_s(60);
        gate.pass(A, &web.send(A, ACK, 2001, 1, b"?"));
        gate.pass(B, &says(0, 2001));
    }
    gate.pass(B, &says(8192, 2002));
    gate.pass(A, &web.send(A, DATA, 2002, 1, &[b'x'; 1000]));
}

/// S-21: a window of 1 GiB, and 900 MB of it in flight.
pub(crate) fn windows_are_as_wide_as_they_can_be(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    let scale = window_scale(14);
    gate.open_with(&web, [&scale, &scale]);
    let widest = Tcp { window: u16::MAX, ..web.segment(B, ACK, 1, 1) };
    gate.pass(B, &web.frame(B, &widest));
    let octets = u32::from(u16::MAX) << 14;
    let mut at = 1;
    while at < 900_000_000 {
        gate.pass(A, &web.send(A, DATA, at, 1, &[b'x'; 1400]));
        // Every tenth of a million of segments stands for those between.
        at += 1_400 * 100;
    }
    // The last octet that fits, and one more.
    gate.pass(A, &web.send(A, DATA, 1 + octets - 10, 1, b"0123456789"));
    gate.refuse(A, &web.send(A, DATA, 1 + octets - 9, 1, b"0123456789"), TcpWindow);
    // What is missing is sent again, from the beginning.
    gate.pass(A, &web.send(A, DATA, 1, 1, &[b'x'; 1400]));
}

/// S-22: options that endpoints use, and control bits, go through as they are.
pub(crate) fn options_go_through(family: Family) {
    let on_syn: [&[u8]; 6] = [
        // Maximum segment size, SACK permitted, timestamps, window scale: what every host sends.
        &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
        // Fast open: a request for a cookie, and a cookie (RFC 7413).
        &[34, 2, 1, 1],
        &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1],
        // Multipath (RFC 8684), MD5 (RFC 2385), authentication (RFC 5925).
        &[30, 12, 0x01, 0x81, 1, 2, 3, 4, 5, 6, 7, 8],
        &[19, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1, 1],
        &[29, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
    ];
    for (number, options) in (1..).zip(on_syn) {
        let (mut gate, web) = (gate(), family.web(number));
        gate.open_with(&web, [options, options]);
        // Duplicate SACK (RFC 2883), and three blocks beside timestamps: the longest that TCP can say.
        gate.pass(A, &web.send(A, DATA, 1, 1, &[b'x'; 100]));
        let double = Tcp { options: sack(&web, 1, 51), ..web.segment(B, ACK, 1, 101) };
        gate.pass(B, &web.frame(B, &double));
        let mut options = vec![8, 10, 0, 0, 0, 2, 0, 0, 0, 1, 1, 1, 5, 26];
        options.extend([0x42; 24]);
        options.extend([1, 1]);
        let full = Tcp { options, ..web.segment(B, ACK, 1, 101) };
        gate.pass(B, &web.frame(B, &full));
        let urgent = Tcp { urgent: 1, data: vec![7], ..web.segment(A, URG | DATA, 101, 1) };
        gate.pass(A, &web.frame(A, &urgent));
        // Congestion (RFC 3168), on a segment with data.
        gate.pass(A, &web.send(A, ECE_CWR | DATA, 102, 1, b"x"));
    }
    // Both bits on the SYN ask for it; the third one with them for the accurate kind.
    let (mut gate, web) = (gate(), family.web(99));
    gate.pass(A, &web.send(A, ECE_CWR | SYN, 0, 0, b""));
    gate.pass(B, &web.send(B, 0x40 | SYN | ACK, 0, 1, b""));
    let accurate = family.web(100);
    let mut syn = accurate.packet(A, &accurate.segment(A, ECE_CWR | SYN, 0, 0));
    let tcp_at = syn.len() - 20;
    syn[tcp_at + 12] |= 1;
    let [src, dst] = accurate.ends;
    crate::craft::right(&mut syn[tcp_at..], 16, src, dst, crate::craft::TCP);
    gate.pass(A, &crate::craft::frame(A, &syn));
}

/// S-23: options that do not add up, and such as do though nobody would send them.
pub(crate) fn options_must_add_up(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    let syn = |options: &[u8]| {
        let segment = Tcp { options: options.to_vec(), ..web.segment(A, SYN, 0, 0) };
        web.frame(A, &segment)
    };
    // A length of nothing, of one, past the header, and two that say how windows scale.
    gate.refuse(A, &syn(&[2, 0, 5, 180]), Malformed);
    gate.refuse(A, &syn(&[2, 1, 5, 180]), Malformed);
    gate.refuse(A, &syn(&[2, 9, 5, 180]), Malformed);
    gate.refuse(A, &syn(&[1, 1, 1, 2]), Malformed);
    gate.refuse(A, &syn(&[3, 3, 7, 3, 3, 9, 1, 1]), Malformed);
    // Forty times nothing is as much as fits.
    gate.open_with(&web, [&[1; 40], &[1; 40]]);
    // Behind the end of the list stands whatever wants to.
    let (mut gate, web) = (self::gate(), family.web(2));
    let ended = Tcp { options: vec![0, 9, 9, 9], ..web.segment(A, SYN, 0, 0) };
    gate.pass(A, &web.frame(A, &ended));
    // On anything but a SYN, a scale is no scale: the window of 100 stays one of 100 octets.
    let (mut gate, web) = (self::gate(), Connection { windows: [100; 2], ..family.web(3) });
    gate.open(&web);
    let later = Tcp { options: window_scale(14).into(), ..web.segment(B, ACK, 1, 1) };
    gate.pass(B, &web.frame(B, &later));
    gate.refuse(A, &web.send(A, DATA, 1 + 5_000, 1, b"x"), TcpWindow);
    gate.pass(A, &web.send(A, DATA, 1, 1, b"x"));
}

/// S-24: SYN and SYN/ACK come twice, and data before the segment that completes the handshake.
pub(crate) fn handshakes_are_reordered_and_repeated(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    let [(_, syn), (_, answer), (_, ack)] = web.handshake([&[], &[]]);
    gate.pass(A, &syn);
    gate.pass(A, &syn);
    gate.pass(B, &answer);
    gate.pass(A, &syn);
    gate.pass(B, &answer);
    // The last segment of the handshake comes behind two with data, the second of them first.
    gate.pass(A, &web.send(A, DATA, 11, 1, b"0123456789"));
    gate.pass(A, &web.send(A, DATA, 1, 1, b"0123456789"));
    gate.pass(A, &ack);
    // A copy of the SYN/ACK that was long on its way, and its answer.
    gate.pass(B, &answer);
    gate.pass(A, &web.send(A, ACK, 21, 1, b""));
    gate.pass(B, &web.send(B, DATA, 1, 21, b"answer"));
}

/// S-25: both ends close at once (RFC 9293 section 3.6, figure 13).
pub(crate) fn both_ends_close_at_once(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    gate.pass(A, &web.send(A, FIN | ACK, 1, 1, b""));
    gate.pass(B, &web.send(B, FIN | ACK, 1, 1, b""));
    // One of them was lost behind us and comes again.
    gate.pass(A, &web.send(A, FIN | ACK, 1, 1, b""));
    gate.pass(A, &web.send(A, ACK, 2, 2, b""));
    gate.pass(B, &web.send(B, ACK, 2, 2, b""));
    // In TIME-WAIT, the last acknowledgments may be asked for again.
    gate.pass(B, &web.send(B, FIN | ACK, 1, 1, b""));
    gate.pass(A, &web.send(A, ACK, 2, 2, b""));
}

/// S-31: the server has closed its half; the client resets, not quite where the server is, then exactly.
pub(crate) fn inexact_reset_of_a_half_closed_one_passes(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    gate.pass(A, &web.send(A, DATA, 1, 1, b"0123456789"));
    gate.pass(B, &web.send(B, FIN | ACK, 1, 11, b""));
    gate.pass(A, &web.send(A, ACK, 11, 2, b""));
    let counted = gate.dropped(TcpWindow);
    gate.pass(A, &web.send(A, RST, 12, 0, b""));
    assert_eq!(gate.dropped(TcpWindow), counted, "not counted as wrong");
    // The server asks back, and the client answers exactly.
    gate.pass(B, &web.send(B, ACK, 2, 11, b""));
    gate.pass(A, &web.send(A, RST, 11, 0, b""));
    gate.refuse(A, &web.send(A, DATA, 11, 2, b"x"), dataplane::disposition::DropReason::TcpClosed);
}

/// S-32: a host gives up right behind its data, with a RST for each segment that it does not want any more.
pub(crate) fn resets_right_behind_data_pass(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    gate.pass(A, &web.send(A, DATA, 1, 1, &[b'x'; 1000]));
    gate.pass(A, &web.send(A, RST | ACK, 1001, 1, b""));
    for _ in 0..3 {
        gate.pass(A, &web.send(A, RST, 1001, 0, b""));
    }
}

/// A SACK option with one block (RFC 2018), of what the other end sent.
fn sack(web: &Connection, from: u32, to: u32) -> Vec<u8> {
    let [left, right] = [from, to].map(|edge| web.isn[1].wrapping_add(edge).to_be_bytes());
    [&[1, 1, 5, 10], &left[..], &right].concat()
}
