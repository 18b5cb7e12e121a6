//! A real embargo from list files: seconds from a changed file to the first packet judged by it, and what the daemon and the
//! data plane need for it. `cargo bench --bench embargo` (root); the real programs, real packets, the laboratory's network.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench reports and stops at the first surprise"
)]

#[path = "support/table.rs"]
mod table;

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ravelin::deadline::now;
use ravelin::gateway::Gateway;
use ravelin::scenario::internet::{Internet, Owner};
use ravelin::support::meter::Memory;
use ravelin::topology::Lab;
use table::{Bound, Row, Seen};

const ROUNDS: usize = 3;
/// Countries of the short list.
const SIX: [&str; 6] = ["by", "cu", "ir", "kp", "ru", "sy"];
const PORT: u16 = 5000;
/// One packet in so long: how exactly a moment is known.
const PACE: Duration = Duration::from_millis(1);
/// Nothing within so long means that nothing comes any more.
const SILENCE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_mins(1);
/// The laboratory's embargoed host.
const HOST: &str = "198.18.200.0/24\n";
const LIST: &str = "lists/embargo.cidr";
const EMBARGO: &str = include_str!("../config/policies/embargo.toml");
const SITE: &str = r#"
[[globalNetworkSets]]
name = "servers"
labels = { role = "server" }
nets = ["198.18.70.0/24"]

[[globalNetworkPolicies]]
name = "open"
selector = "role == 'server'"
types = ["Ingress"]
ingress = [{ action = "Allow" }]
"#;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let mut lists = lists();
    lists.retain(|list| words.is_empty() || words.iter().any(|word| list.name.contains(word)));
    let mut seen: Vec<Vec<Figures>> = lists.iter().map(|_| Vec::new()).collect();
    for round in 1..=ROUNDS {
        for (list, seen) in lists.iter().zip(&mut seen) {
            let figures = measure(list);
            println!("round {round}: {}: {figures:.2?}", list.name);
            seen.push(figures);
        }
    }
    let rows: Vec<Row> =
        lists.iter().zip(&seen).flat_map(|(list, seen)| rows(list, seen)).collect();
    for Row { what, unit, ours, .. } in &rows {
        println!("{what}: {:.2} {unit} [{:.2} to {:.2}]", ours.median, ours.min, ours.max);
    }
    table::record("embargo", &rows);
}

/// A list of networks, one a line, without the laboratory's; and documents and lists that are there already when it comes.
struct List {
    name: String,
    text: String,
    others: Vec<(String, String)>,
}

fn lists() -> Vec<List> {
    let countries = Internet::listed_countries().unwrap_or_else(|| {
        println!(
            "no address lists: run benches/peers/prepare; a made world takes the real one's place"
        );
        Internet::synthetic(1.0, &mut Rng::with_seed(7)).countries
    });
    let six: Vec<&Owner> = countries.iter().filter(|it| SIX.contains(&it.code.as_str())).collect();
    let six = if six.is_empty() { countries.iter().skip(20).take(6).collect() } else { six };
    let world: Vec<&Owner> = countries.iter().collect();
    vec![list("six countries", &six), list("the whole world", &world), by_country(&world)]
}

fn list(name: &str, owners: &[&Owner]) -> List {
    let text = owners.iter().map(|owner| lines(owner)).collect();
    List { name: format!("{name}, {} prefixes", count(owners)), text, others: Vec::new() }
}

/// A set and a list file for each country, so that each is a class of its own; the list that changes is beside them.
fn by_country(owners: &[&Owner]) -> List {
    let mut sets = String::new();
    let mut others = Vec::new();
    for owner in owners {
        let code = &owner.code;
        let labels = format!("{{ embargo = \"true\", country = \"{code}\" }}");
        let list = format!("{{ path = \"lists/country-{code}.cidr\" }}");
        let set = format!(
            "[[globalNetworkSets]]\nname = \"country-{code}\"\nlabels = {labels}\nlist = {list}\n"
        );
        sets.push_str(&set);
        // A policy for each, so that no two countries are alike.
        let source = format!("{{ selector = \"country == '{code}'\" }}");
        let rule = format!("{{ action = \"Log\", protocol = \"TCP\", source = {source} }}");
        let policy = format!(
            "[[globalNetworkPolicies]]\nname = \"log-{code}\"\ntier = \"embargo\"\norder = 2\nselector = \"role == 'server'\"\ntypes = [\"Ingress\"]\ningress = [{rule}]\n"
        );
        sets.push_str(&policy);
        others.push((format!("lists/country-{code}.cidr"), lines(owner)));
    }
    others.push(("countries.toml".to_owned(), sets));
    let name = format!("the whole world, a set for each country, {} prefixes", count(owners));
    List { name, text: String::new(), others }
}

fn lines(owner: &Owner) -> String {
    let mut text = format!("# {}\n", owner.code);
    for net in &owner.nets {
        writeln!(text, "{net}").expect("memory");
    }
    text
}

fn count(owners: &[&Owner]) -> usize {
    owners.iter().map(|owner| owner.nets.len()).sum()
}

/// What one gateway showed.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// From a list of one network that is replaced by the whole one and the host's to the first packet that it stops.
    whole_s: f64,
    /// From the whole list without the host's line to the first packet that passes for it.
    line_s: f64,
    /// Peaks of memory.
    daemon_mb: f64,
    data_plane_mb: f64,
}

fn measure(list: &List) -> Figures {
    let lab = Lab::new().expect("a laboratory");
    let mut documents =
        vec![("embargo.toml", EMBARGO), (LIST, "192.0.2.0/24\n"), ("site.toml", SITE)];
    documents.extend(list.others.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let mut gateway = Gateway::new(&lab, &documents).expect("a gateway");
    gateway.start().expect("a policy in force");
    let probe = Probe::between(&lab);
    let whole_s = probe.seconds_until(false, || {
        gateway.write(LIST, &format!("{}{HOST}", list.text)).expect("the list");
    });
    let line_s = probe.seconds_until(true, || {
        gateway.write(LIST, &list.text).expect("the list");
    });
    let peak = |id: Option<u32>| Memory::Peak.of(id.expect("a program that runs"));
    let (daemon_mb, data_plane_mb) = (peak(gateway.control_id()), peak(gateway.dataplane_id()));
    Figures { whole_s, line_s, daemon_mb, data_plane_mb }
}

/// The embargoed host sends to the server without end; each packet has a number.
struct Probe {
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl Probe {
    fn between(lab: &Lab) -> Self {
        let (embargoed, server) = (&lab.embargoed, &lab.server);
        let receiver = server.namespace.run(|| UdpSocket::bind((server.v4, PORT)));
        let sender = embargoed.namespace.run(|| {
            let socket = UdpSocket::bind((embargoed.v4, 0))?;
            socket.connect((server.v4, PORT))?;
            Ok::<_, std::io::Error>(socket)
        });
        let receiver = receiver.expect("a namespace").expect("a socket");
        receiver.set_read_timeout(Some(SILENCE)).expect("a socket");
        Self { sender: sender.expect("a namespace").expect("a socket"), receiver }
    }

    /// Sends while `change` is made; the seconds from its end to the sending of the first packet that passes, or, not to pass,
    /// of the first behind the last one that did.
    fn seconds_until(&self, passes: bool, change: impl FnOnce()) -> f64 {
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let sending = scope.spawn(|| self.send_until(&stop, &sent));
            self.settle(passes);
            change();
            let changed = now();
            let number = if passes { self.first() } else { self.last() + 1 };
            while sent.load(Ordering::Relaxed) <= number {
                thread::sleep(PACE);
            }
            stop.store(true, Ordering::Relaxed);
            let moments = sending.join().expect("a sender");
            let moment = moments.get(usize::try_from(number).expect("few")).expect("it was sent");
            moment.saturating_duration_since(changed).as_secs_f64()
        })
    }

    /// Numbered packets, one each `PACE`; the moments at which they were sent.
    fn send_until(&self, stop: &AtomicBool, sent: &AtomicU64) -> Vec<Instant> {
        let mut moments = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            moments.push(now());
            // Nobody there yet, or a full queue: the packet is lost, as packets are.
            let _ = self.sender.send(&(moments.len() as u64 - 1).to_be_bytes());
            sent.store(moments.len() as u64, Ordering::Relaxed);
            thread::sleep(PACE);
        }
        moments
    }

    /// Waits until packets pass, or until none does; what comes before the change must not be taken for its effect.
    fn settle(&self, passes: bool) {
        if passes {
            while self.receive().is_some() {}
        } else {
            self.first();
        }
    }

    /// The number of the next packet to arrive.
    fn first(&self) -> u64 {
        let begun = now();
        loop {
            if let Some(number) = self.receive() {
                return number;
            }
            assert!(begun.elapsed() < PATIENCE, "no packet passes");
        }
    }

    /// The number of the last packet before silence.
    fn last(&self) -> u64 {
        let begun = now();
        let mut last = self.first();
        while let Some(number) = self.receive() {
            last = number;
            assert!(begun.elapsed() < PATIENCE, "packets pass on and on");
        }
        last
    }

    fn receive(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.receiver.recv(&mut bytes).ok()?;
        Some(u64::from_be_bytes(bytes))
    }
}

fn rows(list: &List, seen: &[Figures]) -> Vec<Row> {
    type Of = fn(&Figures) -> f64;
    let figures: [(&str, &str, Of); 4] = [
        ("the list comes, until the first packet is judged by it", "s", |it| it.whole_s),
        ("a line less, until the first packet is judged by it", "s", |it| it.line_s),
        ("peak memory of the daemon", "MB", |it| it.daemon_mb),
        ("peak memory of the data plane", "MB", |it| it.data_plane_mb),
    ];
    let row = |(what, unit, of): (&str, &'static str, Of)| Row {
        what: format!("{}: {what}", list.name),
        unit,
        ours: Seen::of(seen.iter().map(of).collect()),
        bar: Bound::default(),
        ..Row::default()
    };
    figures.into_iter().map(row).collect()
}
