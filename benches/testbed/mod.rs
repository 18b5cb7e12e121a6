//! Three namespaces in a row, a source, a gateway and a sink, and one of several gateways in the middle.

use std::fmt;
use std::io::Write;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use classifier::compile::{Limits, compile};

use crate::Run;
use crate::support::{ALLOWED_PORT, policy_set};

const FLOWS: u16 = 64;
/// 14 Ethernet + 20 IP + 8 UDP + 18 = 60 bytes, 64 with the frame check sequence.
const PAYLOAD: [u8; 18] = [0; 18];

/// What stands between source and sink.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filter {
    /// Nothing: packets are dropped by an XDP program on the gateway's first port. The cost of sending.
    DropAtXdp,
    /// Nothing: packets are dropped by an nftables ingress hook on the gateway's first port, without XDP.
    DropAtIngress,
    /// Kernel routing, nftables with conntrack, so many rules of which the last allows the traffic.
    Kernel {
        /// Rules.
        rules: u16,
        /// Whether flows were answered before, so that `ct state established accept` takes them.
        established: bool,
    },
    /// The real data plane, a policy of so many rules of which the last allows the traffic.
    Ravelin {
        /// Rules.
        rules: u16,
    },
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropAtXdp => f.write_str("XDP_DROP"),
            Self::DropAtIngress => f.write_str("drop at ingress"),
            Self::Kernel { rules, established: false } => {
                write!(f, "kernel, nft + conntrack, {rules} rules, new")
            }
            Self::Kernel { rules, established: true } => {
                write!(f, "kernel, nft + conntrack, {rules} rules, established")
            }
            Self::Ravelin { rules } => write!(f, "Ravelin, {rules} rules"),
        }
    }
}

/// The namespaces and processes of one run; gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Testbed {
    filter: Filter,
    prefix: String,
    directory: PathBuf,
    data_plane: Option<Child>,
}

impl Testbed {
    /// Builds everything up to the first packet.
    pub(crate) fn new(filter: Filter) -> Self {
        let prefix = format!("rvb{}", std::process::id());
        let directory = std::env::temp_dir().join(&prefix);
        std::fs::create_dir_all(&directory).expect("a directory for the run");
        let mut testbed = Self { filter, prefix, directory, data_plane: None };
        testbed.wire();
        testbed.install();
        testbed
    }

    /// Sends for `duration` and takes the machine's busy time.
    pub(crate) fn run(&self, packets_per_second: u32, duration: Duration) -> Run {
        self.prime();
        // From here on the sink counts and drops: what arrives costs the same behind every gateway.
        self.nft("z", "table netdev sink { chain in { type filter hook ingress device eth0 priority 0;\nudp dport 5000 drop\n}\n}");
        let before = self.arrived();
        let busy = busy_ns();
        let program = std::env::current_exe().expect("this program");
        let arguments = [packets_per_second.to_string(), duration.as_millis().to_string()];
        let output = Command::new("ip")
            .args(["netns", "exec", &self.name("a")])
            .arg(program)
            .arg("--send")
            .args(arguments)
            .output()
            .expect("the sender");
        let busy_ns = busy_ns() - busy;
        assert!(output.status.success(), "sender: {}", String::from_utf8_lossy(&output.stderr));
        let sent = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a count");
        std::thread::sleep(Duration::from_millis(50));
        Run { sent, arrived: self.arrived() - before, busy_ns }
    }

    fn name(&self, role: &str) -> String {
        format!("{}{role}", self.prefix)
    }

    fn wire(&self) {
        for role in ["a", "g", "z"] {
            ip(&format!("netns add {}", self.name(role)));
        }
        for (host, port) in [("a", "g0"), ("z", "g1")] {
            let (host, gateway) = (self.name(host), self.name("g"));
            ip(&format!("link add eth0 netns {host} type veth peer name {port} netns {gateway}"));
            ip(&format!("-n {host} link set eth0 up"));
            ip(&format!("-n {gateway} link set {port} up"));
            run(&format!("ip netns exec {host} ethtool -K eth0 tx off"));
        }
        self.address("a", "198.18.0.1", "198.19.0.0/16", "198.19.0.1", "z", "g0");
        self.address("z", "198.19.0.1", "198.18.0.0/16", "198.18.0.1", "a", "g1");
    }

    /// Behind a router the next hop is its port, on the wire it is the other host itself; both are fixed, no ARP.
    fn address(&self, host: &str, own: &str, net: &str, other: &str, other_host: &str, port: &str) {
        let name = self.name(host);
        ip(&format!("-n {name} addr add {own}/16 dev eth0"));
        let next = match self.filter {
            Filter::Kernel { .. } => self.mac("g", port),
            Filter::DropAtXdp | Filter::DropAtIngress | Filter::Ravelin { .. } => {
                self.mac(other_host, "eth0")
            }
        };
        ip(&format!("-n {name} route add {net} dev eth0"));
        ip(&format!("-n {name} neigh add {other} lladdr {next} dev eth0"));
        if matches!(self.filter, Filter::Kernel { .. }) {
            let gateway = self.name("g");
            let (first, second) = own.rsplit_once('.').expect("an address");
            let _ = second;
            ip(&format!("-n {gateway} addr add {first}.254/16 dev {port}"));
            ip(&format!(
                "-n {gateway} neigh add {own} lladdr {} dev {port}",
                self.mac(host, "eth0")
            ));
        }
    }

    fn mac(&self, role: &str, device: &str) -> String {
        let link = output(&format!("ip -n {} -o link show {device}", self.name(role)));
        let (_, rest) = link.split_once("link/ether ").expect("an Ethernet device");
        rest.split_whitespace().next().expect("an address").to_owned()
    }

    fn install(&mut self) {
        let gateway = self.name("g");
        match self.filter {
            Filter::DropAtXdp => {
                let object = self.directory.join("drop.o");
                compile_drop(&object);
                ip(&format!(
                    "-n {gateway} link set dev g0 xdpdrv object {} section xdp",
                    object.display()
                ));
            }
            Filter::DropAtIngress => {
                self.nft("g", "table netdev door { chain in { type filter hook ingress device g0 priority 0;\ndrop\n}\n}");
            }
            Filter::Kernel { rules, .. } => {
                run(&format!("ip netns exec {gateway} sysctl -qw net.ipv4.ip_forward=1"));
                self.nft("g", &ruleset(rules));
            }
            Filter::Ravelin { rules } => self.start_data_plane(rules),
        }
    }

    /// Starts the data plane on a last good image, as after a restart; it forwards once it is ready.
    fn start_data_plane(&mut self, rules: u16) {
        let image =
            compile(&policy_set(rules), 1, &Limits::default()).expect("a policy that compiles");
        std::fs::write(self.directory.join("last-good.image"), image.bytes())
            .expect("the image on disk");
        let socket = self.directory.join("dataplane.sock");
        let log = std::fs::File::create(self.directory.join("dataplane.log")).expect("a log");
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name("g")])
            .arg(data_plane_binary())
            .args(["--port", "g0:outside", "--port", "g1:inside", "--socket"])
            .arg(&socket)
            .arg("--state-dir")
            .arg(&self.directory)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .expect("the data plane");
        self.data_plane = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !socket.exists() {
            let log = || {
                std::fs::read_to_string(self.directory.join("dataplane.log")).unwrap_or_default()
            };
            assert!(Instant::now() < deadline, "the data plane does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Opens every flow once; with `established`, the sink answers each.
    fn prime(&self) {
        let answers = matches!(self.filter, Filter::Kernel { established: true, .. });
        let program = std::env::current_exe().expect("this program");
        let in_namespace = |role: &str| {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &self.name(role)]).arg(&program);
            command
        };
        let responder = answers.then(|| {
            in_namespace("z").arg("--answer").stdout(Stdio::piped()).spawn().expect("the responder")
        });
        if let Some(responder) = &responder {
            wait_for_line(responder);
        }
        let sender =
            in_namespace("a").args(["--send", "2000", "300"]).output().expect("the sender");
        assert!(sender.status.success());
        if let Some(mut responder) = responder {
            responder.kill().expect("our own child");
            responder.wait().expect("our own child");
        }
    }

    fn arrived(&self) -> u64 {
        let path = "cat /sys/class/net/eth0/statistics/rx_packets";
        output(&format!("ip netns exec {} {path}", self.name("z"))).trim().parse().expect("a count")
    }

    fn nft(&self, role: &str, rules: &str) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name(role), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft");
        child.stdin.take().expect("a pipe").write_all(rules.as_bytes()).expect("nft reads");
        assert!(child.wait().expect("nft ends").success(), "nft refused: {rules}");
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if let Some(mut child) = self.data_plane.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for role in ["a", "g", "z"] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(role)]).status();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The sender's own program: 64 flows in turn, paced.
pub(crate) fn send(arguments: &[String]) {
    let number =
        |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok()).expect("a number");
    let (rate, duration) = (number(2), Duration::from_millis(u64::from(number(3))));
    let sockets: Vec<UdpSocket> = (0..FLOWS).map(|flow| flow_socket(40_000 + flow)).collect();
    let start = Instant::now();
    let mut sent: u64 = 0;
    while start.elapsed() < duration {
        let due = start.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        while u128::from(sent) < due {
            let flow = usize::try_from(sent % u64::from(FLOWS)).expect("a flow");
            // A full queue is not an error of the bench: the packet counts as not sent.
            if sockets.get(flow).expect("a socket").send(&PAYLOAD).is_err() {
                break;
            }
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    println!("{sent}");
}

/// Answers every packet, until it is ended.
pub(crate) fn answer() {
    let socket = UdpSocket::bind(("198.19.0.1", ALLOWED_PORT)).expect("the port");
    println!("ready");
    let mut buffer = [0; 64];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
    }
}

fn flow_socket(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(("198.18.0.1", port)).expect("a port");
    socket.connect(("198.19.0.1", ALLOWED_PORT)).expect("the sink");
    socket
}

fn ruleset(rules: u16) -> String {
    let last = std::iter::once(ALLOWED_PORT);
    let ports = (1..rules).map(|n| 20_000 + n).chain(last);
    let line =
        |port| format!("ip saddr 198.18.0.0/16 ip daddr 198.19.0.0/16 udp dport {port} accept\n");
    let lines = ports.map(line).collect::<Vec<_>>().concat();
    format!(
        "table ip filter {{ chain forward {{ type filter hook forward priority 0; policy drop;\n\
         ct state established accept\n{lines}}}\n}}"
    )
}

fn compile_drop(object: &std::path::Path) {
    let source = "#include <linux/bpf.h>\n\
        __attribute__((section(\"xdp\"), used)) int drop(struct xdp_md *context) { return XDP_DROP; }\n\
        char terms[] __attribute__((section(\"license\"), used)) = \"GPL\";\n";
    let mut clang = Command::new("clang")
        .args([
            "-O2",
            "-g",
            "-target",
            "bpf",
            "-I",
            "/usr/include/x86_64-linux-gnu",
            "-x",
            "c",
            "-c",
            "-",
            "-o",
        ])
        .arg(object)
        .stdin(Stdio::piped())
        .spawn()
        .expect("clang");
    clang.stdin.take().expect("a pipe").write_all(source.as_bytes()).expect("clang reads");
    assert!(clang.wait().expect("clang ends").success());
}

fn data_plane_binary() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/release/ravelin-dataplane");
    assert!(path.exists(), "{} is missing: run `cargo build --release` first", path.display());
    path
}

fn wait_for_line(child: &Child) {
    // The pipe stays with the child; its first line is all that matters here.
    let path = format!("/proc/{}/net/udp", child.id());
    let deadline = Instant::now() + Duration::from_secs(5);
    while !std::fs::read_to_string(&path).is_ok_and(|table| table.contains(":1388")) {
        assert!(Instant::now() < deadline, "the responder does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Nanoseconds that all processors were busy since boot.
fn busy_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").expect("/proc/stat");
    let line = stat.lines().next().expect("a first line");
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, iowait), irq, softirq
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    busy * 10_000_000
}

fn ip(arguments: &str) {
    run(&format!("ip {arguments}"));
}

fn run(command: &str) {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().expect("a program");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn output(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().expect("a program");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
