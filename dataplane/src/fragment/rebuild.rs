//! A whole datagram in one piece, as if it had never been fragmented.

use super::store::{Store, Stored};
use crate::disposition::DropReason;

/// Length of the IPv6 header.
const IPV6_BYTES: usize = 40;
/// The longest frame there is: Ethernet with two VLAN tags and an IPv6 packet of full length.
pub(super) const FRAME_BYTES_MAX: usize = 14 + 8 + IPV6_BYTES + 65_535;

/// Puts together what these fragments carry, in their order and without holes, behind the headers of the first one.
///
/// In IPv6 the fragment header stays, as that of an atomic fragment (RFC 6946): so the parser sees that there was one.
///
/// # Errors
/// The packet would be longer than its headers can say.
pub(super) fn rebuild<'a>(
    store: &Store,
    first: Stored,
    is_ipv4: bool,
    room: &'a mut [u8],
) -> Result<&'a [u8], DropReason> {
    let length = copy(store, first, room).ok_or(DropReason::FragmentInvalid)?;
    let frame = room.get_mut(..length).ok_or(DropReason::Internal)?;
    let part = store.part(first);
    let header_at = usize::from(part.header_at);
    let header_bytes = usize::from(part.data_at).saturating_sub(header_at);
    let packet = frame.get_mut(header_at..).ok_or(DropReason::Internal)?;
    if is_ipv4 { correct_ipv4(packet, header_bytes) } else { correct_ipv6(packet, header_bytes) }?;
    Ok(frame)
}

/// The headers of the first fragment and the data of all; returns how many bytes.
fn copy(store: &Store, first: Stored, room: &mut [u8]) -> Option<usize> {
    let mut at = usize::from(store.part(first).data_at);
    let headers = room.get_mut(..at)?;
    let mut is_whole = store.copy(first, 0, headers);
    let mut next = Some(first);
    while let Some(fragment) = next {
        let part = store.part(fragment);
        let data = room.get_mut(at..at + usize::from(part.data_bytes))?;
        is_whole &= store.copy(fragment, part.data_at.into(), data);
        at += data.len();
        next = store.following(fragment);
    }
    is_whole.then_some(at)
}

/// Total length, neither offset nor more fragments, header checksum (RFC 791 section 3.1).
fn correct_ipv4(packet: &mut [u8], header_bytes: usize) -> Result<(), DropReason> {
    let length = u16::try_from(packet.len()).map_err(|_| DropReason::FragmentInvalid)?;
    let header = packet.get_mut(..header_bytes).ok_or(DropReason::Internal)?;
    let [_, _, l0, l1, _, _, flags, low, _, _, c0, c1, ..] = header else {
        return Err(DropReason::Internal);
    };
    [*l0, *l1] = length.to_be_bytes();
    (*flags, *low) = (*flags & 0b1100_0000, 0);
    [*c0, *c1] = [0; 2];
    let sum = checksum(header);
    write(header, 10, sum)
}

/// Payload length; in the fragment header, which ends where the data begins, neither offset nor more fragments (RFC 8200
/// sections 3 and 4.5).
fn correct_ipv6(packet: &mut [u8], header_bytes: usize) -> Result<(), DropReason> {
    let length = packet.len().checked_sub(IPV6_BYTES).ok_or(DropReason::Internal)?;
    let length = u16::try_from(length).map_err(|_| DropReason::FragmentInvalid)?;
    write(packet, 4, length.to_be_bytes())?;
    let offset_at = header_bytes.checked_sub(6).ok_or(DropReason::Internal)?;
    write(packet, offset_at, [0; 2])
}

fn write(packet: &mut [u8], at: usize, value: [u8; 2]) -> Result<(), DropReason> {
    let place = packet.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    *place.ok_or(DropReason::Internal)? = value;
    Ok(())
}

/// RFC 1071, of a header whose own checksum is 0.
fn checksum(header: &[u8]) -> [u8; 2] {
    let (words, _) = header.as_chunks::<2>();
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let [_, _, high, low] = (!folded).to_be_bytes();
    [high, low]
}
