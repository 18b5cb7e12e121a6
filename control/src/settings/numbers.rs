//! Settings that are one number each, and that the data plane knows by names of its own.

use super::reader::{sub, thing};
use crate::document::{Fields, Reader, Thing};

/// A number of the data plane.
pub(super) struct Number {
    /// Its name in the settings.
    pub(super) field: &'static str,
    /// Its name in the data plane's flags.
    pub(super) flag: &'static str,
    pub(super) default: u32,
    pub(super) least: u32,
    pub(super) most: u32,
}

/// Numbers by the data plane's names for them.
pub type Numbers = Vec<(&'static str, u32)>;

/// The numbers of the section `name`, which may be missing as a whole.
pub(super) fn read<const N: usize>(
    fields: Option<&Fields<'_>>,
    name: &'static str,
    section: &'static Thing,
    numbers: &[Number; N],
    reader: &mut Reader,
) -> Numbers {
    let section = fields.and_then(|fields| sub(fields, name, section, reader));
    let mut value = |Number { field, least, most, .. }: &Number| {
        let entry = section.as_ref()?.entry(field)?;
        let range = i64::from(*least)..=i64::from(*most);
        u32::try_from(reader.integer(field, &entry.node, range)?).ok()
    };
    numbers.iter().map(|number| (number.flag, value(number).unwrap_or(number.default))).collect()
}

/// The names of the fields.
#[expect(clippy::indexing_slicing, reason = "done by the compiler, which would say so")]
pub(super) const fn fields_of<const N: usize>(numbers: &[Number; N]) -> [&'static str; N] {
    let mut fields = [""; N];
    let mut at = 0;
    while at < N {
        fields[at] = numbers[at].field;
        at += 1;
    }
    fields
}

/// Fragments that wait for the rest of their datagram, for each worker.
const FRAGMENTS: [Number; 5] = {
    const fn number(
        field: &'static str,
        flag: &'static str,
        default: u32,
        [least, most]: [u32; 2],
    ) -> Number {
        Number { field, flag, default, least, most }
    }
    [
        number("memoryMib", "memory-mib", 8, [1, 1024]),
        number("memoryPerSourceMib", "memory-per-source-mib", 1, [1, 1024]),
        number("datagrams", "datagrams", 16_384, [64, 1 << 20]),
        number("ipv4Seconds", "ipv4-seconds", 30, [2, 255]),
        number("ipv6Seconds", "ipv6-seconds", 60, [2, 255]),
    ]
};
static FRAGMENT_FIELDS: [&str; 5] = fields_of(&FRAGMENTS);
static FRAGMENTS_THING: Thing = thing("the fragment section", &FRAGMENT_FIELDS);

/// The numbers of `[fragments]`.
pub(super) fn fragments(fields: &Fields<'_>, reader: &mut Reader) -> Numbers {
    read(Some(fields), "fragments", &FRAGMENTS_THING, &FRAGMENTS, reader)
}
