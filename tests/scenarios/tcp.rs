//! T01 to T59: what belongs to a TCP connection, and what only looks like it.

use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{
    Checksum, Malformed, TcpClosed, TcpFlags, TcpNotOpening, TcpWindow,
};
use ravelin::craft::{
    ACK, Connection, ETHERNET, FIN, PSH, RST, SYN, Tcp, URG, frame, right_v4, window_scale, with,
};

use crate::scenario::{Place, Scenario, Script, row};

const DATA: u8 = PSH | ACK;
const LINE: &[u8; 16] = b"GET / HTTP/1.1\r\n";
/// Its length in sequence numbers.
const LINE_OCTETS: u32 = 16;

pub(crate) fn scenarios() -> Vec<Scenario> {
    [openings(), windows(), resets(), handshakes(), closings(), scales(), sanity(), altered()]
        .into_iter()
        .flatten()
        .collect()
}

/// An open connection.
pub(crate) fn opened(web: &Connection) -> Script {
    opened_with(web, [&[], &[]])
}

fn opened_with(web: &Connection, options: [&[u8]; 2]) -> Script {
    let opening = web.handshake(options).into_iter();
    opening.fold(Script::new(), |script, (from, frame)| script.given(from, frame))
}

/// A connection that both ends have closed, the client first.
fn closed(web: &Connection) -> Script {
    opened(web)
        .given(A, web.send(A, FIN | ACK, 1, 1, b""))
        .given(B, web.send(B, FIN | ACK, 1, 2, b""))
        .given(A, web.send(A, ACK, 2, 2, b""))
}

fn openings() -> Vec<Scenario> {
    let opener = |id, flags, reason| {
        row(id, |at: Place| Script::new().drops(A, at.web().send(A, flags, 0, 0, b""), reason))
    };
    vec![
        row("T01", |at| Script::new().drops(A, at.web().send(A, DATA, 1, 1, LINE), TcpNotOpening)),
        opener("T02", SYN | FIN, TcpFlags),
        opener("T03", SYN | RST, TcpFlags),
        opener("T04", 0, TcpFlags),
        opener("T05", FIN | PSH | URG, TcpFlags),
        row("T06", |at| {
            Script::new().drops(B, at.web().send(B, SYN | ACK, 0, 1, b""), TcpNotOpening)
        }),
        row("T07", |at| {
            let opening = at.web().handshake([&[], &[]]).into_iter();
            opening.fold(Script::new(), |script, (from, frame)| script.passes(from, frame))
        }),
    ]
}

fn windows() -> Vec<Scenario> {
    let from_client = |id, seq, ack, data: &'static [u8]| {
        row(id, move |at: Place| {
            let web = at.web();
            opened(&web).drops(A, web.send(A, DATA, seq, ack, data), TcpWindow)
        })
    };
    vec![
        row("T08", |at| {
            let web = at.web();
            opened(&web).passes(A, web.send(A, DATA, 1, 1, LINE))
        }),
        from_client("T09", 1 + 20_000, 1, LINE),
        from_client("T10", 1_u32.wrapping_sub(200_000), 1, LINE),
        row("T11", |at| {
            let web = at.web();
            let end = 1 + LINE_OCTETS;
            opened(&web)
                .given(A, web.send(A, DATA, 1, 1, LINE))
                .given(B, web.send(B, ACK, 1, end, b""))
                .passes(A, web.send(A, DATA, 1, 1, LINE))
        }),
        from_client("T12", 1, 1 + 1_000_000, LINE),
        from_client("T13", 1, 1_u32.wrapping_sub(200_000), b""),
    ]
}

fn resets() -> Vec<Scenario> {
    vec![
        row("T14", |at| {
            let web = at.web();
            opened(&web).drops(A, web.send(A, RST, 1 + 1_000_000, 0, b""), TcpWindow)
        }),
        row("T15", |at| {
            let web = at.web();
            opened(&web)
                .passes(A, web.send(A, RST, 1 + 100, 0, b""))
                .passes(B, web.send(B, ACK, 1, 1, b""))
        }),
        row("T16", |at| {
            let web = at.web();
            opened(&web)
                .given_dropped(A, web.send(A, RST, 1 + 1_000_000, 0, b""), TcpWindow)
                .given(A, web.send(A, RST, 1 + 100, 0, b""))
                .passes(A, web.send(A, DATA, 1, 1, LINE))
        }),
        row("T17", |at| {
            let web = at.web();
            opened(&web).passes(A, web.send(A, RST, 1, 0, b""))
        }),
        row("T18", |at| {
            let web = at.web();
            opened(&web).given(A, web.send(A, RST, 1, 0, b"")).drops(
                A,
                web.send(A, DATA, 1, 1, LINE),
                TcpClosed,
            )
        }),
        row("T19", |at| {
            let web = at.web();
            opened(&web).passes(A, web.send(A, SYN, 0x3456_789a, 0, b""))
        }),
        row("T20", |at| {
            let web = at.web();
            opened(&web)
                .given(A, web.send(A, SYN, 0x3456_789a, 0, b""))
                .passes(A, web.send(A, DATA, 1, 1, LINE))
        }),
    ]
}

fn handshakes() -> Vec<Scenario> {
    let syn = |web: &Connection| Script::new().given(A, web.send(A, SYN, 0, 0, b""));
    // What a server that still knows an older connection says to a SYN (RFC 5961 section 4.2), and the answer to it.
    let challenge = |web: &Connection| web.send(B, ACK, 0x2222_0000, 0x1111_0000, b"");
    let refusal = |web: &Connection| web.send(A, RST, 0x1111_0000, 0, b"");
    vec![
        row("T21", |at| {
            let web = at.web();
            syn(&web).drops(B, web.send(B, SYN | ACK, 0, 1 + 5_000, b""), TcpWindow)
        }),
        row("T22", |at| {
            let web = at.web();
            syn(&web)
                .given_dropped(B, web.send(B, SYN | ACK, 0, 1 + 5_000, b""), TcpWindow)
                .passes(B, web.send(B, SYN | ACK, 0, 1, b""))
        }),
        row("T23", |at| {
            let web = at.web();
            syn(&web).passes(B, challenge(&web))
        }),
        row("T24", |at| {
            let web = at.web();
            syn(&web).given(B, challenge(&web)).passes(A, refusal(&web))
        }),
        row("T25", |at| {
            let web = at.web();
            syn(&web)
                .given(B, challenge(&web))
                .given(A, refusal(&web))
                .passes(A, web.send(A, SYN, 0, 0, b""))
        }),
        row("T26", |at| {
            let web = at.web();
            syn(&web)
                .given(B, challenge(&web))
                .given(A, refusal(&web))
                .given(A, web.send(A, SYN, 0, 0, b""))
                .passes(B, web.send(B, SYN | ACK, 0, 1, b""))
        }),
        row("T27", |at| {
            let web = at.web();
            let reset = Tcp { seq: 0, ..web.segment(B, RST | ACK, 0, 1 + 777) };
            syn(&web).drops(B, web.frame(B, &reset), TcpWindow)
        }),
        row("T28", |at| {
            let web = at.web();
            let reset = Tcp { seq: 0, ..web.segment(B, RST | ACK, 0, 1) };
            syn(&web).passes(B, web.frame(B, &reset))
        }),
        row("T50", |at| Script::new().passes(A, at.web().send(A, SYN, 0, 0, LINE))),
        row("T53", |at| {
            let web = at.web();
            syn(&web).given(B, web.send(B, SYN | ACK, 0, 1, b"")).drops(
                A,
                web.send(A, DATA, 1, 1 + 1_000_000, LINE),
                TcpWindow,
            )
        }),
    ]
    .into_iter()
    .chain(simultaneous())
    .collect()
}

/// Both ends open at once (RFC 9293 section 3.5, figure 8); each row sees one frame more.
fn simultaneous() -> Vec<Scenario> {
    let script = |at: Place, given: usize| {
        let web = at.web();
        let frames = [
            (A, web.send(A, SYN, 0, 0, b"")),
            (B, web.send(B, SYN, 0, 0, b"")),
            (A, web.send(A, SYN | ACK, 0, 1, b"")),
            (B, web.send(B, SYN | ACK, 0, 1, b"")),
        ];
        let mut frames = frames.into_iter();
        let script = frames
            .by_ref()
            .take(given)
            .fold(Script::new(), |script, (from, frame)| script.given(from, frame));
        let (from, frame) = frames.next().expect("four frames");
        script.passes(from, frame)
    };
    let ids = ["T29", "T30", "T31", "T32"].into_iter().enumerate();
    ids.map(|(given, id)| row(id, |at| script(at, given))).collect()
}

fn closings() -> Vec<Scenario> {
    vec![
        row("T33", |at| {
            let web = at.web();
            opened(&web).passes(A, web.send(A, FIN | ACK, 1, 1, b""))
        }),
        row("T34", |at| {
            let web = at.web();
            opened(&web)
                .given(A, web.send(A, FIN | ACK, 1, 1, b""))
                .passes(B, web.send(B, ACK, 1, 2, b""))
                .passes(B, web.send(B, DATA, 1, 2, LINE))
                .passes(A, web.send(A, ACK, 2, 1 + LINE_OCTETS, b""))
        }),
        row("T35", |at| {
            let web = at.web();
            opened(&web)
                .given(A, web.send(A, FIN | ACK, 1, 1, b""))
                .given(B, web.send(B, DATA, 1, 2, LINE))
                .passes(B, web.send(B, FIN | ACK, 1 + LINE_OCTETS, 2, b""))
        }),
        row("T36", |at| {
            let web = at.web();
            opened(&web)
                .given(A, web.send(A, FIN | ACK, 1, 1, b""))
                .given(B, web.send(B, FIN | ACK, 1, 2, b""))
                .passes(A, web.send(A, ACK, 2, 2, b""))
        }),
        row("T37", |at| {
            let web = at.web();
            closed(&web).drops(A, web.send(A, DATA, 2, 2, LINE), TcpClosed)
        }),
        row("T38", |at| {
            let web = at.web();
            closed(&web).passes(A, web.send(A, SYN, 100_000, 0, b""))
        }),
        row("T39", |at| {
            let web = at.web();
            closed(&web)
                .given(A, web.send(A, SYN, 100_000, 0, b""))
                .passes(B, web.send(B, SYN | ACK, 500_000, 100_001, b""))
        }),
    ]
}

fn scales() -> Vec<Scenario> {
    // The server announces this window once the connection is open; then the client sends data that far ahead.
    let far = |web: &Connection, scales: [&[u8]; 2], window: u16, ahead: u32| {
        let announcement = Tcp { window, ..web.segment(B, ACK, 1, 1) };
        let script = opened_with(web, scales).given(B, web.frame(B, &announcement));
        (script, web.send(A, DATA, 1 + ahead, 1, LINE))
    };
    let seven = window_scale(7);
    vec![
        row("T40", |at| {
            let (script, data) = far(&at.web(), [&seven, &seven], 512, 60_000);
            script.passes(A, data)
        }),
        row("T41", |at| {
            // A little beyond, and so far beyond that no tolerance reaches it.
            let (script, near) = far(&at.web(), [&seven, &seven], 512, 70_000);
            let (_, data) = far(&at.web(), [&seven, &seven], 512, 200_000);
            script.given_dropped(A, near, TcpWindow).drops(A, data, TcpWindow)
        }),
        row("T42", |at| {
            let (script, data) = far(&at.web(), [&seven, &[]], 65_535, 200_000);
            script.drops(A, data, TcpWindow)
        }),
        row("T43", |at| {
            let (script, data) = far(&at.web(), [&seven, &window_scale(15)], 4, 60_000);
            script.passes(A, data)
        }),
        row("T44", |at| {
            let web = Connection { windows: [100; 2], ..at.web() };
            let shut = Tcp { window: 0, ..web.segment(B, ACK, 1, 101) };
            opened(&web)
                .given(A, web.send(A, DATA, 1, 1, &[b'x'; 100]))
                .given(B, web.frame(B, &shut))
                .passes(A, web.send(A, ACK, 101, 1, b"?"))
        }),
    ]
}

fn sanity() -> Vec<Scenario> {
    const TCP_AT: usize = ETHERNET + 20;
    let syn = |at: Place| at.web().send(A, SYN, 0, 0, b"");
    let length = |at: Place, words| {
        let web = at.web();
        web.frame(A, &Tcp { words: Some(words), ..web.segment(A, SYN, 0, 0) })
    };
    vec![
        row("T45", |at| {
            let mut bad = syn(at);
            bad[TCP_AT + 16] ^= 0x40;
            Script::new().drops(A, bad, Checksum)
        }),
        row("T46", |at| Script::new().drops(A, length(at, 4), Malformed)),
        row("T47", |at| Script::new().drops(A, length(at, 15), Malformed)),
        row("T48", |at| {
            let mut packet = syn(at).split_off(ETHERNET);
            packet[3] += 100;
            right_v4(&mut packet);
            Script::new().drops(A, frame(A, &packet), Malformed)
        }),
        row("T49", |at| {
            let mut bad = syn(at);
            bad[ETHERNET + 10] ^= 0x40;
            Script::new().drops(A, bad, Checksum)
        }),
        row("T51", |at| {
            let web = at.web();
            behind(&web).drops(B, false_reset(&web), TcpWindow)
        }),
        row("T52", |at| {
            let web = at.web();
            behind(&web)
                .given_dropped(B, false_reset(&web), TcpWindow)
                .passes(A, web.send(A, DATA, 1, 101, LINE))
                .passes(B, web.send(B, DATA, 101, 1, LINE))
        }),
        row("T54", |at| {
            let web = at.web();
            let urgent = Tcp { urgent: 1, data: LINE.into(), ..web.segment(A, URG | DATA, 1, 1) };
            opened(&web).passes(A, web.frame(A, &urgent))
        }),
    ]
}

/// A connection on which the server has sent a hundred octets.
fn behind(web: &Connection) -> Script {
    opened(web)
        .given(B, web.send(B, DATA, 1, 1, &[b'x'; 100]))
        .given(A, web.send(A, ACK, 1, 101, b""))
}

/// A reset inside the window behind what the server has sent, whose acknowledgment number is 0 on the wire.
fn false_reset(web: &Connection) -> Vec<u8> {
    let reset = Tcp { ack: 0, ..web.segment(B, RST | ACK, 51, 0) };
    web.frame(B, &reset)
}

/// One attribute of a segment of an open connection is another.
fn altered() -> Vec<Scenario> {
    let altered = |id, alter: fn(Place, &mut Connection)| {
        row(id, move |at: Place| {
            let mut web = at.web();
            let script = opened(&web);
            alter(at, &mut web);
            script.drops(A, web.send(A, DATA, 1, 1, LINE), TcpNotOpening)
        })
    };
    vec![
        altered("T55", |at, web| web.ends[0] = at.other_client(2).into()),
        altered("T56", |_, web| web.ports[0] += 1),
        altered("T57", |_, web| web.ports[1] = 8080),
        altered("T58", |at, web| web.ends[1] = at.other_server(2).into()),
        row("T59", |at| {
            let web = at.web();
            let data = web.send(A, DATA, 1, 1, LINE);
            let headers = frame(B, &data[ETHERNET..]);
            opened(&web).drops(B, with(data, 0, &headers[..ETHERNET]), TcpNotOpening)
        }),
    ]
}
