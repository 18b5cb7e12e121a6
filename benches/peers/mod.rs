//! Others who do what we do, asked in turns with us.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A DPDK structure in a process of its own: `dpdk.c` built by `prepare`.
pub(crate) struct Dpdk {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Seconds of CPU to build it.
    pub(crate) build_s: f64,
    /// What it allocated, with what it keeps to be changed.
    pub(crate) heap_bytes: f64,
}

/// Which of its lookups.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Variant {
    Scalar,
    Vector,
}

impl Dpdk {
    /// Builds `structure` (`fib`, `fib6`, `acl`) from a table file; `None`, and a word about it, when there is no DPDK.
    pub(crate) fn build(structure: &str, table: &Path, nodes: usize) -> Option<Self> {
        let program = directory().join("dpdk-peer");
        if !program.exists() {
            println!("no {}: run benches/peers/prepare; going on without DPDK", program.display());
            return None;
        }
        let mut child = Command::new(program)
            .arg(structure)
            .arg(table)
            .arg(nodes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program that starts");
        let requests = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let built = read_line(&mut answers);
        println!("{structure}: {built}");
        let number = |name: &str| built[name].as_f64().expect("a number");
        let (build_s, heap_bytes) = (number("build_s"), number("heap_bytes"));
        Some(Self { child, requests, answers, build_s, heap_bytes })
    }

    /// Looks a file of keys up some times over; ns of CPU for each, `None` where this machine lacks the variant.
    pub(crate) fn look_up(
        &mut self,
        variant: Variant,
        keys: &Path,
        answers: Option<&Path>,
        passes: usize,
    ) -> Option<f64> {
        let variant = match variant {
            Variant::Scalar => "scalar",
            Variant::Vector => "vector",
        };
        let answers = answers.map_or_else(|| "-".into(), Path::to_string_lossy);
        let requests = self.requests.as_mut().expect("open until dropped");
        writeln!(requests, "{variant} {} {answers} {passes}", keys.display())
            .and_then(|()| requests.flush())
            .expect("a peer that listens");
        read_line(&mut self.answers)["ns"].as_f64()
    }
}

impl Drop for Dpdk {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.requests = None;
        let _ = self.child.wait();
    }
}

fn read_line(from: &mut impl BufRead) -> Value {
    let mut line = String::new();
    from.read_line(&mut line).expect("a peer that answers");
    serde_json::from_str(&line).expect("a line of JSON from the peer")
}

/// `target/bench`, wherever `target` is.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}

/// Writes records of the peer's structs.
pub(crate) fn write(name: &str, records: impl IntoIterator<Item = impl AsRef<[u8]>>) -> PathBuf {
    let directory = directory().join("inputs");
    fs::create_dir_all(&directory).expect("a directory under target/");
    let mut bytes = Vec::new();
    for record in records {
        bytes.extend_from_slice(record.as_ref());
    }
    let path = directory.join(name);
    fs::write(&path, bytes).expect("a file under target/");
    path
}

/// Reads the answers that a peer wrote.
pub(crate) fn read_answers(path: &Path) -> Vec<u32> {
    let bytes = fs::read(path).expect("answers of the peer");
    bytes.as_chunks().0.iter().map(|answer| u32::from_ne_bytes(*answer)).collect()
}
