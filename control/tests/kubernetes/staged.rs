use classifier::resource::{PolicyKind, StagedAction};

use crate::{assert_errors, indented, policy, rules, set};

fn document(spec: &str) -> String {
    let spec = indented(spec);
    format!(
        "apiVersion: projectcalico.org/v3\nkind: StagedKubernetesNetworkPolicy\nmetadata:\n  name: web\n  namespace: shop\nspec:\n{spec}"
    )
}

#[test]
fn staged_policy_is_the_policy_that_it_would_become() {
    let spec = "podSelector: { matchLabels: { app: web } }\ningress: [{ ports: [{ port: 80 }] }]";
    let staged = policy(&document(spec));
    let plain = policy(
        &document(spec)
            .replace("projectcalico.org/v3", "networking.k8s.io/v1")
            .replace("StagedKubernetesNetworkPolicy", "NetworkPolicy"),
    );
    assert_eq!(staged.staged, Some(StagedAction::Set));
    assert_eq!(staged.kind, PolicyKind::KubernetesNetworkPolicy);
    assert_eq!((&staged.namespace, &staged.name), (&plain.namespace, &plain.name));
    assert_eq!((staged.order, &staged.tier), (plain.order, &plain.tier));
    assert_eq!(staged.selector, plain.selector);
    assert_eq!(rules(&staged), rules(&plain));
}

#[test]
fn action_says_what_is_staged() {
    assert_eq!(policy(&document("stagedAction: Set")).staged, Some(StagedAction::Set));
    assert_eq!(policy(&document("stagedAction: Delete")).staged, Some(StagedAction::Delete));
    for never_evaluated in ["Learn", "Ignore"] {
        let text = document(&format!("stagedAction: {never_evaluated}\ningress: [{{}}]"));
        assert!(set(&text).policies.is_empty(), "{never_evaluated}");
    }
}

#[test]
fn staged_and_enforced_policy_of_one_name_stand_side_by_side() {
    let staged = document("podSelector: {}");
    let plain = staged
        .replace("projectcalico.org/v3", "networking.k8s.io/v1")
        .replace("StagedKubernetesNetworkPolicy", "NetworkPolicy");
    let policies = set(&format!("{staged}---\n{plain}")).policies;
    let staged: Vec<bool> = policies.iter().map(|policy| policy.staged.is_some()).collect();
    assert_eq!(policies.len(), 2);
    assert!(staged.contains(&true) && staged.contains(&false));
}

#[test]
fn mistakes_in_a_staged_policy_are_told() {
    assert_errors([
        (
            document("stagedAction: Delete\ningress: [{}]"),
            "`ingress` has no place in a policy that is staged to be deleted | `stagedAction` is `Delete` | remove it, or write `stagedAction: \"Set\"` to stage a changed policy",
        ),
        (
            document("stagedAction: delete"),
            "`stagedAction` cannot be `delete` | expected one of `Set`, `Delete`, `Learn` and `Ignore` | did you mean `Delete`?",
        ),
        (
            document("selector: all()"),
            "a staged Kubernetes network policy has no field `selector` | unknown field | did you mean `podSelector`?",
        ),
    ]);
}
