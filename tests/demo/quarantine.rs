//! The cut: a label changes in a file, and an open connection dies.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use classifier::packet::IpVersion::{V4, V6};
use ravelin::attempt::{Probe, connect, echo};
use ravelin::deadline::{Deadline, timed};
use ravelin::failure::{During, Failure};
use ravelin::gateway::Gateway;
use ravelin::servers::greeting;
use ravelin::topology::Lab;

use crate::attempts::one;
use crate::show::Summary;

const FILE: &str = "site.toml";
const FREE: &str = r#"quarantine = "false""#;
const CUT: &str = r#"quarantine = "true""#;

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(5);
/// An echo that takes longer than this does not come any more.
const SILENCE: Duration = Duration::from_millis(500);
/// From the saved file to the dead connection.
const CUT_WITHIN: Duration = Duration::from_secs(2);

/// Opens a connection, labels its host, watches it die, and takes the label off again.
pub(crate) fn play(lab: &Lab, gateway: &Gateway<'_>, summary: &mut Summary) -> Result<(), Failure> {
    println!("\nQuarantine: the operation centre has a session open on the candidate.");
    let to = SocketAddr::new(lab.candidate.address(V4), 22);
    let mut session = connect(&lab.noc, to, PATIENCE)?;
    greeting(&mut session)?;
    let talked = (1..=5).all(|number| echo(&mut session, &format!("line {number}\n")).is_ok());
    summary.step(talked, "five lines went over the open session and back");

    gateway.write(FILE, &gateway.read(FILE)?.replace(FREE, CUT))?;
    println!("     {FILE} now says {CUT}");
    let (took, lines) = timed(|| lines_until_silence(&mut session));
    let lines = lines?;
    // The last thing in that time was one echo that did not come.
    let took = took.saturating_sub(SILENCE);
    let what = format!("the session died {} ms later, after {lines} more lines", took.as_millis());
    summary.step(took < CUT_WITHIN, &what);
    let cut = gateway.wait_for_record(PATIENCE, |record| {
        let text = |key: &str| record.get(key).and_then(serde_json::Value::as_str);
        text("kind") == Some("cut") && text("policy") == Some("quarantine")
    });
    summary.step(cut.is_some(), "the flow log says that policy `quarantine` cut it");
    drop(session);

    println!("     and nobody gets through any more:");
    let to_it = (false, "quarantine#2");
    one(gateway, &lab.noc, &lab.candidate, V4, Probe::Tcp(22), to_it, summary)?;
    one(gateway, &lab.office, &lab.candidate, V6, Probe::Tcp(80), to_it, summary)?;
    let from_it = (false, "quarantine#1");
    one(gateway, &lab.candidate, &lab.noc, V4, Probe::Tcp(80), from_it, summary)?;

    let generation = gateway.generation()?;
    gateway.write(FILE, &gateway.read(FILE)?.replace(CUT, FREE))?;
    println!("     {FILE} says {FREE} again");
    let free = ravelin::deadline::wait_until(PATIENCE, || {
        gateway.generation().ok().filter(|now| *now > generation)
    });
    summary.step(free.is_some(), "a new generation of the policy is in force");
    let allowed = (true, "ssh-only-from-noc#0");
    one(gateway, &lab.noc, &lab.candidate, V4, Probe::Tcp(22), allowed, summary)
}

/// Talks on until an echo does not come; returns how many did.
fn lines_until_silence(session: &mut TcpStream) -> Result<u32, Failure> {
    session.set_read_timeout(Some(SILENCE)).during("set a timeout")?;
    let deadline = Deadline::after(PATIENCE);
    let mut lines = 0;
    while !deadline.is_over() {
        if echo(session, "still there?\n").is_err() {
            return Ok(lines);
        }
        lines += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Failure::new("quarantine the candidate", "its session goes on"))
}
