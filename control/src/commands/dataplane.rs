//! `ravelin dataplane`: from the settings file to the flags of `ravelin-dataplane`, which takes this process over.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ipnet::IpNet;

use super::{SettingsArgument, WRONG};
use crate::cli::say;
use crate::settings::{
    DataplaneSettings, FlowSettings, Numbers, PortSettings, SanitySettings, Settings,
};

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
pub fn flags(settings: &Settings) -> Vec<OsString> {
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
    for port in &settings.ports {
        of_port(port, &mut flag);
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
    of_flows(&settings.flows, &mut flag);
    numbers("--fragments", &settings.fragments, &mut flag);
    of_sanity(&settings.sanity, &mut flag);
    flags
}

fn of_port(port: &PortSettings, flag: &mut impl FnMut(&str, OsString)) {
    let PortSettings { interface, side, addresses: _, networks, pass_non_ip, judge_mid_stream } =
        port;
    flag("--port", format!("{interface}:{side}").into());
    let non_ip = if *pass_non_ip { "pass" } else { "drop" };
    flag("--non-ip", format!("{interface}={non_ip}").into());
    let mid_stream = if *judge_mid_stream { "judge" } else { "refuse" };
    flag("--mid-stream", format!("{interface}={mid_stream}").into());
    if !networks.is_empty() {
        let networks: Vec<String> = networks.iter().map(IpNet::to_string).collect();
        flag("--networks", format!("{interface}={}", networks.join(",")).into());
    }
}

fn of_flows(flows: &FlowSettings, flag: &mut impl FnMut(&str, OsString)) {
    let FlowSettings { keep_on_policy_change, timers, limits } = flows;
    let on_policy_change = if *keep_on_policy_change { "keep" } else { "judge" };
    flag("--on-policy-change", on_policy_change.into());
    numbers("--timer", timers, flag);
    numbers("--limit", limits, flag);
}

fn numbers(name: &str, numbers: &Numbers, flag: &mut impl FnMut(&str, OsString)) {
    for (which, number) in numbers {
        flag(name, format!("{which}={number}").into());
    }
}

fn of_sanity(sanity: &SanitySettings, flag: &mut impl FnMut(&str, OsString)) {
    let SanitySettings { profile, checksums, count_only, special_purpose } = sanity;
    flag("--profile", profile.into());
    flag("--checksums", checksums.into());
    for reason in count_only {
        flag("--count-only", reason.into());
    }
    if let Some(file) = special_purpose {
        flag("--special-purpose", file.into());
    }
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
                { interface = "eth0", side = "outside", midStream = "judge" },
                { interface = "eth1", side = "inside", nonIp = "pass", networks = ["198.18.0.1/16", "2001:2::1"] },
            ]
            dataplane = { socket = "/run/dp", stateDir = "/var/dp", cores = [2, 3], flowsMax = 5000 }
            control = { user = "ravelin" }
            flows = { onPolicyChange = "keep", timers = { udp = 30 }, limits = { halfOpen = 7 } }
            fragments = { ipv6Seconds = 99 }
            sanity = { countOnly = ["land", "arp"], specialPurpose = "/etc/special" }
        "#;
        std::fs::write(&path, text).unwrap();
        let mut settings = Settings::load(&path).unwrap();
        settings.dataplane.binary = PathBuf::from("/bin/dp");
        let flags: Vec<String> =
            flags(&settings).into_iter().map(|flag| flag.into_string().unwrap()).collect();
        let DataplaneSettings { frames_per_queue, spool_max_mib, spool_segment_mib, .. } =
            &settings.dataplane;
        let expected = format!(
            "--port eth0:outside --non-ip eth0=drop --mid-stream eth0=judge \
             --port eth1:inside --non-ip eth1=pass --mid-stream eth1=refuse \
             --networks eth1=198.18.0.0/16,2001:2::1/128 --socket /run/dp --state-dir /var/dp --cores 2,3 --flows-max 5000 \
             --frames-per-queue {frames_per_queue} --spool-max-mib {spool_max_mib} \
             --spool-segment-mib {spool_segment_mib} --control-user ravelin \
             --on-policy-change keep --timer tcp-opening=240 --timer tcp-established=7440 \
             --timer tcp-closing=240 --timer tcp-closed=240 --timer udp=30 --timer icmp-query=60 \
             --timer other=300 --limit half-open=7 --limit half-open-per-destination=0 \
             --limit half-open-per-source=0 --limit flows-per-source=2500 \
             --limit new-flows-per-source=0 --fragments memory-mib=8 \
             --fragments memory-per-source-mib=1 --fragments datagrams=16384 \
             --fragments ipv4-seconds=30 --fragments ipv6-seconds=99 --profile default --checksums complete \
             --count-only land --count-only arp --special-purpose /etc/special"
        );
        assert_eq!(flags.join(" "), expected);
    }
}
