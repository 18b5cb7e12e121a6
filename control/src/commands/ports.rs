//! The gateway's ports, as an image numbers them.

use classifier::image::View;
use classifier::packet::{Crossing, Place, Side};

use crate::settings::Settings;

/// The side a packet comes from, and the one it goes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::commands) struct Ends {
    pub(in crate::commands) from: Side,
    pub(in crate::commands) to: Side,
}

impl Ends {
    /// From one side to the other.
    pub(in crate::commands) fn across(from: Side) -> Self {
        Self { from, to: opposite(from) }
    }

    pub(in crate::commands) fn turned(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

pub(in crate::commands) fn opposite(side: Side) -> Side {
    match side {
        Side::Inside => Side::Outside,
        Side::Outside => Side::Inside,
    }
}

/// The numbers of the two ports in one image; none where the settings or the image do not know them.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::commands) struct Ports {
    inside: Option<u16>,
    outside: Option<u16>,
}

impl Ports {
    pub(in crate::commands) fn of(view: &View<'_>, settings: Option<&Settings>) -> Self {
        let number = |side| {
            let port = settings?.ports.iter().find(|port| port.side == side)?;
            view.port_number(&port.interface)
        };
        Self { inside: number(Side::Inside), outside: number(Side::Outside) }
    }

    pub(in crate::commands) fn crossing(self, Ends { from, to }: Ends) -> Crossing {
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
