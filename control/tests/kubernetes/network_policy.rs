use classifier::resource::{Hook, PolicyKind};

use crate::{assert_errors, findings, indented, load, policy, rules};

/// A policy of the namespace `shop` with this spec, each line indented by two.
fn document(spec: &str) -> String {
    let spec = indented(spec);
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: web\n  namespace: shop\nspec:\n{spec}"
    )
}

#[test]
fn policy_stands_where_calico_puts_it() {
    let policy = policy(&document("podSelector:\n  matchLabels: { app: web }"));
    assert_eq!(policy.kind, PolicyKind::KubernetesNetworkPolicy);
    assert_eq!((policy.namespace.as_deref(), policy.name.as_str()), (Some("shop"), "web"));
    assert_eq!((policy.tier.as_str(), policy.order), ("default", Some(1000.0)));
    assert_eq!((policy.hook, policy.staged), (Hook::Normal, None));
    assert_eq!(
        policy.selector.to_string(),
        r#"((projectcalico.org/orchestrator == "k8s" && app == "web") && projectcalico.org/namespace == "shop")"#
    );
}

#[test]
fn policy_without_a_namespace_is_of_the_default_one() {
    let text =
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: web }\nspec: {}";
    let policy = policy(text);
    assert_eq!(policy.namespace.as_deref(), Some("default"));
    assert_eq!(
        policy.selector.to_string(),
        r#"(projectcalico.org/orchestrator == "k8s" && projectcalico.org/namespace == "default")"#
    );
}

#[test]
fn selectors_are_said_in_calicos_words() {
    let cases = [
        ("{}", ""),
        ("{ matchLabels: {} }", ""),
        ("{ matchLabels: { b: '2', a: '' } }", r#" && a == "" && b == "2""#),
        (
            "{ matchExpressions: [{ key: a, operator: In, values: [z, x, z] }] }",
            r#" && a in {"x", "z"}"#,
        ),
        (
            "{ matchExpressions: [{ key: a, operator: NotIn, values: [x] }] }",
            r#" && a not in {"x"}"#,
        ),
        ("{ matchExpressions: [{ key: a, operator: Exists }] }", " && has(a)"),
        ("{ matchExpressions: [{ key: a, operator: DoesNotExist, values: [] }] }", " && !has(a)"),
        (
            "{ matchExpressions: [{ key: z, operator: Exists }], matchLabels: { app.k8s.io/name: web } }",
            r#" && app.k8s.io/name == "web" && has(z)"#,
        ),
    ];
    for (selector, expected) in cases {
        let policy = policy(&document(&format!("podSelector: {selector}")));
        let own = format!(r#"projectcalico.org/orchestrator == "k8s"{expected}"#);
        let own = if expected.is_empty() { own } else { format!("({own})") };
        let expected = format!(r#"({own} && projectcalico.org/namespace == "shop")"#);
        assert_eq!(policy.selector.to_string(), expected, "{selector}");
    }
}

#[test]
fn directions_are_those_that_a_cluster_would_write() {
    let cases = [
        ("", "ingress"),
        ("policyTypes: []", "ingress"),
        ("ingress: []", "ingress"),
        ("egress: []", "ingress"),
        ("egress: [{}]", "ingress egress Allow"),
        ("ingress: [{}]\negress: [{}]", "ingress Allow egress Allow"),
        ("policyTypes: [Ingress]", "ingress"),
        ("policyTypes: [Egress]", "egress"),
        ("policyTypes: [Egress, Ingress]", "ingress egress"),
        ("policyTypes: [Egress]\ningress: [{}]", "egress"),
        ("policyTypes: [Ingress]\negress: [{}]", "ingress"),
    ];
    for (spec, expected) in cases {
        let spec = format!("podSelector: {{}}\n{spec}");
        assert_eq!(rules(&policy(&document(&spec))).join(" "), expected, "{spec}");
    }
}

#[test]
fn rules_that_no_direction_reads_are_told_of() {
    let spec = "podSelector: {}\npolicyTypes: [Ingress]\negress: [{}]";
    assert!(
        findings(&document(spec))
            .contains(&"policy.unread-rules: the `egress` rules are never read".to_owned())
    );
}

#[test]
fn peers_become_selectors_and_networks() {
    const OWN: &str = r#"projectcalico.org/namespace == "shop""#;
    const K8S: &str = r#"projectcalico.org/orchestrator == "k8s""#;
    let cases = [
        ("[]", vec!["Allow".to_owned()]),
        ("[{ podSelector: {} }]", vec![format!("Allow from ({OWN} && {K8S})")]),
        (
            "[{ podSelector: { matchLabels: { app: web } } }]",
            vec![format!(r#"Allow from ({OWN} && ({K8S} && app == "web"))"#)],
        ),
        (
            "[{ namespaceSelector: {} }]",
            vec![format!("Allow from (has(projectcalico.org/namespace) && {K8S})")],
        ),
        (
            "[{ namespaceSelector: { matchLabels: { team: a, env: b } } }]",
            vec![format!(r#"Allow from ((pcns.env == "b" && pcns.team == "a") && {K8S})"#)],
        ),
        (
            "[{ namespaceSelector: { matchExpressions: [{ key: team, operator: DoesNotExist }] }, podSelector: { matchLabels: { app: web } } }]",
            vec![format!(r#"Allow from (!has(pcns.team) && ({K8S} && app == "web"))"#)],
        ),
        (
            "[{ ipBlock: { cidr: 198.18.0.0/16 } }, { ipBlock: { cidr: '2001:2::/48' } }]",
            vec!["Allow from 198.18.0.0/16".to_owned(), "Allow from 2001:2::/48".to_owned()],
        ),
        (
            "[{ ipBlock: { cidr: 198.18.5.9/16, except: [198.18.1.1/24, 198.18.2.0/24] } }]",
            vec!["Allow from 198.18.0.0/16 !198.18.1.0/24 !198.18.2.0/24".to_owned()],
        ),
    ];
    for (from, expected) in cases {
        let policy =
            policy(&document(&format!("podSelector: {{}}\ningress: [{{ from: {from} }}]")));
        assert_eq!(rules(&policy)[1..], expected, "{from}");
        let egress = document(&format!(
            "podSelector: {{}}\npolicyTypes: [Egress]\negress: [{{ to: {from} }}]"
        ));
        let expected: Vec<String> =
            expected.iter().map(|rule| rule.replace(" from ", " to ")).collect();
        assert_eq!(rules(&crate::policy(&egress))[1..], expected, "{from}");
    }
}

#[test]
fn ports_become_one_rule_for_each_protocol() {
    let cases: [(&str, &[&str]); 11] = [
        ("[]", &["Allow"]),
        ("[{}]", &["Allow tcp"]),
        ("[{ protocol: UDP }]", &["Allow udp"]),
        ("[{ port: 80 }]", &["Allow tcp to :80"]),
        ("[{ port: 8000, endPort: 8100 }]", &["Allow tcp to :8000-8100"]),
        ("[{ port: 80, endPort: 80 }]", &["Allow tcp to :80"]),
        ("[{ port: 82 }, { port: 80 }, { port: 81 }, { port: 90 }]", &["Allow tcp to :80-82 :90"]),
        ("[{ port: web }, { port: 80 }]", &["Allow tcp to :80 :web"]),
        (
            "[{ port: 53, protocol: UDP }, { port: 53 }, { port: 9, protocol: SCTP }]",
            &["Allow sctp to :9", "Allow tcp to :53", "Allow udp to :53"],
        ),
        ("[{ port: 80 }, { protocol: TCP }, { port: web }]", &["Allow tcp"]),
        ("[{ protocol: SCTP, port: 7 }, {}]", &["Allow sctp to :7", "Allow tcp"]),
    ];
    for (ports, expected) in cases {
        let spec = format!("podSelector: {{}}\ningress: [{{ ports: {ports} }}]");
        assert_eq!(rules(&policy(&document(&spec)))[1..], *expected, "{ports}");
    }
}

#[test]
fn every_protocol_meets_every_peer() {
    let policy = policy(&document(
        "podSelector: {}\ningress:\n- from: [{ ipBlock: { cidr: 198.18.0.0/24 } }, { ipBlock: { cidr: 198.18.1.0/24 } }]\n  ports: [{ port: 53 }, { port: 53, protocol: UDP }]\n- ports: [{ port: 22 }]",
    ));
    assert_eq!(
        rules(&policy),
        [
            "ingress",
            "Allow tcp from 198.18.0.0/24 to :53",
            "Allow tcp from 198.18.1.0/24 to :53",
            "Allow udp from 198.18.0.0/24 to :53",
            "Allow udp from 198.18.1.0/24 to :53",
            "Allow tcp to :22",
        ]
    );
}

/// An ingress rule of a policy for all pods.
fn rule(rule: &str) -> String {
    document(&format!("podSelector: {{}}\ningress: [{{ {rule} }}]"))
}

/// Calico never sees these, and the next ones: the server of a cluster refuses them.
#[test]
fn bad_peers_are_refused_with_a_way_out() {
    assert_errors([
        (
            rule("from: [{}]"),
            "the peer names nothing | Kubernetes refuses an empty peer | write `podSelector: {}` for all pods of the namespace, or remove the list of peers for everyone",
        ),
        (
            rule("from: [{ ipBlock: { cidr: 198.18.0.0/16 }, podSelector: {} }]"),
            "a peer is either an `ipBlock` or what selectors select | the peer has an `ipBlock` | write two peers",
        ),
        (
            rule("from: [{ ipBlock: { cidr: 198.18.0.0 } }]"),
            "`198.18.0.0` has no prefix length | not a network | write `198.18.0.0/32`",
        ),
        (
            rule("from: [{ ipBlock: { cidr: everywhere } }]"),
            "`everywhere` is not an IP address | expected an address or a network | names are not looked up: write the addresses",
        ),
        (
            rule("from: [{ ipBlock: { cidr: 198.18.0.0/16, except: [198.18.0.0/16] } }]"),
            "`198.18.0.0/16` is not a part of `198.18.0.0/16` | nothing of the block is excepted by it, or all | except a smaller network that lies in `198.18.0.0/16`",
        ),
        (
            rule("from: [{ ipBlock: { cidr: 198.18.0.0/16, except: [198.19.0.0/24] } }]"),
            "`198.19.0.0/24` is not a part of `198.18.0.0/16` | nothing of the block is excepted by it, or all | except a smaller network that lies in `198.18.0.0/16`",
        ),
    ]);
}

#[test]
fn bad_ports_are_refused_with_a_way_out() {
    assert_errors([
        (
            rule("ports: [{ port: 0 }]"),
            "`port` cannot be 0 | out of range | write a whole number from 1 to 65535",
        ),
        (
            rule("ports: [{ port: '80' }]"),
            "`80` is not the name of a port | expected a number or a name | a number stands without quotes: `port: 80`",
        ),
        (
            rule("ports: [{ port: 8000-8100 }]"),
            "`8000-8100` is not the name of a port | expected a number or a name | a range is written with `port` and `endPort`",
        ),
        (
            rule("ports: [{ port: Web_Port }]"),
            "`Web_Port` is not the name of a port | expected a number or a name | use at most 15 lower-case letters, digits and `-`, with a letter among them",
        ),
        (
            rule("ports: [{ port: a--b }]"),
            "`a--b` is not the name of a port | expected a number or a name | use at most 15 lower-case letters, digits and `-`, with a letter among them",
        ),
        (
            rule("ports: [{ port: web- }]"),
            "`web-` is not the name of a port | expected a number or a name | use at most 15 lower-case letters, digits and `-`, with a letter among them",
        ),
        (
            rule("ports: [{ endPort: 90 }]"),
            "`endPort` needs a number in `port` | the end of a range without a beginning | write the first port of the range in `port`",
        ),
        (
            rule("ports: [{ port: web, endPort: 90 }]"),
            "`endPort` needs a number in `port` | the end of a range without a beginning | write the first port of the range in `port`",
        ),
        (
            rule("ports: [{ port: 90, endPort: 80 }]"),
            "the range from 90 to 80 ends before it begins | lower than `port` | write a port from 90 to 65535",
        ),
        (
            rule("ports: [{ protocol: ICMP }]"),
            "`protocol` cannot be `ICMP` | expected one of `TCP`, `UDP` and `SCTP` | write one of `TCP`, `UDP` and `SCTP`",
        ),
    ]);
}

#[test]
fn bad_fields_and_selectors_are_refused_with_a_way_out() {
    assert_errors([
        (
            rule("form: []"),
            "an ingress rule has no field `form` | unknown field | did you mean `from`?",
        ),
        (
            rule("to: []"),
            "an ingress rule has no field `to` | unknown field | its fields are `from` and `ports`",
        ),
        (
            document("podselector: {}"),
            "a Kubernetes network policy has no field `podselector` | unknown field | did you mean `podSelector`?",
        ),
        (
            document("podSelector: { matchExpressions: [{ key: a, operator: In }] }"),
            "`In` needs `values` | expected at least one value | add `values: [\"...\"]`, or ask with `Exists` whether the label is there",
        ),
        (
            document(
                "podSelector: { matchExpressions: [{ key: a, operator: Exists, values: [x] }] }",
            ),
            "`Exists` takes no `values` | not read with this operator | remove `values`, or write `In` to compare with them",
        ),
        (
            document("podSelector: { matchExpressions: [{ key: a, operator: in, values: [x] }] }"),
            "`operator` cannot be `in` | expected one of `In`, `NotIn`, `Exists` and `DoesNotExist` | did you mean `In`?",
        ),
        (
            document("podSelector: { matchLabels: { app: \"it's\" } }"),
            "`it's` cannot be the value of a label | not a label value | use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
        ),
        (
            document("podSelector: { matchLabels: { 'a) || has(b': x } }"),
            "`a) || has(b` cannot be the name of a label | not the name of a label | use at most 63 letters, digits, `-`, `_` and `.`, and if you like a domain and a `/` before them",
        ),
        (
            document("podSelector: { matchLabels: { replicas: 3 } }"),
            "`replicas` must be a string, not an integer | expected a string | put it in quotes: `\"3\"`",
        ),
        (
            document("podSelector: {}\npolicyTypes: [ingress]"),
            "`policyTypes` cannot be `ingress` | expected one of `Ingress` and `Egress` | did you mean `Ingress`?",
        ),
    ]);
}

#[test]
fn every_mistake_of_a_policy_is_told_at_once() {
    let text = document(
        "podSelector: { matchLabels: { '-': x } }\ningress: [{ from: [{}], ports: [{ port: 0 }] }]\negress: [{ to: [{ ipBlock: {} }] }]",
    );
    assert_eq!(load(&text).findings.iter().filter(|finding| finding.is_error()).count(), 4);
}
