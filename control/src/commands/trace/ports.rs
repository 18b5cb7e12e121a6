//! The gateway's ports, as an image numbers them.

use classifier::image::View;
use classifier::packet::{Crossing, Place, Side};

use crate::settings::Settings;

/// The side a packet comes from, and the one it goes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ends {
    pub(super) from: Side,
    pub(super) to: Side,
}

impl Ends {
    /// From one side to the other.
    pub(super) fn across(from: Side) -> Self {
        Self { from, to: opposite(from) }
    }

    pub(super) fn turned(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

pub(super) fn opposite(side: Side) -> Side {
    match side {
        Side::Inside => Side::Outside,
        Side::Outside => Side::Inside,
    }
}

/// The numbers of the two ports in one image; none where the settings or the image do not know them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ports {
    inside: Option<u16>,
    outside: Option<u16>,
}

impl Ports {
    pub(super) fn of(view: &View<'_>, settings: Option<&Settings>) -> Self {
        let number = |side| {
            let port = settings?.ports.iter().find(|port| port.side == side)?;
            view.port_number(&port.interface)
        };
        Self { inside: number(Side::Inside), outside: number(Side::Outside) }
    }

    pub(super) fn crossing(self, Ends { from, to }: Ends) -> Crossing {
        Crossing { from: self.place(from), to: self.place(to) }
    }

    fn place(self, side: Side) -> Place {
        let number = match side {
            Side::Inside => self.inside,
            Side::Outside => self.outside,
        };
        Place::Port { side, number }
    }
}
