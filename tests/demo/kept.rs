//! What `--keep` leaves behind, and how it is taken away again.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ravelin::failure::{During, Failure};
use ravelin::namespace;
use rustix::process::{Pid, Signal, kill_process};

/// Says what is left behind: lines of `process NUMBER START`, `namespace NAME`, `directory PATH`.
const NOTE: &str = "/run/ravelin-demo";

/// Says the time to the candidate's echoing server once a second and shows what comes back.
const SESSION: &str =
    "exec 3<>/dev/tcp/198.18.70.77/22; cat <&3 & while date >&3; do sleep 1; done";

/// What is left behind.
pub(crate) struct Left<'a> {
    pub(crate) processes: Vec<u32>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) directory: &'a Path,
    pub(crate) ravelin: &'a Path,
}

/// Fails when what an earlier `--keep` left is still there.
pub(crate) fn refuse_a_second_one() -> Result<(), Failure> {
    if Path::new(NOTE).exists() {
        let advice = "an earlier one is still up; run `make demo-clean` first";
        return Err(Failure::new("start the demonstration", advice));
    }
    Ok(())
}

/// Notes what is left behind and says what can be done with it.
pub(crate) fn leave(left: &Left<'_>) -> Result<(), Failure> {
    let mut note = String::new();
    for id in &left.processes {
        if let Some(start) = start_of(*id) {
            let _ = writeln!(note, "process {id} {start}");
        }
    }
    for name in &left.namespaces {
        let _ = writeln!(note, "namespace {name}");
    }
    let _ = writeln!(note, "directory {}", left.directory.display());
    fs::write(NOTE, note).during("note what is left behind")?;
    invite(left);
    Ok(())
}

/// Takes away what `leave` noted.
pub(crate) fn clean() -> Result<(), Failure> {
    let Ok(note) = fs::read_to_string(NOTE) else {
        println!("Nothing is left to take away.");
        return Ok(());
    };
    let mut failures = Vec::new();
    for line in note.lines() {
        let outcome = match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["process", id, start] => end(id, start),
            ["namespace", name] => namespace::delete(name),
            ["directory", path] => fs::remove_dir_all(path).during(&format!("remove {path}")),
            _ => Err(Failure::new(NOTE, format!("`{line}` is not understood"))),
        };
        failures.extend(outcome.err().map(|failure| failure.to_string()));
    }
    fs::remove_file(NOTE).during("remove the note")?;
    if failures.is_empty() {
        println!("The demonstration is taken away.");
        return Ok(());
    }
    Err(Failure::new("take the demonstration away", failures.join("; ")))
}

/// Ends a process, if it is still the one that was noted.
fn end(id: &str, start: &str) -> Result<(), Failure> {
    let doing = format!("end process {id}");
    let number: i32 = id.parse().during(&doing)?;
    if start_of(number.unsigned_abs()).as_deref() != Some(start) {
        return Ok(());
    }
    let pid = Pid::from_raw(number).ok_or_else(|| Failure::new(&doing, "no such number"))?;
    kill_process(pid, Signal::KILL).during(&doing)
}

/// When a process was started, in clock ticks since boot: field 22 of its `stat`, counted after the name in brackets.
fn start_of(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19).map(str::to_owned)
}

fn invite(left: &Left<'_>) {
    let space = |place: &str| {
        let found = left.namespaces.iter().find(|name| name.ends_with(place));
        format!("ip netns exec {}", found.map_or("?", String::as_str))
    };
    let settings = left.directory.join("ravelin.toml");
    let (settings, ravelin) = (settings.display(), left.ravelin.display());
    let directory = left.directory.display();
    println!("\nIt is all still up. Some things to try:");
    println!("  {} curl http://198.18.70.10/", space("-office"));
    println!("  {} ping 198.18.70.10", space("-noc"));
    println!("  {} bash -c '{SESSION}'", space("-noc"));
    println!("     (a session that says the time once a second; quarantine its host meanwhile:)");
    println!("  editor {directory}/policies/site.toml");
    println!("  tail -f {directory}/flows.jsonl");
    println!("  {ravelin} status --config {settings}");
    println!(
        "  {ravelin} trace --config {settings} --in outside0 --src 198.18.20.10 --dst 198.18.70.10 --proto tcp --dport 22"
    );
    println!("  {} tcpdump -n -i eth0", space("-server"));
    println!("and when you are done:\n  make demo-clean");
}
