//! Everything that documents say, by name, and what it means for the classifier: names, namespaces, inherited and
//! synthetic labels end here.
//!
//! A [`Resources`] takes and loses one resource at a time, so the same value serves documents that are read as a whole and
//! sources that tell of changes. What it means is a function of what it holds, not of the way there.

mod content;
mod labels;
mod set;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use classifier::resource::{Defaults, GatewayPort};

pub(crate) use self::content::{
    Content, EndpointSlice, HostEndpoint, ListUse, NetworkSet, Pod, PolicyContent, PortUse,
    ProfileContent, SelectorRole, SelectorUse, ServiceUse, Uses,
};
pub(crate) use self::labels::{
    NAMESPACE, NAMESPACE_PREFIX, ORCHESTRATOR, SERVICE_ACCOUNT, SERVICE_ACCOUNT_PREFIX,
};
pub(crate) use self::set::{DEFAULT_ALLOW, is_of};
use crate::diagnostic::Place;
pub use crate::document::Kind;

/// What a gateway is, as far as its policy depends on it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Gateway {
    /// Its name: a host endpoint whose `node` is this one is an interface of the gateway itself. Empty: none is.
    pub name: String,
    /// Its ports; `Place::Port` counts in these.
    pub ports: Vec<GatewayPort>,
    /// What happens where no policy speaks.
    pub defaults: Defaults,
    /// Whether rules with `http` are taken, and allow whatever else of them matches.
    pub takes_http: bool,
}

/// Names a resource among all.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, if its kind has namespaces.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// One resource: what a document says of it, checked as far as it can be without the others.
#[derive(Clone, Debug)]
pub struct Resource {
    pub(crate) key: Key,
    /// Where its name stands.
    pub(crate) at: Place,
    pub(crate) content: Content,
}

impl Resource {
    /// Its name among all.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }
}

/// Resources by their keys.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Shared with whoever keeps what documents said: most of them are as they were.
    by_key: BTreeMap<Key, Arc<Resource>>,
}

impl Resources {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a resource, in place of the one with its key if there is one.
    pub fn apply(&mut self, resource: Resource) {
        self.by_key.insert(resource.key.clone(), Arc::new(resource));
    }

    /// Forgets a resource; returns whether it was there.
    pub fn remove(&mut self, key: &Key) -> bool {
        self.by_key.remove(key).is_some()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Takes a resource whose key is not taken.
    ///
    /// # Errors
    /// Where the resource with that key stands; nothing changes.
    pub(crate) fn insert_new(&mut self, resource: Arc<Resource>) -> Result<(), Place> {
        match self.by_key.entry(resource.key.clone()) {
            Entry::Occupied(first) => Err(first.get().at.clone()),
            Entry::Vacant(place) => {
                place.insert(resource);
                Ok(())
            }
        }
    }

    /// Everything, in the order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.by_key.values().map(Arc::as_ref)
    }

    /// The resource of that name.
    pub(crate) fn named(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<&Resource> {
        let namespace = namespace.map(str::to_owned);
        self.by_key.get(&Key { kind, namespace, name: name.to_owned() }).map(Arc::as_ref)
    }
}
