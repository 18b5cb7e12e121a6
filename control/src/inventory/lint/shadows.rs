//! Rules that can never match, because rules before them in the same list take everything that they would.

use classifier::resource::{Action, Rule};
use classifier::space::{Shadow, shadows};

use crate::diagnostic::{Diagnostic, Place};
use crate::resolve::{Content, Resource, Resources};

/// Most steps of the search through a whole set, well under a second's worth; beyond, the rest of the rules is not looked at.
const WORK_MAX: u64 = 2_000_000;
/// Most earlier rules that a finding points to.
const EARLIER_SHOWN: usize = 3;

pub(super) fn findings(resources: &Resources) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut work = WORK_MAX;
    for list in resources.iter().flat_map(lists) {
        // Without places the rules were made of something that has no rules one by one.
        if list.places.len() == list.rules.len() {
            let found = shadows(list.rules, &mut work);
            findings.extend(found.iter().filter_map(|shadow| list.finding(shadow)));
        }
        if work == 0 {
            let message = "the policy is too large to look at every rule";
            let help = "rules that can never match are not all reported";
            findings.push(Diagnostic::warning("rule.not-looked-at", message).help(help));
            break;
        }
    }
    findings
}

/// Rules that are asked one after the other.
struct List<'a> {
    rules: &'a [Rule],
    places: &'a [Place],
}

fn lists(resource: &Resource) -> Vec<List<'_>> {
    let (ingress, egress, uses) = match &resource.content {
        Content::Policy(content) => {
            let policy = &content.policy;
            let ingress = if policy.applies_ingress { &policy.ingress[..] } else { &[] };
            let egress = if policy.applies_egress { &policy.egress[..] } else { &[] };
            (ingress, egress, &content.uses)
        }
        Content::Profile(profile) => (&profile.ingress[..], &profile.egress[..], &profile.uses),
        Content::EndpointSlice(_)
        | Content::HostEndpoint(_)
        | Content::Idle
        | Content::Namespace(_)
        | Content::NetworkSet(_)
        | Content::Pod(_)
        | Content::ServiceAccount(_)
        | Content::Tier(_) => return Vec::new(),
    };
    vec![
        List { rules: ingress, places: &uses.ingress_at },
        List { rules: egress, places: &uses.egress_at },
    ]
}

impl List<'_> {
    fn finding(&self, Shadow { rule, by }: &Shadow) -> Option<Diagnostic> {
        let at = self.places.get(*rule)?;
        let taken = by.iter().filter_map(|at| Some((self.rules.get(*at)?, self.places.get(*at)?)));
        let label = match by.len() {
            1 => "an earlier rule takes everything it would match".to_owned(),
            count => format!("{count} earlier rules take everything it would match"),
        };
        let help = match self.rules.get(*rule)?.action {
            Action::Log => "move it before what takes its packets, or remove it",
            Action::Allow | Action::Deny | Action::Pass => {
                "remove it, or move it before what takes its packets if it should decide"
            }
        };
        let finding = Diagnostic::warning("rule.shadowed", "this rule can never match");
        let mut finding = finding.at(at.clone(), label).help(help);
        for (rule, at) in taken.take(EARLIER_SHOWN) {
            finding = finding.related(at.clone(), takes(rule.action));
        }
        Some(finding)
    }
}

fn takes(action: Action) -> &'static str {
    match action {
        Action::Allow => "allows it before",
        Action::Deny => "denies it before",
        Action::Log => "logs it before",
        Action::Pass => "passes it on to the next tier before",
    }
}
