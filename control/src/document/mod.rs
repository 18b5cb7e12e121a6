//! Documents as users write them: from text to checked resources, every finding with its place.

mod convert;
mod dialect;
mod json;
mod kind;
mod metadata;
mod net;
mod node;
mod object;
mod policy;
mod reader;
mod resource;
mod rule;
mod rule_check;
mod rule_value;
mod selector;
mod tier;
mod toml;
mod write;
mod yaml;

use std::sync::Arc;

pub(crate) use self::convert::{convert, with_canonical_selectors};
pub(crate) use self::dialect::Dialect;
use self::kind::Kind;
pub(crate) use self::net::Written;
pub(crate) use self::node::{Node, Table};
pub(crate) use self::object::{DocumentObject, ListUse};
pub(crate) use self::policy::DocumentPolicy;
pub(crate) use self::reader::{Fields, Reader, Thing};
use self::resource::Resource;
pub(crate) use self::selector::{SelectorRole, SelectorUse};
pub(crate) use self::tier::DocumentTier;
use crate::diagnostic::{Diagnostic, Source};

/// The resources of one document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    pub(crate) tiers: Vec<DocumentTier>,
    pub(crate) policies: Vec<DocumentPolicy>,
    pub(crate) objects: Vec<DocumentObject>,
}

/// Reads a document in the dialect that its name says: what could be read of it, and everything that is wrong with it.
pub(crate) fn read(source: &Arc<Source>) -> (Document, Vec<Diagnostic>) {
    let mut reader = Reader::new(source);
    let resources = match resources(source, &mut reader) {
        Ok(resources) => resources,
        Err(findings) => return (Document::default(), findings),
    };
    let mut objects = all(&resources, Kind::GlobalNetworkSet, object::network_set, &mut reader);
    objects.extend(all(&resources, Kind::HostEndpoint, object::host_endpoint, &mut reader));
    let document = Document {
        tiers: all(&resources, Kind::Tier, tier::tier, &mut reader),
        policies: all(&resources, Kind::GlobalNetworkPolicy, policy::policy, &mut reader),
        objects,
    };
    (document, reader.findings)
}

/// Reads a TOML text that is not a policy document; see `Reader` for the rest.
pub(crate) fn read_toml(source: &Arc<Source>) -> Result<Table, Vec<Diagnostic>> {
    toml::read(source)
}

/// The resources of a text, in its order; a text that is not of its language has findings instead.
fn resources(source: &Arc<Source>, reader: &mut Reader) -> Result<Vec<Resource>, Vec<Diagnostic>> {
    Ok(match reader.dialect {
        Dialect::Json => resource::of_nodes(vec![json::read(source)?], reader),
        Dialect::Toml => resource::of_toml(toml::read(source)?, reader),
        Dialect::Yaml => resource::of_nodes(yaml::read(source)?, reader),
    })
}

/// Every resource of a kind.
fn all<T>(
    resources: &[Resource],
    kind: Kind,
    read: fn(&Node, &mut Reader) -> Option<T>,
    reader: &mut Reader,
) -> Vec<T> {
    let of_kind = resources.iter().filter(|resource| resource.kind == kind);
    of_kind.filter_map(|resource| read(&resource.node, reader)).collect()
}
