//! The AF_XDP device on real veth pairs, with real frames. Needs root, `ip`, `ethtool` and `tcpdump`.

#![cfg(feature = "af-xdp")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers")]
#![expect(clippy::indexing_slicing, reason = "test helpers")]

mod veth;

use std::collections::HashSet;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::counters::Counters;
use dataplane::device::af_xdp::{Attachment, Mode, Opened, Queue, Sizes, open};
use dataplane::device::interface::Interface;
use dataplane::device::{Device, Port};
use dataplane::disposition::{Disposition, DropReason};
use dataplane::fragment::{FragmentLimits, Fragments, Taken, Whole};
use dataplane::moment::Moment;
use dataplane::parse::{Parsed, parse};
use dataplane::sanity::Sanity;
use dataplane::worker::{Judge, Worker};

use self::veth::{Capture, Net, Sender, fragment_frame, frame, is_ours, udp_frame};

/// Frames under way at a time: fewer than the smallest queue on the way holds, so that none may be lost.
const WINDOW: usize = 64;
/// Number of a frame that every gateway here forwards.
const MARKER: u32 = 0x4d41_524b;

#[test]
fn frames_cross_byte_for_byte_both_ways() {
    let net = Net::new(1);
    let gateway = Gateway::start(&net, Sizes::default(), forward);
    for port in Port::BOTH {
        let (sender, capture) = (net.host(port).sender(), net.host(port.other()).capture());
        for (number, length) in [60, 61, 64, 1000, 1513, 1514].into_iter().enumerate() {
            for tags in 0..=2 {
                let sent = frame(u32::try_from(number).unwrap(), tags, length);
                assert!(sender.send(&sent));
                assert_eq!(capture.next(), Some(sent), "{tags} tags");
            }
        }
    }
    assert_eq!(gateway.stop().judged, [18, 18]);
}

#[test]
fn veth_gets_native_copy_mode() {
    let net = Net::new(1);
    let ports = net.ports();
    let opened = net.in_gateway(|| open(&ports, Sizes::default())).unwrap();
    let modes: Vec<_> = opened.queues.iter().map(|q| (q.port, q.number, q.mode)).collect();
    assert_eq!(modes, [(Port::A, 0, Mode::Copy), (Port::B, 0, Mode::Copy)]);
}

#[test]
fn port_without_native_xdp_gets_generic_copy_mode_and_works() {
    let net = Net::with_bridges();
    let gateway = Gateway::start(&net, Sizes::default(), forward);
    for queue in &gateway.queues {
        assert_eq!(queue.mode, Mode::GenericCopy);
    }
    for port in Port::BOTH {
        let (sender, capture) = (net.host(port).sender(), net.host(port.other()).capture());
        cross(&sender, &capture, 1_000);
    }
    assert_eq!(gateway.stop().judged, [1_000, 1_000]);
}

#[test]
fn port_that_is_down_at_start_works_once_it_is_up() {
    let net = Net::new(1);
    net.in_gateway_ip(&["link", "set", "g0", "down"]);
    let gateway = Gateway::start(&net, Sizes::default(), forward);
    net.in_gateway_ip(&["link", "set", "g0", "up"]);
    for port in Port::BOTH {
        let (sender, capture) = (net.host(port).sender(), net.host(port.other()).capture());
        cross(&sender, &capture, 100);
    }
    assert_eq!(gateway.stop().judged, [100, 100]);
}

#[test]
fn card_that_hides_vlan_tags_is_refused() {
    let net = Net::new(1);
    let ports = net.ports().map(|port| Interface { hardware: true, ..port });
    let refusals = net.in_gateway(|| open(&ports, Sizes::default())).unwrap_err();
    let texts: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    let expected = ["g0", "g1"].map(|port| {
        format!("port `{port}`: the card hides VLAN tags, so they would be lost; turn that off: `ethtool -K {port} rxvlan off`")
    });
    assert_eq!(texts, expected);
    for port in ["g0", "g1"] {
        net.in_gateway_ethtool(&["-K", port, "rxvlan", "off"]);
    }
    assert!(net.in_gateway(|| open(&ports, Sizes::default())).is_ok());
}

#[test]
fn interface_of_another_namespace_is_refused() {
    let net = Net::new(1);
    let ports = net.ports().map(|port| Interface { index: port.index + 100, ..port });
    let refusals = net.in_gateway(|| open(&ports, Sizes::default())).unwrap_err();
    assert_eq!(
        refusals[0].to_string(),
        "port `g0`: `/sys` belongs to another network namespace; start inside the namespace with `ip netns exec`, which mounts the right one"
    );
}

#[test]
fn nothing_comes_out_when_everything_is_dropped() {
    let net = Net::new(1);
    let gateway = Gateway::start(&net, Sizes::default(), drop_but_marker);
    for port in Port::BOTH {
        let (sender, capture) = (net.host(port).sender(), net.host(port.other()).capture());
        for number in 0..1000 {
            assert!(sender.send(&frame(number, 0, 60)));
            gateway.wait_for(port, u64::from(number) + 1);
        }
        assert!(sender.send(&frame(MARKER, 0, 60)));
        assert_eq!(capture.next(), Some(frame(MARKER, 0, 60)), "the marker was not the first");
    }
    assert_eq!(gateway.stop().judged, [1001, 1001]);
}

#[test]
fn completed_frame_arrives_with_what_was_written() {
    let net = Net::new(1);
    let complete = |_: &[u8]| Disposition::Complete { at: 58, value: [0xC0, 0xDE] };
    let gateway = Gateway::start(&net, Sizes::default(), complete);
    for port in Port::BOTH {
        let (sender, capture) = (net.host(port).sender(), net.host(port.other()).capture());
        for number in 0..100 {
            assert!(sender.send(&frame(number, 0, 60)));
            let mut expected = frame(number, 0, 60);
            expected[58..].copy_from_slice(&[0xC0, 0xDE]);
            assert_eq!(capture.next(), Some(expected));
        }
    }
    assert_eq!(gateway.stop().judged, [100, 100]);
}

#[test]
fn copies_leave_though_the_kernel_was_offered_every_frame_it_takes() {
    let net = Net::new(1);
    let ports = net.ports();
    let few = Sizes { frames: 256, ring: 256 };
    let mut opened = net.in_gateway(|| open(&ports, few)).unwrap();
    let device = &mut opened.devices[0];
    let (port, length) = (Port::B, 1_400);
    let capture = net.host(port).capture();
    for number in 0..2_000 {
        assert!(device.transmit_copy(port, &frame(number, 0, length)), "copy {number}");
        device.flush();
        assert_eq!(capture.next(), Some(frame(number, 0, length)));
    }
    assert!(!device.transmit_copy(port, &[0; 4_096]), "longer than a frame");
    // Those kept back by either port, and no more: all else is the kernel's.
    let sent =
        (0..512).take_while(|number| device.transmit_copy(port, &frame(*number, 0, 60))).count();
    assert_eq!(sent, 2 * 64);
    device.flush();
    for number in 0..2 * 64 {
        assert_eq!(capture.next(), Some(frame(number, 0, 60)));
    }
}

#[test]
fn paced_load_arrives_whole_and_in_order_both_ways_at_once() {
    let net = Net::new(1);
    let gateway = Gateway::start(&net, Sizes::default(), forward);
    let hosts = Port::BOTH.map(|port| (net.host(port).sender(), net.host(port.other()).capture()));
    thread::scope(|scope| {
        for (sender, capture) in hosts {
            scope.spawn(move || cross(&sender, &capture, 50_000));
        }
    });
    let stopped = gateway.stop();
    assert_eq!(stopped.judged, [50_000, 50_000]);
    assert_eq!(stopped.unsent, 0);
    assert_kernel_dropped_nothing(&stopped.queues);
}

#[test]
fn idle_port_does_not_starve_the_busy_one() {
    let net = Net::new(1);
    // A window may be on its way while the worker holds a batch; there is not much more.
    let few = Sizes { frames: 256, ring: 256 };
    let gateway = Gateway::start(&net, few, forward);
    let hosts = Port::BOTH.map(|port| (net.host(port).sender(), net.host(port.other()).capture()));
    // Each port alone, for many times what it has frames; the other must have kept its own meanwhile.
    for (sender, capture) in &hosts {
        cross(sender, capture, 5_000);
    }
    let stopped = gateway.stop();
    assert_eq!(stopped.judged, [5_000, 5_000]);
    assert_kernel_dropped_nothing(&stopped.queues);
}

#[test]
fn every_queue_is_served() {
    let net = Net::new(2);
    let gateway = Gateway::start(&net, Sizes::default(), forward);
    for port in Port::BOTH {
        let (sender, capture) = (net.host(port).sender(), net.host(port.other()).capture());
        let mut seen = HashSet::new();
        for number in 0..2_000 {
            assert!(sender.send(&udp_frame(number)));
            if usize::from(number) >= WINDOW {
                seen.insert(capture.next().expect("a frame was lost"));
            }
        }
        while seen.len() < 2_000 {
            seen.insert(capture.next().expect("a frame was lost"));
        }
        assert!((0..2_000).all(|number| seen.contains(&udp_frame(number))));
    }
    let stopped = gateway.stop();
    assert_eq!(stopped.judged, [2_000, 2_000]);
    for judged in stopped.judged_by_worker {
        assert!(judged > 0, "one worker got nothing: the frames did not spread over the queues");
    }
}

#[test]
fn nothing_passes_after_the_device_is_dropped() {
    let net = Net::new(1);
    let (sender, capture) = (net.host(Port::A).sender(), net.host(Port::B).capture());
    let gateway = Gateway::start(&net, Sizes::default(), forward);
    cross(&sender, &capture, 100);
    drop(gateway.stop());
    for number in 0..1000 {
        assert!(sender.send(&frame(number, 0, 60)));
    }
    let gateway = Gateway::start(&net, Sizes::default(), drop_but_marker);
    assert!(sender.send(&frame(MARKER, 0, 60)));
    assert_eq!(capture.next(), Some(frame(MARKER, 0, 60)), "something passed without a gateway");
    drop(gateway.stop());
}

#[test]
fn kernel_sees_nothing_of_a_queue_without_a_socket() {
    let net = Net::new(1);
    let ports = net.ports();
    let sender = net.host(Port::A).sender();
    let Opened { devices, queues, attachments } =
        net.in_gateway(|| open(&ports, Sizes::default())).unwrap();
    let capture = net.kernel_capture("g0");
    drop((devices, queues));
    for number in 0..1000 {
        assert!(sender.send(&frame(number, 0, 60)));
    }
    // Without the program it sees the next one, and so would have seen the others.
    drop(attachments);
    assert!(sender.send(&frame(MARKER, 0, 60)));
    assert_eq!(capture.next(), Some(frame(MARKER, 0, 60)), "the kernel saw an unjudged frame");
}

#[test]
fn deleting_a_port_under_load_ends_nothing_but_the_traffic() {
    let net = Net::new(1);
    let gateway = Gateway::start(&net, Sizes::default(), forward);
    let senders = Port::BOTH.map(|port| net.host(port).sender());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop_in_any_case = SetOnDrop(&stop);
        for sender in &senders {
            scope.spawn(|| {
                let frame = frame(1, 0, 60);
                while !stop.load(Ordering::Relaxed) && sender.send(&frame) {
                    thread::yield_now();
                }
            });
        }
        gateway.wait_for(Port::A, 1_000);
        gateway.wait_for(Port::B, 1_000);
        net.in_gateway_ip(&["link", "delete", "g1"]);
        // The other port is served on: its frames have nowhere to go, and the worker knows.
        let before = gateway.judged(Port::A);
        gateway.wait_for(Port::A, before + 10_000);
        net.in_gateway_ip(&["link", "delete", "g0"]);
    });
    let stopped = gateway.stop();
    assert!(stopped.judged[0] >= 11_000);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures that the device sleeps")]
fn idle_and_orphaned_devices_sleep() {
    let net = Net::new(1);
    let ports = net.ports();
    let mut opened = net.in_gateway(|| open(&ports, Sizes::default())).unwrap();
    let device = &mut opened.devices[0];
    for deleted in [None, Some("g0"), Some("g1")] {
        if let Some(port) = deleted {
            net.in_gateway_ip(&["link", "delete", port]);
        }
        // The first sleep may end early: that is how the device learns that a port is gone.
        device.wait(Duration::from_millis(1));
        let start = Instant::now();
        device.wait(Duration::from_millis(50));
        assert!(start.elapsed() >= Duration::from_millis(50), "did not sleep: {deleted:?}");
    }
}

#[test]
fn ports_in_service_are_not_taken_twice() {
    let net = Net::new(1);
    let ports = net.ports();
    let first = net.in_gateway(|| open(&ports, Sizes::default())).unwrap();
    let refusals = net.in_gateway(|| open(&ports, Sizes::default())).unwrap_err();
    let text = refusals[0].to_string();
    assert!(text.starts_with("port `g0`: the XDP program cannot be attached: "), "{text}");
    assert!(text.ends_with("is another program on it? `ip link show` tells"), "{text}");
    drop(first);
    assert!(net.in_gateway(|| open(&ports, Sizes::default())).is_ok());
}

#[test]
fn sizes_that_cannot_be_are_refused_all_at_once() {
    let net = Net::new(1);
    let ports = net.ports();
    let sizes = Sizes { frames: 64, ring: 100 };
    let refusals = net.in_gateway(|| open(&ports, sizes)).unwrap_err();
    let texts: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    let expected = [
        "`--ring-entries 100`: expected a power of two",
        "`--frames-per-queue 64`: expected at least `--ring-entries`, 100",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn fragments_of_a_datagram_reach_one_worker_and_leave_in_order() {
    let net = Net::new(2);
    let ports = net.ports();
    let opened = net.in_gateway(|| open(&ports, Sizes::default())).unwrap();
    let stop = AtomicBool::new(false);
    let (sender, capture) = (net.host(Port::A).sender(), net.host(Port::B).capture());
    let mut rng = fastrand::Rng::with_seed(0x5eed_0508);
    let released = thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        let workers: Vec<_> = opened
            .devices
            .into_iter()
            .map(|device| {
                let mut worker = Worker::new(device, Together::new());
                let stop = &stop;
                scope.spawn(move || {
                    worker.run(|| Duration::ZERO, stop);
                    worker.judge().released
                })
            })
            .collect();
        for number in 0..500 {
            let pieces = [(0, true), (48, true), (96, false)]
                .map(|(offset, more)| fragment_frame(number, offset, more));
            let mut shuffled = pieces.clone();
            rng.shuffle(&mut shuffled);
            assert!(shuffled.iter().all(|piece| sender.send(piece)));
            for piece in pieces {
                assert_eq!(capture.next(), Some(piece), "datagram {number}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(released.iter().sum::<u64>(), 500);
    assert!(released.iter().all(|count| *count > 50), "they did not spread: {released:?}");
}

/// Lets fragments through when they are whole, and nothing else.
struct Together {
    fragments: Fragments,
    counters: Counters,
    sanity: Sanity,
    released: u64,
}

impl Together {
    fn new() -> Self {
        Self {
            fragments: Fragments::new(FragmentLimits::default(), RandomState::new()),
            counters: Counters::default(),
            sanity: Sanity::default(),
            released: 0,
        }
    }
}

impl Judge for Together {
    fn begin_batch(&mut self, _now: Duration) {}

    fn judge(&mut self, in_port: Port, frame: &[u8]) -> Disposition {
        let Ok(Parsed::Fragment(piece)) = parse(frame, &self.sanity, in_port) else {
            return Disposition::Drop(DropReason::NonIp);
        };
        let (fragments, counters) = (&mut self.fragments, &mut self.counters);
        match fragments.take(&piece, frame, in_port, Moment::default(), counters) {
            Taken::Held => Disposition::Hold,
            Taken::Whole(datagram) => Disposition::Release(datagram),
            Taken::Refused(reason) => Disposition::Drop(reason),
        }
    }

    fn account_unsent(&mut self, _in_port: Port, _length: u32) {}

    fn release(&mut self, datagram: Whole, send: &mut dyn FnMut(&[u8]) -> bool) {
        self.fragments.release(datagram, send, &mut self.counters);
        self.released += 1;
    }
}

/// Sends `count` frames, never more than a window ahead of what arrives, and sees all arrive in order.
fn cross(sender: &Sender, capture: &Capture, count: u32) {
    let window = u32::try_from(WINDOW).unwrap();
    let of = |number| frame(number, 0, 60 + (number as usize * 37) % 1400);
    for number in 0..count + window {
        if number < count {
            assert!(sender.send(&of(number)));
        }
        if let Some(number) = number.checked_sub(window) {
            assert_eq!(capture.next(), Some(of(number)), "frame {number} of {count}");
        }
    }
    assert_eq!(capture.arrived(), None);
}

fn forward(_frame: &[u8]) -> Disposition {
    Disposition::Forward
}

fn drop_but_marker(bytes: &[u8]) -> Disposition {
    if bytes == frame(MARKER, 0, 60) {
        return Disposition::Forward;
    }
    Disposition::Drop(DropReason::PolicyDenied)
}

fn assert_kernel_dropped_nothing(queues: &[Queue]) {
    for queue in queues {
        let drops = queue.kernel_drops().unwrap();
        let lost = (drops.rx_dropped, drops.rx_ring_full, drops.rx_invalid, drops.tx_invalid);
        assert_eq!(lost, (0, 0, 0, 0), "{queue:?}");
    }
}

/// Sets the flag when a scope is left, also by a panic.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A running gateway: a worker for each queue number.
struct Gateway {
    workers: Vec<JoinHandle<()>>,
    counts: Vec<Arc<Counts>>,
    stop: Arc<AtomicBool>,
    queues: Vec<Queue>,
    _attachments: [Attachment; 2],
}

/// What is left of a gateway.
struct Stopped {
    judged: [u64; 2],
    judged_by_worker: Vec<u64>,
    unsent: u64,
    queues: Vec<Queue>,
}

impl Gateway {
    fn start(net: &Net, sizes: Sizes, verdict: fn(&[u8]) -> Disposition) -> Self {
        let ports = net.ports();
        let opened = net.in_gateway(|| open(&ports, sizes)).unwrap();
        let Opened { devices, queues, attachments } = opened;
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Vec::new();
        let mut counts = Vec::new();
        for device in devices {
            let (stop, count) = (Arc::clone(&stop), Arc::new(Counts::default()));
            counts.push(Arc::clone(&count));
            workers.push(thread::spawn(move || {
                Worker::new(device, CountingJudge { verdict, count }).run(|| Duration::ZERO, &stop);
            }));
        }
        Self { workers, counts, stop, queues, _attachments: attachments }
    }

    fn judged(&self, port: Port) -> u64 {
        self.counts.iter().map(|count| count.judged[port.index()].load(Ordering::Relaxed)).sum()
    }

    #[expect(clippy::disallowed_methods, reason = "bounds the wait")]
    fn wait_for(&self, port: Port, judged: u64) {
        let start = Instant::now();
        while self.judged(port) < judged {
            assert!(start.elapsed() < veth::PATIENCE, "{} of {judged}", self.judged(port));
            thread::yield_now();
        }
    }

    /// Ends the workers, and with them their sockets, and takes the program off.
    fn stop(self) -> Stopped {
        self.stop.store(true, Ordering::Relaxed);
        let judged = Port::BOTH;
        for worker in self.workers {
            worker.join().expect("a worker panicked");
        }
        let of = |port: Port| {
            self.counts.iter().map(|count| count.judged[port.index()].load(Ordering::Relaxed)).sum()
        };
        let by_worker = |count: &Arc<Counts>| {
            count.judged.iter().map(|judged| judged.load(Ordering::Relaxed)).sum()
        };
        Stopped {
            judged: judged.map(of),
            judged_by_worker: self.counts.iter().map(by_worker).collect(),
            unsent: self.counts.iter().map(|count| count.unsent.load(Ordering::Relaxed)).sum(),
            queues: self.queues,
        }
    }
}

#[derive(Default)]
struct Counts {
    judged: [AtomicU64; 2],
    unsent: AtomicU64,
}

/// Drops what others send, and judges our frames by a function of their bytes.
struct CountingJudge {
    verdict: fn(&[u8]) -> Disposition,
    count: Arc<Counts>,
}

impl Judge for CountingJudge {
    fn begin_batch(&mut self, _now: Duration) {}

    fn judge(&mut self, in_port: Port, frame: &[u8]) -> Disposition {
        if !is_ours(frame) {
            return Disposition::Drop(DropReason::NonIp);
        }
        self.count.judged[in_port.index()].fetch_add(1, Ordering::Relaxed);
        (self.verdict)(frame)
    }

    fn account_unsent(&mut self, _in_port: Port, _length: u32) {
        self.count.unsent.fetch_add(1, Ordering::Relaxed);
    }
}
