//! Compiles the XDP program when the feature `af-xdp` is on.

use std::env;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "bpf/ravelin.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    if env::var_os("CARGO_FEATURE_AF_XDP").is_none() {
        return;
    }
    if let Err(message) = compile() {
        println!("cargo::error={message}");
    }
}

fn compile() -> Result<(), String> {
    let out_dir = env::var_os("OUT_DIR").ok_or("cargo did not set `OUT_DIR`")?;
    let object = Path::new(&out_dir).join("ravelin.bpf.o");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").map_err(|error| error.to_string())?;
    let output = Command::new("clang")
        // `-g` is not for debugging: the loader reads the map's layout from the type information.
        .args(["-O2", "-g", "-target", "bpf", "-Wall", "-Werror"])
        // Debian keeps `asm/types.h` of the host in a directory that `-target bpf` does not search.
        .arg(format!("-I/usr/include/{arch}-linux-gnu"))
        .args(["-c", SOURCE, "-o"])
        .arg(&object)
        .output()
        .map_err(|error| format!("cannot run `clang`, which compiles {SOURCE}: {error}; install the packages `clang` and `libbpf-dev`, or build with `--no-default-features`"))?;
    if output.status.success() {
        return Ok(());
    }
    let diagnostics = String::from_utf8_lossy(&output.stderr);
    for line in diagnostics.lines() {
        println!("cargo::warning={line}");
    }
    Err(format!(
        "`clang` does not compile {SOURCE} ({}); are the packages `libbpf-dev` and `linux-libc-dev` installed?",
        output.status
    ))
}
