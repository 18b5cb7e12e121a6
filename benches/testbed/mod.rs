//! Three namespaces in a row, a source, a gateway and a sink, and one of several gateways in the middle.

mod cost;
mod estate;
mod gateway;
mod hosts;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use classifier::compile::{Limits, compile};

pub(crate) use self::estate::Estate;
pub(crate) use self::gateway::{Gateway, Traffic};
pub(crate) use self::hosts::{answer, send};
use crate::Run;
use ravelin::support::{ALLOWED_PORT, policy_set};

/// Of the 600 packets that open flows so many must arrive, in so many attempts.
const PRIMED: u64 = 590;
const PRIMES_MAX: usize = 20;

/// The namespaces and processes of one run; gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Testbed {
    gateway: Gateway,
    prefix: String,
    directory: PathBuf,
    data_plane: Option<Child>,
}

impl Testbed {
    /// Builds everything up to the first packet.
    pub(crate) fn new(gateway: Gateway) -> Self {
        let prefix = format!("rvb{}", std::process::id());
        let directory = std::env::temp_dir().join(&prefix);
        std::fs::create_dir_all(&directory).expect("a directory for the run");
        let mut testbed = Self { gateway, prefix, directory, data_plane: None };
        testbed.wire();
        testbed.install();
        testbed
    }

    /// Sends for `duration` and takes what that cost.
    pub(crate) fn run(&self, traffic: Traffic, rate: u32, duration: Duration) -> Run {
        self.prime(traffic);
        // From here on the sink counts and drops: what arrives costs the same behind every gateway.
        self.nft("z", "table netdev sink { chain in { type filter hook ingress device eth0 priority 0;\nudp dport 5000 drop\n}\n}");
        let before = self.arrived();
        let busy = cost::busy_ns();
        let own = self.own_ns();
        let mut sender = self.command("a", "--send");
        sender.args([rate.to_string(), duration.as_millis().to_string()]);
        if traffic == Traffic::Fresh {
            sender.arg("--fresh");
        }
        let output = sender.output().expect("the sender");
        assert!(output.status.success(), "sender: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout);
        let said = said.trim().split_once(' ').expect("the sender says two numbers");
        let [sent, sender_ns] = [said.0, said.1].map(|it| it.parse::<u64>().expect("a number"));
        std::thread::sleep(Duration::from_millis(50));
        let own_ns = self.own_ns() - own + sender_ns;
        let busy_ns = cost::busy_ns() - busy;
        let arrived = self.arrived() - before;
        self.nft("z", "delete table netdev sink");
        Run { sent, arrived, own_ns, busy_ns }
    }

    /// What the data plane and the kernel's threads for soft interrupts have had of the processor.
    fn own_ns(&self) -> u64 {
        let data_plane = self.data_plane.as_ref().map_or(0, |child| cost::process_ns(child.id()));
        data_plane + cost::soft_interrupt_threads_ns()
    }

    /// This program in the namespace, as `role`.
    fn command(&self, space: &str, role: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(space)]);
        command.arg(std::env::current_exe().expect("this program")).arg(role);
        command
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

    /// Behind a router the next hop is its port, on the wire it is the other host itself; all are fixed, no ARP.
    fn address(&self, host: &str, own: &str, net: &str, other: &str, other_host: &str, port: &str) {
        let name = self.name(host);
        ip(&format!("-n {name} addr add {own}/16 dev eth0"));
        let is_kernel = self.gateway.is_kernel();
        let next = if is_kernel { self.mac("g", port) } else { self.mac(other_host, "eth0") };
        ip(&format!("-n {name} route add {net} via {other} dev eth0 onlink"));
        ip(&format!("-n {name} neigh add {other} lladdr {next} dev eth0"));
        if is_kernel {
            let gateway = self.name("g");
            let (first, _) = own.rsplit_once('.').expect("an address");
            ip(&format!("-n {gateway} addr add {first}.254/16 dev {port}"));
            let mac = self.mac(host, "eth0");
            for last in 1..=hosts::SINKS {
                ip(&format!("-n {gateway} neigh add {first}.{last} lladdr {mac} dev {port}"));
            }
        }
    }

    fn mac(&self, role: &str, device: &str) -> String {
        let link = output(&format!("ip -n {} -o link show {device}", self.name(role)));
        let (_, rest) = link.split_once("link/ether ").expect("an Ethernet device");
        rest.split_whitespace().next().expect("an address").to_owned()
    }

    fn install(&mut self) {
        match self.gateway {
            Gateway::DropAtXdp => {
                let object = self.directory.join("drop.o");
                compile_drop(&object);
                let gateway = self.name("g");
                let object = object.display();
                ip(&format!("-n {gateway} link set dev g0 xdpdrv object {object} section xdp"));
            }
            Gateway::DropAtIngress => {
                self.nft("g", "table netdev door { chain in { type filter hook ingress device g0 priority 0;\ndrop\n}\n}");
            }
            Gateway::KernelRules(rules) => self.route(&ruleset(rules)),
            Gateway::Nftables(estate) => self.route(estate.nftables()),
            Gateway::Ipset(estate) => {
                self.route("");
                self.feed("g", &["ipset", "restore"], estate.ipset());
                self.feed("g", &["iptables-legacy-restore"], IPTABLES);
            }
            Gateway::RavelinRules(rules) => {
                let image = compile(&policy_set(rules), 1, &Limits::default());
                self.start_data_plane(image.expect("a policy that compiles").bytes());
            }
            Gateway::Ravelin(estate) => self.start_data_plane(estate.image()),
        }
    }

    /// Lets the kernel forward what this ruleset of nftables lets pass.
    fn route(&self, rules: &str) {
        run(&format!("ip netns exec {} sysctl -qw net.ipv4.ip_forward=1", self.name("g")));
        self.nft("g", rules);
    }

    /// Starts the data plane on a last good image, as after a restart; it forwards once it is ready.
    fn start_data_plane(&mut self, image: &[u8]) {
        std::fs::write(self.directory.join("last-good.image"), image).expect("the image on disk");
        let socket = self.directory.join("dataplane.sock");
        let log = std::fs::File::create(self.directory.join("dataplane.log")).expect("a log");
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name("g")])
            .arg(data_plane_binary())
            .args(["--port", "g0:outside", "--port", "g1:inside"])
            // Room for every flow that is begun.
            .args(["--flows-max", "1048576", "--socket"])
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

    /// Opens each of the 64 flows; the sink answers them or not. Behind a data plane on its way up, until packets arrive.
    fn prime(&self, traffic: Traffic) {
        let answers = traffic == Traffic::Answered;
        let responder = answers.then(|| {
            let mut responder = self.command("z", "--answer");
            responder.stdout(Stdio::piped()).spawn().expect("the responder")
        });
        if let Some(responder) = &responder {
            wait_for_line(responder);
        }
        for _ in 0..PRIMES_MAX {
            let before = self.arrived();
            let sender = self.command("a", "--send").args(["2000", "300"]).output();
            assert!(sender.expect("the sender").status.success());
            if self.data_plane.is_none() || self.arrived() - before > PRIMED {
                break;
            }
        }
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
        self.feed(role, &["nft", "-f", "-"], rules);
    }

    /// Runs a program in a namespace and gives it a text to read.
    fn feed(&self, role: &str, program: &[&str], text: &str) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name(role)])
            .args(program)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a program");
        let written = child.stdin.take().expect("a pipe").write_all(text.as_bytes());
        assert!(child.wait().expect("an end").success(), "{program:?} refused {text:.400}");
        written.expect("a program that reads");
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

/// As careful as the nftables ruleset: what is established first, then one set for all that is denied, one for all rules.
const IPTABLES: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
    -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
    -A FORWARD -m set --match-set denied src -j DROP\n\
    -A FORWARD -m set --match-set allowed dst,dst,src -j ACCEPT\nCOMMIT\n";

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
