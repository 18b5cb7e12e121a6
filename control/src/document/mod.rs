//! Documents as users write them: from text to checked resources, every finding with its place.

mod metadata;
mod net;
mod node;
mod object;
mod policy;
mod reader;
mod rule;
mod rule_check;
mod rule_value;
mod selector;
mod tier;
mod toml;

use std::sync::Arc;

pub(crate) use self::net::Written;
pub(crate) use self::node::{Node, Table};
pub(crate) use self::object::{DocumentObject, ListUse};
pub(crate) use self::policy::DocumentPolicy;
use self::reader::Unsupported;
pub(crate) use self::reader::{Fields, Reader, Thing};
pub(crate) use self::selector::{SelectorRole, SelectorUse};
pub(crate) use self::tier::DocumentTier;
use crate::diagnostic::{Diagnostic, Severity, Source};

const KIND_HELP: &str = "remove it; the kinds are `globalNetworkPolicies`, `globalNetworkSets`, `hostEndpoints` and \
                         `tiers`";

static DOCUMENT: Thing = Thing {
    name: "a policy document",
    fields: &["globalNetworkPolicies", "globalNetworkSets", "hostEndpoints", "tiers"],
    unsupported: &[
        kind("networkPolicies"),
        kind("networkSets"),
        kind("profiles"),
        staged("stagedGlobalNetworkPolicies"),
        staged("stagedNetworkPolicies"),
        staged("stagedKubernetesNetworkPolicies"),
        kind("workloadEndpoints"),
    ],
};

const fn kind(field: &'static str) -> Unsupported {
    Unsupported { field, severity: Severity::Error, help: KIND_HELP }
}

/// Staged policies are never enforced, so nothing changes when they are not looked at.
const fn staged(field: &'static str) -> Unsupported {
    let help = "staged policies are not evaluated yet; remove it to silence this";
    Unsupported { field, severity: Severity::Warning, help }
}

/// The resources of one document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    pub(crate) tiers: Vec<DocumentTier>,
    pub(crate) policies: Vec<DocumentPolicy>,
    pub(crate) objects: Vec<DocumentObject>,
}

/// Reads a TOML document: what could be read of it, and everything that is wrong with it.
pub(crate) fn read(source: &Arc<Source>) -> (Document, Vec<Diagnostic>) {
    match toml::read(source) {
        Ok(root) => read_root(&root, source),
        Err(findings) => (Document::default(), findings),
    }
}

/// Reads a TOML text that is not a policy document; see `Reader` for the rest.
pub(crate) fn read_toml(source: &Arc<Source>) -> Result<Table, Vec<Diagnostic>> {
    toml::read(source)
}

fn read_root(root: &Table, source: &Arc<Source>) -> (Document, Vec<Diagnostic>) {
    let mut reader = Reader::new(source);
    let fields = reader.fields_of_table(root, 0..0, &DOCUMENT);
    let mut objects = all(&fields, "globalNetworkSets", object::network_set, &mut reader);
    objects.extend(all(&fields, "hostEndpoints", object::host_endpoint, &mut reader));
    let document = Document {
        tiers: all(&fields, "tiers", tier::tier, &mut reader),
        policies: all(&fields, "globalNetworkPolicies", policy::policy, &mut reader),
        objects,
    };
    (document, reader.findings)
}

/// Every resource of a kind.
fn all<T>(
    fields: &Fields<'_>,
    kind: &'static str,
    read: fn(&Node, &mut Reader) -> Option<T>,
    reader: &mut Reader,
) -> Vec<T> {
    let Some(entry) = fields.entry(kind) else { return Vec::new() };
    reader.array(entry).iter().filter_map(|node| read(node, reader)).collect()
}
