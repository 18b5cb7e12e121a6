//! What the documents say, checked: a document set is taken whole or refused whole.

mod lint;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use classifier::resource::PolicySet;
use ipnet::IpNet;

use crate::diagnostic::{Diagnostic, Source, any_error, in_order};
use crate::document::{self, Dialect};
use crate::files::{self, FileError, unreadable};
use crate::lists::{self, ListError};
use crate::resolve::{Content, Gateway, ListUse, Resource, Resources};

/// Largest document, bytes.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// Most documents of a set.
const DOCUMENTS_MAX: usize = 10_000;
/// Most findings that are handed on; a person corrects these and tries again.
const FINDINGS_MAX: usize = 500;

/// What came of reading a document set.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The checked resources; none if any finding is an error.
    pub policy_set: Option<PolicySet>,
    /// Everything that is wrong or worth knowing, in the order of files and lines.
    pub findings: Vec<Diagnostic>,
    /// Documents and list files that were read or looked for: when one changes, so may the set.
    pub files: Vec<PathBuf>,
}

/// Reads a document, or every `*.toml`, `*.yaml`, `*.yml` and `*.json` of a directory in name order, as one document set,
/// and says what it means on this gateway.
#[must_use]
pub fn load(path: &Path, gateway: &Gateway) -> Loaded {
    let mut set = Set::default();
    for file in documents(path, &mut set.findings) {
        set.read(&file, gateway);
    }
    let refused = any_error(&set.findings);
    let policy_set = (!refused).then(|| set.resources.policy_set(gateway));
    if let Some(policy_set) = &policy_set {
        // Only a whole set tells what matches nothing.
        set.findings.extend(lint::findings(&set.resources, policy_set, gateway));
    }
    Loaded { policy_set, findings: cut(in_order(set.findings)), files: set.files }
}

/// Reads the resources of one text, as documents have them; the name of its file says the language. Lists that it names
/// are not read.
#[must_use]
pub fn read(source: &Arc<Source>, gateway: &Gateway) -> (Vec<Resource>, Vec<Diagnostic>) {
    document::read(source, gateway.takes_http)
}

/// A document set while it is read.
#[derive(Debug, Default)]
struct Set {
    resources: Resources,
    findings: Vec<Diagnostic>,
    files: Vec<PathBuf>,
    /// Lists by path, read once however many sets name them; none when the list is refused.
    lists: BTreeMap<PathBuf, Option<Vec<IpNet>>>,
}

impl Set {
    fn read(&mut self, file: &Path, gateway: &Gateway) {
        self.files.push(file.to_owned());
        let source = match files::source("document", file, DOCUMENT_BYTES_MAX) {
            Ok(source) => source,
            Err(finding) => return self.findings.push(*finding),
        };
        let (resources, findings) = read(&source, gateway);
        self.findings.extend(findings);
        let directory = file.parent().unwrap_or(Path::new(""));
        for mut resource in resources {
            if let Content::NetworkSet(set) = &mut resource.content {
                for list in &set.lists {
                    let nets = self.list(directory, list);
                    set.nets.extend(nets);
                }
            }
            self.take(resource);
        }
    }

    /// Names are unique within a kind and namespace, across all documents.
    fn take(&mut self, resource: Resource) {
        let (key, at) = (resource.key.clone(), resource.at.clone());
        let Err(first_at) = self.resources.insert_new(resource) else { return };
        let several = key.kind.form().several;
        let message = match &key.namespace {
            Some(namespace) => {
                format!("two {several} of the namespace `{namespace}` are named `{}`", key.name)
            }
            None => format!("two {several} are named `{}`", key.name),
        };
        let finding = Diagnostic::error("name.duplicate", message)
            .at(at, "named again here")
            .help("give one of them another name")
            .related(first_at, "first named here");
        self.findings.push(finding);
    }

    /// The networks of a list; a list that is refused has its findings and no networks.
    fn list(&mut self, directory: &Path, list: &ListUse) -> Vec<IpNet> {
        let path = directory.join(&list.path);
        if let Some(known) = self.lists.get(&path) {
            return known.clone().unwrap_or_default();
        }
        self.files.push(path.clone());
        let nets = match lists::load(&path) {
            Ok(nets) => Some(nets),
            Err(error) => {
                self.findings.extend(list_findings(error, &path, list));
                None
            }
        };
        self.lists.insert(path, nets.clone());
        nets.unwrap_or_default()
    }
}

/// The document files that `path` stands for.
pub(crate) fn documents(path: &Path, findings: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let files = match directory(path) {
        Ok(files) => files,
        Err(error) => {
            findings.push(unreadable("directory", path, &error));
            return Vec::new();
        }
    };
    if files.is_empty() {
        let message = format!("there is no document in `{}`", path.display());
        let help = "everything behind the gateway is denied; put a `*.toml` or `*.yaml` there";
        findings.push(Diagnostic::warning("document.none", message).help(help));
    }
    if files.len() > DOCUMENTS_MAX {
        let message = format!("`{}` holds {} documents", path.display(), files.len());
        let help = format!("keep at most {DOCUMENTS_MAX} documents in a directory");
        findings.push(Diagnostic::error("document.too-many", message).help(help));
        return Vec::new();
    }
    files
}

/// Files of a directory that are documents, in name order.
fn directory(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    for entry in path.read_dir()? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let hidden = name.starts_with(['.', '#']) || name.ends_with('~');
        if !hidden && !file.is_dir() && Dialect::named(&file).is_some() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn list_findings(error: ListError, path: &Path, list: &ListUse) -> Vec<Diagnostic> {
    match error {
        ListError::File(error) => {
            let message = format!("the list `{}` cannot be read: {error}", path.display());
            let finding = Diagnostic::error("list.unreadable", message)
                .at(list.at.clone(), error.to_string())
                .help(format!("{}; the path counts from the document's directory", error.help()));
            vec![finding]
        }
        ListError::Lines(findings) => findings
            .into_iter()
            .map(|finding| finding.related(list.at.clone(), "the list is named here"))
            .collect(),
    }
}

/// A flood is cut, and says so.
fn cut(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    if findings.len() <= FINDINGS_MAX {
        return findings;
    }
    let rest = findings.split_off(FINDINGS_MAX);
    let message = "more findings are not shown";
    let last = if any_error(&rest) {
        Diagnostic::error("document.flood", message)
    } else {
        Diagnostic::warning("document.flood", message)
    };
    findings.push(last.help("correct the ones above, then check again"));
    findings
}
