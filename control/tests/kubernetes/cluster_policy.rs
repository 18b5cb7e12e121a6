use classifier::resource::PolicyKind;

use crate::{assert_errors, findings, indented, policy, rules};

/// A policy of the whole cluster with this spec, each line indented by two.
fn document(kind: &str, version: &str, spec: &str) -> String {
    let spec = indented(spec);
    format!(
        "apiVersion: policy.networking.k8s.io/{version}\nkind: {kind}\nmetadata:\n  name: default\nspec:\n{spec}"
    )
}

fn cluster(spec: &str) -> String {
    document("ClusterNetworkPolicy", "v1alpha2", spec)
}

/// One rule in a direction of a policy for everything.
fn cluster_rule(direction: &str, rule: &str) -> String {
    cluster(&format!(
        "tier: Admin\npriority: 10\nsubject: {{ namespaces: {{}} }}\n{direction}: [{{ {rule} }}]"
    ))
}

fn admin_rule(direction: &str, rule: &str) -> String {
    let spec =
        format!("priority: 10\nsubject: {{ namespaces: {{}} }}\n{direction}: [{{ {rule} }}]");
    document("AdminNetworkPolicy", "v1alpha1", &spec)
}

#[test]
fn policies_of_the_cluster_stand_before_or_behind_the_default_tier() {
    let rest =
        "subject: { namespaces: {} }\ningress: [{ action: Deny, from: [{ namespaces: {} }] }]";
    let cases = [
        (
            cluster(&format!("tier: Admin\npriority: 7\n{rest}")),
            (PolicyKind::KubernetesClusterNetworkPolicy, "kube-admin", 7.0),
        ),
        (
            cluster(&format!("tier: Baseline\npriority: 0\n{rest}")),
            (PolicyKind::KubernetesClusterNetworkPolicy, "kube-baseline", 0.0),
        ),
        (
            document("AdminNetworkPolicy", "v1alpha1", &format!("priority: 1000\n{rest}")),
            (PolicyKind::KubernetesAdminNetworkPolicy, "kube-admin", 1000.0),
        ),
        (
            document("BaselineAdminNetworkPolicy", "v1alpha1", rest),
            (PolicyKind::KubernetesBaselineAdminNetworkPolicy, "kube-baseline", 1000.0),
        ),
    ];
    for (text, (kind, tier, order)) in cases {
        let policy = policy(&text);
        assert_eq!((policy.kind, policy.tier.as_str(), policy.order), (kind, tier, Some(order)));
        assert_eq!(policy.namespace, None);
        assert_eq!(rules(&policy), ["ingress", "Deny from has(projectcalico.org/namespace)"]);
    }
}

#[test]
fn subject_is_pods_and_never_a_host() {
    let cases = [
        (
            "{ namespaces: {} }",
            r#"(projectcalico.org/orchestrator == "k8s" && has(projectcalico.org/namespace))"#,
        ),
        (
            "{ namespaces: { matchLabels: { team: a, env: b } } }",
            r#"(projectcalico.org/orchestrator == "k8s" && (pcns.env == "b" && pcns.team == "a"))"#,
        ),
        (
            "{ pods: { namespaceSelector: { matchLabels: { team: a } }, podSelector: { matchLabels: { app: web } } } }",
            r#"((projectcalico.org/orchestrator == "k8s" && app == "web") && pcns.team == "a")"#,
        ),
        (
            "{ pods: { podSelector: {} } }",
            r#"(projectcalico.org/orchestrator == "k8s" && has(projectcalico.org/namespace))"#,
        ),
    ];
    for (subject, expected) in cases {
        let text = cluster(&format!("tier: Admin\npriority: 1\nsubject: {subject}"));
        assert_eq!(policy(&text).selector.to_string(), expected, "{subject}");
    }
}

#[test]
fn policy_applies_only_where_it_has_rules() {
    let text = cluster("tier: Admin\npriority: 1\nsubject: { namespaces: {} }\ningress: []");
    assert_eq!(rules(&policy(&text)), [] as [&str; 0]);
}

#[test]
fn peers_become_selectors_and_networks_of_one_family() {
    let cases: [(&str, &[&str]); 4] = [
        ("{ namespaces: { matchLabels: { team: a } } }", &[r#"Pass to pcns.team == "a""#]),
        (
            "{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: web } } } }",
            &[
                r#"Pass to (has(projectcalico.org/namespace) && (projectcalico.org/orchestrator == "k8s" && app == "web"))"#,
            ],
        ),
        ("{ networks: [198.18.1.9/24, 198.19.0.0/16] }", &["Pass to 198.18.1.0/24 198.19.0.0/16"]),
        (
            "{ networks: ['2001:2::/48', 198.18.0.0/16] }",
            &["Pass to 198.18.0.0/16", "Pass to 2001:2::/48"],
        ),
    ];
    for (peer, expected) in cases {
        let rule = format!("action: Pass, to: [{peer}]");
        assert_eq!(rules(&policy(&cluster_rule("egress", &rule)))[1..], *expected, "{peer}");
        assert_eq!(rules(&policy(&admin_rule("egress", &rule)))[1..], *expected, "{peer}");
    }
}

#[test]
fn ports_of_a_cluster_network_policy_become_one_rule_for_each_protocol() {
    let cases: [(&str, &[&str]); 6] = [
        ("[]", &["Allow"]),
        ("[{ tcp: {} }]", &["Allow tcp"]),
        ("[{ udp: { destinationPort: { number: 53 } } }]", &["Allow udp to :53"]),
        (
            "[{ sctp: { destinationPort: { range: { start: 7, end: 9 } } } }]",
            &["Allow sctp to :7-9"],
        ),
        (
            "[{ tcp: { destinationPort: { number: 81 } } }, { udp: { destinationPort: { number: 53 } } }, { tcp: { destinationPort: { number: 80 } } }]",
            &["Allow tcp to :80-81", "Allow udp to :53"],
        ),
        ("[{ tcp: { destinationPort: { number: 81 } } }, { tcp: {} }]", &["Allow tcp"]),
    ];
    for (ports, expected) in cases {
        let rule = format!("action: Accept, protocols: {ports}, from: [{{ namespaces: {{}} }}]");
        let expected: Vec<String> = expected
            .iter()
            .map(|rule| {
                let (head, to) = rule
                    .split_once(" to")
                    .map_or((*rule, String::new()), |(head, to)| (head, format!(" to{to}")));
                format!("{head} from has(projectcalico.org/namespace){to}")
            })
            .collect();
        assert_eq!(rules(&policy(&cluster_rule("ingress", &rule)))[1..], expected, "{ports}");
    }
}

#[test]
fn ports_of_an_admin_network_policy_can_have_names_and_are_of_tcp_unless_they_say() {
    let cases: [(&str, &[&str]); 5] = [
        ("[{ portNumber: { port: 443 } }]", &["Deny tcp to 198.18.0.0/16 :443"]),
        ("[{ portNumber: { port: 53, protocol: UDP } }]", &["Deny udp to 198.18.0.0/16 :53"]),
        (
            "[{ portRange: { start: 7, end: 9, protocol: SCTP } }]",
            &["Deny sctp to 198.18.0.0/16 :7-9"],
        ),
        ("[{ portRange: { start: 7, end: 9 } }]", &["Deny tcp to 198.18.0.0/16 :7-9"]),
        (
            "[{ portNumber: { port: 80 } }, { namedPort: web }]",
            &["Deny tcp to 198.18.0.0/16 :80 :web"],
        ),
    ];
    for (ports, expected) in cases {
        let rule = format!("action: Deny, ports: {ports}, to: [{{ networks: [198.18.0.0/16] }}]");
        assert_eq!(rules(&policy(&admin_rule("egress", &rule)))[1..], *expected, "{ports}");
    }
}

#[test]
fn rule_that_cannot_be_translated_closes() {
    let peers = [
        ("egress", "to: [{ nodes: {} }]", "`nodes`"),
        ("egress", "to: [{ domainNames: [example.org] }]", "`domainNames`"),
        ("egress", "to: [{ networks: [198.18.0.0/16] }, { nodes: {} }]", "`nodes`"),
        ("egress", "to: [{}]", "a peer without a field"),
        ("ingress", "from: [{}]", "a peer without a field"),
    ];
    for (direction, peers, what) in peers {
        for (allow, text) in
            [("Accept", cluster_rule as fn(&str, &str) -> String), ("Allow", admin_rule)]
        {
            for action in ["Deny", "Pass", allow] {
                let text = text(direction, &format!("action: {action}, {peers}"));
                let expected: &[&str] = if action == allow { &[] } else { &[direction, "Deny"] };
                assert_eq!(rules(&policy(&text)), expected, "{text}");
                let told = format!("kubernetes.untranslated: {what} cannot be translated");
                assert!(findings(&text).contains(&told), "{text}");
            }
        }
    }
}

#[test]
fn named_port_of_a_cluster_network_policy_closes_its_rule() {
    let rule = |action| {
        let rule = format!(
            "action: {action}, from: [{{ namespaces: {{}} }}], protocols: [{{ destinationNamedPort: web }}]"
        );
        rules(&policy(&cluster_rule("ingress", &rule)))
    };
    assert_eq!(rule("Deny"), ["ingress", "Deny"]);
    assert_eq!(rule("Pass"), ["ingress", "Deny"]);
    assert_eq!(rule("Accept"), [] as [&str; 0]);
}

#[test]
fn rule_that_closes_leaves_the_others_in_place() {
    let text = cluster(
        "tier: Admin\npriority: 1\nsubject: { namespaces: {} }\negress:\n- { action: Accept, to: [{ networks: [198.18.1.0/24] }] }\n- { action: Pass, to: [{ nodes: {} }] }\n- { action: Accept, to: [{ networks: [198.18.2.0/24] }] }",
    );
    let expected = ["egress", "Allow to 198.18.1.0/24", "Deny", "Allow to 198.18.2.0/24"];
    assert_eq!(rules(&policy(&text)), expected);
}

const SUBJECT: &str = "subject: { namespaces: {} }";

#[test]
fn policy_without_its_place_or_subject_is_refused_with_a_way_out() {
    assert_errors([
        (
            cluster(&format!("priority: 1\n{SUBJECT}")),
            "a cluster network policy needs `tier` | `tier` is missing here | add `tier: \"Admin\"`",
        ),
        (
            cluster(&format!("tier: admin\npriority: 1\n{SUBJECT}")),
            "`tier` cannot be `admin` | expected one of `Admin` and `Baseline` | did you mean `Admin`?",
        ),
        (
            cluster(&format!("tier: Admin\n{SUBJECT}")),
            "a cluster network policy needs `priority` | `priority` is missing here | add `priority: 100`",
        ),
        (
            cluster(&format!("tier: Admin\npriority: 1001\n{SUBJECT}")),
            "`priority` cannot be 1001 | out of range | write a whole number from 0 to 1000",
        ),
        (
            cluster("tier: Admin\npriority: 1"),
            "a cluster network policy needs `subject` | `subject` is missing here | add `subject: { namespaces: {} }`",
        ),
        (
            cluster("tier: Admin\npriority: 1\nsubject: {}"),
            "a subject needs `namespaces` or `pods` | selects nothing | write `namespaces: {}` for all pods of the cluster",
        ),
        (
            cluster(
                "tier: Admin\npriority: 1\nsubject: { namespaces: {}, pods: { podSelector: {} } }",
            ),
            "a subject has exactly one field | a second one | `pods` has a `namespaceSelector` of its own; write either field",
        ),
    ]);
}

#[test]
fn bad_rules_are_refused_with_a_way_out() {
    let ingress = |rule: &str| cluster_rule("ingress", rule);
    let egress = |rule: &str| cluster_rule("egress", rule);
    assert_errors([
        (
            ingress("action: Allow, from: [{ namespaces: {} }]"),
            "`action` cannot be `Allow` | expected one of `Accept`, `Deny` and `Pass` | did you mean `Accept`?",
        ),
        (
            ingress("action: Deny"),
            "an ingress rule needs `from` | `from` is missing here | add `from: [{ namespaces: {} }]`",
        ),
        (
            ingress("action: Deny, from: []"),
            "`from` is empty | the rule would match nothing | name a peer, such as `from: [{ namespaces: {} }]`",
        ),
        (
            ingress("action: Deny, from: [{ networks: [198.18.0.0/16] }]"),
            "a source has no field `networks` | unknown field | its fields are `namespaces` and `pods`",
        ),
        (
            egress("action: Deny, to: [{ namespaces: {}, networks: [198.18.0.0/16] }]"),
            "a peer has exactly one field | a second one | write a peer for each",
        ),
        (
            egress("action: Deny, to: [{ networks: [] }]"),
            "`networks` is empty | the rule would match nothing | name a network, such as `198.18.0.0/16`",
        ),
        (
            egress("action: Deny, to: [{ namespaces: {} }], protocols: [{ tcp: {}, udp: {} }]"),
            "a protocol has exactly one field | has 2 | write `tcp`, `udp` or `sctp`, each as an item of its own",
        ),
        (
            egress(
                "action: Deny, to: [{ namespaces: {} }], protocols: [{ tcp: { destinationPort: {} } }]",
            ),
            "a port is either a `number` or a `range` | expected one of the two | write `destinationPort: { number: 443 }`",
        ),
        (
            egress(
                "action: Deny, to: [{ namespaces: {} }], protocols: [{ tcp: { destinationPort: { range: { start: 9, end: 7 } } } }]",
            ),
            "the range from 9 to 7 ends before it begins | lower than `start` | write a port from 9 to 65535",
        ),
        (
            egress("action: Deny, to: [{ namespaces: {} }], ports: []"),
            "an egress rule has no field `ports` | unknown field | its fields are `name`, `action`, `to` and `protocols`",
        ),
    ]);
}

#[test]
fn policies_of_older_kinds_are_refused_with_a_way_out() {
    assert_errors([
        (
            document("BaselineAdminNetworkPolicy", "v1alpha1", SUBJECT)
                .replace("name: default", "name: base"),
            "a baseline admin network policy cannot be named `base` | there is one in a cluster, and it has one name | name it `default`",
        ),
        (
            document(
                "BaselineAdminNetworkPolicy",
                "v1alpha1",
                &format!(
                    "{SUBJECT}\ningress: [{{ action: Pass, from: [{{ namespaces: {{}} }}] }}]"
                ),
            ),
            "`action` cannot be `Pass` | expected one of `Allow` and `Deny` | write one of `Allow` and `Deny`",
        ),
        (
            admin_rule("ingress", "action: Deny, from: [{ namespaces: {} }], ports: [{}]"),
            "a port is one of `portNumber`, `portRange` and `namedPort` | expected exactly one of them | write `portNumber: { protocol: \"TCP\", port: 443 }`",
        ),
        (
            document("ClusterNetworkPolicy", "v1alpha1", SUBJECT),
            "`ClusterNetworkPolicy` has no version `policy.networking.k8s.io/v1alpha1` | unknown version | write `apiVersion: \"policy.networking.k8s.io/v1alpha2\"`",
        ),
    ]);
}

#[test]
fn more_than_a_cluster_takes_is_taken_and_told() {
    let rules = |count: usize| {
        let rule = "{ action: Accept, from: [{ namespaces: {} }] }";
        let rules = vec![rule; count].join(", ");
        format!("priority: 1\n{SUBJECT}\ningress: [{rules}]")
    };
    let told = |text: &str| {
        findings(text).iter().any(|finding| finding.starts_with("size.kubernetes: `ingress` has "))
    };
    assert!(!told(&cluster(&format!("tier: Admin\n{}", rules(25)))));
    assert!(told(&cluster(&format!("tier: Admin\n{}", rules(26)))));
    let admin = |count| {
        document("AdminNetworkPolicy", "v1alpha1", &rules(count)).replace("Accept", "Allow")
    };
    assert!(!told(&admin(100)));
    assert!(told(&admin(101)));
}
