//! How long `ravelin check` takes and how much memory it needs, for large sets and for documents that are made to hurt.
//!
//! `cargo bench -p control --bench check`, or with the name of one case behind `--`. Every case runs in a process of its
//! own, so that its peak of memory is its own.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use control::commands::check::{self, Arguments, Format};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Says to a process of ours which case it runs.
const CASE: &str = "RAVELIN_CHECK_CASE";

/// A case by its name: what it writes into a directory that is there.
type Case = (&'static str, fn(&Path));

const CASES: [Case; 9] = [
    ("10k-policies-100k-sets-toml", |directory| large(directory, "toml")),
    ("10k-policies-100k-sets-yaml", |directory| large(directory, "yaml")),
    ("10k-policies-100k-sets-json", |directory| large(directory, "json")),
    ("10-mb-one-document", |directory| {
        let mut text = String::new();
        for index in 0..110_000 {
            push_set(&mut text, "toml", index);
        }
        text.truncate(text[..10_000_000].rfind("[[").unwrap());
        fs::write(directory.join("a.toml"), text).unwrap();
    }),
    ("10-mb-one-policy", |directory| {
        let rule = "    - {action: Allow, protocol: TCP, source: {selector: \"a == 'b'\"}, destination: {ports: [80]}}\n";
        let text = policy("all()") + "  ingress:\n" + &rule.repeat(10_000_000 / rule.len());
        fs::write(directory.join("a.yaml"), text).unwrap();
    }),
    ("100-parentheses", |directory| {
        let selector = format!("{}all(){}", "(".repeat(100), ")".repeat(100));
        fs::write(directory.join("a.yaml"), policy(&selector)).unwrap();
    }),
    ("selector-of-100-kb", |directory| {
        let selector = vec!["a == 'b'"; 8_400].join(" || ");
        fs::write(directory.join("a.yaml"), policy(&selector)).unwrap();
    }),
    ("alias-bomb", |directory| {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (from, to) in ('a'..'i').zip('b'..'j') {
            let aliases = vec![format!("*{from}"); 9].join(", ");
            writeln!(text, "{to}: &{to} [{aliases}]").unwrap();
        }
        fs::write(directory.join("a.yaml"), text).unwrap();
    }),
    ("a-million-networks", |directory| {
        let mut text =
            "[[globalNetworkSets]]\nname = 'a'\nlabels = {a = 'b'}\nnets = [\n".to_owned();
        for index in 0..1_000_000_u32 {
            let [_, a, b, c] = index.to_be_bytes();
            writeln!(text, "'198.{a}.{b}.{c}',").unwrap();
        }
        fs::write(directory.join("a.toml"), text + "]\n").unwrap();
    }),
];

fn main() {
    if let Ok(directory) = std::env::var(CASE) {
        run(Path::new(&directory));
        return;
    }
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, write) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        let itself = std::env::current_exe().unwrap();
        let output = Command::new(itself).env(CASE, directory.path()).output().unwrap();
        println!("{name:32} {}", String::from_utf8_lossy(&output.stdout).trim());
    }
}

/// Checks what lies in the directory, and says what that took.
fn run(directory: &Path) {
    let mut answer = Vec::new();
    let arguments = Arguments { path: directory.to_owned(), output: Format::Human };
    let start = Instant::now();
    let status = check::run(&arguments, false, &mut answer).unwrap();
    let elapsed = start.elapsed();
    let process = fs::read_to_string("/proc/self/status").unwrap();
    let peak = process.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_mib: u64 = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024;
    let answer = String::from_utf8(answer).unwrap();
    let last = answer.lines().last().unwrap_or_default();
    let (elapsed_ms, cpu_ms) = (elapsed.as_millis(), cpu_ms());
    println!("{elapsed_ms:>6} ms {cpu_ms:>6} ms CPU {peak_mib:>5} MiB  status {status}, {last}");
}

/// What this process has had of the processor: fields 14 and 15 of `proc_pid_stat(5)`, in hundredths of a second.
fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

/// 10,000 policies in 100 files, and 100,000 sets in as many.
fn large(directory: &Path, language: &str) {
    for file in 0..100_u32 {
        let (mut sets, mut policies) = (String::new(), String::new());
        for index in file * 1000..(file + 1) * 1000 {
            push_set(&mut sets, language, index);
        }
        for index in file * 100..(file + 1) * 100 {
            push_policy(&mut policies, language, index);
        }
        for (name, text) in [("sets", sets), ("policies", policies)] {
            let text = match language {
                "json" => format!(
                    "{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{}]}}\n",
                    text.trim_end_matches(",\n")
                ),
                _ => text,
            };
            fs::write(directory.join(format!("{name}-{file:03}.{language}")), text).unwrap();
        }
    }
}

fn push_set(text: &mut String, language: &str, index: u32) {
    let [_, a, b, c] = (index * 16).to_be_bytes();
    let (app, zone) = (index % 2000, index % 7);
    match language {
        "toml" => writeln!(
            text,
            "[[globalNetworkSets]]\nname = \"set-{index}\"\nlabels = {{ app = \"app-{app}\", zone = \"z{zone}\" }}\nnets = [\"198.{a}.{b}.{c}/28\"]\n"
        ),
        "yaml" => writeln!(
            text,
            "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata:\n  name: set-{index}\n  labels:\n    app: app-{app}\n    zone: z{zone}\nspec:\n  nets:\n  - 198.{a}.{b}.{c}/28"
        ),
        _ => writeln!(
            text,
            "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"GlobalNetworkSet\",\"metadata\":{{\"name\":\"set-{index}\",\"labels\":{{\"app\":\"app-{app}\",\"zone\":\"z{zone}\"}}}},\"spec\":{{\"nets\":[\"198.{a}.{b}.{c}/28\"]}}}},"
        ),
    }
    .unwrap();
}

fn push_policy(text: &mut String, language: &str, index: u32) {
    let (app, peer, port) = (index % 2000, (index + 1) % 2000, 1024 + index);
    match language {
        "toml" => writeln!(
            text,
            "[[globalNetworkPolicies]]\nname = \"policy-{index}\"\norder = {index}\nselector = \"app == 'app-{app}'\"\ningress = [\n  {{ action = \"Allow\", protocol = \"TCP\", source = {{ selector = \"app == 'app-{peer}'\" }}, destination = {{ ports = [{port}] }} }},\n]\n"
        ),
        "yaml" => writeln!(
            text,
            "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: policy-{index}\nspec:\n  order: {index}\n  selector: app == 'app-{app}'\n  ingress:\n  - action: Allow\n    protocol: TCP\n    source:\n      selector: app == 'app-{peer}'\n    destination:\n      ports: [{port}]"
        ),
        _ => writeln!(
            text,
            "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"GlobalNetworkPolicy\",\"metadata\":{{\"name\":\"policy-{index}\"}},\"spec\":{{\"order\":{index},\"selector\":\"app == 'app-{app}'\",\"ingress\":[{{\"action\":\"Allow\",\"protocol\":\"TCP\",\"source\":{{\"selector\":\"app == 'app-{peer}'\"}},\"destination\":{{\"ports\":[{port}]}}}}]}}}},"
        ),
    }
    .unwrap();
}

/// A policy in YAML that selects this.
fn policy(selector: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: a\nspec:\n  selector: \"{selector}\"\n"
    )
}
