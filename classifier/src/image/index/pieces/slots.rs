//! A trie of tables over keys of 32 bits that ends in short windows of keys.
//!
//! Every table cuts its part of the key space into slots of one size. A slot says which pieces an address in it can lie
//! in: one; a few, whose keys are then counted at once in a window of fixed length; or many, and then a table below it
//! cuts the slot finer. Where keys crowd there are small slots, elsewhere large ones, so that an address needs two or three
//! looks at memory, and a batch makes all of its first looks before any of its second ones: they do not wait for each other.

/// Highest bits of an entry. None of them set: the piece is the entry's number and as many more as keys of the window
/// behind it are at most the address's.
const FINAL: u32 = 0b01 << 30;
/// Shift (5 bits), width (4 bits) and place of a table below, in fours.
const LINK: u32 = 0b10 << 30;
/// The number of a range, to be searched in full.
const RANGE: u32 = 0b110 << 29;
/// Like a window, but a key does not tell all of an address: the piece found may begin behind it.
const CHECK: u32 = 0b111 << 29;
const NUMBER: u32 = (1 << 29) - 1;

/// Places of tables are counted in so many entries, and no table is smaller.
const UNIT: usize = 4;
const PLACES: usize = 1 << 21;

/// The tables, the first one with all that a caller finds by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots<const WINDOW: usize> {
    entries: Vec<u32>,
    /// First and last piece.
    ranges: Vec<[u32; 2]>,
    /// How many pieces lie in slots where keys alone do not tell them apart.
    ambiguous: usize,
}

/// What tables are made over.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'a> {
    /// For each piece the key it begins at.
    pub(super) keys: &'a [u32],
    /// The pieces before this one have ascending keys.
    pub(super) end: usize,
    /// Whether a piece begins at the first of the addresses that have its key.
    pub(super) exact: &'a dyn Fn(usize) -> bool,
}

impl<const WINDOW: usize> Slots<WINDOW> {
    /// With room for a first table.
    pub(super) fn new(roots: usize) -> Self {
        let entries = vec![FINAL; roots.next_multiple_of(UNIT)];
        Self { entries, ranges: Vec::new(), ambiguous: 0 }
    }

    pub(super) fn put_root(&mut self, slot: usize, entry: u32) {
        if let Some(root) = self.entries.get_mut(slot) {
            *root = entry;
        }
    }

    /// The entry for the slot that begins at `key` and is `2^bits` keys wide: `first` is the piece that its first address
    /// lies in, `last` the last one that begins in it.
    pub(super) fn entry(
        &mut self,
        pieces: Pieces<'_>,
        [first, last]: [usize; 2],
        key: u32,
        bits: u32,
    ) -> u32 {
        let count = last - first;
        if last > NUMBER as usize {
            return self.range(first, last);
        }
        if count == 0 {
            return FINAL | number(first);
        }
        if count <= WINDOW {
            let exact = || (first + 1..=last).all(pieces.exact);
            return match first + WINDOW < pieces.end {
                true if exact() => number(first),
                true => {
                    self.ambiguous += count + 1;
                    CHECK | number(first)
                }
                false => self.range(first, last),
            };
        }
        let place = self.entries.len() / UNIT;
        if bits < 2 || place >= PLACES {
            return self.range(first, last);
        }
        let width = width(pieces.keys.get(first + 1..=last).unwrap_or_default(), key, bits, WINDOW);
        self.table(pieces, [first, last], key, [bits - width, width]);
        LINK | (bits - width) << 25 | width << 21 | number(place)
    }

    fn table(
        &mut self,
        pieces: Pieces<'_>,
        [mut first, last]: [usize; 2],
        key: u32,
        [shift, width]: [u32; 2],
    ) {
        let begin = self.entries.len();
        self.entries.resize(begin + (1 << width), 0);
        for slot in 0..1_u32 << width {
            let start = key + (slot << shift);
            let end = start + low_bits(shift);
            let key_of = |piece: usize| pieces.keys.get(piece).copied().filter(|_| piece <= last);
            let covers = |piece: usize| {
                key_of(piece)
                    .is_some_and(|key| key < start || key == start && (pieces.exact)(piece))
            };
            while covers(first + 1) {
                first += 1;
            }
            let mut inside = first;
            while key_of(inside + 1).is_some_and(|key| key <= end) {
                inside += 1;
            }
            let entry = self.entry(pieces, [first, inside], start, shift);
            self.put_root(begin + slot as usize, entry);
            first = inside;
        }
    }

    fn range(&mut self, first: usize, last: usize) -> u32 {
        self.ambiguous += last - first + 1;
        self.ranges.push([first, last].map(number));
        RANGE | number(self.ranges.len() - 1)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + size_of_val(&*self.ranges)
    }

    pub(super) fn ambiguous(&self) -> usize {
        self.ambiguous
    }

    /// The entry of the first table.
    #[inline]
    pub(super) fn root(&self, slot: usize) -> u32 {
        self.entries.get(slot).copied().unwrap_or(FINAL)
    }

    /// The entry that a key comes to in the end.
    #[inline]
    pub(super) fn follow(&self, mut entry: u32, key: u32) -> u32 {
        while is_link(entry) {
            entry = self.below(entry, key);
        }
        entry
    }

    /// The same of a batch of at most 64. Returns which of them a window alone does not answer.
    #[inline]
    pub(super) fn follow_all(&self, entries: &mut [u32], keys: &[u32]) -> Bits {
        // Most go down one table and no further: one step of all, without asking which, costs less than to guess.
        let mut unfinished = 0;
        for (at, (entry, key)) in entries.iter_mut().zip(keys).enumerate() {
            let below = self.below(*entry, *key);
            *entry = if is_link(*entry) { below } else { *entry };
            unfinished |= u64::from(*entry >> 31) << at;
        }
        let mut odd = 0;
        for at in Bits(unfinished) {
            if let (Some(entry), Some(key)) = (entries.get_mut(at), keys.get(at)) {
                *entry = self.follow(*entry, *key);
                odd |= u64::from(*entry >> 31) << at;
            }
        }
        Bits(odd)
    }

    /// The entry one table further down; any entry at all where there is none.
    #[inline]
    fn below(&self, entry: u32, key: u32) -> u32 {
        let (shift, width) = (entry >> 25 & 31, entry >> 21 & 15);
        let place = (entry as usize & (PLACES - 1)) * UNIT;
        let slot = (key >> shift & ((1 << width) - 1)) as usize;
        let at = if is_link(entry) { place + slot } else { 0 };
        self.entries.get(at).copied().unwrap_or(FINAL)
    }

    /// The pieces that a range entry stands for, as what to search: the piece before the first start, and the starts.
    #[inline]
    pub(super) fn search<'a, T>(&self, entry: u32, starts: &'a [T]) -> Option<(u32, &'a [T])> {
        if entry & CHECK != RANGE {
            return None;
        }
        let [first, last] = *self.ranges.get((entry & NUMBER) as usize)?;
        Some((first, starts.get(first as usize + 1..=last as usize)?))
    }

    /// The piece that an entry without table or range leads to: of one address, where a jump that is guessed right costs
    /// less than a look at memory.
    #[inline]
    pub(super) fn single(entry: u32, keys: &[u32], key: u32) -> u32 {
        if is_settled(entry) { entry & NUMBER } else { Self::piece(entry, keys, key) }
    }

    /// The same without a jump.
    #[inline]
    pub(super) fn piece(entry: u32, keys: &[u32], key: u32) -> u32 {
        let first = entry & NUMBER;
        let settled = is_settled(entry);
        // Without a window of its own it looks at the first one, which is at hand, rather than at memory that is not.
        let behind = if settled { 0 } else { first as usize + 1 };
        let window = keys.get(behind..).and_then(<[u32]>::first_chunk::<WINDOW>);
        let count = window.map_or(0, |window| window.iter().map(|at| u32::from(*at <= key)).sum());
        first + if settled { 0 } else { count }
    }
}

/// Whether the piece found begins behind the address, perhaps.
#[inline]
pub(super) fn is_check(entry: u32) -> bool {
    entry >= CHECK
}

/// Whether the entry leads to one piece.
#[inline]
pub(super) fn is_settled(entry: u32) -> bool {
    entry >> 30 == FINAL >> 30
}

/// An entry that leads to this piece.
#[inline]
pub(super) fn settled(piece: u32) -> u32 {
    FINAL | piece
}

fn is_link(entry: u32) -> bool {
    entry >> 30 == LINK >> 30
}

/// The positions of the ones, ascending.
#[derive(Clone, Debug)]
pub(super) struct Bits(pub(super) u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let at = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (at < u64::BITS).then_some(at as usize)
    }
}

/// How many bits of the key the table over these keys shall tell apart: as few as leave at most half of the keys in slots
/// of more than a window, within what memory they are worth.
fn width(keys: &[u32], first_key: u32, bits: u32, window: usize) -> u32 {
    let size = keys.len().ilog2();
    let most = (size + 1).min(bits).min(15);
    let least = size.saturating_sub(2).clamp(2, most.max(2));
    let crowded = |width: u32| -> usize {
        let slots = keys.chunk_by(|one, next| {
            (one - first_key) >> (bits - width) == (next - first_key) >> (bits - width)
        });
        slots.map(<[u32]>::len).filter(|count| *count > window).sum()
    };
    (least..most).find(|width| crowded(*width) * 2 <= keys.len()).unwrap_or(most.max(2))
}

/// So many ones.
fn low_bits(count: u32) -> u32 {
    u32::MAX.checked_shr(u32::BITS - count).unwrap_or(0)
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
