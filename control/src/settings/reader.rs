//! The fields of `ravelin.toml`. Whatever opens something must be said; whatever is left out is closed.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use classifier::packet::Side;
use classifier::resource::Defaults;

use super::{
    DataplaneSettings, FlowLogSettings, Settings, flows, management, numbers, port, sanity,
};
use crate::diagnostic::Diagnostic;
use crate::document::{Fields, Reader, Table, Thing};

static SETTINGS: Thing = thing(
    "the settings file",
    &[
        "gateway",
        "ports",
        "dataplane",
        "policy",
        "defaults",
        "http",
        "flows",
        "fragments",
        "sanity",
        "management",
        "flowlog",
        "control",
    ],
);
static MANAGEMENT: Thing = thing("the management path", &["in", "from", "to"]);
static GATEWAY: Thing = thing("the gateway", &["name"]);
static DATAPLANE: Thing = thing(
    "the data plane",
    &[
        "binary",
        "socket",
        "stateDir",
        "cores",
        "flowsMax",
        "framesPerQueue",
        "spoolMaxMib",
        "spoolSegmentMib",
    ],
);
static POLICY: Thing = thing("the policy source", &["directory"]);
static DEFAULTS: Thing = thing("the defaults", &["unselected", "uncovered"]);
static HTTP: Thing = thing("the HTTP setting", &["unsupported"]);
static FLOW_LOG: Thing = thing("the flow log", &["path", "maxMib"]);
static CONTROL: Thing = thing("the control daemon", &["socket", "stateDir", "user"]);

pub(super) const fn thing(name: &'static str, fields: &'static [&'static str]) -> Thing {
    Thing { name, fields, unsupported: &[] }
}

pub(super) const SIDES: &[(&str, Side)] = &[("outside", Side::Outside), ("inside", Side::Inside)];
const REFUSE_OR_WARN: &[(&str, bool)] = &[("refuse", false), ("warn", true)];
const DENY_OR_ALLOW: &[(&str, bool)] = &[("deny", false), ("allow", true)];

/// Most cores that a list can name: `CPU_SETSIZE` of Linux.
const CORE_MAX: i64 = 1023;

/// The settings, if every required field is there; findings go to `reader`.
pub(super) fn read(root: &Table, directory: &Path, reader: &mut Reader) -> Option<Settings> {
    let fields = reader.fields_of_table(root, 0..0, &SETTINGS);
    let gateway_name = gateway_name(&fields, reader);
    let ports = port::ports(&fields, reader);
    let mut section =
        |name, thing| Section { fields: sub(&fields, name, thing, reader), directory };
    let dataplane = section("dataplane", &DATAPLANE);
    let policy = section("policy", &POLICY);
    let flow_log = section("flowlog", &FLOW_LOG);
    let control = section("control", &CONTROL);
    let sanity = section("sanity", &sanity::SANITY);
    let defaults = sub(&fields, "defaults", &DEFAULTS, reader);
    let http = sub(&fields, "http", &HTTP, reader);
    let flows = sub(&fields, "flows", &flows::FLOWS, reader);
    let management = sub(&fields, "management", &MANAGEMENT, reader);
    let dataplane = dataplane_settings(&dataplane, reader);
    let flows_max = dataplane.flows_max;
    Some(Settings {
        dataplane,
        policy_directory: policy.path("directory", "policies", reader),
        defaults: defaults_of(defaults.as_ref(), reader),
        takes_http: takes_http(http.as_ref(), reader),
        flows: flows::read(flows.as_ref(), flows_max, reader),
        fragments: numbers::fragments(&fields, reader),
        sanity: sanity::read(&sanity, reader),
        management: management.map(|fields| management::read(&fields, reader)).unwrap_or_default(),
        flow_log: FlowLogSettings {
            path: flow_log.path("path", "/var/log/ravelin/flows.jsonl", reader),
            max_mib: flow_log.count("maxMib", 1024, 1..=1_048_576, reader),
        },
        control_socket: control.path("socket", "/run/ravelin/control.sock", reader),
        control_state_dir: control.path("stateDir", "/var/lib/ravelin/control", reader),
        control_user: control.text("user", reader),
        warnings: Vec::new(),
        gateway_name: gateway_name?,
        ports: ports?,
    })
}

pub(super) fn sub<'a>(
    fields: &Fields<'a>,
    name: &'static str,
    thing: &'static Thing,
    reader: &mut Reader,
) -> Option<Fields<'a>> {
    reader.fields(&fields.entry(name)?.node, thing)
}

fn gateway_name(fields: &Fields<'_>, reader: &mut Reader) -> Option<String> {
    let entry = fields.required("gateway", "[gateway]` with `name = \"gw1\"", reader)?;
    let gateway = reader.fields(&entry.node, &GATEWAY)?;
    let entry = gateway.required("name", "name = \"gw1\"", reader)?;
    let text = reader.text("name", &entry.node)?;
    if text.value.is_empty() {
        let finding = Diagnostic::error("field.value", "the gateway's name is empty")
            .at(reader.place(&entry.node.span), "expected a name")
            .help("write the name of this machine");
        reader.report(finding);
    }
    Some(text.value.clone())
}

fn dataplane_settings(section: &Section<'_>, reader: &mut Reader) -> DataplaneSettings {
    let settings = DataplaneSettings {
        binary: section.path("binary", "/usr/bin/ravelin-dataplane", reader),
        socket: section.path("socket", "/run/ravelin/dataplane.sock", reader),
        state_dir: section.path("stateDir", "/var/lib/ravelin/dataplane", reader),
        cores: section.cores(reader),
        flows_max: section.count("flowsMax", 262_144, 1024..=16_777_216, reader),
        frames_per_queue: section.count("framesPerQueue", 4096, 64..=1_048_576, reader),
        spool_max_mib: section.count("spoolMaxMib", 1024, 2..=1_048_576, reader),
        spool_segment_mib: section.count("spoolSegmentMib", 16, 1..=1024, reader),
    };
    if settings.spool_segment_mib > settings.spool_max_mib / 2
        && let Some(fields) = &section.fields
    {
        let finding = Diagnostic::error("settings.spool", "the spool needs room for two segments")
            .at(reader.place(&fields.span), "`spoolSegmentMib` and `spoolMaxMib` in here")
            .help("make `spoolSegmentMib` at most half of `spoolMaxMib`");
        reader.report(finding);
    }
    settings
}

/// What becomes of rules that ask for HTTP. Whoever takes them is warned where they stand.
fn takes_http(fields: Option<&Fields<'_>>, reader: &mut Reader) -> bool {
    let entry = fields.and_then(|fields| fields.entry("unsupported"));
    entry
        .and_then(|entry| reader.choice("unsupported", &entry.node, REFUSE_OR_WARN))
        .unwrap_or_default()
}

/// What opens the gateway is warned of, each time the settings are read.
fn defaults_of(fields: Option<&Fields<'_>>, reader: &mut Reader) -> Defaults {
    let Some(fields) = fields else { return Defaults::default() };
    let mut opened = |field: &'static str, what: &str| {
        let Some(entry) = fields.entry(field) else { return false };
        let allow = reader.choice(field, &entry.node, DENY_OR_ALLOW).unwrap_or_default();
        if allow {
            let finding = Diagnostic::warning("settings.open", format!("{what} may pass unasked"))
                .at(reader.place(&entry.node.span), "opens the gateway")
                .help(format!(
                    "write `{field} = \"deny\"` once policy covers everything that may pass"
                ));
            reader.report(finding);
        }
        allow
    };
    Defaults {
        allow_unselected: opened("unselected", "traffic of objects that no policy selects"),
        allow_uncovered: opened("uncovered", "traffic of addresses that no object covers"),
    }
}

/// A table of settings that all have defaults; it may be missing as a whole.
pub(super) struct Section<'a> {
    pub(super) fields: Option<Fields<'a>>,
    directory: &'a Path,
}

impl Section<'_> {
    /// A path; a relative one counts from the directory of the settings file.
    fn path(&self, field: &'static str, default: &str, reader: &mut Reader) -> PathBuf {
        self.directory.join(self.text(field, reader).unwrap_or_else(|| default.to_owned()))
    }

    /// A path that may be left out.
    pub(super) fn optional_path(
        &self,
        field: &'static str,
        reader: &mut Reader,
    ) -> Option<PathBuf> {
        self.text(field, reader).map(|path| self.directory.join(path))
    }

    /// A string that is not empty.
    fn text(&self, field: &'static str, reader: &mut Reader) -> Option<String> {
        let entry = self.fields.as_ref()?.entry(field)?;
        let text = reader.text(field, &entry.node)?;
        if text.value.is_empty() {
            let finding = Diagnostic::error("field.value", format!("`{field}` is empty"))
                .at(reader.place(&entry.node.span), "expected something here")
                .help(format!("write a value, or leave `{field}` out for the default"));
            reader.report(finding);
        }
        Some(text.value.clone())
    }

    /// A number within what the data plane and the daemon take.
    fn count(
        &self,
        field: &'static str,
        default: u32,
        range: RangeInclusive<i64>,
        reader: &mut Reader,
    ) -> u32 {
        let entry = self.fields.as_ref().and_then(|fields| fields.entry(field));
        entry
            .and_then(|entry| reader.integer(field, &entry.node, range))
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(default)
    }

    fn cores(&self, reader: &mut Reader) -> Vec<u32> {
        let Some(entry) = self.fields.as_ref().and_then(|fields| fields.entry("cores")) else {
            return Vec::new();
        };
        let mut cores = Vec::new();
        for node in reader.array(entry) {
            let core = reader.integer("cores", node, 0..=CORE_MAX);
            cores.extend(core.and_then(|core| u32::try_from(core).ok()));
        }
        cores
    }
}
