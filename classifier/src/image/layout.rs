//! The layout of a policy image: a header, a table of sections, the sections. Little-endian, every section 8-aligned.
//!
//! ```text
//! 0   magic "RAVELIN\n"          8  version u32   12  byte order mark u32
//! 16  total length u64          24  generation u64
//! 32  flags u32                 36  match sets u32
//! 40  CRC-32 of all bytes with this field zero u32        44  zero u32
//! 48  for each section of `Section::ALL`: offset u64, length u64 (bytes)
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ImageBytes, ImageError};

/// Version of the layout and of the meaning of every table. Any change to either raises it.
pub const FORMAT_VERSION: u32 = 3;
pub(crate) const MAGIC: [u8; 8] = *b"RAVELIN\n";
/// How a patch begins.
const PATCH_MAGIC: [u8; 8] = *b"RAVELIN+";
const BYTE_ORDER_MARK: u32 = 0x0102_0304;

const VERSION_AT: usize = 8;
const ORDER_AT: usize = 12;
const TOTAL_AT: usize = 16;
pub(crate) const GENERATION_AT: usize = 24;
const FLAGS_AT: usize = 32;
const SETS_AT: usize = 36;
pub(crate) const CHECKSUM_AT: usize = 40;
const SECTIONS_AT: usize = 48;
const HEADER_BYTES: usize = SECTIONS_AT + Section::ALL.len() * 16;

/// Header flag: packets of objects that no policy selects are allowed.
pub(crate) const FLAG_ALLOW_UNSELECTED: u32 = 1;
/// Header flag: packets of addresses that no object covers are allowed.
pub(crate) const FLAG_ALLOW_UNCOVERED: u32 = 2;
/// Header flag: some policy is staged, so the pending evaluation may differ.
pub(crate) const FLAG_STAGED: u32 = 4;

/// Words of a row of `Section::Classes`.
pub(crate) const CLASS_WORDS: usize = 6;
/// Words of a row of `Section::Interfaces`.
pub(crate) const INTERFACE_WORDS: usize = 17;
/// Interface flag: an endpoint governs the port.
pub(crate) const INTERFACE_GOVERNED: u32 = 1;

/// The tables of an image. "Str" is a position in `StringEnds`; ranges are half open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Section {
    /// u32: first address of each IPv4 piece, ascending, the first is 0.
    V4Starts,
    /// u32 for each IPv4 piece: its class.
    V4Classes,
    /// u32 for each IPv4 piece: the object that names it, or `NONE`.
    V4Names,
    /// u64 pairs (high, low): first address of each IPv6 piece, ascending, the first is 0.
    V6Starts,
    /// As `V4Classes`.
    V6Classes,
    /// As `V4Names`.
    V6Names,
    /// `CLASS_WORDS` u32 for each class: covered (0 or 1), ingress program, egress program, the two programs of the
    /// pending evaluation, position in `SetLists`.
    Classes,
    /// Five u32: range in `ListedSets`, a list before it that it contains (or `NONE`), and a bit for the number modulo 64
    /// of each set in both (low, high).
    SetLists,
    /// u32: numbers of match sets, ascending in each range.
    ListedSets,
    /// u32 pairs for each program: range in `Segments`. Program 0 is empty.
    Programs,
    /// u32 quadruples, one for each tier of a program: tier, range in `Steps`, 1 when its end denies.
    Segments,
    /// u32: positions in `Blocks`.
    Steps,
    /// u32 quadruples, one for each policy and direction: policy, direction, range in `Rules`.
    Blocks,
    /// `RULE_WORDS` u32 for each row of a rule; see `rule.rs`.
    Rules,
    /// u32 for each row of a rule: Str text.
    RuleTexts,
    /// u32 quadruples: match sets that rows ask for beyond their own fields; see `rule.rs`.
    Extras,
    /// u32: first port in the high half, last in the low.
    PortRanges,
    /// u32 in the order of `PolicySet::tier_names`, and for the profiles behind them: Str name.
    Tiers,
    /// Six u32 in the order of `PolicySet::policies`, then of its profiles: Str name, tier, ingress block, egress block
    /// (or `NONE`), Str kind, Str namespace (or `NONE`).
    Policies,
    /// `INTERFACE_WORDS` u32 for each port of `PolicySet::ports` and one row for all other ports: Str interface, Str
    /// endpoint (or `NONE`), flags, then programs: ingress untracked, preDNAT, forward and normal, egress untracked,
    /// forward and normal; the same seven for the pending evaluation.
    Interfaces,
    /// Five u32: kind, Str name, range in `Labels`, Str namespace (or `NONE`).
    Objects,
    /// u32 pairs: Str name, Str value.
    Labels,
    /// u32 for each string: where it ends in `Text`.
    StringEnds,
    /// UTF-8.
    Text,
    /// In a patch, u32 for each row of `Blocks`: the number of the block that it takes the place of, ascending.
    BlockNumbers,
    /// In a patch: the identity of the image that it belongs to.
    PatchOf,
}

impl Section {
    pub(crate) const ALL: [Self; 26] = [
        Self::V4Starts,
        Self::V4Classes,
        Self::V4Names,
        Self::V6Starts,
        Self::V6Classes,
        Self::V6Names,
        Self::Classes,
        Self::SetLists,
        Self::ListedSets,
        Self::Programs,
        Self::Segments,
        Self::Steps,
        Self::Blocks,
        Self::Rules,
        Self::RuleTexts,
        Self::Extras,
        Self::PortRanges,
        Self::Tiers,
        Self::Policies,
        Self::Interfaces,
        Self::Objects,
        Self::Labels,
        Self::StringEnds,
        Self::Text,
        Self::BlockNumbers,
        Self::PatchOf,
    ];
}

/// "No such thing" in a table of positions.
pub(crate) const NONE: u32 = u32::MAX;

/// What the header says besides where the sections are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) generation: u64,
    pub(crate) flags: u32,
    pub(crate) match_sets: u32,
}

/// Tables under construction, in the order of `Section::ALL`.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) parts: [Vec<u8>; Section::ALL.len()],
}

impl Tables {
    pub(crate) fn set<T: IntoBytes + Immutable>(&mut self, section: Section, values: &[T]) {
        if let Some(part) = self.parts.get_mut(section as usize) {
            *part = values.as_bytes().to_vec();
        }
    }

    /// Puts further values behind those of a section.
    pub(crate) fn add<T: IntoBytes + Immutable>(&mut self, section: Section, values: &[T]) {
        if let Some(part) = self.parts.get_mut(section as usize) {
            part.extend(values.as_bytes());
        }
    }

    /// Lays the tables out as one image.
    pub(crate) fn assemble(self, head: Head) -> ImageBytes {
        self.assemble_as(MAGIC, head)
    }

    /// Lays the tables out as a patch.
    pub(crate) fn assemble_patch(self, head: Head) -> ImageBytes {
        self.assemble_as(PATCH_MAGIC, head)
    }

    /// Each table is freed as soon as it is laid out.
    fn assemble_as(self, magic: [u8; 8], head: Head) -> ImageBytes {
        let total: usize = HEADER_BYTES
            + self.parts.iter().map(|part| part.len().next_multiple_of(8)).sum::<usize>();
        let mut image = ImageBytes::zeroed(total);
        let bytes = image.as_mut_bytes();
        write(bytes, 0, &magic);
        write(bytes, VERSION_AT, &FORMAT_VERSION.to_le_bytes());
        write(bytes, ORDER_AT, &BYTE_ORDER_MARK.to_ne_bytes());
        write(bytes, TOTAL_AT, &(total as u64).to_le_bytes());
        write(bytes, GENERATION_AT, &head.generation.to_le_bytes());
        write(bytes, FLAGS_AT, &head.flags.to_le_bytes());
        write(bytes, SETS_AT, &head.match_sets.to_le_bytes());
        let mut offset = HEADER_BYTES;
        for (index, part) in self.parts.into_iter().enumerate() {
            write(bytes, SECTIONS_AT + index * 16, &(offset as u64).to_le_bytes());
            write(bytes, SECTIONS_AT + index * 16 + 8, &(part.len() as u64).to_le_bytes());
            write(bytes, offset, &part);
            offset += part.len().next_multiple_of(8);
        }
        let checksum = checksum(bytes);
        write(bytes, CHECKSUM_AT, &checksum.to_le_bytes());
        image
    }
}

/// Where the sections of an image lie; only `read` makes one, from a header that adds up.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) head: Head,
    checksum: u32,
    ranges: [(usize, usize); Section::ALL.len()],
}

impl Layout {
    /// Reads and checks the header: magic, version, length, checksum, and that the sections follow one another without
    /// gap or overlap up to the end.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        Self::read_as(MAGIC, bytes)
    }

    /// The same for a patch.
    pub(crate) fn read_patch(bytes: &[u8]) -> Result<Self, ImageError> {
        Self::read_as(PATCH_MAGIC, bytes)
    }

    fn read_as(magic: [u8; 8], bytes: &[u8]) -> Result<Self, ImageError> {
        let length = bytes.len();
        if bytes.get(..8) != Some(&magic) {
            return Err(ImageError::NotAnImage { length });
        }
        let version = u32_at(bytes, VERSION_AT)
            .ok_or(ImageError::Truncated { length, expected: HEADER_BYTES as u64 })?;
        if version != FORMAT_VERSION {
            return Err(ImageError::Version { found: version });
        }
        let total = u64_at(bytes, TOTAL_AT)
            .ok_or(ImageError::Truncated { length, expected: HEADER_BYTES as u64 })?;
        if total != length as u64 || length < HEADER_BYTES {
            return Err(ImageError::Truncated { length, expected: total });
        }
        let checksum = checksum(bytes);
        if u32_at(bytes, CHECKSUM_AT) != Some(checksum) {
            return Err(ImageError::Checksum);
        }
        if bytes.get(ORDER_AT..ORDER_AT + 4) != Some(&BYTE_ORDER_MARK.to_ne_bytes()) {
            return Err(ImageError::ByteOrder);
        }
        let head = Head {
            generation: u64_at(bytes, GENERATION_AT).unwrap_or_default(),
            flags: u32_at(bytes, FLAGS_AT).unwrap_or_default(),
            match_sets: u32_at(bytes, SETS_AT).unwrap_or_default(),
        };
        Ok(Self { head, checksum, ranges: section_ranges(bytes)? })
    }

    /// What tells this image from every other: its generation (low, high) and its checksum.
    pub(crate) fn identity(&self) -> [u32; 3] {
        let half = |part: u64| (part & 0xffff_ffff) as u32;
        [half(self.head.generation), half(self.head.generation >> 32), self.checksum]
    }

    /// The values of a section. Empty when the bytes do not divide into values, which `validate` refuses.
    pub(crate) fn table<'a, T: FromBytes + Immutable + KnownLayout>(
        &self,
        bytes: &'a [u8],
        section: Section,
    ) -> &'a [T] {
        let part = self.part(bytes, section);
        <[T]>::ref_from_bytes(part).unwrap_or_default()
    }

    /// The raw bytes of a section.
    pub(crate) fn part<'a>(&self, bytes: &'a [u8], section: Section) -> &'a [u8] {
        let (start, end) = self.ranges.get(section as usize).copied().unwrap_or_default();
        bytes.get(start..end).unwrap_or_default()
    }
}

fn section_ranges(bytes: &[u8]) -> Result<[(usize, usize); Section::ALL.len()], ImageError> {
    let mut ranges = [(0, 0); Section::ALL.len()];
    let mut expected = HEADER_BYTES;
    for (range, section) in ranges.iter_mut().zip(Section::ALL) {
        let at = SECTIONS_AT + section as usize * 16;
        let field = |at| u64_at(bytes, at).and_then(|value| usize::try_from(value).ok());
        let wrong = ImageError::Table {
            table: format!("{section:?}"),
            why: "does not lie where it should",
        };
        let (Some(offset), Some(length)) = (field(at), field(at + 8)) else { return Err(wrong) };
        let Some(end) = offset.checked_add(length) else { return Err(wrong) };
        if offset != expected || end > bytes.len() {
            return Err(wrong);
        }
        *range = (offset, end);
        expected = end.next_multiple_of(8);
    }
    if expected == bytes.len() {
        Ok(ranges)
    } else {
        Err(ImageError::Table { table: "PatchOf".to_owned(), why: "is not the end of the image" })
    }
}

/// CRC-32 of the image with the checksum field taken as zero.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..CHECKSUM_AT).unwrap_or_default());
    hasher.update(&[0; 4]);
    hasher.update(bytes.get(CHECKSUM_AT + 4..).unwrap_or_default());
    hasher.finalize()
}

/// The parts of an image that say what it decides: everything but generation and checksum.
pub(crate) fn content(bytes: &[u8]) -> [&[u8]; 3] {
    let part = |from: usize, to: usize| bytes.get(from..to.min(bytes.len())).unwrap_or_default();
    [part(0, GENERATION_AT), part(FLAGS_AT, CHECKSUM_AT), part(CHECKSUM_AT + 4, bytes.len())]
}

/// A table position. Tables are bounded by the compiler's limits, far below four billion rows.
pub(crate) fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

fn write(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(room) = bytes.get_mut(at..at + part.len()) {
        room.copy_from_slice(part);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
