//! `ravelin dataplane`: from the settings file to the flags of `ravelin-dataplane`, which takes this process over.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{SettingsArgument, WRONG};
use crate::cli::say;
use crate::settings::{DataplaneSettings, PortSettings, Settings};

/// Arguments of `ravelin dataplane`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsArgument,
    /// Show the command instead of running it, one argument a line
    #[arg(long)]
    print: bool,
}

/// Becomes the data plane; returns, with an exit status, only when that fails or the command is to be shown.
#[must_use]
pub fn run(arguments: &Arguments) -> u8 {
    let Some(settings) = arguments.settings.load() else { return WRONG };
    for warning in &settings.warnings {
        say(&warning.to_string());
    }
    let flags = flags(&settings);
    let binary = &settings.dataplane.binary;
    if arguments.print {
        return show(binary.as_os_str().to_owned(), flags);
    }
    let error = Command::new(binary).args(flags).exec();
    say(&format!("cannot start `{}`: {error}", binary.display()));
    WRONG
}

fn show(binary: OsString, flags: Vec<OsString>) -> u8 {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let mut lines = std::iter::once(binary).chain(flags);
    let written = lines.try_for_each(|line| writeln!(out, "{}", line.display()));
    u8::from(written.is_err())
}

/// The data plane's flags: everything that the settings say, and nothing left to its own defaults.
fn flags(settings: &Settings) -> Vec<OsString> {
    let DataplaneSettings {
        binary: _,
        socket,
        state_dir,
        cores,
        flows_max,
        frames_per_queue,
        spool_max_mib,
        spool_segment_mib,
    } = &settings.dataplane;
    let mut flags: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: OsString| flags.extend([name.into(), value]);
    for PortSettings { interface, side, addresses: _, pass_non_ip } in &settings.ports {
        flag("--port", format!("{interface}:{side}").into());
        let non_ip = if *pass_non_ip { "pass" } else { "drop" };
        flag("--non-ip", format!("{interface}={non_ip}").into());
    }
    flag("--socket", socket.into());
    flag("--state-dir", state_dir.into());
    if !cores.is_empty() {
        let cores: Vec<String> = cores.iter().map(u32::to_string).collect();
        flag("--cores", cores.join(",").into());
    }
    flag("--flows-max", flows_max.to_string().into());
    flag("--frames-per-queue", frames_per_queue.to_string().into());
    flag("--spool-max-mib", spool_max_mib.to_string().into());
    flag("--spool-segment-mib", spool_segment_mib.to_string().into());
    if let Some(user) = &settings.control_user {
        flag("--control-user", user.into());
    }
    flags
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_settings_become_flags() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ravelin.toml");
        let text = r#"
            gateway = { name = "gw1" }
            ports = [
                { interface = "eth0", side = "outside" },
                { interface = "eth1", side = "inside", nonIp = "pass" },
            ]
            dataplane = { socket = "/run/dp", stateDir = "/var/dp", cores = [2, 3], flowsMax = 5000 }
            control = { user = "ravelin" }
        "#;
        std::fs::write(&path, text).unwrap();
        let mut settings = Settings::load(&path).unwrap();
        settings.dataplane.binary = PathBuf::from("/bin/dp");
        let flags: Vec<String> =
            flags(&settings).into_iter().map(|flag| flag.into_string().unwrap()).collect();
        let DataplaneSettings { frames_per_queue, spool_max_mib, spool_segment_mib, .. } =
            &settings.dataplane;
        let expected = format!(
            "--port eth0:outside --non-ip eth0=drop --port eth1:inside --non-ip eth1=pass \
             --socket /run/dp --state-dir /var/dp --cores 2,3 --flows-max 5000 \
             --frames-per-queue {frames_per_queue} --spool-max-mib {spool_max_mib} \
             --spool-segment-mib {spool_segment_mib} --control-user ravelin"
        );
        assert_eq!(flags.join(" "), expected);
    }
}
