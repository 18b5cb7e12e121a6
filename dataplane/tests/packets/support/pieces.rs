//! Fragments of valid frames.

use super::frames::{ETHERNET, repair};

/// Cuts the packet of a frame (IPv4 without options, or IPv6 without extension headers, any tags) behind these many bytes of
/// what follows its header. All but the last are multiples of eight.
pub(crate) fn pieces(frame: &[u8], id: u16, cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut ip = ETHERNET;
    while frame[ip - 2..ip] == [0x81, 0x00] {
        ip += 4;
    }
    let header = if frame[ip] >> 4 == 4 { 20 } else { 40 };
    let data = &frame[ip + header..];
    let ends = cuts.iter().copied().chain([data.len()]);
    let mut start = 0;
    let mut out = Vec::new();
    for end in ends {
        assert!(start < end && start.is_multiple_of(8), "{cuts:?}");
        let more = end < data.len();
        out.push(piece(&frame[..ip + header], ip, id, (start, more), &data[start..end]));
        start = end;
    }
    out
}

fn piece(headers: &[u8], ip: usize, id: u16, (start, more): (usize, bool), data: &[u8]) -> Vec<u8> {
    let mut out = headers.to_vec();
    let start = u16::try_from(start).unwrap();
    let length = u16::try_from(data.len()).unwrap();
    if headers[ip] >> 4 == 4 {
        let field = (start / 8) | (u16::from(more) << 13);
        out[ip + 2..ip + 4].copy_from_slice(&(length + 20).to_be_bytes());
        out[ip + 4..ip + 6].copy_from_slice(&id.to_be_bytes());
        out[ip + 6..ip + 8].copy_from_slice(&field.to_be_bytes());
    } else {
        let field = start | u16::from(more);
        out[ip + 4..ip + 6].copy_from_slice(&(length + 8).to_be_bytes());
        out.extend_from_slice(&[out[ip + 6], 0]);
        out[ip + 6] = 44;
        out.extend_from_slice(&field.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.extend_from_slice(data);
    if headers[ip] >> 4 == 4 {
        repair(&mut out);
    }
    out
}
