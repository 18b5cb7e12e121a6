//! TCP segments (RFC 9293).

use classifier::packet::Transport;
use etherparse::TcpHeaderSlice;

use super::inspection::Inspection;
use super::transport::{self, Datagram, Read};
use super::{Segment, Signal, TcpFlags, behind};
use crate::disposition::DropReason;

/// Length of a header without options, and the positions in it of the data offset and of the checksum.
const HEADER_BYTES: usize = 20;
const DATA_OFFSET_AT: usize = 12;
const CHECKSUM_AT: usize = 16;
/// Options (RFC 9293 section 3.1, RFC 7323 section 2.2): one byte each, or with a length.
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const WINDOW_SCALE: u8 = 3;
/// The largest shift; what is above counts as this (RFC 7323 section 2.3).
const SCALE_MAX: u8 = 14;
/// The only options of nearly all segments behind the SYN, timestamps, as RFC 7323 appendix A lays them out.
const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];
const TIMESTAMPS_BYTES: usize = 12;

/// etherparse refuses a data offset below five words or beyond the segment.
pub(super) fn read(look: &mut Inspection<'_>, datagram: &Datagram<'_>) -> Result<Read, DropReason> {
    let payload = datagram.payload;
    let header = TcpHeaderSlice::from_slice(payload).map_err(|_| DropReason::Malformed)?;
    let bytes = header.slice();
    let scale = match behind(bytes, HEADER_BYTES) {
        [] => None,
        options @ [a, b, c, d, ..]
            if [*a, *b, *c, *d] == TIMESTAMPS && options.len() == TIMESTAMPS_BYTES =>
        {
            None
        }
        options => window_scale(options)?,
    };
    let completion = transport::verify(look, datagram, payload, CHECKSUM_AT)?;
    let flags = TcpFlags(bytes.get(13).copied().ok_or(DropReason::Malformed)?);
    let data_bytes = payload.len() - bytes.len();
    let segment = Segment {
        flags,
        seq: header.sequence_number(),
        ack: header.acknowledgment_number(),
        window: header.window_size(),
        data_bytes: u16::try_from(data_bytes).map_err(|_| DropReason::Malformed)?,
        scale: if flags.syn() { scale } else { None },
    };
    let transport = Transport::Ports { src: header.source_port(), dst: header.destination_port() };
    Ok(Read { transport, signal: Signal::Tcp(segment), completion })
}

/// Length of the header, options included, as far as the bytes tell.
pub(super) fn header_bytes(payload: &[u8]) -> usize {
    let words = payload.get(DATA_OFFSET_AT).map_or(0, |byte| byte >> 4);
    HEADER_BYTES.max(usize::from(words) * 4)
}

/// Walks the options; the window scale is all that matters here. Endpoints disagree about options that do not add up, and
/// about two of a kind: they are refused.
fn window_scale(options: &[u8]) -> Result<Option<u8>, DropReason> {
    let mut scale = None;
    let mut rest = options;
    loop {
        rest = match rest {
            [] | [END_OF_OPTIONS, ..] => return Ok(scale),
            [NO_OPERATION, following @ ..] => following,
            [WINDOW_SCALE, 3, shift, following @ ..] if scale.is_none() => {
                scale = Some(SCALE_MAX.min(*shift));
                following
            }
            [WINDOW_SCALE, ..] => return Err(DropReason::Malformed),
            [_, length @ 2..=u8::MAX, ..] => {
                rest.get(usize::from(*length)..).ok_or(DropReason::Malformed)?
            }
            _ => return Err(DropReason::Malformed),
        };
    }
}
