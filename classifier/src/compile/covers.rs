//! Covers: every prefix with what it contributes to the addresses in it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::classes::Classes;
use super::content::Content;
use super::position;
use super::sets::Definition;
use crate::image::layout::NONE;
use crate::packet::IpVersion;
use crate::resource::{Object, PolicySet};

/// One prefix. Sorted, an outer one comes before those within it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Cover {
    /// Its first address.
    pub(super) first: u128,
    /// Its length in bits.
    pub(super) length: u8,
    /// What it contributes, as `Classes` counts contents.
    pub(super) content: u32,
    /// The object it belongs to, or `NONE`.
    pub(super) name: u32,
}

/// A family's address space.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Family(pub(super) IpVersion);

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self(IpVersion::V4), Self(IpVersion::V6)];

    pub(super) fn of(net: &IpNet) -> Self {
        Self(IpVersion::of(net.addr()))
    }

    /// Bits of an address.
    pub(super) fn bits(self) -> u8 {
        match self.0 {
            IpVersion::V4 => 32,
            IpVersion::V6 => 128,
        }
    }

    /// The last address of the prefix of `length` bits that begins at `first`.
    pub(super) fn last(self, first: u128, length: u8) -> u128 {
        first | self.host_mask(length)
    }

    /// The first address of the prefix of `length` bits that holds the address.
    pub(super) fn first(self, address: u128, length: u8) -> u128 {
        address & !self.host_mask(length)
    }

    fn host_mask(self, length: u8) -> u128 {
        let host_bits = self.bits().saturating_sub(length);
        u128::MAX.checked_shr(128 - u32::from(host_bits)).unwrap_or(0)
    }
}

/// The first address of a net, as a number.
pub(super) fn first_of(net: &IpNet) -> u128 {
    match net.network() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

pub(super) fn cover(net: &IpNet, content: u32, name: u32) -> Cover {
    Cover { first: first_of(net), length: net.prefix_len(), content, name }
}

/// All covers of both families, sorted.
pub(super) fn of_set(
    set: &PolicySet,
    definitions: &[Definition],
    objects: &[Content],
    classes: &mut Classes,
) -> [Vec<Cover>; 2] {
    let mut covers = [Vec::new(), Vec::new()];
    let mut put = |net: &IpNet, content, name| {
        let [v4, v6] = &mut covers;
        let family = if matches!(net, IpNet::V4(_)) { v4 } else { v6 };
        family.push(cover(net, content, name));
    };
    for ((at, object), content) in (0..).zip(&set.objects).zip(objects) {
        let content = classes.content(content);
        for net in &object.nets {
            put(net, content, at);
        }
    }
    for (at, definition) in definitions.iter().enumerate() {
        if let Definition::Nets(nets) = definition {
            let content = classes.content(&Content::of_set(position(at)));
            for net in nets {
                put(net, content, NONE);
            }
        }
    }
    for covers in &mut covers {
        covers.sort_unstable();
    }
    covers
}

/// What decides which of several objects with the same prefix names its addresses: the first by kind, then by name.
pub(super) type NameKey<'a> = (crate::resource::ObjectKind, Option<&'a str>, &'a str);

pub(super) fn name_key(object: &Object) -> NameKey<'_> {
    (object.kind, object.namespace.as_deref(), object.name.as_str())
}
