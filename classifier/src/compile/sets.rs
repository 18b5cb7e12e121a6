//! Match sets: every distinct thing that rules ask of an address.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use ipnet::IpNet;

use super::position;
use crate::image::layout::NONE;
use crate::label::Labels;
use crate::resource::{NamedPort, Peer, PolicySet, Service, ServiceName};
use crate::selector::Selector;

/// The match sets that rules name, numbered in the order in which they mention them first.
#[derive(Debug)]
pub(super) struct MatchSets<'a> {
    selectors: HashMap<Wanted<'a>, u32>,
    named_ports: HashMap<(Wanted<'a>, &'a [String], u8, u16), u32>,
    nets: HashMap<Vec<IpNet>, u32>,
    /// The ports that objects give a name, for each protocol.
    ports: BTreeMap<(&'a str, u8), BTreeSet<u16>>,
    services: HashMap<&'a ServiceName, &'a Service>,
    /// The sets that were there before.
    known: &'a KnownSets,
    /// For each set that was not: its definition.
    definitions: Vec<Definition>,
}

/// Match sets that have their numbers.
#[derive(Debug, Default)]
pub(super) struct KnownSets {
    selectors: HashMap<Filter, u32>,
    nets: HashMap<Vec<IpNet>, u32>,
    count: usize,
}

/// An object is in when the first selector, if any, matches it and the second, if any, does not.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Filter {
    pub(super) positive: Option<Arc<Selector>>,
    pub(super) negative: Option<Arc<Selector>>,
}

/// A filter, as a peer asks for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Wanted<'a> {
    positive: Option<&'a Selector>,
    negative: Option<&'a Selector>,
}

/// Which addresses belong to a match set.
#[derive(Clone, Debug)]
pub(super) enum Definition {
    /// Those covered by an object that the filter lets in.
    Objects(Filter),
    /// Those covered by an object that the filter lets in and that gives this port one of these names.
    NamedPort { filter: Filter, names: Vec<String>, protocol: u8, port: u16 },
    /// Those in one of these nets.
    Nets(Vec<IpNet>),
}

impl KnownSets {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Takes further sets in; they are numbered on. Sets of named ports are not found again.
    pub(super) fn add(&mut self, definitions: &[Definition]) {
        for definition in definitions {
            let number = position(self.count);
            match definition {
                Definition::Objects(filter) => drop(self.selectors.insert(filter.clone(), number)),
                Definition::Nets(nets) => drop(self.nets.insert(sorted(nets), number)),
                Definition::NamedPort { .. } => {}
            }
            self.count += 1;
        }
    }
}

impl Filter {
    pub(super) fn lets_in(&self, labels: &Labels) -> bool {
        self.positive.as_ref().is_none_or(|selector| selector.matches(labels))
            && !self.negative.as_ref().is_some_and(|selector| selector.matches(labels))
    }
}

impl<'a> Wanted<'a> {
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

    fn to_filter(self) -> Filter {
        let shared = |selector: Option<&Selector>| selector.cloned().map(Arc::new);
        Filter { positive: shared(self.positive), negative: shared(self.negative) }
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
    /// Sets of the rules of `set`, beside those that have a number already.
    pub(super) fn new(set: &'a PolicySet, known: &'a KnownSets) -> Self {
        let mut ports: BTreeMap<(&str, u8), BTreeSet<u16>> = BTreeMap::new();
        for NamedPort { name, protocol, port } in set.objects.iter().flat_map(|o| &o.ports) {
            ports.entry((name, *protocol)).or_default().insert(*port);
        }
        let services = set.services.iter().map(|service| (&service.name, service)).collect();
        Self { ports, services, ..Self::beside(known) }
    }

    /// Sets of rules that name no ports and no services, beside those that have a number already.
    pub(super) fn beside(known: &'a KnownSets) -> Self {
        Self {
            selectors: HashMap::new(),
            named_ports: HashMap::new(),
            nets: HashMap::new(),
            ports: BTreeMap::new(),
            services: HashMap::new(),
            known,
            definitions: Vec::new(),
        }
    }

    /// The sets of a peer's selectors and nets.
    pub(super) fn addresses(&mut self, peer: &'a Peer) -> AddressSets {
        AddressSets {
            selector: self.selector(Wanted::of_peer(peer)),
            selector_negated: peer.selector.is_none() && peer.not_selector.is_some(),
            nets: self.nets(&peer.nets),
            not_nets: self.nets(&peer.not_nets),
        }
    }

    fn selector(&mut self, wanted: Wanted<'a>) -> u32 {
        if wanted.positive.is_none() {
            return NONE;
        }
        if let Some(number) = self.selectors.get(&wanted) {
            return *number;
        }
        let filter = wanted.to_filter();
        let number = match self.known.selectors.get(&filter) {
            Some(number) => *number,
            None => self.define(Definition::Objects(filter)),
        };
        self.selectors.insert(wanted, number);
        number
    }

    fn define(&mut self, definition: Definition) -> u32 {
        let number = position(self.count());
        self.definitions.push(definition);
        number
    }

    /// The definitions of the sets that are new.
    pub(super) fn into_definitions(self) -> Vec<Definition> {
        self.definitions
    }

    /// How many sets there are, known and new.
    pub(super) fn count(&self) -> usize {
        self.known.count + self.definitions.len()
    }

    /// The set of addresses in one of the nets; `NONE` for no nets.
    pub(super) fn nets(&mut self, nets: &[IpNet]) -> u32 {
        if nets.is_empty() {
            return NONE;
        }
        let nets = sorted(nets);
        let known = self.known.nets.get(&nets).or_else(|| self.nets.get(&nets));
        if let Some(number) = known {
            return *number;
        }
        let number = self.define(Definition::Nets(nets.clone()));
        self.nets.insert(nets, number);
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
        let wanted = Wanted::of_named_ports(peer);
        let mut set_of = |port| {
            let key = (wanted, names, protocol, port);
            if let Some(number) = self.named_ports.get(&key) {
                return (port, *number);
            }
            let (filter, names) = (wanted.to_filter(), names.to_vec());
            let number = self.define(Definition::NamedPort { filter, names, protocol, port });
            self.named_ports.insert(key, number);
            (port, number)
        };
        ports.into_iter().map(&mut set_of).collect()
    }

    /// All addresses of a service; `NONE` when it has none.
    pub(super) fn service(&mut self, name: &ServiceName) -> u32 {
        let Some(service) = self.services.get(name).copied() else { return NONE };
        let addresses = service.endpoints.iter().map(|endpoint| IpNet::from(endpoint.address));
        self.nets(&addresses.collect::<Vec<IpNet>>())
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
        groups.map(|((protocol, port), nets)| (protocol, port, self.nets(&nets))).collect()
    }
}

fn sorted(nets: &[IpNet]) -> Vec<IpNet> {
    let mut nets = nets.to_vec();
    nets.sort_unstable();
    nets.dedup();
    nets
}
