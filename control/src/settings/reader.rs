//! The fields of `ravelin.toml`. Whatever opens something must be said; whatever is left out is closed.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use classifier::packet::Side;
use classifier::resource::Defaults;

use super::{DataplaneSettings, FlowLogSettings, PortSettings, Settings, management};
use crate::diagnostic::Diagnostic;
use crate::document::{Entry, Fields, Node, Reader, Table, Thing};

static SETTINGS: Thing = thing(
    "the settings file",
    &[
        "gateway",
        "ports",
        "dataplane",
        "policy",
        "defaults",
        "http",
        "management",
        "flowlog",
        "control",
    ],
);
static MANAGEMENT: Thing = thing("the management path", &["in", "from", "to"]);
static GATEWAY: Thing = thing("the gateway", &["name"]);
static PORT: Thing = thing("a port", &["interface", "side", "addresses", "nonIp"]);
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

const fn thing(name: &'static str, fields: &'static [&'static str]) -> Thing {
    Thing { name, fields, unsupported: &[] }
}

pub(super) const SIDES: &[(&str, Side)] = &[("outside", Side::Outside), ("inside", Side::Inside)];
const NON_IP: &[(&str, bool)] = &[("drop", false), ("pass", true)];
const REFUSE_OR_WARN: &[(&str, bool)] = &[("refuse", false), ("warn", true)];
const DENY_OR_ALLOW: &[(&str, bool)] = &[("deny", false), ("allow", true)];

/// Longest name of a network interface: `IFNAMSIZ` of Linux, less its final zero.
const INTERFACE_LEN_MAX: usize = 15;
/// Most cores that a list can name: `CPU_SETSIZE` of Linux.
const CORE_MAX: i64 = 1023;

/// The settings, if every required field is there; findings go to `reader`.
pub(super) fn read(root: &Table, directory: &Path, reader: &mut Reader) -> Option<Settings> {
    let fields = reader.fields_of_table(root, 0..0, &SETTINGS);
    let gateway_name = gateway_name(&fields, reader);
    let ports = ports(&fields, reader);
    let mut section =
        |name, thing| Section { fields: sub(&fields, name, thing, reader), directory };
    let dataplane = section("dataplane", &DATAPLANE);
    let policy = section("policy", &POLICY);
    let flow_log = section("flowlog", &FLOW_LOG);
    let control = section("control", &CONTROL);
    let defaults = sub(&fields, "defaults", &DEFAULTS, reader);
    let http = sub(&fields, "http", &HTTP, reader);
    let management = sub(&fields, "management", &MANAGEMENT, reader);
    Some(Settings {
        dataplane: dataplane_settings(&dataplane, reader),
        policy_directory: policy.path("directory", "policies", reader),
        defaults: defaults_of(defaults.as_ref(), reader),
        takes_http: takes_http(http.as_ref(), reader),
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

fn sub<'a>(
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

/// Exactly two ports, one of each side.
fn ports(fields: &Fields<'_>, reader: &mut Reader) -> Option<Vec<PortSettings>> {
    let entry = fields.required("ports", "[[ports]]` twice, with `interface` and `side", reader)?;
    let nodes = reader.array(entry);
    let findings_before = reader.findings.len();
    let ports: Vec<PortSettings> = nodes.iter().filter_map(|node| port(node, reader)).collect();
    if reader.findings.len() > findings_before {
        return None;
    }
    if let [first, second] = ports.as_slice()
        && first.side != second.side
        && first.interface != second.interface
    {
        return Some(ports);
    }
    let message = "a gateway has two ports: one `outside`, one `inside`, on two interfaces";
    let finding = Diagnostic::error("settings.ports", message)
        .at(reader.place(&entry.node.span), format!("{} here", count_words(&ports)))
        .help("write `[[ports]]` twice, with `side = \"outside\"` and `side = \"inside\"`");
    reader.report(finding);
    None
}

fn count_words(ports: &[PortSettings]) -> String {
    match ports {
        [first, second] if first.interface == second.interface => {
            format!("both on `{}`", first.interface)
        }
        [first, second] if first.side == second.side => format!("both `{}`", first.side),
        ports => format!("{} of them", ports.len()),
    }
}

fn port(node: &Node, reader: &mut Reader) -> Option<PortSettings> {
    let fields = reader.fields(node, &PORT)?;
    let interface = fields
        .required("interface", "interface = \"eth1\"", reader)
        .and_then(|entry| Some((entry, reader.text("interface", &entry.node)?.value.clone())));
    if let Some((entry, name)) = &interface
        && !is_interface(name)
    {
        let message = format!("`{name}` cannot be the name of an interface");
        let finding = Diagnostic::error("settings.interface", message)
            .at(
                reader.place(&entry.node.span),
                "expected 1 to 15 characters without `/` and blanks",
            )
            .help("`ip link` shows the names");
        reader.report(finding);
    }
    let side = fields
        .required("side", "side = \"inside\"", reader)
        .and_then(|entry| reader.choice("side", &entry.node, SIDES));
    let pass_non_ip = fields
        .entry("nonIp")
        .and_then(|entry| reader.choice("nonIp", &entry.node, NON_IP))
        .unwrap_or_default();
    let addresses =
        fields.entry("addresses").map(|entry| addresses(entry, reader)).unwrap_or_default();
    Some(PortSettings { interface: interface?.1, side: side?, addresses, pass_non_ip })
}

fn addresses(entry: &Entry, reader: &mut Reader) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for node in reader.array(entry) {
        let Some(text) = reader.text("addresses", node) else { continue };
        if let Ok(address) = text.value.parse() {
            addresses.push(address);
        } else {
            let message = format!("`{}` is not an IP address", text.value);
            let finding = Diagnostic::error("settings.address", message)
                .at(reader.place(&node.span), "expected an address")
                .help("write it without `/` and length, as `198.18.0.1` or `2001:2::1`");
            reader.report(finding);
        }
    }
    addresses
}

fn is_interface(name: &str) -> bool {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
    !name.is_empty()
        && name.len() <= INTERFACE_LEN_MAX
        && name != "."
        && name != ".."
        && !name.contains(bad)
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
struct Section<'a> {
    fields: Option<Fields<'a>>,
    directory: &'a Path,
}

impl Section<'_> {
    /// A path; a relative one counts from the directory of the settings file.
    fn path(&self, field: &'static str, default: &str, reader: &mut Reader) -> PathBuf {
        self.directory.join(self.text(field, reader).unwrap_or_else(|| default.to_owned()))
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
