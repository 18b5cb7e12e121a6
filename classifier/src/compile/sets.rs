//! Match sets: every distinct thing that rules ask of an address.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::position;
use crate::image::layout::NONE;
use crate::resource::{NamedPort, Object, Peer, PolicySet, Service, ServiceName};
use crate::selector::Selector;

/// The match sets of a policy set, numbered in the order in which rules mention them first.
#[derive(Debug)]
pub(super) struct MatchSets<'a> {
    selectors: HashMap<Filter<'a>, u32>,
    named_ports: HashMap<(Filter<'a>, &'a [String], u8, u16), u32>,
    nets: HashMap<Vec<IpNet>, u32>,
    /// The ports that objects give a name, for each protocol.
    ports: BTreeMap<(&'a str, u8), BTreeSet<u16>>,
    services: HashMap<&'a ServiceName, &'a Service>,
    /// For each set its definition.
    pub(super) definitions: Vec<Definition<'a>>,
}

/// An object is in when the first selector, if any, matches it and the second, if any, does not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Filter<'a> {
    pub(super) positive: Option<&'a Selector>,
    pub(super) negative: Option<&'a Selector>,
}

/// Which addresses belong to a match set.
#[derive(Debug)]
pub(super) enum Definition<'a> {
    /// Those covered by an object that the filter lets in.
    Objects(Filter<'a>),
    /// Those covered by an object that the filter lets in and that gives this port one of these names.
    NamedPort { filter: Filter<'a>, names: &'a [String], protocol: u8, port: u16 },
    /// Those in one of these nets.
    Nets(Cow<'a, [IpNet]>),
}

impl<'a> Filter<'a> {
    /// What an object must and must not match to be in the peer's set. `notSelector` alone asks for addresses *outside*
    /// the set of what it matches, so there the set itself is positive.
    fn of_peer(peer: &'a Peer) -> Self {
        match (&peer.selector, &peer.not_selector) {
            (Some(positive), negative) => {
                Self { positive: Some(positive), negative: negative.as_ref() }
            }
            (None, negative) => Self { positive: negative.as_ref(), negative: None },
        }
    }

    /// Which objects' named ports count: `notSelector` alone leaves none out.
    fn of_named_ports(peer: &'a Peer) -> Self {
        let positive = peer.selector.as_ref();
        let negative = positive.and(peer.not_selector.as_ref());
        Self { positive, negative }
    }

    pub(super) fn lets_in(&self, object: &Object) -> bool {
        self.positive.is_none_or(|selector| selector.matches(&object.labels))
            && !self.negative.is_some_and(|selector| selector.matches(&object.labels))
    }
}

/// The sets that a peer's fields about addresses name, and whether the first is negated.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressSets {
    pub(super) selector: u32,
    pub(super) selector_negated: bool,
    pub(super) nets: u32,
    pub(super) not_nets: u32,
}

impl<'a> MatchSets<'a> {
    pub(super) fn new(set: &'a PolicySet) -> Self {
        let mut ports: BTreeMap<(&str, u8), BTreeSet<u16>> = BTreeMap::new();
        for NamedPort { name, protocol, port } in set.objects.iter().flat_map(|o| &o.ports) {
            ports.entry((name, *protocol)).or_default().insert(*port);
        }
        Self {
            selectors: HashMap::new(),
            named_ports: HashMap::new(),
            nets: HashMap::new(),
            ports,
            services: set.services.iter().map(|service| (&service.name, service)).collect(),
            definitions: Vec::new(),
        }
    }

    /// The sets of a peer's selectors and nets.
    pub(super) fn addresses(&mut self, peer: &'a Peer) -> AddressSets {
        AddressSets {
            selector: self.selector(Filter::of_peer(peer)),
            selector_negated: peer.selector.is_none() && peer.not_selector.is_some(),
            nets: self.nets(Cow::Borrowed(&peer.nets)),
            not_nets: self.nets(Cow::Borrowed(&peer.not_nets)),
        }
    }

    fn selector(&mut self, filter: Filter<'a>) -> u32 {
        if filter.positive.is_none() {
            return NONE;
        }
        let next = position(self.definitions.len());
        let number = *self.selectors.entry(filter).or_insert(next);
        if number == next {
            self.definitions.push(Definition::Objects(filter));
        }
        number
    }

    /// The set of addresses in one of the nets; `NONE` for no nets.
    pub(super) fn nets(&mut self, nets: Cow<'a, [IpNet]>) -> u32 {
        if nets.is_empty() {
            return NONE;
        }
        let next = position(self.definitions.len());
        let number = *self.nets.entry(sorted(&nets)).or_insert(next);
        if number == next {
            self.definitions.push(Definition::Nets(nets));
        }
        number
    }

    /// For each port that one of the names stands for: the addresses it stands for it at.
    pub(super) fn named_ports(
        &mut self,
        peer: &'a Peer,
        names: &'a [String],
        protocol: u8,
    ) -> Vec<(u16, u32)> {
        let mut ports = BTreeSet::new();
        for name in names {
            ports.extend(self.ports.get(&(name.as_str(), protocol)).into_iter().flatten());
        }
        let filter = Filter::of_named_ports(peer);
        let mut set_of = |port| {
            let next = position(self.definitions.len());
            let key = (filter, names, protocol, port);
            let number = *self.named_ports.entry(key).or_insert(next);
            if number == next {
                self.definitions.push(Definition::NamedPort { filter, names, protocol, port });
            }
            (port, number)
        };
        ports.into_iter().map(&mut set_of).collect()
    }

    /// All addresses of a service; `NONE` when it has none.
    pub(super) fn service(&mut self, name: &ServiceName) -> u32 {
        let Some(service) = self.services.get(name).copied() else { return NONE };
        let addresses = service.endpoints.iter().map(|endpoint| IpNet::from(endpoint.address));
        self.nets(Cow::Owned(addresses.collect()))
    }

    /// For each protocol and port of a service: the addresses that serve it.
    pub(super) fn service_ports(&mut self, name: &ServiceName) -> Vec<(u8, u16, u32)> {
        let Some(service) = self.services.get(name).copied() else { return Vec::new() };
        let mut groups: BTreeMap<(u8, u16), Vec<IpNet>> = BTreeMap::new();
        for endpoint in &service.endpoints {
            for port in &endpoint.ports {
                groups.entry(*port).or_default().push(IpNet::from(endpoint.address));
            }
        }
        let groups = groups.into_iter();
        groups
            .map(|((protocol, port), nets)| (protocol, port, self.nets(Cow::Owned(nets))))
            .collect()
    }
}

fn sorted(nets: &[IpNet]) -> Vec<IpNet> {
    let mut nets = nets.to_vec();
    nets.sort_unstable();
    nets.dedup();
    nets
}
