//! The interfaces of the two ports as the kernel shows them, and whether they may be taken into service.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::refusal::Refusal;

/// Largest MTU in bytes. Native XDP without fragments gets a frame in one page, less head room and the kernel's own
/// trailer; veth accepts 3506 and refuses 3510.
pub const MTU_MAX: u32 = 3506;

/// What is in front of the MTU's bytes at most: an Ethernet header and two VLAN tags.
pub const LINK_HEADER_MAX: u32 = 14 + 2 * 4;

/// An interface that may be a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number in this network namespace.
    pub index: u32,
    /// Largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Receive queues, numbered from 0; as many transmit queues or more.
    pub queues: u32,
    /// A card, or a card that a hypervisor pretends; not a veth or the like.
    pub hardware: bool,
}

/// Where the kernel shows interfaces and their settings.
#[derive(Clone, Debug)]
pub struct KernelFiles {
    /// `/sys/class/net`
    pub class_net: PathBuf,
    /// `/proc/sys/net`
    pub sysctl_net: PathBuf,
}

impl Default for KernelFiles {
    fn default() -> Self {
        Self { class_net: "/sys/class/net".into(), sysctl_net: "/proc/sys/net".into() }
    }
}

/// Looks at both ports of a pair.
///
/// # Errors
/// Everything that speaks against taking them into service, of both ports.
pub fn inspect(names: [&str; 2], files: &KernelFiles) -> Result<[Interface; 2], Vec<Refusal>> {
    let [a, b] = names;
    let mut refusals = Vec::new();
    if a == b {
        return Err(vec![Refusal::SameTwice { port: a.to_owned() }]);
    }
    let first = inspect_one(a, files, &mut refusals);
    let second = inspect_one(b, files, &mut refusals);
    let (Some(first), Some(second)) = (first, second) else { return Err(refusals) };
    let pair = [first, second];
    compare(&pair, &mut refusals);
    if refusals.is_empty() { Ok(pair) } else { Err(refusals) }
}

fn inspect_one(port: &str, files: &KernelFiles, refusals: &mut Vec<Refusal>) -> Option<Interface> {
    let directory = files.class_net.join(port);
    // A name with a slash would lead elsewhere in `/sys`.
    if port.contains('/') || !directory.join("ifindex").exists() {
        refusals.push(Refusal::Missing { port: port.to_owned() });
        return None;
    }
    if let Ok(target) = fs::read_link(directory.join("master")) {
        let master = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        refusals.push(Refusal::Enslaved { port: port.to_owned(), master });
    }
    for family in ["ipv4", "ipv6"] {
        check_forwarding(port, family, files, refusals);
    }
    match read_interface(port, &directory) {
        Ok((interface, transmit)) => {
            check_interface(&interface, transmit, refusals);
            Some(interface)
        }
        Err(refusal) => {
            refusals.push(refusal);
            None
        }
    }
}

/// The interface and its number of transmit queues.
fn read_interface(port: &str, directory: &Path) -> Result<(Interface, u32), Refusal> {
    let queues = |prefix| {
        let path = directory.join("queues");
        count_entries(&path, prefix).map_err(|error| unreadable(port, &path, error))
    };
    let interface = Interface {
        name: port.to_owned(),
        index: read_number(port, &directory.join("ifindex"))?,
        mtu: read_number(port, &directory.join("mtu"))?,
        queues: queues("rx-")?,
        hardware: directory.join("device").exists(),
    };
    Ok((interface, queues("tx-")?))
}

fn check_interface(interface: &Interface, transmit: u32, refusals: &mut Vec<Refusal>) {
    let Interface { name, index: _, mtu, queues, hardware: _ } = interface;
    let port = name.clone();
    if *mtu > MTU_MAX {
        refusals.push(Refusal::MtuTooLarge { port: port.clone(), mtu: *mtu });
    }
    if transmit < *queues {
        refusals.push(Refusal::TooFewTransmitQueues { port, receive: *queues, transmit });
    }
}

fn compare(pair: &[Interface; 2], refusals: &mut Vec<Refusal>) {
    let [a, b] = pair;
    let ports = || [a.name.clone(), b.name.clone()];
    if a.queues != b.queues {
        refusals.push(Refusal::QueuesDiffer { ports: ports(), queues: [a.queues, b.queues] });
    }
    if a.mtu != b.mtu {
        refusals.push(Refusal::MtusDiffer { ports: ports(), mtus: [a.mtu, b.mtu] });
    }
}

/// A family that the kernel was built or booted without has no such file, and forwards nothing.
fn check_forwarding(
    port: &str,
    family: &'static str,
    files: &KernelFiles,
    refusals: &mut Vec<Refusal>,
) {
    let path = files.sysctl_net.join(family).join("conf").join(port).join("forwarding");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == "0" => {}
        Ok(_) => refusals.push(Refusal::KernelForwards { port: port.to_owned(), family }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => refusals.push(unreadable(port, &path, error)),
    }
}

fn read_number(port: &str, path: &Path) -> Result<u32, Refusal> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(port, path, error))?;
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    text.trim().parse().map_err(|error| unreadable(port, path, invalid(error)))
}

fn count_entries(path: &Path, prefix: &str) -> io::Result<u32> {
    let mut count = 0;
    for entry in fs::read_dir(path)? {
        if entry?.file_name().to_string_lossy().starts_with(prefix) {
            count += 1;
        }
    }
    Ok(count)
}

fn unreadable(port: &str, path: &Path, error: io::Error) -> Refusal {
    Refusal::Unreadable { port: port.to_owned(), path: path.display().to_string(), error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A pretended `/sys` and `/proc/sys` with two fit interfaces, `left` and `right`.
    struct Host {
        directory: TempDir,
        files: KernelFiles,
    }

    impl Host {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let files = KernelFiles {
                class_net: directory.path().join("class"),
                sysctl_net: directory.path().join("sysctl"),
            };
            let host = Self { directory, files };
            for (index, name) in ["left", "right"].into_iter().enumerate() {
                host.write(&format!("class/{name}/ifindex"), &format!("{}\n", index + 2));
                host.write(&format!("class/{name}/mtu"), "1500\n");
                for queue in ["rx-0", "tx-0"] {
                    host.write(&format!("class/{name}/queues/{queue}/weight"), "");
                }
                for family in ["ipv4", "ipv6"] {
                    host.write(&format!("sysctl/{family}/conf/{name}/forwarding"), "0\n");
                }
            }
            host
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn refusals(&self) -> Vec<String> {
            let refusals = inspect(["left", "right"], &self.files).unwrap_err();
            refusals.iter().map(ToString::to_string).collect()
        }
    }

    #[test]
    fn fit_interfaces_are_described() {
        let [left, right] = inspect(["left", "right"], &Host::new().files).unwrap();
        let expected =
            Interface { name: "left".into(), index: 2, mtu: 1500, queues: 1, hardware: false };
        assert_eq!(left, expected);
        assert_eq!((right.name.as_str(), right.index), ("right", 3));
    }

    #[test]
    fn host_without_ipv6_is_fine() {
        let host = Host::new();
        fs::remove_dir_all(host.directory.path().join("sysctl/ipv6")).unwrap();
        assert!(inspect(["left", "right"], &host.files).is_ok());
    }

    #[test]
    fn missing_interface_is_refused() {
        let refusals = inspect(["left", "rihgt"], &Host::new().files).unwrap_err();
        assert_eq!(
            refusals[0].to_string(),
            "port `rihgt`: there is no interface of that name here; `ip link` lists those there are"
        );
    }

    #[test]
    fn name_that_leads_elsewhere_is_refused() {
        let refusals = inspect(["left", "../class/right"], &Host::new().files).unwrap_err();
        assert!(matches!(refusals[0], Refusal::Missing { .. }));
    }

    #[test]
    fn same_interface_twice_is_refused() {
        let refusals = inspect(["left", "left"], &Host::new().files).unwrap_err();
        assert_eq!(
            refusals[0].to_string(),
            "port `left`: given twice; a pair needs two different interfaces"
        );
    }

    #[test]
    fn enslaved_and_forwarding_ports_are_refused_all_at_once() {
        let host = Host::new();
        symlink("../../class/br0", host.files.class_net.join("left/master")).unwrap();
        host.write("sysctl/ipv4/conf/left/forwarding", "1\n");
        host.write("sysctl/ipv6/conf/right/forwarding", "1\n");
        assert_eq!(
            host.refusals(),
            [
                "port `left`: belongs to `br0`, and the kernel would forward past the policy; take it out: `ip link set left nomaster`",
                "port `left`: the kernel forwards ipv4 packets from it, past the policy; turn that off: `sysctl -w net.ipv4.conf.left.forwarding=0`",
                "port `right`: the kernel forwards ipv6 packets from it, past the policy; turn that off: `sysctl -w net.ipv6.conf.right.forwarding=0`",
            ]
        );
    }

    #[test]
    fn queues_without_partner_are_refused() {
        let host = Host::new();
        for queue in ["rx-1", "tx-1"] {
            host.write(&format!("class/right/queues/{queue}/weight"), "");
        }
        assert_eq!(
            host.refusals(),
            [
                "ports `left` and `right`: 1 and 2 receive queues, and each needs a partner; make them equal: `ethtool -L right combined 1` (or `rx 1 tx 1`, where the driver counts them apart)"
            ]
        );
    }

    #[test]
    fn receive_queue_without_transmit_queue_is_refused() {
        let host = Host::new();
        for name in ["left", "right"] {
            host.write(&format!("class/{name}/queues/rx-1/weight"), "");
        }
        assert_eq!(
            host.refusals()[0],
            "port `left`: 2 receive queues, but 1 transmit queues; make them equal: `ethtool -L left rx 1 tx 1`"
        );
    }

    #[test]
    fn mtu_that_does_not_fit_is_refused() {
        let host = Host::new();
        host.write("class/left/mtu", "9000\n");
        assert_eq!(
            host.refusals(),
            [
                "port `left`: MTU 9000 is more than a frame of packet memory holds, at most 3506: `ip link set left mtu 3506`",
                "ports `left` and `right`: MTU 9000 and 1500, and what fits one only would be lost; make them equal: `ip link set left mtu 1500`",
            ]
        );
    }
}
