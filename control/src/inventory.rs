//! What the documents say, checked: a document set is taken whole or refused whole.

mod lint;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use classifier::resource::PolicySet;
use ipnet::IpNet;

use crate::diagnostic::{Diagnostic, Source, any_error, in_order};
use crate::document::{self, Dialect};
use crate::files::{self, FileError, unreadable};
use crate::lists::{self, List, ListError};
use crate::resolve::{Content, Gateway, ListUse, NetworkSet, Resource, Resources};

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
    load_again(path, gateway, &mut Known::default())
}

/// The same, again and again for the same gateway: files whose content is known are not worked out anew.
#[must_use]
pub fn load_again(path: &Path, gateway: &Gateway, known: &mut Known) -> Loaded {
    let mut set = Set { before: std::mem::take(known), ..Set::default() };
    for file in documents(path, &mut set.findings) {
        set.read(&file, gateway);
    }
    *known = Known { documents: std::mem::take(&mut set.documents), lists: set.lists };
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

/// What files said when they were read last.
#[derive(Debug, Default)]
pub struct Known {
    documents: BTreeMap<PathBuf, Document>,
    /// None for a list that is refused.
    lists: BTreeMap<PathBuf, Option<List>>,
}

/// What a document says by itself.
#[derive(Debug)]
struct Document {
    source: Arc<Source>,
    resources: Vec<Arc<Resource>>,
    findings: Vec<Diagnostic>,
}

impl Document {
    fn new(source: Arc<Source>, gateway: &Gateway) -> Self {
        let (resources, findings) = read(&source, gateway);
        Self { source, resources: resources.into_iter().map(Arc::new).collect(), findings }
    }
}

/// A document set while it is read.
#[derive(Debug, Default)]
struct Set {
    before: Known,
    resources: Resources,
    findings: Vec<Diagnostic>,
    files: Vec<PathBuf>,
    documents: BTreeMap<PathBuf, Document>,
    /// Lists by path, read once however many sets name them; none when the list is refused.
    lists: BTreeMap<PathBuf, Option<List>>,
}

impl Set {
    fn read(&mut self, file: &Path, gateway: &Gateway) {
        self.files.push(file.to_owned());
        let source = match files::source("document", file, DOCUMENT_BYTES_MAX) {
            Ok(source) => source,
            Err(finding) => return self.findings.push(*finding),
        };
        let known = self.before.documents.remove(file);
        let known = known.filter(|known| known.source.text() == source.text());
        let document = known.unwrap_or_else(|| Document::new(source, gateway));
        self.findings.extend(document.findings.iter().cloned());
        let directory = file.parent().unwrap_or(Path::new(""));
        for resource in &document.resources {
            let with_lists = self.with_lists(resource, directory);
            self.take(with_lists.map_or_else(|| Arc::clone(resource), Arc::new));
        }
        self.documents.insert(file.to_owned(), document);
    }

    /// The resource with the networks of the lists that it names, if it names any.
    fn with_lists(&mut self, resource: &Resource, directory: &Path) -> Option<Resource> {
        let Content::NetworkSet(NetworkSet { lists, .. }) = &resource.content else { return None };
        if lists.is_empty() {
            return None;
        }
        let mut resource = resource.clone();
        if let Content::NetworkSet(set) = &mut resource.content {
            for list in lists {
                set.nets.extend(self.list(directory, list));
            }
        }
        Some(resource)
    }

    /// Names are unique within a kind and namespace, across all documents.
    fn take(&mut self, resource: Arc<Resource>) {
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
    fn list(&mut self, directory: &Path, list: &ListUse) -> &[IpNet] {
        let path = directory.join(&list.path);
        let loaded = match self.lists.entry(path) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => {
                let path = place.key();
                self.files.push(path.clone());
                let known = self.before.lists.remove(path).flatten();
                let loaded = lists::load(path, known)
                    .map_err(|error| self.findings.extend(list_findings(error, path, list)));
                place.insert(loaded.ok())
            }
        };
        loaded.as_ref().map_or(&[], |list| &list.nets)
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
