//! Settings of checks, timers and limits: each by its name, all with defaults.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::checks::{Checks, Checksums, Profile};
use crate::disposition::{DropReason, Reasons};
use crate::flow::{Limit, Limits, TIMER_SECONDS_MAX, Timer, Timers};
use crate::fragment::{FragmentLimit, FragmentLimits};
use crate::sanity::SpecialPurpose;

/// Largest table of addresses, bytes: more than the rows it may have. What is cut off is refused.
const TABLE_BYTES_MAX: u64 = 1 << 20;

/// How strictly flows and packets are checked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Strictness {
    /// How long flows may be silent.
    pub timers: Timers,
    /// How much of the flow table anyone may have.
    pub limits: Limits,
    /// How much of what there is for fragments.
    pub fragments: FragmentLimits,
    /// What is checked of packets.
    pub checks: Checks,
    /// Which addresses no packet is forwarded from or to.
    pub special_purpose: SpecialPurpose,
    /// Whether flows that an earlier policy allowed go on whatever a later one says.
    pub keep_on_policy_change: bool,
}

/// The flags for it.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct StrictnessFlags {
    /// How long a flow may be silent, for each kind of flow
    #[arg(long = "timer", value_name = "NAME=SECONDS", value_parser = parse_timer)]
    timers: Vec<(Timer, u32)>,

    /// How much of the flow table anyone may have; 0 is no limit
    #[arg(long = "limit", value_name = "NAME=N", value_parser = parse_limit)]
    limits: Vec<(Limit, u32)>,

    /// How much memory and time there is for fragments, for each worker
    #[arg(long = "fragments", value_name = "NAME=N", value_parser = parse_fragments)]
    fragments: Vec<(FragmentLimit, u32)>,

    /// A check whose failures are counted only, by the name of its reason
    #[arg(long = "count-only", value_name = "REASON", value_parser = parse_check)]
    counted_only: Vec<DropReason>,

    /// How strict checks are where standards leave it open
    #[arg(long, value_name = "NAME", value_enum, default_value_t = ProfileFlag::Default)]
    profile: ProfileFlag,

    /// What is done about checksums of TCP, UDP and ICMP
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = ChecksumsFlag::Complete)]
    checksums: ChecksumsFlag,

    /// A table of special-purpose addresses in place of the one that is built in
    #[arg(long, value_name = "FILE")]
    special_purpose: Option<PathBuf>,

    /// What a change of the policy does to flows that an earlier one allowed
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnPolicyChange::Judge)]
    on_policy_change: OnPolicyChange,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum OnPolicyChange {
    /// They are judged again before their next packet
    Judge,
    /// They go on
    Keep,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum ProfileFlag {
    /// As tolerant as real networks need
    Default,
    /// As the Common Criteria module for firewalls asks
    CcStrict,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum ChecksumsFlag {
    /// Wrong ones are dropped, those left to hardware are completed
    Complete,
    /// Wrong ones are dropped
    Verify,
    /// They are not looked at
    Ignore,
}

impl StrictnessFlags {
    /// What they say.
    ///
    /// # Errors
    /// Why the table of addresses is refused.
    pub(super) fn read(self) -> Result<Strictness, String> {
        let Self { timers, limits, fragments, special_purpose, .. } = &self;
        let set = |timers: Timers, (timer, seconds): &(Timer, u32)| timers.with(*timer, *seconds);
        let limit = |limits: Limits, (limit, most): &(Limit, u32)| limits.with(*limit, *most);
        let fragment = |limits: FragmentLimits, (limit, value): &(FragmentLimit, u32)| {
            limits.with(*limit, *value)
        };
        Ok(Strictness {
            fragments: fragments.iter().fold(FragmentLimits::default(), fragment),
            timers: timers.iter().fold(Timers::default(), set),
            limits: limits.iter().fold(Limits::default(), limit),
            checks: self.checks(),
            special_purpose: special_purpose
                .as_deref()
                .map(read_table)
                .transpose()?
                .unwrap_or_default(),
            keep_on_policy_change: self.on_policy_change == OnPolicyChange::Keep,
        })
    }

    fn checks(&self) -> Checks {
        Checks {
            profile: match self.profile {
                ProfileFlag::Default => Profile::Default,
                ProfileFlag::CcStrict => Profile::CcStrict,
            },
            checksums: match self.checksums {
                ChecksumsFlag::Complete => Checksums::Complete,
                ChecksumsFlag::Verify => Checksums::Verify,
                ChecksumsFlag::Ignore => Checksums::Ignore,
            },
            counted_only: self.counted_only.iter().copied().fold(Reasons::default(), Reasons::with),
        }
    }
}

fn read_table(path: &Path) -> Result<SpecialPurpose, String> {
    let refused = |error: &dyn Display| format!("`--special-purpose {}`: {error}", path.display());
    let file = File::open(path).map_err(|error| refused(&error))?;
    let mut text = String::new();
    file.take(TABLE_BYTES_MAX).read_to_string(&mut text).map_err(|error| refused(&error))?;
    SpecialPurpose::parse(&text).map_err(|error| refused(&error))
}

fn parse_timer(text: &str) -> Result<(Timer, u32), String> {
    let names = Timer::ALL.map(Timer::name).join(", ");
    let expected = format!("expected `NAME=SECONDS` with one of {names}");
    let (name, seconds) = text.split_once('=').ok_or(&expected)?;
    let timer = Timer::ALL.into_iter().find(|timer| timer.name() == name).ok_or(expected)?;
    let range = format!("expected 1 to {TIMER_SECONDS_MAX} seconds");
    let seconds = seconds.parse().map_err(|_| &range)?;
    if (1..=TIMER_SECONDS_MAX).contains(&seconds) { Ok((timer, seconds)) } else { Err(range) }
}

fn parse_limit(text: &str) -> Result<(Limit, u32), String> {
    let names = Limit::ALL.map(Limit::name).join(", ");
    let expected = format!("expected `NAME=N` with one of {names}");
    let (name, most) = text.split_once('=').ok_or(&expected)?;
    let limit = Limit::ALL.into_iter().find(|limit| limit.name() == name).ok_or(&expected)?;
    Ok((limit, most.parse().map_err(|_| expected)?))
}

fn parse_fragments(text: &str) -> Result<(FragmentLimit, u32), String> {
    let names = FragmentLimit::ALL.map(FragmentLimit::name).join(", ");
    let expected = format!("expected `NAME=N` with one of {names}");
    let (name, value) = text.split_once('=').ok_or(&expected)?;
    let limit = FragmentLimit::ALL.into_iter().find(|limit| limit.name() == name);
    let limit = limit.ok_or(expected)?;
    let range = limit.range();
    let value = value.parse().ok().filter(|value| range.contains(value));
    let value = value.ok_or_else(|| format!("expected {} to {}", range.start(), range.end()))?;
    Ok((limit, value))
}

fn parse_check(text: &str) -> Result<DropReason, String> {
    let can = |reason: &DropReason| reason.can_be_counted_only();
    let names = || DropReason::ALL.into_iter().filter(can);
    names().find(|reason| reason.name() == text).ok_or_else(|| {
        let names: Vec<_> = names().map(DropReason::name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_limits_and_checks_are_named() {
        assert_eq!(parse_timer("udp=30"), Ok((Timer::Udp, 30)));
        assert!(parse_timer("udp=0").unwrap_err().starts_with("expected 1 to "));
        assert!(parse_timer("upd=30").unwrap_err().contains("icmp-query"));
        assert_eq!(parse_limit("half-open=0"), Ok((Limit::HalfOpen, 0)));
        assert!(parse_limit("half-open=x").unwrap_err().contains("flows-per-source"));
        let limit = FragmentLimit::MemoryMib;
        assert_eq!(parse_fragments("memory-mib=16"), Ok((limit, 16)));
        assert_eq!(parse_fragments("memory-mib=0"), Err("expected 1 to 1024".to_owned()));
        assert!(parse_fragments("memory=16").unwrap_err().contains("memory-per-source-mib"));
        assert_eq!(parse_check("land"), Ok(DropReason::Land));
        assert!(parse_check("policy-denied").is_err());
    }
}
