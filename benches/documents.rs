//! From a changed file to the policy in force: what control does with an estate of documents, and how long it takes.
//! `cargo bench --bench documents`.
//!
//! The corporate estate is written as policy documents and list files; then a prefix is added to or taken from one file,
//! again and again, and each time the reconciler reads, compares, changes and publishes to a data plane's real socket. What
//! the daemon waits before that, until the directory has been quiet, comes on top and is said beside the figures.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "benches stop at the first surprise, look at the clock, and print what they saw"
)]

#[path = "support/table.rs"]
mod table;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use classifier::resource::{Action, Object, Policy, PolicySet, Rule, TierAction};
use control::images::Images;
use control::inventory::{self, Known};
use control::reconcile::Reconciler;
use control::resolve::Gateway;
use control::settings::Settings;
use dataplane::handover::{Handover, Peers, Server};
use dataplane::policy::PolicySlot;
use ravelin::scenario::corporate::corporate;
use table::{Bound, Row, Seen};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often a file changes; and how large the estate is, 1 being 1.37 million prefixes.
const CHANGES: &str = "RAVELIN_DOCUMENT_CHANGES";
const SCALE: &str = "RAVELIN_CHANGE_SCALE";
const RULES: usize = 10_000;
/// Sets in one document; policies in one document. A set of more prefixes than this has a list file.
const SETS_PER_FILE: usize = 500;
const POLICIES_PER_FILE: usize = 50;
const NETS_WRITTEN_MAX: usize = 200;
/// What `watch` waits for quiet.
const QUIET_MS: f64 = 100.0;

fn main() {
    let number = |name: &str, default: f64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let directory = tempfile::tempdir().expect("a directory");
    let scenario = corporate(7, number(SCALE, 1.0), RULES);
    let files = write_estate(&scenario.set, &directory.path().join("policies"));
    let size = scenario.size();
    drop(scenario);
    println!("{size:?} in {files} files");
    phases(&directory.path().join("policies"));
    let slot = Arc::new(PolicySlot::new());
    let stop = AtomicBool::new(false);
    let server = Server::bind(&directory.path().join("dataplane.sock"), Peers::default());
    let server = server.expect("a socket");
    let publisher = Arc::clone(&slot);
    let publish = Box::new(move |image| publisher.publish(image));
    let mut handover = Handover::new(directory.path(), 1 << 30, publish, Box::new(|_| {}));
    handover.start(SystemTime::now()).expect("nothing there yet");
    thread::scope(|scope| {
        scope.spawn(|| handover.run(&server, &stop));
        measure(directory.path(), &slot, number(CHANGES, 100.0) as usize);
        stop.store(true, Ordering::Relaxed);
    });
}

/// Where the time of a reading goes.
fn phases(policies: &Path) {
    let (gateway, mut known) = (Gateway::default(), Known::default());
    for what in ["every document is new", "nothing has changed"] {
        let began = Instant::now();
        let loaded = inventory::load_again(policies, &gateway, &mut known);
        let took = began.elapsed();
        let count = loaded.findings.len();
        println!("read, {what}: {:.0} ms, {count} findings", took.as_secs_f64() * 1e3);
        let first = loaded.findings.first().map(|finding| &finding.message);
        assert!(loaded.policy_set.is_some(), "{first:?}");
    }
}

fn measure(directory: &Path, slot: &PolicySlot, count: usize) {
    let mut reconciler = reconciler(directory);
    let policies = directory.join("policies");
    let mut times = Vec::new();
    let in_force = || slot.image().map_or(0, |image| image.generation());
    for round in 0..=count {
        if round > 0 {
            fs::write(policies.join("canary.toml"), canary(round % 2 == 0)).expect("a file");
        } else {
            fs::write(policies.join("canary.toml"), canary(true)).expect("a file");
        }
        let generation = in_force();
        let began = Instant::now();
        reconciler.load(jiff::Timestamp::UNIX_EPOCH);
        let loaded = began.elapsed().as_secs_f64() * 1e3;
        assert!(reconciler.reconcile(), "{:?}", reconciler.report().snapshot());
        let took = began.elapsed().as_secs_f64() * 1e3;
        assert!(in_force() > generation, "round {round}: nothing came into force");
        if round == 0 {
            println!("first: read, compile {loaded:.0} ms, in force {took:.0} ms");
        } else {
            times.push(took);
        }
    }
    let image = slot.image().expect("a policy");
    println!("base {}, generation {}", image.base_generation(), image.generation());
    report(times);
}

fn report(mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    for (share, name) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
        println!("a file has changed until it is in force, {name}: {:.0} ms", at(share));
    }
    let what = "a document changed to in force, 10k rules, 1.37M prefixes, quiet awaited, p99";
    let ours = Seen::of(vec![at(0.99) + QUIET_MS]);
    let [bar, goal] = [1_000.0, 100.0].map(|most| Bound { at_most: Some(most), times_peer: None });
    table::record(
        "documents",
        &[Row { what: what.to_owned(), unit: "ms", ours, bar, goal, peer: None }],
    );
}

fn reconciler(directory: &Path) -> Reconciler {
    let settings = directory.join("ravelin.toml");
    let text = "\
        gateway = { name = 'gw1' }\n\
        ports = [{ interface = 'eth0', side = 'outside' }, { interface = 'eth1', side = 'inside' }]\n\
        policy = { directory = 'policies' }\n\
        dataplane = { socket = 'dataplane.sock', stateDir = 'state' }\n\
        control = { socket = 'control.sock', stateDir = 'daemon' }\n\
        flowlog = { path = 'flows.jsonl' }\n";
    fs::write(&settings, text).expect("a file");
    let settings = Settings::load(&settings).expect("good settings");
    let images = Images::open(&directory.join("images")).expect("a directory");
    Reconciler::new(settings, images)
}

/// A document of one set.
fn canary(has_more: bool) -> String {
    let more = if has_more { ", '198.18.77.0/24'" } else { "" };
    format!(
        "[[globalNetworkSets]]\nname = 'canary'\nlabels = {{ app = 'app-1' }}\n\
         nets = ['198.18.76.0/24'{more}]\n"
    )
}

/// Returns how many files there are.
fn write_estate(set: &PolicySet, directory: &Path) -> usize {
    fs::create_dir_all(directory.join("lists")).expect("a directory");
    let mut files = 0;
    let mut write = |name: String, text: String| {
        fs::write(directory.join(name), text).expect("a file");
        files += 1;
    };
    let mut tiers = String::new();
    for tier in set.tiers.iter().filter(|tier| tier.default_action == TierAction::Pass) {
        let (name, order) = (&tier.name, tier.order.unwrap_or(1_000.0));
        let _ = writeln!(
            tiers,
            "[[tiers]]\nname = '{name}'\norder = {order}\ndefaultAction = 'Pass'\n"
        );
    }
    write("a-tiers.toml".to_owned(), tiers);
    for (number, sets) in set.objects.chunks(SETS_PER_FILE).enumerate() {
        let text = sets.iter().map(|object| object_text(object, &mut write)).collect();
        write(format!("sets-{number}.toml"), text);
    }
    for (number, policies) in set.policies.chunks(POLICIES_PER_FILE).enumerate() {
        let text = policies.iter().map(policy_text).collect();
        write(format!("policies-{number}.toml"), text);
    }
    files
}

fn object_text(object: &Object, write: &mut impl FnMut(String, String)) -> String {
    let labels = object.labels.iter().map(|(name, value)| format!("{name} = '{value}'"));
    let labels = labels.collect::<Vec<_>>().join(", ");
    let name = &object.name;
    let mut text = format!("[[globalNetworkSets]]\nname = '{}'\n", name.to_lowercase());
    let _ = writeln!(text, "labels = {{ {labels} }}");
    let nets = object.nets.iter().map(ToString::to_string);
    if object.nets.len() > NETS_WRITTEN_MAX {
        let list = format!("lists/{name}.cidr");
        let _ = writeln!(text, "list = {{ path = '{list}' }}\n");
        write(list, nets.collect::<Vec<_>>().join("\n"));
    } else {
        let nets = nets.map(|net| format!("'{net}'")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "nets = [{nets}]\n");
    }
    text
}

fn policy_text(policy: &Policy) -> String {
    let rules = policy.ingress.iter().map(rule_text).collect::<String>();
    format!(
        "[[globalNetworkPolicies]]\nname = '{}'\ntier = '{}'\norder = {}\nselector = '{}'\n\
         types = ['Ingress']\ningress = [\n{rules}]\n\n",
        policy.name,
        policy.tier,
        policy.order.unwrap_or(1_000.0),
        policy.selector
    )
}

fn rule_text(rule: &Rule) -> String {
    let action = if rule.action == Action::Allow { "Allow" } else { "Deny" };
    let protocol = if rule.protocol.is_some() { ", protocol = 'TCP'" } else { "" };
    let source = rule.source.selector.as_ref();
    let source = source.map_or(String::new(), |it| format!(", source = {{ selector = '{it}' }}"));
    let ports = rule.destination.ports.iter().map(|range| range.first.to_string());
    let ports = ports.collect::<Vec<_>>().join(", ");
    let to = if ports.is_empty() {
        String::new()
    } else {
        format!(", destination = {{ ports = [{ports}] }}")
    };
    format!("  {{ action = '{action}'{protocol}{source}{to} }},\n")
}
