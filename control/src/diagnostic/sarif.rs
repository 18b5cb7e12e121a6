//! Findings as SARIF 2.1.0, which code hosts show beside the changed lines.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{Diagnostic, Place, Severity};

/// The findings as one run of this program. Columns count characters, from 1.
#[must_use]
pub fn to_sarif(findings: &[Diagnostic]) -> Value {
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    rules.sort_unstable();
    rules.dedup();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, &rules)).collect();
    let rules: Vec<Value> = rules.iter().map(|code| json!({ "id": code })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "ravelin",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Diagnostic, rules: &[&str]) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let text = match &finding.help {
        Some(help) => format!("{}; {help}", finding.message),
        None => finding.message.clone(),
    };
    let related = finding.related.iter().enumerate().map(|(index, (place, label))| {
        json!({
            "id": index + 1,
            "message": { "text": label },
            "physicalLocation": physical(place),
        })
    });
    let location = |place| json!({ "physicalLocation": physical(place) });
    json!({
        "ruleId": finding.code,
        "ruleIndex": rules.binary_search(&finding.code).ok(),
        "level": level,
        "message": { "text": text },
        "locations": finding.place.iter().map(location).collect::<Vec<_>>(),
        "relatedLocations": related.collect::<Vec<_>>(),
    })
}

fn physical(place: &Place) -> Value {
    let (end_line, end_column) = place.end();
    json!({
        "artifactLocation": { "uri": uri(place.file()) },
        "region": {
            "startLine": place.line(),
            "startColumn": place.column(),
            "endLine": end_line,
            "endColumn": end_column,
        },
    })
}

/// The path as a URI reference (RFC 3986): relative ones stay relative.
fn uri(file: &Path) -> String {
    let mut uri = String::new();
    if file.is_absolute() {
        uri.push_str("file://");
    }
    for byte in file.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;

    #[test]
    fn results_name_rule_level_and_region() {
        let source = Source::new("a b/é.yaml", "x: 1\né: 'wrong'\n");
        let findings = [
            Diagnostic::warning("b.code", "no place").help("do this"),
            Diagnostic::error("a.code", "`wrong` is wrong")
                .at(source.place(9..16), "this")
                .help("write something else")
                .related(source.place(0..1), "first here"),
        ];
        let sarif = to_sarif(&findings);
        assert_eq!(sarif["version"], "2.1.0");
        let run = &sarif["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"], json!([{ "id": "a.code" }, { "id": "b.code" }]));
        assert_eq!(run["results"][0]["locations"], json!([]));
        let result = &run["results"][1];
        assert_eq!((&result["ruleId"], &result["ruleIndex"]), (&json!("a.code"), &json!(0)));
        assert_eq!(result["level"], "error");
        assert_eq!(result["message"]["text"], "`wrong` is wrong; write something else");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%A9.yaml");
        let region = json!({ "startLine": 2, "startColumn": 4, "endLine": 2, "endColumn": 11 });
        assert_eq!(place["region"], region);
        assert_eq!(result["relatedLocations"][0]["message"]["text"], "first here");
    }
}
