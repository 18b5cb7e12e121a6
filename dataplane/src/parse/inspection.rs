//! A frame under inspection.

use super::Vlans;
use crate::device::Port;
use crate::disposition::{DropReason, Reasons};
use crate::sanity::Sanity;

/// A frame, what it is checked against, and what was found so far.
pub(super) struct Inspection<'a> {
    pub(super) frame: &'a [u8],
    pub(super) sanity: &'a Sanity,
    pub(super) in_port: Port,
    pub(super) vlans: Vlans,
    /// The checks that it failed and passed all the same.
    pub(super) noticed: Reasons,
}

impl<'a> Inspection<'a> {
    pub(super) fn new(frame: &'a [u8], sanity: &'a Sanity, in_port: Port) -> Self {
        Self { frame, sanity, in_port, vlans: [None; 2], noticed: Reasons::default() }
    }

    /// A check failed: an error, unless a setting says that such failures are counted only.
    #[cold]
    pub(super) fn refuse(&mut self, reason: DropReason) -> Result<(), DropReason> {
        if self.sanity.refuses(reason) {
            return Err(reason);
        }
        self.notice(reason);
        Ok(())
    }

    /// A check failed that no setting makes a reason to drop.
    pub(super) fn notice(&mut self, reason: DropReason) {
        self.noticed = self.noticed.with(reason);
    }
}
