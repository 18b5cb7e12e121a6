//! What is asked of, and told to, an interface beside its queues.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use crate::device::interface::Interface;

/// `ETHTOOL_GFLAGS` of `linux/ethtool.h`: the five oldest offloads as one word.
const ETHTOOL_GFLAGS: u32 = 0x25;
/// `ETH_FLAG_RXVLAN` of `linux/ethtool.h`: received frames come without their outer VLAN tag.
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// `struct ethtool_value` of `linux/ethtool.h`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Whether the interface that `/sys` described is the one that this thread's network namespace has under its name.
pub(super) fn is_here(interface: &Interface) -> bool {
    let index =
        any_socket().and_then(|socket| Ok(netdevice::name_to_index(socket, &interface.name)?));
    index.is_ok_and(|index| index == interface.index)
}

/// Whether the card takes the outer VLAN tag out of a frame and notes it where an XDP program cannot see it. The frame
/// would be judged, and sent on, as if it had none. False when the driver does not say.
pub(super) fn hides_vlan_tags(name: &str) -> bool {
    ethtool_flags(name).is_ok_and(|flags| flags & ETH_FLAG_RXVLAN != 0)
}

/// Lets the card receive what is addressed to others, for as long as the returned socket is open. A wire in the middle
/// is nobody's destination.
pub(super) fn receive_for_others(index: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let request = libc::packet_mreq {
        mr_ifindex: index.try_into().map_err(io::Error::other)?,
        mr_type: libc::PACKET_MR_PROMISC.try_into().map_err(io::Error::other)?,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)?;
    Ok(socket)
}

/// `setsockopt` for what rustix has no function for. `T` must be the plain C type the option expects.
pub(super) fn set_option<T: Copy>(
    socket: &OwnedFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length are those of one living value, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn ethtool_flags(name: &str) -> io::Result<u32> {
    let socket = any_socket()?;
    let mut value = EthtoolValue { command: ETHTOOL_GFLAGS, data: 0 };
    // SAFETY: `ifreq` is plain C data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = ptr::from_mut(&mut value).cast();
    // SAFETY: the request names an interface with a terminating zero and points to a living `ethtool_value`, which is
    // what `ETHTOOL_GFLAGS` reads and writes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(value.data) } else { Err(io::Error::last_os_error()) }
}

fn any_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}
