//! Why two ports are not taken into service: each a sentence that says what to do.

use std::{error, fmt, io};

use super::interface::MTU_MAX;

/// One reason to refuse the ports at start. The name of the port it is about comes first.
#[derive(Debug)]
pub enum Refusal {
    /// No interface of that name.
    Missing {
        /// The port.
        port: String,
    },
    /// Both ports are the same interface.
    SameTwice {
        /// The port.
        port: String,
    },
    /// What `/sys` shows is the interface of another network namespace.
    ForeignSysfs {
        /// The port.
        port: String,
    },
    /// A bridge or bond owns the interface.
    Enslaved {
        /// The port.
        port: String,
        /// The bridge or bond.
        master: String,
    },
    /// The kernel routes what it receives there.
    KernelForwards {
        /// The port.
        port: String,
        /// `ipv4` or `ipv6`.
        family: &'static str,
    },
    /// An attribute of the interface cannot be read.
    Unreadable {
        /// The port.
        port: String,
        /// The file.
        path: String,
        /// The kernel's answer.
        error: io::Error,
    },
    /// Packets are too large for one frame of packet memory, or for native XDP without fragments.
    MtuTooLarge {
        /// The port.
        port: String,
        /// Its MTU in bytes.
        mtu: u32,
    },
    /// A packet that fits one port would not fit the other, and the kernel would drop it uncounted.
    MtusDiffer {
        /// The ports.
        ports: [String; 2],
        /// Their MTUs in bytes.
        mtus: [u32; 2],
    },
    /// Frames of the queue pair of one port would have no counterpart on the other.
    QueuesDiffer {
        /// The ports.
        ports: [String; 2],
        /// Their numbers of receive queues.
        queues: [u32; 2],
    },
    /// A receive queue has no transmit queue of the same number.
    TooFewTransmitQueues {
        /// The port.
        port: String,
        /// Receive queues.
        receive: u32,
        /// Transmit queues.
        transmit: u32,
    },
    /// The card takes VLAN tags out of the frames before anyone can see them.
    VlanTagsHidden {
        /// The port.
        port: String,
    },
    /// The program cannot be loaded or attached in any mode.
    Attach {
        /// The port.
        port: String,
        /// What was answered in native and in generic mode.
        reason: String,
    },
    /// The packet memory cannot be had.
    PacketMemory {
        /// Bytes that were asked for.
        bytes: u64,
        /// The kernel's answer.
        reason: String,
        /// The kernel will not pin so much for this process.
        limit: bool,
    },
    /// A socket cannot be had on a queue in any mode.
    Socket {
        /// The port.
        port: String,
        /// The queue.
        queue: u32,
        /// The kernel's answer.
        reason: String,
    },
    /// A setting of the device does not fit.
    Setting {
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { port } => write!(
                f,
                "port `{port}`: there is no interface of that name here; `ip link` lists those there are"
            ),
            Self::SameTwice { port } => {
                write!(f, "port `{port}`: given twice; a pair needs two different interfaces")
            }
            Self::ForeignSysfs { port } => write!(
                f,
                "port `{port}`: `/sys` belongs to another network namespace; start inside the namespace with `ip netns exec`, which mounts the right one"
            ),
            Self::Enslaved { port, master } => write!(
                f,
                "port `{port}`: belongs to `{master}`, and the kernel would forward past the policy; take it out: `ip link set {port} nomaster`"
            ),
            Self::KernelForwards { port, family } => write!(
                f,
                "port `{port}`: the kernel forwards {family} packets from it, past the policy; turn that off: `sysctl -w net.{family}.conf.{port}.forwarding=0`"
            ),
            Self::Unreadable { port, path, error } => {
                write!(f, "port `{port}`: cannot read `{path}`: {error}")
            }
            Self::MtuTooLarge { port, mtu } => write!(
                f,
                "port `{port}`: MTU {mtu} is more than a frame of packet memory holds, at most {MTU_MAX}: `ip link set {port} mtu {MTU_MAX}`"
            ),
            Self::MtusDiffer { ports: [a, b], mtus: [mtu_a, mtu_b] } => {
                let smaller = mtu_a.min(mtu_b);
                let larger = if mtu_a > mtu_b { a } else { b };
                write!(
                    f,
                    "ports `{a}` and `{b}`: MTU {mtu_a} and {mtu_b}, and what fits one only would be lost; make them equal: `ip link set {larger} mtu {smaller}`"
                )
            }
            Self::QueuesDiffer { ports: [a, b], queues: [count_a, count_b] } => {
                let fewer = count_a.min(count_b);
                let richer = if count_a > count_b { a } else { b };
                write!(
                    f,
                    "ports `{a}` and `{b}`: {count_a} and {count_b} receive queues, and each needs a partner; make them equal: `ethtool -L {richer} combined {fewer}` (or `rx {fewer} tx {fewer}`, where the driver counts them apart)"
                )
            }
            Self::TooFewTransmitQueues { port, receive, transmit } => write!(
                f,
                "port `{port}`: {receive} receive queues, but {transmit} transmit queues; make them equal: `ethtool -L {port} rx {transmit} tx {transmit}`"
            ),
            Self::VlanTagsHidden { port } => write!(
                f,
                "port `{port}`: the card hides VLAN tags, so they would be lost; turn that off: `ethtool -K {port} rxvlan off`"
            ),
            Self::Attach { port, reason } => {
                write!(f, "port `{port}`: the XDP program cannot be attached: {reason}")
            }
            Self::PacketMemory { bytes, reason, limit } => {
                let mebibytes = bytes.div_ceil(1 << 20);
                write!(f, "packet memory of {mebibytes} MiB: {reason}")?;
                if *limit {
                    f.write_str("; it is pinned, which needs the capability CAP_IPC_LOCK or a `LimitMEMLOCK` above it; or ask for less with `--frames-per-queue`")?;
                }
                Ok(())
            }
            Self::Socket { port, queue, reason } => {
                write!(f, "port `{port}`: no AF_XDP socket on queue {queue}: {reason}")
            }
            Self::Setting { reason } => f.write_str(reason),
        }
    }
}

impl error::Error for Refusal {}
