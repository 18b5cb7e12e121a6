//! Capture files, read block by block through a buffer of bounded size.

use std::fmt;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{
    Block, EnhancedPacketBlock, IDB_MAGIC, InterfaceDescriptionBlock, LegacyPcapBlock,
    PcapBlockOwned, PcapError, PcapHeader, SimplePacketBlock, create_reader,
};

use super::Link;

/// The buffer, bytes. Larger than any record of a pcap file can be.
const BUFFER: usize = 1 << 20;
/// Most bytes of one block of a pcapng file; there are blocks that hold no packet and more than a packet.
const BLOCK_MAX: usize = 16 << 20;
/// Most bytes of a recorded packet: `MAXIMUM_SNAPLEN` of libpcap. Beyond, the length is not a length.
const PACKET_MAX: usize = 262_144;
/// The packet block that pcapng had before there were enhanced ones.
const OBSOLETE_PACKET_BLOCK: u32 = 2;
/// Most interfaces of one section of a pcapng file.
const INTERFACES_MAX: usize = 4096;

/// The two formats of capture files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// libpcap's own, of either byte order, in micro- or nanoseconds.
    Pcap,
    /// pcapng.
    Pcapng,
}

impl Format {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcap => "pcap",
            Self::Pcapng => "pcapng",
        }
    }
}

/// One packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// Its position, from 1, as other tools count.
    pub number: u64,
    /// When, in nanoseconds since 1970; a simple packet block of pcapng says nothing of it.
    pub time_ns: Option<u64>,
    /// What it was recorded on.
    pub link: Link,
    /// As much of it as was recorded.
    pub bytes: &'a [u8],
    /// How long it was.
    pub length: usize,
}

/// Why a capture, or the rest of it, cannot be read.
#[derive(Debug)]
pub enum CaptureError {
    /// It does not begin as one of the formats does.
    NotACapture,
    /// It ends within a record.
    CutOff {
        /// Where the record begins, in bytes from the start.
        offset: u64,
    },
    /// A record does not add up.
    Damaged {
        /// Where the record begins, in bytes from the start.
        offset: u64,
    },
    /// A packet in a form that nothing has written for long.
    Obsolete {
        /// Where it begins, in bytes from the start.
        offset: u64,
    },
    /// The file does not give its bytes.
    Io {
        /// How far it was read.
        offset: u64,
        /// Why.
        why: String,
    },
}

impl CaptureError {
    /// Where in the file, in bytes from its start.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match self {
            Self::NotACapture => 0,
            Self::CutOff { offset }
            | Self::Damaged { offset }
            | Self::Obsolete { offset }
            | Self::Io { offset, .. } => *offset,
        }
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotACapture => f.write_str(
                "it is no capture: expected pcap or pcapng, as `tcpdump -w` writes them, not compressed",
            ),
            Self::CutOff { offset } => write!(
                f,
                "it is cut off: the record that begins at byte {offset} is not whole"
            ),
            Self::Damaged { offset } => {
                write!(f, "it is damaged: what begins at byte {offset} is no record")
            }
            Self::Obsolete { offset } => write!(
                f,
                "byte {offset} begins a packet in an obsolete form: rewrite the file with `editcap -F pcap`"
            ),
            Self::Io { offset, why } => write!(f, "it cannot be read behind byte {offset}: {why}"),
        }
    }
}

impl std::error::Error for CaptureError {}

/// Reads a capture and shows each packet to `visit`, until it breaks off. `begun` hears of the format first.
///
/// # Errors
/// When the capture, or what is left of it, cannot be read; everything before was shown.
pub fn read(
    source: impl Read + Send,
    begun: &mut dyn FnMut(Format),
    visit: &mut dyn FnMut(&Recorded<'_>) -> ControlFlow<()>,
) -> Result<(), CaptureError> {
    let failure = Arc::new(OnceLock::new());
    let source = Whole { source, failure: Arc::clone(&failure) };
    let mut blocks =
        create_reader(BUFFER, source).map_err(|error| begin_error(&error, &failure))?;
    let mut clocks = Clocks::default();
    let mut number = 0;
    // No record of a pcap file is larger than the buffer; a block of a pcapng file may be.
    let (mut capacity, mut capacity_max) = (BUFFER, BUFFER);
    loop {
        let offset = blocks.consumed() as u64;
        let stop = match blocks.next() {
            Ok((length, block)) => {
                match of_block(&block, &mut clocks, offset)? {
                    Found::Begin(format) => {
                        if format == Format::Pcapng {
                            capacity_max = BLOCK_MAX;
                        }
                        begun(format);
                    }
                    Found::Nothing => {}
                    Found::Packet(mut recorded) => {
                        number += 1;
                        recorded.number = number;
                        if visit(&recorded).is_break() {
                            return Ok(());
                        }
                    }
                }
                drop(block);
                blocks.consume(length);
                continue;
            }
            Err(error) => of_error(&error),
        };
        match stop {
            Stop::End => return Ok(()),
            Stop::CutOff if blocks.data().is_empty() => return Ok(()),
            Stop::CutOff => return Err(CaptureError::CutOff { offset }),
            Stop::Grow if capacity < capacity_max => {
                capacity *= 2;
                blocks.grow(capacity);
            }
            Stop::Damaged | Stop::Grow => return Err(CaptureError::Damaged { offset }),
            Stop::More => {}
            Stop::Io => return Err(io_error(&failure, offset)),
        }
        if blocks.refill().is_err() {
            return Err(io_error(&failure, offset));
        }
    }
}

fn io_error(failure: &OnceLock<io::Error>, offset: u64) -> CaptureError {
    let why = failure.get().map_or_else(|| "reading failed".to_owned(), ToString::to_string);
    CaptureError::Io { offset, why }
}

/// Fills a buffer as far as it goes: a pipe gives little at a time, and a header must come in one piece.
struct Whole<R> {
    source: R,
    failure: Arc<OnceLock<io::Error>>,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.source.read(space) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    // The parser keeps no cause.
                    let _ = self.failure.set(error);
                    return Err(kind.into());
                }
            }
        }
        Ok(filled)
    }
}

fn begin_error(error: &PcapError<&[u8]>, failure: &OnceLock<io::Error>) -> CaptureError {
    match (error, failure.get()) {
        (PcapError::ReadError, Some(_)) => io_error(failure, 0),
        _ => CaptureError::NotACapture,
    }
}

/// What the parser's errors mean here.
#[derive(Clone, Copy)]
enum Stop {
    End,
    More,
    Grow,
    CutOff,
    Damaged,
    Io,
}

fn of_error(error: &PcapError<&[u8]>) -> Stop {
    match error {
        PcapError::Eof => Stop::End,
        PcapError::Incomplete(_) => Stop::More,
        PcapError::BufferTooSmall => Stop::Grow,
        PcapError::UnexpectedEof => Stop::CutOff,
        PcapError::ReadError => Stop::Io,
        PcapError::HeaderNotRecognized | PcapError::NomError(..) | PcapError::OwnedNomError(..) => {
            Stop::Damaged
        }
    }
}

enum Found<'a> {
    Begin(Format),
    Nothing,
    Packet(Recorded<'a>),
}

/// What is known of the interfaces of a pcapng section, or of the one of a pcap file.
#[derive(Default)]
struct Clocks {
    interfaces: Vec<Interface>,
    sections: u64,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Link,
    /// Units of a second.
    units: u64,
    /// Added to the seconds of every time.
    offset_s: i64,
    /// Most bytes recorded of a packet; 0 for no limit.
    snaplen: u32,
}

fn of_block<'a>(
    block: &'a PcapBlockOwned<'a>,
    clocks: &mut Clocks,
    offset: u64,
) -> Result<Found<'a>, CaptureError> {
    let found = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            clocks.interfaces = vec![Interface::of_header(header)];
            Found::Begin(Format::Pcap)
        }
        PcapBlockOwned::Legacy(packet) => Found::Packet(clocks.legacy(packet, offset)?),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            clocks.interfaces.clear();
            clocks.sections += 1;
            if clocks.sections == 1 { Found::Begin(Format::Pcapng) } else { Found::Nothing }
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            if clocks.interfaces.len() == INTERFACES_MAX {
                return Err(CaptureError::Damaged { offset });
            }
            clocks.interfaces.push(Interface::of_description(description));
            Found::Nothing
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            Found::Packet(clocks.enhanced(packet, offset)?)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            Found::Packet(clocks.simple(packet, offset)?)
        }
        PcapBlockOwned::NG(Block::Unknown(unknown))
            if [unknown.block_type, unknown.block_type.swap_bytes()]
                .contains(&OBSOLETE_PACKET_BLOCK) =>
        {
            return Err(CaptureError::Obsolete { offset });
        }
        // Names, statistics, secrets and the like: nothing of a packet.
        PcapBlockOwned::NG(_) => Found::Nothing,
    };
    Ok(found)
}

impl Interface {
    fn of_header(header: &PcapHeader) -> Self {
        // The upper bits say how long a frame check sequence is, which nobody looks at.
        let link = header.network.0.cast_unsigned() & 0x0FFF_FFFF;
        let units = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
        Self { link: Link::of(link), units, offset_s: 0, snaplen: 0 }
    }

    fn of_description(description: &InterfaceDescriptionBlock<'_>) -> Self {
        let offset_s = description.if_tsoffset;
        Self {
            link: Link::of(description.linktype.0.cast_unsigned()),
            units: units(description.if_tsresol),
            // The parser reads it in one byte order only.
            offset_s: if description.block_type == IDB_MAGIC.swap_bytes() {
                offset_s.swap_bytes()
            } else {
                offset_s
            },
            snaplen: description.snaplen,
        }
    }
}

/// Units of a second: a power of ten, or of two with the highest bit set. What cannot be is taken for the default.
fn units(resolution: u8) -> u64 {
    let exponent = u32::from(resolution & 0x7F);
    let units = if resolution & 0x80 == 0 {
        10_u64.checked_pow(exponent)
    } else {
        1_u64.checked_shl(exponent)
    };
    units.filter(|units| *units > 0).unwrap_or(1_000_000)
}

impl Clocks {
    fn legacy<'a>(
        &self,
        packet: &LegacyPcapBlock<'a>,
        offset: u64,
    ) -> Result<Recorded<'a>, CaptureError> {
        let interface = self.interfaces.first().ok_or(CaptureError::Damaged { offset })?;
        let seconds = u64::from(packet.ts_sec).saturating_mul(interface.units);
        let time = seconds.saturating_add(packet.ts_usec.into());
        recorded(*interface, Some(time), packet.data, packet.origlen, offset)
    }

    fn enhanced<'a>(
        &self,
        packet: &'a EnhancedPacketBlock<'a>,
        offset: u64,
    ) -> Result<Recorded<'a>, CaptureError> {
        let interface = self.interfaces.get(packet.if_id as usize);
        let interface = interface.ok_or(CaptureError::Damaged { offset })?;
        let time = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
        recorded(*interface, Some(time), packet.packet_data(), packet.origlen, offset)
    }

    fn simple<'a>(
        &self,
        packet: &'a SimplePacketBlock<'a>,
        offset: u64,
    ) -> Result<Recorded<'a>, CaptureError> {
        let interface = self.interfaces.first().ok_or(CaptureError::Damaged { offset })?;
        let bytes = packet.packet_data();
        let limit = if interface.snaplen == 0 { usize::MAX } else { interface.snaplen as usize };
        let bytes = bytes.get(..limit).unwrap_or(bytes);
        recorded(*interface, None, bytes, packet.origlen, offset)
    }
}

fn recorded(
    interface: Interface,
    time: Option<u64>,
    bytes: &[u8],
    length: u32,
    offset: u64,
) -> Result<Recorded<'_>, CaptureError> {
    if bytes.len() > PACKET_MAX {
        return Err(CaptureError::Damaged { offset });
    }
    let Interface { link, units, offset_s, .. } = interface;
    let time_ns = time.map(|time| {
        let (seconds, part) = (time / units, time % units);
        let part = u128::from(part) * 1_000_000_000 / u128::from(units);
        let seconds = seconds.saturating_add_signed(offset_s);
        seconds.saturating_mul(1_000_000_000).saturating_add(part.try_into().unwrap_or(0))
    });
    Ok(Recorded { number: 0, time_ns, link, bytes, length: length as usize })
}
