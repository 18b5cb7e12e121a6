//! Addresses, cut into ranges over which everything of interest is the same, and grouped by it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use crate::packet::IpVersion;
use crate::resource::{Object, ObjectKind};

/// Both families, in the order in which answers name them.
pub(super) const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// Addresses of one family, `first..=last`, as numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct AddressRange {
    /// The family.
    pub version: IpVersion,
    /// The first address.
    pub first: u128,
    /// The last address.
    pub last: u128,
}

impl AddressRange {
    /// The fewest prefixes that make up the range.
    #[must_use]
    pub fn nets(&self) -> Vec<IpNet> {
        match (self.first_address(), self.last_address()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                IpSubnets::from(Ipv4Subnets::new(first, last, 0)).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                IpSubnets::from(Ipv6Subnets::new(first, last, 0)).collect()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
        }
    }

    /// The first address.
    #[must_use]
    pub fn first_address(&self) -> IpAddr {
        address(self.version, self.first)
    }

    /// The last address.
    #[must_use]
    pub fn last_address(&self) -> IpAddr {
        address(self.version, self.last)
    }
}

/// An object, as far as it has a name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectName {
    /// What kind of resource it came from.
    pub kind: ObjectKind,
    /// The namespace of a namespaced kind.
    pub namespace: Option<String>,
    /// Its name, unique within its kind and namespace.
    pub name: String,
}

/// Addresses that no policy tells apart.
#[derive(Clone, Debug)]
pub struct Place {
    /// Their classes in the images asked.
    pub(super) classes: [u32; 2],
    /// No object covers the addresses and no rule names them: the rest of the internet.
    pub is_nobody: bool,
    /// The addresses, by what covers them.
    pub members: Vec<Member>,
}

impl Place {
    pub(super) fn has(&self, version: IpVersion) -> bool {
        self.members.iter().flat_map(|member| &member.ranges).any(|range| range.version == version)
    }
}

/// Addresses that the same objects cover.
#[derive(Clone, Debug)]
pub struct Member {
    /// The objects; none when no object covers the addresses.
    pub objects: Vec<ObjectName>,
    /// Disjoint, ascending, IPv4 first.
    pub ranges: Vec<AddressRange>,
}

/// One quantity along the addresses of a family: where it changes, ascending from 0, and what it is from there.
pub(super) type Layer = Vec<(u128, u32)>;

/// The common refinement: ranges over which every layer stays the same.
pub(super) fn refined<const N: usize>(
    version: IpVersion,
    layers: &[Layer; N],
) -> Vec<(AddressRange, [u32; N])> {
    let mut starts: Vec<u128> =
        layers.iter().flatten().map(|(start, _)| *start).chain([0]).collect();
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([last_of(version)]);
    let mut cursors = [0; N];
    let mut ranges: Vec<(AddressRange, [u32; N])> = Vec::with_capacity(starts.len());
    for (first, last) in starts.iter().zip(ends) {
        let mut values = [0; N];
        for ((layer, cursor), value) in layers.iter().zip(&mut cursors).zip(&mut values) {
            while layer.get(*cursor + 1).is_some_and(|(start, _)| start <= first) {
                *cursor += 1;
            }
            *value = layer.get(*cursor).map_or(0, |(_, value)| *value);
        }
        match ranges.last_mut() {
            Some((range, before)) if *before == values => range.last = last,
            _ => ranges.push((AddressRange { version, first: *first, last }, values)),
        }
    }
    ranges
}

/// Which of some objects cover an address: numbers of sets of positions; set 0 is empty.
#[derive(Debug)]
pub(super) struct Covers {
    pub(super) v4: Layer,
    pub(super) v6: Layer,
    pub(super) sets: Vec<Vec<usize>>,
}

/// Sweeps over the nets of those objects that are `wanted`.
pub(super) fn covers(objects: &[Object], wanted: impl Fn(&Object) -> bool) -> Covers {
    let mut numbers = BTreeMap::from([(Vec::new(), 0)]);
    let mut sweep = |version| {
        let mut changes: Vec<(u128, usize, bool)> = Vec::new();
        for (at, object) in objects.iter().enumerate().filter(|(_, object)| wanted(object)) {
            let nets = object.nets.iter().filter(|net| IpVersion::of(net.addr()) == version);
            for net in nets {
                let last = number(net.broadcast());
                changes.push((number(net.network()), at, true));
                changes.extend((last != last_of(version)).then(|| (last + 1, at, false)));
            }
        }
        layer(changes, &mut numbers)
    };
    let (v4, v6) = (sweep(IpVersion::V4), sweep(IpVersion::V6));
    let mut sets: Vec<(u32, Vec<usize>)> = numbers.into_iter().map(|(set, n)| (n, set)).collect();
    sets.sort_unstable();
    Covers { v4, v6, sets: sets.into_iter().map(|(_, set)| set).collect() }
}

fn layer(mut changes: Vec<(u128, usize, bool)>, numbers: &mut BTreeMap<Vec<usize>, u32>) -> Layer {
    changes.sort_unstable();
    let mut open: BTreeMap<usize, usize> = BTreeMap::new();
    let mut layer = vec![(0, 0)];
    for (index, (start, at, begins)) in changes.iter().enumerate() {
        let count = open.entry(*at).or_default();
        // Of one place, ends come before beginnings: an object whose nets touch may be at 0 in between.
        *count = if *begins { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            open.remove(at);
        }
        if changes.get(index + 1).is_some_and(|(next, ..)| next == start) {
            continue;
        }
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let set: Vec<usize> = open.keys().copied().collect();
        layer.push((*start, *numbers.entry(set).or_insert(next)));
    }
    layer
}

/// A range of addresses with what is to be said of it.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) range: AddressRange,
    pub(super) classes: [u32; 2],
    pub(super) is_nobody: bool,
    pub(super) objects: Vec<ObjectName>,
}

/// Groups by class, and within a class by what covers.
pub(super) fn places(spots: impl Iterator<Item = Spot>) -> Vec<Place> {
    type Members = BTreeMap<Vec<ObjectName>, Vec<AddressRange>>;
    let mut groups: BTreeMap<[u32; 2], (bool, Members)> = BTreeMap::new();
    for Spot { range, classes, is_nobody, objects } in spots {
        let (_, members) = groups.entry(classes).or_insert((is_nobody, Members::new()));
        let ranges = members.entry(objects).or_default();
        match ranges.last_mut() {
            Some(before) if before.version == range.version && before.last + 1 == range.first => {
                before.last = range.last;
            }
            _ => ranges.push(range),
        }
    }
    let member = |(objects, ranges)| Member { objects, ranges };
    let place = |(classes, (is_nobody, members)): (_, (_, Members))| Place {
        classes,
        is_nobody,
        members: members.into_iter().map(member).collect(),
    };
    groups.into_iter().map(place).collect()
}

pub(super) fn last_of(version: IpVersion) -> u128 {
    match version {
        IpVersion::V4 => u32::MAX.into(),
        IpVersion::V6 => u128::MAX,
    }
}

pub(super) fn address(version: IpVersion, number: u128) -> IpAddr {
    match version {
        IpVersion::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpVersion::V6 => Ipv6Addr::from(number).into(),
    }
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
