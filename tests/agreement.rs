//! Control and the data plane do not know each other. What both must call by the same name is compared here.

use control::reasons;
use dataplane::disposition::DropReason;

#[test]
fn every_reason_of_the_data_plane_is_explained_by_control() {
    let counted: Vec<_> = DropReason::ALL
        .into_iter()
        .map(|reason| (reason.name(), reason.can_be_counted_only()))
        .collect();
    let explained: Vec<_> =
        reasons::ALL.iter().map(|reason| (reason.name, reason.can_be_counted_only)).collect();
    assert_eq!(explained, counted);
}
