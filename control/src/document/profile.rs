//! `Profile`.

use classifier::decision::Direction;

use super::Kind;
use super::metadata::{self, NameRule};
use super::node::Node;
use super::policy::rules;
use super::reader::{Reader, Thing};
use crate::resolve::{Content, Key, ProfileContent, Resource, Uses};

static PROFILE: Thing = Thing {
    name: "a profile",
    fields: &["name", "labels", "annotations", "labelsToApply", "ingress", "egress"],
    unsupported: &[],
};

/// Reads a profile.
pub(crate) fn profile(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &PROFILE)?;
    let name = metadata::name(&fields, NameRule::Subdomain, reader);
    metadata::labels(&fields, reader);
    metadata::annotations(&fields, reader);
    let labels_to_apply = metadata::labels_of("labelsToApply", &fields, reader);
    let mut uses = Uses::default();
    let ingress = rules(&fields, Direction::Ingress, None, &mut uses, reader);
    let egress = rules(&fields, Direction::Egress, None, &mut uses, reader);
    let (name, at) = name?;
    let key = Key { kind: Kind::Profile, namespace: None, name };
    let content = ProfileContent { labels_to_apply, ingress, egress, uses };
    Some(Resource { key, at, content: Content::Profile(content) })
}
