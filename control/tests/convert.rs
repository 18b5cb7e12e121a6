//! A document means the same in every language that it is converted to, and `fmt` changes how selectors are spelt only.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use control::diagnostic::{any_error, render_human};
use control::inventory;
use control::resolve::Gateway;

const LANGUAGES: [&str; 3] = ["toml", "yaml", "json"];

/// Everything that can be written, in words that YAML takes for something else.
const ODD: &str = r#"
[[tiers]]
name = "odd"
order = 2.5
defaultAction = "Pass"

[[globalNetworkSets]]
name = "7"
labels = { role = "yes", "a.b/c" = "1.10", n = "0x1f", empty = "", e = "1e3", o = "010" }
nets = ["2001:2::/48", "198.18.0.1"]

[globalNetworkSets.annotations]
colon = "a: b #c"
quotes = "it's \"so\" \\ "
control = "tab\t line\n\u0001\u007f\u0085\ufeff"
signs = "- {[*&!|>%@`"
null = "null"
wide = "é \U0001F980"

[[hostEndpoints]]
name = "yes"
node = "1.2"
labels = {}
expectedIPs = ["198.18.0.2"]

[[globalNetworkPolicies]]
name = "odd.on"
tier = "odd"
order = -1e300
labels = { team = "n" }
selector = "(role in {'yes', \"it's\"}) || !has(a.b/c)"
types = ["Egress", "Ingress"]
egress = []
ingress = [
  { action = "Log", metadata = { annotations = { selector = "a" } } },
  { action = "Allow", protocol = 17, notProtocol = "TCP", ipVersion = 4, source = { notSelector = "all()", selector = "" }, destination = { ports = [1, "2:3", "4"], notPorts = [5] } },
  { action = "Deny", protocol = "ICMP", icmp = { type = 8, code = 0 }, source = { notNets = ["198.18.0.0/16"] } },
]

[[networkSets]]
name = "no"
namespace = "null"
labels = { role = "off" }
nets = ["198.18.3.0/24"]

[[profiles]]
name = "1.5"
labelsToApply = { side = "no" }
ingress = [{ action = "Allow", protocol = "UDP", destination = { ports = [53] } }]

[[hostEndpoints]]
name = "own"
node = "gw1"
interfaceName = "*"
expectedIPs = ["2001:2::5"]
profiles = ["1.5", "projectcalico-default-allow"]
ports = [{ name = "n", protocol = 17, port = 53 }, { name = "y", protocol = "SCTP", port = 1 }]

[[globalNetworkPolicies]]
name = "y.yes"
namespaceSelector = "has( x )"
serviceAccountSelector = "all()"
applyOnForward = true
doNotTrack = true
preDNAT = false
performanceHints = ["AssumeNeededOnEveryNode"]
egress = [
  { action = "Pass", destination = { services = { name = "on", namespace = "off" } } },
]
ingress = [
  { action = "Allow", http = { methods = ["GET", "no"], paths = [{ exact = "/:" }, { prefix = "/~" }] } },
]

[[networkPolicies]]
name = "1e3"
namespace = "0x1f"
tier = "odd"
serviceAccountSelector = "x == 'yes'"
ingress = [
  { action = "Allow", source = { namespaceSelector = "global()", serviceAccounts = { names = ["no", "1"], selector = "has(a)" } }, destination = { ports = ["n", "y"] } },
  { action = "Log", notICMP = { type = 0 }, source = { services = { name = "true" } } },
]

[[stagedGlobalNetworkPolicies]]
name = "odd.on"
stagedAction = "Delete"
tier = "odd"

[[stagedNetworkPolicies]]
name = "1e3"
namespace = "0x1f"
stagedAction = "Learn"
selector = "a == '1'"

[[stagedNetworkPolicies]]
name = "2"
stagedAction = ""
ingress = [{ action = "Deny" }]

[[kubernetesNetworkPolicies]]
name = "yes"
namespace = "no"
podSelector = { matchLabels = { "a.b/c" = "1" }, matchExpressions = [{ key = "on", operator = "In", values = ["off", "1.0"] }] }
policyTypes = ["Ingress"]
ingress = [
  { from = [{ namespaceSelector = {} }, { ipBlock = { cidr = "198.18.0.0/16", except = ["198.18.1.0/24"] } }], ports = [{ protocol = "UDP", port = 53, endPort = 60 }, { port = "n" }] },
]
"#;

#[test]
fn documents_mean_the_same_in_every_language() {
    let directory = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config");
    fs::create_dir(directory.path().join("lists")).unwrap();
    for list in config.join("policies/lists").read_dir().unwrap().map(|entry| entry.unwrap().path())
    {
        let copy = directory.path().join("lists").join(list.file_name().unwrap());
        fs::copy(&list, copy).unwrap();
    }
    let odd = directory.path().join("odd.toml");
    fs::write(&odd, ODD).unwrap();
    let mut originals = vec![odd];
    for shipped in ["policies", "examples/calico"] {
        let files = config.join(shipped).read_dir().unwrap().map(|entry| entry.unwrap().path());
        originals.extend(files.filter(|file| file.is_file()));
    }
    assert!(originals.len() >= 10, "{originals:?}");
    for original in originals {
        let expected = image(&original);
        let canonical = convert(&original, "toml");
        for language in LANGUAGES {
            let converted = directory.path().join("converted").with_extension(language);
            fs::write(&converted, convert(&original, language)).unwrap();
            let case = format!("{} in {language}", original.display());
            assert!(image(&converted).same_policy(&expected), "{case}");
            assert_eq!(convert(&converted, "toml"), canonical, "{case}: something is lost");
            let again = convert(&converted, language);
            assert_eq!(again, fs::read_to_string(&converted).unwrap(), "{case}: not stable");
        }
    }
}

#[test]
fn what_is_lost_in_conversion_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    let set = "[[globalNetworkSets]]\nname = 'a'\nlabels = { x = 'a' }\nannotations = { n = '#1' }\nnets = ['198.18.0.0/24']\n";
    let said = |text: &str| {
        fs::write(&file, text).unwrap();
        let output = ravelin(&["convert", "--to", "yaml", file.to_str().unwrap()]);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(said(set), (0, String::new()));
    let (status, words) = said(&format!("{set}# why\n"));
    assert_eq!(status, 0);
    assert!(words.contains("comments"), "{words}");
    let (status, words) = said("[[globalNetworkSets]]\nnam = 'a'\n");
    assert_eq!(status, 1);
    assert!(words.contains("did you mean `name`?"), "{words}");
}

#[test]
fn fmt_rewrites_selectors_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let toml = "# why\n[[globalNetworkPolicies]]\nname   = 'p' # odd\nselector = \"b in {'y','x'}   && a=='é'\"\ningress = [ {action='Allow', source={selector='''has( a )'''}}]\n";
    let yaml = "# why\napiVersion:   projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p, annotations: {selector: a=='b'}}\nspec:\n  selector: b in {'y','x'}   && a=='é' # odd\n  ingress:\n  - {action: Allow, source: {notSelector: \"has( a )\", selector: ''}}\n";
    let json = "{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"GlobalNetworkPolicy\",\n\n \"metadata\": {\"name\":\"p\"}, \"spec\": {\"selector\":   \"b in {'y','x'}   && a=='\\u00e9'\"}}\n";
    for (name, before, old_and_new) in [
        (
            "a.toml",
            toml,
            [
                ("\"b in {'y','x'}   && a=='é'\"", "'(b in {\"x\", \"y\"} && a == \"é\")'"),
                ("'''has( a )'''", "\"has(a)\""),
            ],
        ),
        (
            "b.yaml",
            yaml,
            [
                ("b in {'y','x'}   && a=='é'", "'(b in {\"x\", \"y\"} && a == \"é\")'"),
                ("\"has( a )\"", "'has(a)'"),
            ],
        ),
        (
            "c.json",
            json,
            [
                (
                    "\"b in {'y','x'}   && a=='\\u00e9'\"",
                    "\"(b in {\\\"x\\\", \\\"y\\\"} && a == \\\"é\\\")\"",
                ),
                ("\n\n", "\n\n"),
            ],
        ),
    ] {
        let file = directory.path().join(name);
        fs::write(&file, before).unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(ravelin(&["fmt", "--check", path]).status.code(), Some(1), "{name}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "--check has written");
        let output = ravelin(&["fmt", path]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let expected =
            old_and_new.iter().fold(before.to_owned(), |text, (old, new)| text.replace(old, new));
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        let output = ravelin(&["fmt", "--check", path]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{name}: not stable");
    }
}

#[test]
fn fmt_writes_nothing_when_a_document_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let good = "[[globalNetworkPolicies]]\nname = 'p'\nselector = \"a=='b'\"\n";
    fs::write(directory.path().join("a.toml"), good).unwrap();
    fs::write(directory.path().join("b.toml"), "[[globalNetworkPolicies]]\nselector = \"a='b'\"\n")
        .unwrap();
    let output = ravelin(&["fmt", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nothing is changed"));
    assert_eq!(fs::read_to_string(directory.path().join("a.toml")).unwrap(), good);
    assert_eq!(directory.path().read_dir().unwrap().count(), 2);
}

fn convert(file: &Path, to: &str) -> String {
    let output = ravelin(&["convert", "--to", to, file.to_str().unwrap()]);
    assert!(output.status.success(), "{}: {output:?}", file.display());
    String::from_utf8(output.stdout).unwrap()
}

fn ravelin(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ravelin")).args(arguments).output().unwrap()
}

fn image(path: &Path) -> Image {
    let gateway = Gateway { name: "gw1".to_owned(), takes_http: true, ..Gateway::default() };
    let loaded = inventory::load(path, &gateway);
    assert!(!any_error(&loaded.findings), "{}", render_human(&loaded.findings, false));
    compile(&loaded.policy_set.unwrap(), 1, &Limits::default()).unwrap()
}
