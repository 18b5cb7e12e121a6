//! Documents as users write them: from text to checked resources, every finding with its place.

mod convert;
mod dialect;
mod host_endpoint;
mod http;
mod json;
mod kind;
pub(crate) mod metadata;
mod net;
mod node;
mod object;
mod peer;
mod picked;
mod policy;
mod policy_check;
mod profile;
mod reader;
mod resource;
mod rule;
mod rule_check;
pub(crate) mod rule_value;
mod scope;
mod selector;
mod stored;
mod tier;
mod toml;
mod write;
mod yaml;

use std::sync::Arc;

pub(crate) use self::convert::{convert, with_canonical_selectors};
pub(crate) use self::dialect::Dialect;
pub use self::kind::Kind;
pub(crate) use self::net::Written;
pub(crate) use self::node::{Entry, Node, Table, Value};
pub(crate) use self::object::written;
pub(crate) use self::reader::{Fields, Reader, Thing, quoted_list, suggestion};
use self::resource::Item;
use crate::diagnostic::{Diagnostic, Source};
use crate::kubernetes;
use crate::resolve::Resource;

/// Reads a document in the dialect that its name says: what could be read of it, and everything that is wrong with it.
pub(crate) fn read(source: &Arc<Source>, takes_http: bool) -> (Vec<Resource>, Vec<Diagnostic>) {
    let mut reader = Reader::new(source);
    reader.takes_http = takes_http;
    let items = match items(source, &mut reader) {
        Ok(items) => items,
        Err(findings) => return (Vec::new(), findings),
    };
    let resources = items.into_iter().filter_map(|item| resource(&item, &mut reader)).collect();
    (resources, reader.findings)
}

/// Reads a TOML text that is not a policy document; see `Reader` for the rest.
pub(crate) fn read_toml(source: &Arc<Source>) -> Result<Table, Vec<Diagnostic>> {
    toml::read(source)
}

/// The resources of a text as they are written, in its order; a text that is not of its language has findings instead.
fn items(source: &Arc<Source>, reader: &mut Reader) -> Result<Vec<Item>, Vec<Diagnostic>> {
    Ok(match reader.dialect {
        Dialect::Json => resource::of_nodes(vec![json::read(source)?], reader),
        Dialect::Toml => resource::of_toml(toml::read(source)?, reader),
        Dialect::Yaml => resource::of_nodes(yaml::read(source)?, reader),
    })
}

/// Reads one resource by its kind.
fn resource(item: &Item, reader: &mut Reader) -> Option<Resource> {
    let node = &item.node;
    match item.kind {
        Kind::Tier => tier::tier(node, reader),
        Kind::GlobalNetworkSet | Kind::NetworkSet => object::network_set(item.kind, node, reader),
        Kind::HostEndpoint => host_endpoint::host_endpoint(node, reader),
        Kind::Profile => profile::profile(node, reader),
        Kind::GlobalNetworkPolicy
        | Kind::NetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedNetworkPolicy => policy::policy(item.kind, node, reader),
        Kind::KubernetesNetworkPolicy => kubernetes::network_policy(node, reader),
        Kind::ClusterNetworkPolicy => kubernetes::cluster_network_policy(node, reader),
        Kind::AdminNetworkPolicy => kubernetes::admin_network_policy(node, reader),
        Kind::BaselineAdminNetworkPolicy => kubernetes::baseline_admin_network_policy(node, reader),
        Kind::StagedKubernetesNetworkPolicy => kubernetes::staged_network_policy(node, reader),
        Kind::Namespace => kubernetes::namespace(node, reader),
        Kind::ServiceAccount => kubernetes::service_account(node, reader),
        Kind::Pod => kubernetes::pod(node, reader),
        Kind::Service => kubernetes::service(node, reader),
        Kind::EndpointSlice => kubernetes::endpoint_slice(node, reader),
    }
}
