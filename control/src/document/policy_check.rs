//! What the fields of one policy may say together (Calico `validator.go`, `validateGlobalNetworkPolicySpec`,
//! `validateStagedNetworkPolicy`).

use classifier::resource::Hook;

use super::node::{Entry, Value};
use super::reader::{Fields, Reader};
use crate::diagnostic::Diagnostic;

/// When the policy is asked.
pub(super) fn hook(fields: &Fields<'_>, reader: &mut Reader) -> Hook {
    let mut is_set = |field| fields.entry(field).filter(|entry| reader.boolean(entry));
    let do_not_track = is_set("doNotTrack");
    let pre_dnat = is_set("preDNAT");
    let apply_on_forward = is_set("applyOnForward");
    if let (Some(entry), Some(other)) = (do_not_track, pre_dnat) {
        let finding =
            Diagnostic::error("policy.hook", "a policy cannot be both `doNotTrack` and `preDNAT`")
                .at(reader.place(&other.key_span), "the second of the two")
                .help("keep one of them, or write two policies")
                .related(reader.place(&entry.key_span), "the first of the two");
        reader.report(finding);
    }
    if let Some(entry) = do_not_track.or(pre_dnat)
        && apply_on_forward.is_none()
    {
        let message = format!("`{}` needs `applyOnForward`", entry.key);
        let finding = Diagnostic::error("policy.hook", message)
            .at(reader.place(&entry.key_span), "it judges what is forwarded too")
            .help("add `applyOnForward = true`");
        reader.report(finding);
    }
    if let Some(entry) = pre_dnat {
        check_is_ingress_only(entry, fields, reader);
    }
    match (do_not_track, pre_dnat, apply_on_forward) {
        (Some(_), _, _) => Hook::Untracked,
        (None, Some(_), _) => Hook::PreDnat,
        (None, None, Some(_)) => Hook::Forward,
        (None, None, None) => Hook::Normal,
    }
}

/// Before addresses are translated there is nothing that leaves.
fn check_is_ingress_only(pre_dnat: &Entry, fields: &Fields<'_>, reader: &mut Reader) {
    let place = reader.place(&pre_dnat.key_span);
    if let Some(egress) = fields.entry("egress").filter(|entry| !entry.node.is_unset()) {
        let finding =
            Diagnostic::error("policy.hook", "a `preDNAT` policy cannot have `egress` rules")
                .at(reader.place(&egress.key_span), "never asked")
                .help("remove them, or move them to a policy of their own")
                .related(place.clone(), "`preDNAT` is set here");
        reader.report(finding);
    }
    let Some(Value::Array(types)) = fields.entry("types").map(|entry| &entry.node.value) else {
        return;
    };
    for node in types {
        if matches!(&node.value, Value::Text(text) if text.value == "Egress") {
            let finding =
                Diagnostic::error("policy.hook", "a `preDNAT` policy cannot apply to `Egress`")
                    .at(reader.place(&node.span), "never asked")
                    .help("write `types = [\"Ingress\"]`")
                    .related(place.clone(), "`preDNAT` is set here");
            reader.report(finding);
        }
    }
}

/// Hints change nothing here; they are checked so that they are good where they are used.
pub(super) fn check_performance_hints(fields: &Fields<'_>, reader: &mut Reader) {
    const HINTS: &[(&str, ())] = &[("AssumeNeededOnEveryNode", ())];
    let Some(entry) = fields.entry("performanceHints") else { return };
    let mut count = 0;
    for node in reader.array(entry) {
        if reader.choice("performanceHints", node, HINTS).is_none() {
            continue;
        }
        count += 1;
        if count > 1 {
            let finding = Diagnostic::error("field.value", "`performanceHints` names a hint twice")
                .at(reader.place(&node.span), "named before")
                .help("name each hint once");
            reader.report(finding);
        }
    }
}

/// A staged policy that deletes says which one, and nothing else.
pub(super) fn check_deletes_only(fields: &Fields<'_>, reader: &mut Reader) {
    const NAMES: [&str; 6] = ["name", "namespace", "labels", "annotations", "stagedAction", "tier"];
    for entry in fields.entries() {
        if NAMES.contains(&entry.key.as_str()) || entry.node.is_unset() {
            continue;
        }
        let message = format!("a staged policy that deletes cannot have `{}`", entry.key);
        let finding = Diagnostic::error("policy.staged", message)
            .at(reader.place(&entry.key_span), "nothing is left that it could apply to")
            .help(format!("remove `{}`, or write `stagedAction = \"Set\"`", entry.key));
        reader.report(finding);
    }
}
