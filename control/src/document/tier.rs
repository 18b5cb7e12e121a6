//! `Tier`.

use classifier::resource::{Tier, TierAction};

use super::Kind;
use super::metadata::{self, NameRule};
use super::node::Node;
use super::reader::{Reader, Thing};
use crate::diagnostic::{Diagnostic, Place};
use crate::resolve::{Content, Key, Resource};

static TIER: Thing = Thing {
    name: "a tier",
    fields: &["name", "labels", "annotations", "order", "defaultAction"],
    unsupported: &[],
};

const ACTIONS: &[(&str, TierAction)] = &[("Deny", TierAction::Deny), ("Pass", TierAction::Pass)];

/// Reads a tier.
pub(crate) fn tier(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &TIER)?;
    let name = metadata::name(&fields, NameRule::Label, reader);
    metadata::labels(&fields, reader);
    metadata::annotations(&fields, reader);
    let order = fields.entry("order").and_then(|entry| reader.number(entry));
    let default_action = fields
        .entry("defaultAction")
        .and_then(|entry| reader.choice("defaultAction", &entry.node, ACTIONS))
        .unwrap_or(TierAction::Deny);
    let (name, at) = name?;
    let tier = Tier { name: name.clone(), order, default_action };
    check_fixed(&tier, &at, reader);
    let key = Key { kind: Kind::Tier, namespace: None, name };
    Some(Resource { key, at, content: Content::Tier(tier) })
}

/// A fixed tier may be written down, but only as it is (Calico `tier.go:37-42`).
fn check_fixed(tier: &Tier, name_at: &Place, reader: &mut Reader) {
    let fixed_tiers = Tier::fixed();
    let Some(fixed) = fixed_tiers.iter().find(|fixed| fixed.name == tier.name) else { return };
    if fixed == tier {
        return;
    }
    let order = fixed.order.unwrap_or_default();
    let action = ACTIONS.iter().find(|(_, action)| *action == fixed.default_action);
    let action = action.map_or("Deny", |(word, _)| *word);
    let finding = Diagnostic::error(
        "tier.fixed",
        format!("the tier `{}` exists always and cannot be changed", tier.name),
    )
    .at(name_at.clone(), format!("its order is {order}, its default action `{action}`"))
    .help(format!("remove it, or write `order = {order}` and `defaultAction = \"{action}\"`"));
    reader.report(finding);
}
