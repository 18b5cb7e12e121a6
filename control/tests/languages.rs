//! The same policy in every language: a document means what its twin means, and no size or shape is beyond an answer.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use control::commands::check::{self, Arguments, CLEAN, Format, REFUSED};
use control::diagnostic::render_human;
use control::inventory;
use control::resolve::Gateway;

#[test]
fn calico_twins_of_shipped_policies_are_the_same_policy() {
    for (twin, shipped) in [
        ("examples/calico/noc-ssh.yaml", "policies/noc-ssh.toml"),
        ("examples/calico/noc-ssh.json", "policies/noc-ssh.toml"),
        ("examples/calico/three-tiers.yaml", "policies/three-tiers.toml"),
    ] {
        let twin = config().join(twin);
        assert!(image(&twin).same_policy(&image(&config().join(shipped))), "{}", twin.display());
    }
}

#[test]
fn files_of_all_languages_are_one_set_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let set = |kind: &str, name: &str| {
        format!(
            "{{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"{kind}\", \"metadata\": {{\"name\": \"{name}\", \"labels\": {{\"a\": \"b\"}}}}, \"spec\": {{\"nets\": [\"198.18.0.0/16\"]}}}}"
        )
    };
    fs::write(directory.path().join("1.json"), set("GlobalNetworkSet", "json")).unwrap();
    fs::write(directory.path().join("2.yml"), set("GlobalNetworkSet", "yml")).unwrap();
    fs::write(
        directory.path().join("3.toml"),
        "[[globalNetworkSets]]\nname = 'toml'\nlabels = { a = 'b' }\nnets = ['198.18.0.0/16']\n",
    )
    .unwrap();
    fs::write(directory.path().join("4.yaml"), set("GlobalNetworkSet", "yaml")).unwrap();
    let loaded = inventory::load(directory.path(), &Gateway::default());
    assert!(loaded.findings.is_empty(), "{}", render_human(&loaded.findings, false));
    let objects = loaded.policy_set.unwrap().objects;
    let names: Vec<&str> = objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["json", "toml", "yaml", "yml"]);

    fs::write(directory.path().join("5.yaml"), set("GlobalNetworkSet", "toml")).unwrap();
    let loaded = inventory::load(directory.path(), &Gateway::default());
    assert!(loaded.policy_set.is_none());
    let finding = &loaded.findings[0];
    assert_eq!(finding.code, "name.duplicate");
    assert!(finding.place.as_ref().unwrap().file().ends_with("5.yaml"));
}

#[test]
fn places_are_exact_in_every_language() {
    let places = |name: &str, text: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        fs::write(&file, text).unwrap();
        let found = inventory::load(&file, &Gateway::default()).findings;
        let place = |finding: &control::diagnostic::Diagnostic| {
            let place = finding.place.as_ref().unwrap();
            (place.line(), place.column(), text.get(place.span()).unwrap().to_owned())
        };
        found.iter().map(place).collect::<Vec<_>>()
    };
    let yaml = "# é\r\napiVersion: projectcalico.org/v3\r\nkind: GlobalNetworkSet\r\nmetadata: {name: 'é', labels: {}}\r\nspec:\r\n  nets:\r\n  - 198.18.0.0/16 # ü\r\n  - \"198.18.0.0/33\"\r\n  nots: 1\r\n";
    let expected = [(4, 18, "'é'"), (8, 5, "\"198.18.0.0/33\""), (9, 3, "nots")];
    assert_eq!(places("a.yaml", yaml), expected.map(|(l, c, t)| (l, c, t.to_owned())));
    let bom = format!("\u{feff}{yaml}");
    assert_eq!(places("a.yaml", &bom), expected.map(|(l, c, t)| (l, c, t.to_owned())));
    let json = "{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"Tier\",\n\t\"metadata\": {\"name\": \"é\"},\n\t\"spec\": {\"order\": \"ü\", \"x\": 1}}";
    let expected = [(2, 23, "\"é\""), (3, 20, "\"ü\""), (3, 25, "\"x\"")];
    assert_eq!(places("a.json", json), expected.map(|(l, c, t)| (l, c, t.to_owned())));
}

#[test]
fn words_that_kubectl_takes_for_something_else_are_no_strings() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    for (word, taken) in [
        ("noc", true),
        ("\"yes\"", true),
        ("'1.10'", true),
        ("v1", true),
        ("1.2.3", true),
        ("!!str 5", true),
        ("198.18.0.1", true),
        ("-", false),
        ("yes", false),
        ("Off", false),
        ("n", false),
        ("1", false),
        ("1.10", false),
        ("1e3", false),
        ("010", false),
        ("0x1f", false),
        ("1_000", false),
        (".inf", false),
        ("~", false),
        ("", false),
        ("[a]", false),
    ] {
        fs::write(&file, format!("apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata:\n  name: a\n  labels:\n    role: {word}\nspec:\n  nets: [198.18.0.0/24]\n")).unwrap();
        let loaded = inventory::load(&file, &Gateway::default());
        assert_eq!(loaded.policy_set.is_some(), taken, "{word}: {:?}", loaded.findings);
    }
}

#[test]
fn what_only_calicos_newest_release_limits_is_taken_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    let rule = |source: &str| {
        format!("ingress = [{{ action = 'Allow', protocol = 'TCP', source = {{ {source} }} }}]")
    };
    let nets = |count: u32| {
        let nets = (0..count).map(|n| format!("'198.18.{}.{}/32'", n >> 8, n & 255));
        rule(&format!("nets = [{}]", nets.collect::<Vec<_>>().join(", ")))
    };
    let ports = |count: u32| {
        let ports = (1..=count).map(|port| port.to_string());
        rule(&format!("notPorts = [{}]", ports.collect::<Vec<_>>().join(", ")))
    };
    let rules = |count: usize| format!("egress = [{}]", "{ action = 'Deny' }, ".repeat(count));
    let selector = |length: usize| format!("selector = \"a == '{}'\"", "b".repeat(length - 7));
    for (at_most, more) in [
        (nets(256), nets(257)),
        (ports(50), ports(51)),
        (rules(1024), rules(1025)),
        (selector(1024), selector(1025)),
    ] {
        for (fields, expected) in [(at_most, 0), (more, 1)] {
            fs::write(&file, format!("[[globalNetworkPolicies]]\nname = 'a'\n{fields}\n")).unwrap();
            let loaded = inventory::load(&file, &Gateway::default());
            assert!(loaded.policy_set.is_some());
            let warned = loaded.findings.iter().filter(|finding| finding.code == "size.calico");
            assert_eq!(warned.count(), expected, "{}", &fields[..40]);
        }
    }
}

/// Each with what its answer must hold.
#[test]
fn shapes_made_to_hurt_are_answered() {
    let policy = |selector: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: a\nspec:\n  selector: \"{selector}\"\n"
        )
    };
    let parentheses = format!("{}all(){}", "(".repeat(100), ")".repeat(100));
    let long = vec!["a == 'b'"; 10_000].join(" || ");
    let mut sets = String::new();
    for index in 0..60_000_u32 {
        let [_, _, a, b] = index.to_be_bytes();
        writeln!(sets, "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata:\n  name: set-{index}\n  labels: {{role: db}}\nspec:\n  nets: [198.18.{a}.{b}/32, 198.19.{a}.{b}/32]\n").unwrap();
    }
    let line = format!("{{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": [{}{{}}]}}", "{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"Tier\", \"metadata\": {\"name\": \"é!\"}},".repeat(120_000));
    let cases: [(&str, &str, String, &str); 13] = [
        ("100 parentheses", "yaml", policy(&parentheses), "nested"),
        ("a selector of 100 kB", "yaml", policy(&long), "very long"),
        ("100 levels of lists", "yaml", "[".repeat(101), "nested deeper than 100 levels"),
        ("a million levels", "yaml", "[".repeat(1_000_000), "nested deeper than 100 levels"),
        ("a million block levels", "yaml", "- ".repeat(1_000_000), "nested deeper than 100 levels"),
        ("a million keys to come", "yaml", "? ".repeat(1_000_000), "a key must be a word"),
        (
            "a million levels of JSON",
            "json",
            "[".repeat(1_000_000),
            "nested deeper than 100 levels",
        ),
        (
            "a million open objects",
            "json",
            "{\"a\":".repeat(1_000_000),
            "nested deeper than 100 levels",
        ),
        ("10 MB of resources", "yaml", sets, "ok: 0 policies, 60000 objects"),
        (
            "10 MB of wrong fields",
            "yaml",
            (0..500_000).fold(policy("all()"), |mut text, n| {
                writeln!(text, "  some-field-{n}: 1").unwrap();
                text
            }),
            "more findings",
        ),
        ("10 MB of one word", "yaml", "a".repeat(10_000_000), "expected a resource"),
        ("10 MB of quotes", "yaml", "\"".repeat(10_000_000), "not YAML"),
        ("10 MB of JSON on one line", "json", line, "cannot be a name"),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (what, language, text, expected) in cases {
        let file = directory.path().join("a").with_extension(language);
        fs::write(&file, text).unwrap();
        let mut out = Vec::new();
        let arguments = Arguments { path: file, output: Format::Human };
        let status = check::run(&arguments, false, &mut out).unwrap();
        let answer = String::from_utf8(out).unwrap();
        let head: String = answer.chars().take(3000).collect();
        assert!(answer.contains(expected), "{what}: {head}");
        assert!(answer.len() < 2_000_000, "{what}: an answer of {} bytes", answer.len());
        assert!(status == CLEAN || status == REFUSED, "{what}: {status}");
    }
}

fn image(path: &Path) -> Image {
    let loaded = inventory::load(path, &Gateway::default());
    assert!(loaded.findings.is_empty(), "{}", render_human(&loaded.findings, false));
    compile(&loaded.policy_set.unwrap(), 1, &Limits::default()).unwrap()
}

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config")
}
