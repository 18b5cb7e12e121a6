//! Sealed memory files: how an image changes hands without anyone being able to change it afterwards.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use classifier::image::ImageBytes;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use rustix::io::{Errno, pread};

/// What must be sealed: no shorter, no longer, no other bytes, and these seals for ever.
const SEALS: [(SealFlags, &str); 4] = [
    (SealFlags::SHRINK, "shrink"),
    (SealFlags::GROW, "grow"),
    (SealFlags::WRITE, "write"),
    (SealFlags::SEAL, "seal"),
];

/// Copies the content of a sealed memfd of at most `bytes_max` bytes.
///
/// Copied, not mapped: no trust in the seals is needed for memory safety, and no `unsafe`.
///
/// # Errors
/// When it is no memfd, not sealed in all four ways, empty or too large.
pub(super) fn read(memfd: &OwnedFd, bytes_max: usize) -> Result<ImageBytes, MemfdError> {
    let seals = fcntl_get_seals(memfd).map_err(|_| MemfdError::NoMemfd)?;
    if let Some((_, missing)) = SEALS.into_iter().find(|(seal, _)| !seals.contains(*seal)) {
        return Err(MemfdError::Unsealed { missing });
    }
    let length = fstat(memfd).map_err(MemfdError::Io)?.st_size.cast_unsigned();
    let size = usize::try_from(length).ok().filter(|size| *size <= bytes_max);
    let size = size.ok_or(MemfdError::TooLarge { length, bytes_max })?;
    if size == 0 {
        return Err(MemfdError::Empty);
    }
    let mut bytes = ImageBytes::zeroed(size);
    read_all(memfd, bytes.as_mut_bytes()).map_err(MemfdError::Io)?;
    Ok(bytes)
}

/// A sealed memfd that holds `bytes`.
///
/// # Errors
/// When the kernel has no memory for it.
pub(super) fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("ravelin-image", flags)?);
    file.write_all(bytes)?;
    let seals = SEALS.into_iter().fold(SealFlags::empty(), |all, (seal, _)| all | seal);
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// Fills `bytes` from the start of the file, wherever whoever shares the descriptor has put its position.
fn read_all(memfd: &OwnedFd, bytes: &mut [u8]) -> Result<(), Errno> {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match pread(memfd, rest, at as u64)? {
            0 => return Err(Errno::IO),
            count => at += count,
        }
    }
    Ok(())
}

/// Why a file descriptor does not carry an image.
#[derive(Debug)]
pub enum MemfdError {
    /// It is something else.
    NoMemfd,
    /// Somebody could still change it.
    Unsealed {
        /// A seal that is not there.
        missing: &'static str,
    },
    /// Nothing in it.
    Empty,
    /// More than the limit.
    TooLarge {
        /// Bytes in it.
        length: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// It could not be read.
    Io(Errno),
}

impl fmt::Display for MemfdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemfd => f.write_str("the file descriptor is not a memfd"),
            Self::Unsealed { missing } => {
                write!(
                    f,
                    "the memfd is not sealed: `{missing}` is missing of shrink, grow, write, seal"
                )
            }
            Self::Empty => f.write_str("the memfd is empty"),
            Self::TooLarge { length, bytes_max } => {
                write!(f, "the image has {length} bytes; at most {bytes_max} are taken")
            }
            Self::Io(error) => write!(f, "cannot read the memfd: {error}"),
        }
    }
}

impl std::error::Error for MemfdError {}
